"""The standard library's pool of processes, forked where Python does so by itself.

It waits at the end of each layer, and keeps nothing.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

import work


def wide(count: int, folder: str) -> float:
    def run() -> None:
        with pool_of_processes() as pool:
            assert len([*pool.map(work.trivial, range(count))]) == count

    return work.seconds(run)


def layered(count: int, folder: str) -> float:
    def run() -> None:
        with pool_of_processes() as pool:
            done: list[int] = []
            for layer in work.layers(count):
                futures = [
                    pool.submit(work.trivial, index, *(done[place] for place in below))
                    for index, below in layer
                ]
                done = [future.result() for future in futures]
            assert done[-1] == count - 1

    return work.seconds(run)


def pool_of_processes() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(work.WORKERS)


if __name__ == "__main__":
    work.main({"wide": wide, "layered": layered})
