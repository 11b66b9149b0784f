"""The format of a whole store, in `furu.json` at its top, so that an older furu knows a newer store.

An artifact tells its own format; but where an older furu finds nothing that it knows, it would
take a good artifact for a damaged one, move it aside and compute it again.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from furu_core._files import read_file, replace_file
from furu_core._settings import _settings
from furu_core.errors import FuruFormatError

FORMAT: Final = 2
FILE: Final = "furu.json"
_entered: set[str] = set()


def enter() -> None:
    """Refuse a store of a newer format, and mark one that is about to be written as of this one.

    Raises:
        FuruFormatError: a newer furu made it, or upgraded it.
        OSError: it cannot be written.
    """
    store = str(_settings.settings().path)
    if store in _entered:
        return
    refuse_newer()
    path = f"{store}/{FILE}"
    if not os.path.exists(path) or _format_of(path) < FORMAT:
        os.makedirs(store, exist_ok=True)
        replace_file(path, b'{"furu":%d}\n' % FORMAT)
    _entered.add(store)


def refuse_newer(also: Path | None = None) -> None:
    """Refuse a store whose format this furu does not know.

    Args:
        also: a store that is only read; default: the current store.

    Raises:
        FuruFormatError: a newer furu made it, or upgraded it.
    """
    store = also or _settings.settings().path
    path = f"{store}/{FILE}"
    found = _format_of(path)
    if found > FORMAT:
        raise FuruFormatError(
            f"the store {store} has format {found}, this furu reads up to {FORMAT}",
            path=path,
            found=found,
            known=FORMAT,
            hint="upgrade furu-core here, or "
            + ("take it out of FURU_ALSO" if also else "set FURU_PATH to another folder"),
        )


def _format_of(path: str) -> int:
    """The format that a file tells; that of the first furu where there is none."""
    try:
        return int(json.loads(read_file(path))["furu"])
    except (OSError, ValueError, KeyError, TypeError):
        return 1
