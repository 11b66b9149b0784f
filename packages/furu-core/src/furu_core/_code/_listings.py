"""Listings of code in the store: which modules of a project made a result, each source kept once.

::

    <store>/code/<digest>.json           a listing; the records of nodes name it by its digest
    <store>/code/sources/<digest>.py     the source of a module
    <store>/code/parsed.json             what sources say, so that few are parsed again; may be removed at will

A listing holds no path of a machine and no time, so equal code has the same one everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

import attrs

from furu_core import _files
from furu_core._record_format import OMIT_EMPTY, RecordFormat
from furu_core._settings import _settings
from furu_core._store._by_content import ContentFolder, content_digest
from furu_core.errors import FuruDamagedRecord, FuruFormatError

ANY_MODULE: Final = (
    "?"  # stands for a module that is imported by a name which the source does not tell
)
LISTINGS: Final = ContentFolder("code", ".json")
SOURCES: Final = ContentFolder("code/sources", ".py")
_PARSED_FILE: Final = "code/parsed.json"
_PARSED_LIMIT: Final = 20_000  # sources of which it is kept what they say


@attrs.frozen
class ListedModule:
    """A module in a listing.

    Attributes:
        path: its file, relative to the folder that its name starts from.
        imported: the name that it was imported by, where that is another one.
        syntax: the digest of its syntax tree; empty where it is unknown.
        source: the digest of its source; empty where it is unknown.
        unknown: why it is not known which source was loaded.
        is_script: whether only the program that asked for the node imports it, and not the node's own code.
        is_omitted: whether its source is not kept, being larger than `FURU_CODE_LIMIT`.
    """

    path: str
    imported: str = attrs.field(default="", metadata=OMIT_EMPTY)
    syntax: str = attrs.field(default="", metadata=OMIT_EMPTY)
    source: str = attrs.field(default="", metadata=OMIT_EMPTY)
    unknown: str = attrs.field(default="", metadata=OMIT_EMPTY)
    is_script: bool = attrs.field(default=False, metadata=OMIT_EMPTY)
    is_omitted: bool = attrs.field(default=False, metadata=OMIT_EMPTY)


@attrs.frozen
class CodeListing:
    """The modules of a project that made a result, by their names."""

    modules: Mapping[str, ListedModule]

    @property
    def unknown(self) -> dict[str, str]:
        """The modules of which it is not known what ran, and why."""
        return {name: one.unknown for name, one in self.modules.items() if one.unknown}


LISTING: Final = RecordFormat(CodeListing, "a listing of code", version=1, key="furu")


@attrs.frozen
class ParsedSource:
    """What the source of a module says.

    Attributes:
        syntax: the digest of its syntax tree.
        imports: the modules that it may import: names with leading dots where they are relative. Some may be
            names of other things, since ``from a import b`` does not tell. `ANY_MODULE` if one is computed.
    """

    syntax: str
    imports: tuple[str, ...]


@attrs.frozen
class ParsedSources:
    """What many sources say, by their digests; those that were parsed last come first."""

    sources: Mapping[str, ParsedSource]


_PARSED: Final = RecordFormat(ParsedSources, "what sources say", version=1, key="furu")


def store(modules: Mapping[str, ListedModule], sources: Mapping[str, bytes]) -> str:
    """Store a listing and the sources in it; its digest.

    Args:
        modules: what it lists.
        sources: the contents of their files, by their digests.

    Raises:
        OSError: the store cannot be written.
    """
    limit = _settings.settings().code_limit
    listed = {
        name: attrs.evolve(one, is_omitted=len(sources.get(one.source, b"")) > limit)
        for name, one in sorted(modules.items())
    }
    text = LISTING.to_bytes(CodeListing(listed))
    digest = content_digest(text)
    if not os.path.exists(LISTINGS.path_of(digest)):
        # The sources first: where a listing is, they are.
        kept = {one.source for one in listed.values() if one.source and not one.is_omitted}
        SOURCES.store_missing({one: sources[one] for one in kept})
        LISTINGS.store(text)
    return digest


def read(digest: str) -> CodeListing | None:
    """A listing by its digest; None where the current store does not have it.

    Raises:
        FuruFormatError: a newer furu wrote it.
    """
    text = LISTINGS.read(digest)
    try:
        return None if text is None else LISTING.from_bytes(text, LISTINGS.path_of(digest))
    except FuruDamagedRecord:
        return None


def expanded(named: object) -> Any:
    """The listing that a record names by its digest, as JSON, with the digest; None where it names none."""
    if not isinstance(named, str):
        return None
    try:
        listing = read(named)
    except FuruFormatError:
        listing = None
    modules = None if listing is None else LISTING.to_json(listing)["modules"]
    return {"digest": named, "modules": modules}


def source_of(module: ListedModule) -> bytes | None:
    """The source of a module in a listing; None where the current store does not have it."""
    return SOURCES.read(module.source) if module.source else None


def parsed(sources: Mapping[str, bytes]) -> dict[str, ParsedSource]:
    """What sources say, by their digests; without those that are no Python.

    What was parsed before, by any process with this store, is not parsed again.
    """
    known = dict(_remembered)
    if any(digest not in known for digest in sources):
        known |= _parsed_before()
    found = {digest: known[digest] for digest in sources if digest in known}
    new = {}
    for digest, text in sources.items():
        if digest not in found:
            from furu_core._code import (
                _syntax,
            )  # few processes meet a source that nobody has parsed

            try:
                new[digest] = ParsedSource(*_syntax.read_syntax(text))
            except ValueError:
                continue
    _remembered.update(found | new)
    if new:
        _remember({**new, **found, **known})
    return found | new


_remembered: Final[dict[str, ParsedSource]] = {}


def _parsed_before() -> dict[str, ParsedSource]:
    path = f"{_settings.settings().path}/{_PARSED_FILE}"
    try:
        return dict(_PARSED.from_bytes(_files.read_file(path), path).sources)
    except (OSError, FuruDamagedRecord, FuruFormatError):
        return {}  # then all is parsed


def _remember(all_parsed: Mapping[str, ParsedSource]) -> None:
    folder = str(_settings.settings().path)
    kept = dict(list(all_parsed.items())[:_PARSED_LIMIT])
    try:
        os.makedirs(f"{folder}/{LISTINGS.name}", exist_ok=True)
        _files.replace_file(f"{folder}/{_PARSED_FILE}", _PARSED.to_bytes(ParsedSources(kept)))
    except OSError:
        pass  # the store is read-only, or full: the next process parses them again
