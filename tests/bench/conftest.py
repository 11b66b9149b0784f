"""Benchmarks are no tests: they are run by `make bench`."""

collect_ignore_glob = ["*.py"]
