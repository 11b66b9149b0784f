"""parsl with its executor for many tasks, on this machine; it hands futures on, and keeps nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import parsl
import work
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider

app = parsl.python_app(work.trivial)


def wide(count: int, folder: str) -> float:
    def run() -> None:
        futures = [app(index) for index in range(count)]
        assert [future.result() for future in futures][-1] == count - 1

    return in_parsl(run, folder)


def layered(count: int, folder: str) -> float:
    def run() -> None:
        futures: list[Any] = []
        for layer in work.layers(count):
            futures = [app(index, *(futures[place] for place in below)) for index, below in layer]
        assert [future.result() for future in futures][-1] == count - 1

    return in_parsl(run, folder)


def in_parsl(run: Callable[[], None], folder: str) -> float:
    executor = HighThroughputExecutor(
        address="127.0.0.1",
        loopback_address="127.0.0.1",
        max_workers_per_node=work.WORKERS,
        cores_per_worker=1e-9,
        encrypted=False,
        provider=LocalProvider(init_blocks=1, max_blocks=1),
    )
    config = parsl.Config(
        executors=[executor],
        run_dir=folder,
        initialize_logging=False,
        strategy_period=0.1,  # workers are started in the first period, which is 5 s by default
    )

    def whole() -> None:
        with parsl.load(config):
            run()

    return work.seconds(whole)


if __name__ == "__main__":
    work.main({"wide": wide, "layered": layered})
