"""Paths in results: those below the artifact's folder are stored relative to it."""

from __future__ import annotations

import functools
import os
from pathlib import Path, PurePath, PurePosixPath

from furu_core.errors import FuruResultError

_KINDS: dict[str, type[PurePath]] = {"path": type(Path()), "pure": PurePosixPath}


class Base:
    """The folder that a result's paths are relative to.

    The attempt's folder has another name than the artifact that it becomes. A path is recognised by
    the folder's name as given and as resolved, since the node's code may have got either.

    Args:
        folder: the artifact's folder, or that of the attempt, which becomes it.
        aside: a folder that is gone when the result is loaded.
    """

    def __init__(self, folder: str, aside: str | None = None) -> None:
        self.folder = folder
        self._aside = aside

    def encode(self, value: object) -> list[str] | None:
        """A path below the folder, relative to it; None for any other value.

        Raises:
            FuruResultError: the path does not exist, or will not when the result is loaded.
        """
        if not issubclass(type(value), PurePath):
            return None
        path = str(value)
        for kind, cls in _KINDS.items():
            inside = self._inside(path) if type(value) is cls else None
            if inside is None:
                continue
            if not os.path.exists(path):
                raise FuruResultError(
                    f"the result holds the path {path!r}, and there is no such file or folder",
                    hint="write it before _create returns, or return no path to it",
                )
            return [kind, inside]
        for root in self._gone:
            if path == root or path.startswith(f"{root}/"):
                raise FuruResultError(
                    f"the result holds the {type(value).__name__} {path!r}, which leads nowhere once the "
                    "node is done and its folder has its final name",
                    hint="write what shall last below self.furu_dir, and return a pathlib.Path to it "
                    "without `..`",
                )
        return None

    def decode(self, kind: str, inside: str) -> PurePath:
        """The path that `encode` was given."""
        return _KINDS[kind](self.folder, inside)

    def mentioned_in(self, data: bytes) -> bool:
        """Whether serialised data names the folder."""
        return os.fsencode(self.folder) in data

    @functools.cached_property
    def _roots(self) -> tuple[str, ...]:
        return self.folder, os.path.realpath(self.folder)

    @functools.cached_property
    def _gone(self) -> tuple[str, ...]:
        if self._aside is None:
            return self._roots
        return (*self._roots, self._aside, os.path.realpath(self._aside))

    def _inside(self, path: str) -> str | None:
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
