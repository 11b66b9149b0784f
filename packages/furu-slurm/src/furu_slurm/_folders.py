"""Where the logs of jobs are: `<submitit root>/{nodes,workers}/<spec key>/<run id>/`."""

from __future__ import annotations

import re
from pathlib import Path

import furu_core
from furu_slurm._settings import PATH_VARIABLE
from furu_slurm.errors import FuruSlurmError


def submitit_root(given: Path | str | None = None) -> Path:
    """The folder below which jobs have their scripts and logs.

    Args:
        given: a folder; None for `FURU_SUBMITIT_PATH`, else the store's ``submitit``.

    Raises:
        FuruSlurmError: it has a percent sign in its name, which Slurm would replace.
    """
    settings = furu_core.settings()
    configured = settings.extra.get(PATH_VARIABLE)
    root = Path(given or configured or settings.path / "submitit").expanduser().absolute()
    if "%" in str(root):
        raise FuruSlurmError(
            f"the folder of logs is {root}, and Slurm replaces what follows a percent sign",
            hint=f"set {PATH_VARIABLE} to a folder without one",
        )
    return root


def node_log_folder(root: Path, spec_key: str, run_id: str) -> Path:
    """Where the jobs that compute one node each have their logs.

    Example:
        >>> from pathlib import Path
        >>> from furu_slurm import node_log_folder
        >>> node_log_folder(Path("/data/submitit"), "gpu", "20260101-120000-abcdef").as_posix()
        '/data/submitit/nodes/gpu/20260101-120000-abcdef'
    """
    return root / "nodes" / _quoted(spec_key) / run_id


def worker_log_folder(root: Path, spec_key: str, run_id: str) -> Path:
    """Where the workers of a pool have their logs."""
    return root / "workers" / _quoted(spec_key) / run_id


def job_log(folder: Path, job_id: str) -> Path:
    """The log of one job, which is there once the job has started.

    Args:
        folder: the one that the job was submitted with.
        job_id: such as ``"123"``, or ``"123_4"`` for an element of an array.
    """
    return folder / f"{job_id}_0_log.out"  # as submitit names them


def _quoted(spec_key: str) -> str:
    """A spec key as the name of a folder, with no percent sign, which Slurm would replace."""
    name = re.sub(r"[^\w.\-+]", lambda match: f"={ord(match[0]):02X}", spec_key)
    return f"=2E{name[1:]}" if name.startswith(".") else name or "=00"
