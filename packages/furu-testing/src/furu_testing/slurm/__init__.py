"""Real Slurm clusters on this machine, for tests and for trying by hand.

``pytest_plugins = ["furu_testing.slurm.fixtures"]`` in the `conftest.py` of a test suite brings the
fixtures `slurm`, a cluster that all tests share, and `own_slurm`, which starts clusters that a test may
hurt. ``python -m furu_testing.slurm up`` starts one by hand.
"""

from furu_testing.slurm._cluster import (
    GHOSTLY,
    PACKAGES,
    SlurmTestCluster,
    free_folder,
    missing_programs,
    running,
    shared,
    start,
)
from furu_testing.slurm._configuration import ClusterOptions, NodeOptions
from furu_testing.slurm._users import TestUsers, let_users_in

__all__ = [
    "GHOSTLY",
    "PACKAGES",
    "ClusterOptions",
    "NodeOptions",
    "SlurmTestCluster",
    "TestUsers",
    "free_folder",
    "let_users_in",
    "missing_programs",
    "running",
    "shared",
    "start",
]
