"""Runs furu graphs on a Dask cluster: the executor ``dask``."""

from furu_dask._executor import DaskExecutor, run_dask

__all__ = ["DaskExecutor", "run_dask"]
