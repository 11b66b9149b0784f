"""Where the logs of jobs are: `<submitit root>/{nodes,workers}/<spec key>/<run id>/`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import furu_core
from furu_slurm._settings import PATH_VARIABLE
from furu_slurm.errors import FuruSlurmError

_NOT_TAKEN: Final = re.compile(r"[%\\\x00-\x1f\x7f]")
_TAIL: Final = 4096  # bytes of a log in which a job's last word stands


def submitit_root(given: Path | str | None = None) -> Path:
    """The folder below which jobs have their scripts and logs.

    Args:
        given: a folder; None for `FURU_SUBMITIT_PATH`, else the store's ``submitit``.

    Raises:
        FuruSlurmError: it has a character in its name that Slurm does not take: a percent sign, a
            backslash, or one that cannot be printed.
    """
    settings = furu_core.settings()
    configured = settings.extra.get(PATH_VARIABLE)
    root = Path(given or configured or settings.path / "submitit").expanduser().absolute()
    if bad := _NOT_TAKEN.search(str(root)):
        raise FuruSlurmError(
            f"the folder of logs is {str(root)!r}, and Slurm takes no {bad[0]!r} in it as it stands",
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


def last_word(log: Path) -> str:
    """What a job that could not do what it was to do said last in its log; empty where it said nothing."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    own = next((line for line in reversed(lines) if line.startswith("furu:")), "")
    return own or (lines[-1] if lines else "")


def _quoted(spec_key: str) -> str:
    """A spec key as the name of a folder, with no percent sign, which Slurm would replace."""
    name = re.sub(r"[^\w.\-+]", lambda match: f"={ord(match[0]):02X}", spec_key)
    return f"=2E{name[1:]}" if name.startswith(".") else name or "=00"
