"""``python -m furu_testing.slurm up`` starts a cluster for trying by hand, ``down`` ends it."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from furu_testing.slurm._cluster import (
    PREFIX,
    SlurmTestCluster,
    base_folder,
    missing_programs,
    shared,
)
from furu_testing.slurm._configuration import CONTROL


def main(arguments: Sequence[str]) -> int:
    """``up`` starts a cluster for trying by hand, ``down`` ends it."""
    checkout = hashlib.sha256(str(Path(__file__).resolve()).encode()).hexdigest()[:8]
    folder = base_folder() / f"{PREFIX}{checkout}"
    if list(arguments) == ["down"]:
        if not (folder / CONTROL).exists():
            print("no cluster runs")
            return 0
        SlurmTestCluster(folder).end()
        print("the cluster has ended")
        return 0
    if list(arguments) != ["up"]:
        print("usage: python -m furu_testing.slurm up|down", file=sys.stderr)
        return 2
    if reason := missing_programs():
        print(reason, file=sys.stderr)
        return 1
    cluster = shared(folder, 0)
    print(f"# partitions: {', '.join(cluster.partitions)}; logs: {folder / 'log'}")
    print("# end it with: make slurm-down")
    print(f"export SLURM_CONF={cluster.conf}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
