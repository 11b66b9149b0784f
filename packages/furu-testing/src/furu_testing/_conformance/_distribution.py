"""A distribution made up for a test, so that an executor nobody installed is found by its name."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from pathlib import Path
from typing import Final

from furu_core.executors import Executor

_MODULE: Final = "furu_conformance_executor"

_SHIM: Final = """
import importlib
import importlib.util
import sys


def load(name, file):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        # A test runner has its own ways to import what lies on no path.
        spec = importlib.util.spec_from_file_location(name, file)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module


executor = load({module!r}, {file!r})
for part in {qualname!r}.split("."):
    executor = getattr(executor, part)
"""


def install(executor: type[Executor], folder: Path) -> None:
    """Lay down a distribution that registers an executor; it counts when the folder is on the path.

    Args:
        executor: the class.
        folder: a new folder.
    """
    file = inspect.getsourcefile(executor) or ""
    module = f"{_MODULE}_{executor.__name__}"
    info = folder / f"{_MODULE}-{version('furu-core')}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {_MODULE}\nVersion: {version('furu-core')}\n"
    )
    (info / "entry_points.txt").write_text(
        f"[furu.executors]\n{executor.name} = {module}:executor\n"
    )
    (folder / f"{module}.py").write_text(
        _SHIM.format(
            module=executor.__module__,
            qualname=executor.__qualname__,
            file=str(Path(file).resolve()),
        )
    )
