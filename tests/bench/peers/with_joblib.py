"""joblib with its worker processes; it waits at the end of each layer, and keeps nothing."""

from __future__ import annotations

import work
from joblib import Parallel, delayed


def wide(count: int, folder: str) -> float:
    def run() -> None:
        parallel = Parallel(n_jobs=work.WORKERS)
        done = parallel(delayed(work.trivial)(index) for index in range(count))
        assert done[-1] == count - 1

    return work.seconds(run)


def layered(count: int, folder: str) -> float:
    def run() -> None:
        done: list[int] = []
        with Parallel(n_jobs=work.WORKERS) as parallel:
            for layer in work.layers(count):
                done = parallel(
                    delayed(work.trivial)(index, *(done[place] for place in below))
                    for index, below in layer
                )
        assert done[-1] == count - 1

    return work.seconds(run)


if __name__ == "__main__":
    work.main({"wide": wide, "layered": layered})
