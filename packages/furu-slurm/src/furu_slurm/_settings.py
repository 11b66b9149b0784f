"""The settings that this package owns: `FURU_SLURM` and `FURU_SUBMITIT_PATH`.

The first is the table ``[tool.furu.slurm]`` of `pyproject.toml` and travels as JSON.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

VARIABLE: Final = "FURU_SLURM"
PATH_VARIABLE: Final = "FURU_SUBMITIT_PATH"
SPECS: Final = "specs"


def normalise_slurm(text: str, _base: Path) -> str:
    """The table ``[tool.furu.slurm]`` as JSON.

    Raises:
        ValueError: it makes no sense, and why.
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
    # The specs themselves are looked at by whoever submits: every job has this setting, too.
    return json.dumps(table, sort_keys=True)


def normalise_path(text: str, base: Path) -> str:
    """A folder, as an absolute path.

    Raises:
        ValueError: it is empty.
    """
    if not text:
        raise ValueError("expected a folder")
    return os.path.normpath(base / Path(text).expanduser())
