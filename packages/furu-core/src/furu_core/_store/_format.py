"""The format of a whole store, in `furu.json` at its top, so that an older furu knows a newer store.

An artifact tells its own format; but where an older furu finds nothing that it knows, it would
take a good artifact for a damaged one, move it aside and compute it again.
"""

from __future__ import annotations

import json
from typing import Final

from furu_core._files import read_file
from furu_core._settings import _settings
from furu_core.errors import FuruFormatError

FORMAT: Final = 1
FILE: Final = "furu.json"


def store_format() -> int:
    """The format of the current store; that of the first furu where nothing tells."""
    try:
        return int(json.loads(read_file(f"{_settings.settings().path}/{FILE}"))["furu"])
    except (OSError, ValueError, KeyError, TypeError):
        return 1


def refuse_newer() -> None:
    """Refuse a store whose format this furu does not know.

    Raises:
        FuruFormatError: a newer furu made it, or upgraded it.
    """
    found = store_format()
    if found > FORMAT:
        path = f"{_settings.settings().path}/{FILE}"
        raise FuruFormatError(
            f"the store {_settings.settings().path} has format {found}, this furu reads up to {FORMAT}",
            path=path,
            found=found,
            known=FORMAT,
            hint="upgrade furu-core here, or set FURU_PATH to another folder",
        )
