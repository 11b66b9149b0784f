"""diskcache, whose results are in a database; its key is the pickled config."""

from __future__ import annotations

from collections.abc import Callable

import work
from diskcache import Cache


def hit(make: Callable[[], object], count: int, folder: str) -> float:
    """Seconds for one hit."""
    with Cache(folder) as cache:
        result = {"accuracy": 0.5, "index": 0.0}
        remembered = cache.memoize()(lambda config: result)
        remembered(make())

        def run() -> None:
            for _ in range(count):
                remembered(make())

        return work.seconds(run) / count


def flat(count: int, folder: str) -> float:
    return hit(work.flat, count, folder)


def nested(count: int, folder: str) -> float:
    return hit(work.nested, count, folder)


if __name__ == "__main__":
    work.main({"flat": flat, "nested": nested})
