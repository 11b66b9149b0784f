"""How the processors of this machine are divided among workers that compute at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

#: Numerical libraries read these when they are imported; without them each takes all processors.
THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "POLARS_MAX_THREADS",
)


def processor_count() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_of_workers(workers: int, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment variables that give each worker its share of the processors.

    Nothing is set where the user has set one of them: it may stand for the others, as
    `OMP_NUM_THREADS` does for MKL, which prefers its own.

    Args:
        workers: how many compute at once.
        environment: the user's.

    Example:
        >>> threads_of_workers(2, {"MKL_NUM_THREADS": "4"})
        {}
    """
    if workers <= 1 or any(variable in environment for variable in THREAD_VARIABLES):
        return {}
    share = max(1, processor_count() // workers)
    return dict.fromkeys(THREAD_VARIABLES, str(share))
