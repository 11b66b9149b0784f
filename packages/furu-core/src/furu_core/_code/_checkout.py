"""The code that made a result, written to a folder from which it can be imported."""

from __future__ import annotations

import os
from collections.abc import Mapping

import attrs

from furu_core import _files
from furu_core._code import _listings
from furu_core._code._listings import ListedModule
from furu_core.errors import FuruUsageError

_MARK = "pyproject.toml"  # names of modules begin below the folder that has one


@attrs.frozen
class Checkout:
    """Code that was written to a folder.

    Attributes:
        roots: the folders that `sys.path` needs to import it, the folder itself first.
        missing: modules that could not be written, and why.
    """

    roots: tuple[str, ...]
    missing: Mapping[str, str]


def checkout(digest: str, folder: str) -> Checkout:
    """Write the modules of a listing to a folder, so that imports there find them by their names.

    Args:
        digest: names the listing; it is the `code` of a node's record.
        folder: an empty folder, or a name for a new one.

    Raises:
        FuruUsageError: the store has no such listing, or the folder is not empty.
        FuruStoreError: the folder cannot be written.
        FuruFormatError: a newer furu wrote the listing.
    """
    listing = _listings.read(digest)
    if listing is None:
        raise FuruUsageError(
            f"the store has no code {digest}",
            hint="`furu show HASH` names the code of a result, in the store that FURU_PATH names",
        )
    if os.path.lexists(folder) and (not os.path.isdir(folder) or os.listdir(folder)):
        raise FuruUsageError(
            f"{folder} is not an empty folder",
            hint="name a new one, so that nothing is overwritten",
        )
    roots = {os.path.abspath(folder): None}
    missing = {}
    with _files.store_errors(folder):
        os.makedirs(folder, exist_ok=True)
        for name, module in listing.modules.items():
            source = _listings.source_of(module)
            if source is None:
                missing[name] = _why_missing(module)
                continue
            place, root = _place(name, module)
            if os.pardir in place.split("/"):
                missing[name] = f"its place, {place}, is outside of the folder"
                continue
            roots[os.path.abspath(os.path.join(folder, root))] = None
            path = os.path.join(folder, *place.split("/"))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            _files.write_file(path, source)
        if _needs_mark(listing.modules):
            _files.write_file(os.path.join(folder, _MARK), b"")
    return Checkout(tuple(roots), missing)


def _why_missing(module: ListedModule) -> str:
    if module.unknown:
        return module.unknown
    if module.is_omitted:
        return "its source is larger than FURU_CODE_LIMIT was, so it was not kept"
    return f"the store lacks its source, {_listings.SOURCES.path_of(module.source)}"


def _place(name: str, module: ListedModule) -> tuple[str, str]:
    """Where to write a module, and the folder from which it is imported by the name that it had."""
    imported = module.imported
    if not imported or name == imported:
        return module.path, ""
    if name.endswith(f".{imported}"):
        above = name.removesuffix(f".{imported}").count(".") + 1
        return module.path, "/".join(module.path.split("/")[:above])
    last = module.path.rpartition("/")[2]
    stem = imported.replace(".", "/")
    return (f"{stem}/{last}" if last == "__init__.py" else f"{stem}.py"), ""


def _needs_mark(modules: Mapping[str, ListedModule]) -> bool:
    """Whether a module's name begins at a project's folder, and not at its topmost package."""
    paths = {module.path for module in modules.values()}
    return any(
        f"{path.partition('/')[0]}/__init__.py" not in paths for path in paths if "/" in path
    )
