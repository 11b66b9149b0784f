"""Runs furu graphs on this machine, in worker processes, threads or inline."""

from furu_local._run import LocalExecutor, LocalRun, run_local

__all__ = ["LocalExecutor", "LocalRun", "run_local"]
