"""Paths below the artifact's folder, which has another name while it is staged."""

from __future__ import annotations

import os
from pathlib import Path, PurePath, PurePosixPath

_KINDS: dict[str, type[PurePath]] = {"path": type(Path()), "pure": PurePosixPath}


class Base:
    """The folder that a result's paths are relative to.

    A path is recognised by the folder's name as given and as resolved, since either may be what the
    node's code was handed by the system.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.fspath(folder)
        self._roots: tuple[str, ...] = ()

    def encode(self, value: object) -> list[str] | None:
        """A path below the folder, relative to it; None for any other value."""
        for kind, cls in _KINDS.items():
            if type(value) is cls:
                inside = self._inside(str(value))
                return None if inside is None else [kind, inside]
        return None

    def decode(self, kind: str, inside: str) -> PurePath:
        """The path that `encode` took."""
        return _KINDS[kind](self.folder, inside)

    def mentioned_in(self, data: bytes) -> bool:
        """Whether serialised data names the folder."""
        return os.fsencode(self.folder) in data

    def _inside(self, path: str) -> str | None:
        if not self._roots:
            self._roots = (self.folder, os.path.realpath(self.folder))
        for root in self._roots:
            if path == root:
                return "."
            if path.startswith(f"{root}/"):
                inside = path[len(root) + 1 :]
                return None if _climbs_out(inside) else inside
        return None


def _climbs_out(inside: str) -> bool:
    depth = 0
    for part in inside.split("/"):
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False
