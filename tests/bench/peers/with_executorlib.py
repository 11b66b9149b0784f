"""executorlib with worker processes that stay; it keeps nothing.

It waits at the end of each layer, since handing futures on by itself takes it ten times as long.
"""

from __future__ import annotations

import work
from executorlib import SingleNodeExecutor


def wide(count: int, folder: str) -> float:
    def run() -> None:
        with executor() as pool:
            futures = [pool.submit(work.trivial, index) for index in range(count)]
            assert [future.result() for future in futures][-1] == count - 1

    return work.seconds(run)


def layered(count: int, folder: str) -> float:
    def run() -> None:
        with executor() as pool:
            done: list[int] = []
            for layer in work.layers(count):
                futures = [
                    pool.submit(work.trivial, index, *(done[place] for place in below))
                    for index, below in layer
                ]
                done = [future.result() for future in futures]
            assert done[-1] == count - 1

    return work.seconds(run)


def executor() -> SingleNodeExecutor:
    return SingleNodeExecutor(
        max_workers=work.WORKERS,
        block_allocation=True,
        disable_dependencies=True,
        hostname_localhost=True,
    )


if __name__ == "__main__":
    work.main({"wide": wide, "layered": layered})
