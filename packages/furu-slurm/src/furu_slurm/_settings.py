"""The settings of this package, and the folders of the jobs' logs, which depend on them.

`FURU_SLURM` is the table ``[tool.furu.slurm]`` of `pyproject.toml` and travels as JSON.
`FURU_SUBMITIT_PATH` is the root of ``{nodes,workers}/<spec key>/<run id>/``, where jobs have their logs.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Final

import furu_core
from furu_slurm.errors import FuruSlurmError

VARIABLE: Final = "FURU_SLURM"
PATH_VARIABLE: Final = "FURU_SUBMITIT_PATH"
SPECS: Final = "specs"
_NOT_TAKEN: Final = re.compile(r"[%\\\x00-\x1f\x7f]")
_TAIL: Final = 4096  # bytes at the end of a log in which a job's last message is looked for


def normalise_slurm(text: str, _base: Path) -> str:
    """The table ``[tool.furu.slurm]`` as JSON.

    Raises:
        ValueError: the table is invalid; the message says why.
    """
    try:
        table = json.loads(text)
    except ValueError:
        raise ValueError("expected a table as JSON") from None
    if not isinstance(table, dict) or not isinstance(table.get(SPECS, {}), dict):
        raise ValueError("expected tables [tool.furu.slurm.specs.<key>]")  # noqa: TRY004
    unknown = sorted(set(table) - {SPECS})
    if unknown:
        raise ValueError(f"{unknown[0]!r} is unknown there, expected [tool.furu.slurm.specs.<key>]")
    # The submitter checks the specs themselves: every job reads this setting too, and needs no specs.
    return json.dumps(table, sort_keys=True)


def normalise_path(text: str, base: Path) -> str:
    """A folder, as an absolute path.

    Raises:
        ValueError: it is empty.
    """
    if not text:
        raise ValueError("expected a folder")
    return os.path.normpath(base / Path(text).expanduser())


# The folders of the jobs' logs


def submitit_root(given: Path | str | None = None) -> Path:
    """The folder below which jobs have their scripts and logs.

    Args:
        given: a folder; None for `FURU_SUBMITIT_PATH`, else the store's ``submitit``.

    Raises:
        FuruSlurmError: its name has a character that Slurm does not accept: a percent sign, a
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
    """The folder of the logs of jobs that compute one node each.

    Example:
        >>> from pathlib import Path
        >>> from furu_slurm import node_log_folder
        >>> node_log_folder(Path("/data/submitit"), "gpu", "20260101-120000-abcdef").as_posix()
        '/data/submitit/nodes/gpu/20260101-120000-abcdef'
    """
    return root / "nodes" / _quoted(spec_key) / run_id


def worker_log_folder(root: Path, spec_key: str, run_id: str) -> Path:
    """The folder of the logs of a pool's workers."""
    return root / "workers" / _quoted(spec_key) / run_id


def job_log(folder: Path, job_id: str) -> Path:
    """The log file of one job, which exists once the job has started.

    Args:
        folder: the one that the job was submitted with.
        job_id: such as ``"123"``, or ``"123_4"`` for an element of an array.
    """
    return folder / f"{job_id}_0_log.out"  # as submitit names them


def last_word(log: Path) -> str:
    """The last message in the log of a job that could not do its work; empty where there is none."""
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
