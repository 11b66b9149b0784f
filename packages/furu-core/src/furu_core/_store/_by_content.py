"""Folders of the store whose files are named by the digest of their contents, so that each is there once.

Many processes write the same file; whichever comes last replaces it by an equal one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import attrs

from furu_core import _files
from furu_core._settings import _settings
from furu_core._store import _record_file


@attrs.frozen
class ContentFolder:
    """One such folder of the current store.

    Attributes:
        name: the folder, below the store.
        suffix: the end of the names of its files.
    """

    name: str
    suffix: str

    def path_of(self, digest: str) -> str:
        """The file of some contents in the current store."""
        return f"{_settings.settings().path}/{self.name}/{digest}{self.suffix}"

    def store(self, text: bytes) -> str:
        """Write contents, unless they are there; their digest.

        Raises:
            OSError: they cannot be written.
        """
        digest = content_digest(text)
        path = self.path_of(digest)
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            _files.replace_file(path, text)
        return digest

    def store_missing(self, texts: Mapping[str, bytes]) -> None:
        """Write what is not there of many contents, given by their digests; one look at the folder tells.

        Raises:
            OSError: they cannot be written.
        """
        there = set(_files.list_folder(f"{_settings.settings().path}/{self.name}"))
        for digest, text in texts.items():
            if f"{digest}{self.suffix}" not in there:
                self.store(text)

    def read(self, digest: str) -> bytes | None:
        """Contents by their digest; None where neither the current store nor a further one has them."""
        settings = _settings.settings()
        for store in (settings.path, *settings.also):
            try:
                return _files.read_file(f"{store}/{self.name}/{digest}{self.suffix}")
            except OSError:
                pass
        return None

    def damage_of(self, digest: str, *, deep: bool) -> str:
        """What is wrong with the file of some contents; empty where nothing is.

        Args:
            digest: which.
            deep: read it, and compare it with its digest.

        Raises:
            OSError: it cannot be read.
        """
        path = self.path_of(digest)
        try:
            if deep:
                right = content_digest(_files.read_file(path)) == digest
                return "" if right else "its contents are not those that its name tells"
            os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return "the file is missing"
        return ""


def content_digest(text: bytes) -> str:
    """The digest that names some contents."""
    return _record_file.digest(text).decode()
