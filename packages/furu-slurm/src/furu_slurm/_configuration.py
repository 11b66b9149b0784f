"""What Slurm says of itself: the cluster's name, its limits, and what it hides from users."""

from __future__ import annotations

import os
import re
from typing import Final

import attrs

from furu_slurm._commands import call, query_environ
from furu_slurm._job_ids import Home

_COMMAND: Final = ("scontrol", "show", "config")
_TIMEOUT_SECS: Final = 30.0
_DEFAULT_ARRAY_SIZE: Final = 1001  # Slurm's own, where it does not say


@attrs.frozen
class Configuration:
    """How a cluster is configured.

    Attributes:
        cluster: its name; empty where it does not say.
        max_array_size: the first index that a job array must not have.
        hides_jobs: whether users are denied that other users' jobs are there.
    """

    cluster: str
    max_array_size: int = _DEFAULT_ARRAY_SIZE
    hides_jobs: bool = False

    @property
    def home(self) -> Home | None:
        """This user on that cluster."""
        return Home(self.cluster, os.getuid()) if self.cluster else None


_known: dict[tuple[str, ...], Configuration] = {}


def cluster_key() -> tuple[str, ...]:
    """What tells the cluster that the environment names from others."""
    environ = query_environ()
    return tuple(environ.get(name, "") for name in ("SLURM_CONF", "SLURM_CLUSTERS", "PATH"))


def configuration(*, timeout: float = _TIMEOUT_SECS) -> Configuration | None:
    """The configuration of the cluster that the environment names, asked until it has answered once.

    Args:
        timeout: seconds that the command may take.
    """
    key = cluster_key()
    if key not in _known:
        reply = call(_COMMAND, timeout=timeout, environ=query_environ())
        found = dict(re.findall(r"^(\w+)\s*= *(.*?)\s*$", reply.out, re.MULTILINE))
        if not reply.ok or not found:
            return None
        size = found.get("MaxArraySize", "")
        _known[key] = Configuration(
            found.get("ClusterName", ""),
            max(1, int(size)) if size.isdecimal() else _DEFAULT_ARRAY_SIZE,
            bool({"jobs", "all"} & {*found.get("PrivateData", "").lower().split(",")}),
        )
    return _known[key]
