"""The settings that this package owns: `FURU_SLURM` and `FURU_SUBMITIT_PATH`."""

from __future__ import annotations

import json
import os
from pathlib import Path


def normalise_slurm(text: str, base: Path) -> str:
    """The table ``[tool.furu.slurm]`` as JSON."""
    table = json.loads(text)
    if not isinstance(table, dict):
        raise ValueError("expected a table")  # noqa: TRY004 - what a normaliser raises
    return json.dumps(table, sort_keys=True)


def normalise_path(text: str, base: Path) -> str:
    """A folder, as an absolute path."""
    if not text:
        raise ValueError("expected a folder")
    return os.path.normpath(base / Path(text).expanduser())
