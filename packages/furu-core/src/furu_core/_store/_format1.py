"""Artifacts of format 1, which the first furu wrote: their manifest, config, metadata and log.

An artifact of that format has a folder `.furu` with `manifest.json`, `config.json`,
`metadata.json`, mostly `furu.log`, and the files of the result, `result.*`.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final

import attrs

from furu_core._files import read_file
from furu_core._record_format import OMIT_EMPTY, RecordFormat
from furu_core._store._layout import OWN

MANIFEST_FILE: Final = f"{OWN}/manifest.json"
CONFIG_FILE: Final = f"{OWN}/config.json"
METADATA_FILE: Final = f"{OWN}/metadata.json"
LOG_FILE: Final = f"{OWN}/furu.log"
ATTEMPTS: Final = ".attempts"  # in a class's folder
OLD: Final = OWN  # the folder of all that
RESULT_PREFIX: Final = f"{OWN}/"  # begins the names of a result's files


def _in_one_folder(_entry: object, _field: object, file: str) -> None:
    if "/" in file:
        raise ValueError(f"{file!r} is no file of the artifact's own folder")


@attrs.frozen
class Result1:
    """How a result was stored, as in `_manifest.ResultEntry`."""

    codec: str
    file: str = attrs.field(validator=_in_one_folder)
    version: int = attrs.field(default=1, kw_only=True)
    distribution: str = attrs.field(default="", kw_only=True, metadata=OMIT_EMPTY)


@attrs.frozen
class Manifest1:
    """The manifest of format 1: files have sizes and no digests."""

    result: Result1 | None
    files: dict[str, int]
    links: dict[str, str]
    omitted: dict[str, tuple[str, str]] = attrs.field(factory=dict, metadata=OMIT_EMPTY)


_MANIFEST: Final = RecordFormat(
    Manifest1,
    "the manifest of an artifact",
    version=1,
    key="furu",
    next_step_other_version="upgrade furu-core here to the version that wrote it",
)


def read_manifest(folder: str) -> Manifest1 | None:
    """The manifest of an artifact of format 1; None where there is none.

    Raises:
        FuruDamagedRecord, FuruFormatError: it cannot be read.
        OSError: the disk reports an error.
    """
    path = f"{folder}/{MANIFEST_FILE}"
    try:
        data = read_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _MANIFEST.from_bytes(data, path)


def read_json(folder: str, file: str) -> dict[str, Any]:
    """The contents of `config.json` or `metadata.json`; empty where it is missing or damaged."""
    with suppress(OSError, ValueError):
        found = json.loads(read_file(f"{folder}/{file}"))
        if isinstance(found, dict):
            return found
    return {}


def read_record(folder: str) -> dict[str, Any]:
    """What `config.json` and `metadata.json` tell, in the form that a record has since format 2."""
    told = read_json(folder, METADATA_FILE)
    if not told:
        return {}
    told = {**told.pop("attempt", {}), **told}
    told["class_name"] = told.pop("class", "")
    told["config"] = read_json(folder, CONFIG_FILE) or None
    told["earlier"] = told.pop("earlier_attempts", [])
    told["status"] = "published"
    names = ("wall_secs", "cpu_secs", "process_peak_bytes", "children_peak_bytes")
    told["costs"] = {name: told.pop(name) for name in names if name in told}
    told["ended"] = {"time": told.get("ended")}
    return told
