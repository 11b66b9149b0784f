"""Benchmarks: furu against bare references that do the same work, in one run, alternately.

`make bench` runs all of them and prints a table; `make bench ARGS="plan"` those whose module or row
name contains a word; `make bench BENCH_DIR=/dev/shm` measures on another disk. `make bench-peers` sets
furu beside other libraries (`bench.peers`). To add some, put a module ``bench_<subject>.py`` beside this file with::

    from bench import Row

    def rows() -> Iterator[Row]:
        yield Row("warm hit, flat", measured=5e-5, reference=2.1e-5, target=3)

Rows are printed as they come. What is to be measured in a fresh process (peak memory, imports, a cold
start) goes through `bench.child.measure`. Benchmarks clean up after measuring, never inside of it.
"""

from bench.row import Row

__all__ = ["Row"]
