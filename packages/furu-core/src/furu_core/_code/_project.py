"""The one rule which modules are the project's own.

A module is the project's if its source is a file ``.py`` outside of the folders where Python and installers
put modules. So scripts, `src` layouts, editable installs and folders of PYTHONPATH are in, wherever they are.
In is also the whole top-level package of an installed module that defines a config class. What furu consists
of is never in.

This is imported with furu itself, so it imports hardly anything.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

SUFFIX: Final = ".py"
ANY_MODULE: Final = "?"  # stands for a module that is imported by a name which no source tells
INSTALLED: Final = ("site-packages", "dist-packages")
_FURU: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

_installed: dict[str, bool] = {}  # folder -> whether it is one of Python's or of an installer's
_recorded: dict[str, frozenset[str]] = {}  # folder -> names of what pip put there with --target


def is_of_project(file: str) -> bool:
    """Whether a module with this source file is the project's, by the file alone.

    Args:
        file: an absolute path; it need not exist.

    Example:
        >>> import os
        >>> is_of_project("/home/ann/exp/train.py"), is_of_project(os.__file__)
        (True, False)
        >>> is_of_project("/home/ann/exp/.venv/lib/python3.12/site-packages/numpy/__init__.py")
        False
        >>> is_of_project(__file__)
        False
    """
    return file.endswith(SUFFIX) and not is_furus(file) and not is_installed(file)


def is_project_folder(folder: str) -> bool:
    """Whether the modules in a folder are the project's, as far as the folder tells.

    Args:
        folder: an absolute path; it need not exist.
    """
    return is_of_project(f"{folder}{os.sep}any_module{SUFFIX}")


def is_furus(file: str) -> bool:
    """Whether a file belongs to a distribution of furu itself, wherever that is."""
    if file.startswith(_FURU + os.sep):
        return True
    # The checkout of furu, where all of its distributions are installed from as editable ones.
    distribution, src = os.path.split(os.path.dirname(_FURU))
    packages, own_name = os.path.split(distribution)
    if (own_name, src) != ("furu-core", "src") or not file.startswith(f"{packages}{os.sep}furu-"):
        return False
    return file[len(packages) + 1 :].split(os.sep)[1] == src


def is_installed(file: str) -> bool:
    """Whether a file is in a folder where Python or an installer puts modules."""
    folder, name = os.path.split(file)
    return _is_installed_folder(folder) or name.partition(".")[0] in _put_by_target(folder)


def packages_of_classes() -> frozenset[str]:
    """The top-level packages of installed modules that define config classes: they are the project's as well."""
    from furu_core._config import _class_homes  # where no class is defined, nobody asks

    found = set()
    for home in list(_class_homes.homes.values()):
        if home.file is not None and not is_of_project(home.file) and not is_furus(home.file):
            found.add(str(home.namespace.get("__name__")).partition(".")[0])
    return frozenset(found)


def is_project_module(name: str, file: str, packages: frozenset[str]) -> bool:
    """Whether a module is the project's, by its file or by its package.

    Args:
        name: its name in `sys.modules`.
        file: the absolute path of its source.
        packages: `packages_of_classes()`.
    """
    if is_of_project(file):
        return True
    inside = name.partition(".")[0] in packages
    return inside and file.endswith(SUFFIX) and not is_furus(file)


def interpreter_folders() -> tuple[str, ...]:
    """The beginnings of the folders that the interpreter imports from by itself."""
    # Not all that is below its prefix: that may be `/usr`, with a project in `/usr/src`, and a
    # project may be its own virtual environment.
    return tuple(
        os.path.join(prefix, folder, "python")
        for prefix in (sys.prefix, sys.base_prefix)
        for folder in ("lib", sys.platlibdir, os.path.join("local", "lib"))
    )


def _is_installed_folder(folder: str) -> bool:
    found = _installed.get(folder)
    if found is None:
        found = _installed[folder] = _looked_up(folder)
    return found


def _looked_up(folder: str) -> bool:
    above, name = os.path.split(folder)
    if name in INSTALLED or folder == os.path.dirname(os.__file__):
        return True
    if (
        name[:6] == "python"
        and name[6:7].isdigit()
        and folder[: -len(name) + 6] in interpreter_folders()
    ):
        return True
    if above == folder:
        return False
    if name in _put_by_target(above):
        return True
    if os.path.basename(above) in INSTALLED and os.path.islink(folder):
        # An editable install may be a link to the package; its modules are where that leads.
        return _is_installed_folder(os.path.realpath(folder))
    return _is_installed_folder(above)


def _put_by_target(folder: str) -> frozenset[str]:
    """The names of modules and packages that an installer put into a folder of `sys.path`, as `pip install
    --target` does; empty for the folders that are installers' as a whole."""
    if folder not in sys.path or os.path.basename(folder) in INSTALLED:
        return frozenset()
    found = _recorded.get(folder)
    if found is None:
        found = _recorded[folder] = frozenset(_names_in_records(folder))
    return found


def _names_in_records(folder: str) -> Iterator[str]:
    with suppress(OSError):  # there is no such folder
        for entry in os.listdir(folder):
            if entry.endswith(".dist-info"):
                # Not all that is called so is installed.
                with suppress(OSError), open(os.path.join(folder, entry, "RECORD"), "rb") as record:
                    for line in record:
                        name = os.fsdecode(line).replace(",", "/").partition("/")[0]
                        yield name.removesuffix(SUFFIX)
