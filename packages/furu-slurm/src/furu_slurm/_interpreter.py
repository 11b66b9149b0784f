"""How a job starts Python."""

from __future__ import annotations

import sys
from typing import Final

ENTRY: Final = "furu_slurm._entry"


def interpreter() -> list[str]:
    """This Python with the flags that this process was started with."""
    flags = sys.flags
    given = [
        *(["-" + "O" * flags.optimize] if flags.optimize else []),
        *(["-I"] if flags.isolated else []),
        *(["-s"] if flags.no_user_site and not flags.isolated else []),
        *(["-E"] if flags.ignore_environment and not flags.isolated else []),
        *(["-B"] if flags.dont_write_bytecode else []),
        *(f"-W{option}" for option in sys.warnoptions),
        *(
            f"-X{key}" if value is True else f"-X{key}={value}"
            for key, value in sys._xoptions.items()  # noqa: SLF001 - documented so
        ),
    ]
    # Without -P the working directory would come first, and a user's json.py before that of Python.
    return [sys.executable, *given, "-u", "-P"]
