"""executorlib with worker processes that stay; it hands futures on by itself, and keeps nothing."""

from __future__ import annotations

from concurrent.futures import Future

import work
from executorlib import SingleNodeExecutor


def wide(count: int, folder: str) -> float:
    def run() -> None:
        # Without the option each call would be examined for futures to wait for.
        with executor(disable_dependencies=True) as pool:
            futures = [pool.submit(work.trivial, index) for index in range(count)]
            assert [future.result() for future in futures][-1] == count - 1

    return work.seconds(run)


def layered(count: int, folder: str) -> float:
    def run() -> None:
        with executor() as pool:
            futures: list[Future[int]] = []
            for layer in work.layers(count):
                futures = [
                    pool.submit(work.trivial, index, *(futures[place] for place in below))
                    for index, below in layer
                ]
            assert [future.result() for future in futures][-1] == count - 1

    return work.seconds(run)


def executor(**options: bool) -> SingleNodeExecutor:
    return SingleNodeExecutor(
        max_workers=work.WORKERS, block_allocation=True, hostname_localhost=True, **options
    )


if __name__ == "__main__":
    work.main({"wide": wide, "layered": layered})
