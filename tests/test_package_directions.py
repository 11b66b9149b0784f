"""Which package may import what: the seam that lets third parties write backends."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.source_tree
PACKAGES = Path(__file__).parent.parent / "packages"

# What each package may import of ours.
MAY_IMPORT = {
    "furu_core": set(),
    "furu_plan": {"furu_core"},
    "furu_testing": {"furu_core", "furu_plan"},
    "furu_local": {"furu_core", "furu_plan"},
    "furu_slurm": {"furu_core", "furu_plan"},
    "furu_slurm_dag": {"furu_core", "furu_plan", "furu_slurm"},
    "furu_slurm_pool": {"furu_core", "furu_plan", "furu_slurm"},
}
SOURCES = {path.parent.name: path.parent for path in sorted(PACKAGES.glob("*/src/*/__init__.py"))}


def python_files(package: str) -> list[Path]:
    return sorted(SOURCES[package].rglob("*.py"))


def module_name(package: str, file: Path) -> str:
    parts = file.relative_to(SOURCES[package].parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(package: str, file: Path) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """Each import of a file, wherever it stands: module, names taken from it, line."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                for name in names:
                    yield name.name, (), node.lineno
            case ast.ImportFrom(module=module, names=names, level=level):
                assert level == 0, f"{file}:{node.lineno} imports relatively"
                assert module is not None
                yield module, tuple(name.name for name in names), node.lineno


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize("package", SOURCES)
def test_every_package_is_known_here(package: str) -> None:
    assert package in MAY_IMPORT


@pytest.mark.parametrize("package", SOURCES)
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    wrong = [
        f"{file}:{line} imports {module}"
        for file in python_files(package)
        for module, _, line in imports(package, file)
        if (top := module.partition(".")[0]).startswith("furu")
        and top != package
        and top not in MAY_IMPORT[package]
    ]
    assert not wrong


@pytest.mark.parametrize("package", SOURCES)
def test_no_package_reaches_into_the_underscore_of_another(package: str) -> None:
    wrong = [
        f"{file}:{line} imports {module} {names}"
        for file in python_files(package)
        for module, names, line in imports(package, file)
        if (top := module.partition(".")[0]).startswith("furu")
        and top != package
        and any(is_private(part) for part in [*module.split("."), *names])
    ]
    assert not wrong


@pytest.mark.parametrize("package", SOURCES)
def test_what_is_imported_from_another_package_is_public_there(package: str) -> None:
    wrong = []
    for file in python_files(package):
        for module, names, line in imports(package, file):
            top = module.partition(".")[0]
            if not top.startswith("furu") or top == package:
                continue
            exported = set(importlib.import_module(module).__all__)
            wrong += [
                f"{file}:{line} imports {name} from {module}, which does not export it"
                for name in names
                if name not in exported
            ]
    assert not wrong


@pytest.mark.parametrize("package", SOURCES)
def test_a_distribution_requires_only_what_its_package_may_import(package: str) -> None:
    project = tomllib.loads(
        (SOURCES[package].parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    )["project"]
    ours = {
        name.replace("-", "_")
        for requirement in project.get("dependencies", [])
        if (name := re.split(r"[^A-Za-z0-9-]", requirement)[0]).startswith("furu")
    }
    assert ours <= MAY_IMPORT[package]


def test_filelock_is_used_in_one_module() -> None:
    """Elsewhere its import would forbid threads to fork at once, see there."""
    using = {
        module_name(package, file)
        for package in SOURCES
        for file in python_files(package)
        for module, _, _ in imports(package, file)
        if module.partition(".")[0] == "filelock"
    }
    assert using == {"furu_core._locks"}


def test_core_knows_no_backend() -> None:
    wrong = [
        f"{file}:{number} {line.strip()}"
        for file in python_files("furu_core")
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if re.search("submitit|slurm", line, re.IGNORECASE)
    ]
    assert not wrong


@cache
def public_modules() -> dict[str, Path]:
    """The files of all public modules, by name."""
    files = {module_name(package, one): one for package in SOURCES for one in python_files(package)}
    return {
        name: file
        for name, file in files.items()
        if not any(map(is_private, name.split(".")))
        and file.name != "__main__.py"
        and name != "furu_core.testing"  # it only says where its names went
    }


@pytest.mark.parametrize("name", public_modules())
def test_all_names_what_a_public_module_exports(name: str) -> None:
    module = importlib.import_module(name)
    exported = module.__all__
    assert sorted(exported) == sorted(set(exported)), f"{name}.__all__ repeats a name"
    missing = [item for item in exported if not hasattr(module, item)]
    assert not missing, f"{name}.__all__ names what is not there"
    assert not [item for item in exported if is_private(item)]


def late_modules() -> dict[str, Path]:
    """The public modules that import late what they export, whose names stand there twice."""
    return {
        name: file
        for name, file in public_modules().items()
        if "__getattr__, __dir__ = " in file.read_text(encoding="utf-8")
    }


@pytest.mark.parametrize("name", late_modules())
def test_type_checkers_see_what_a_module_imports_late(name: str) -> None:
    module = importlib.import_module(name)
    tree = ast.parse(late_modules()[name].read_text(encoding="utf-8"))
    (seen,) = (node for node in tree.body if isinstance(node, ast.If) and node.orelse)
    assert ast.unparse(seen.test) == "TYPE_CHECKING"
    imported = [node for node in seen.body if isinstance(node, ast.ImportFrom)]
    sources = {(one.asname, node.module) for node in imported for one in node.names if one.asname}
    assert sorted(module.__all__) == sorted(str(item) for item, _ in sources)
    for item, source in sources:
        assert getattr(module, str(item)) is getattr(
            importlib.import_module(str(source)), str(item)
        )


def test_what_workers_and_planners_need_can_still_be_imported_from_executors() -> None:
    executors = importlib.import_module("furu_core.executors")
    for name in ("furu_core.planning", "furu_core.workers"):
        module = importlib.import_module(name)
        assert all(getattr(executors, item) is getattr(module, item) for item in module.__all__)
    with pytest.raises(AttributeError, match=r"'furu_core\.executors' has no attribute 'run_nod'"):
        _ = executors.run_nod


@pytest.mark.parametrize("package", SOURCES)
def test_what_a_package_imports_at_its_top_is_exported(package: str) -> None:
    """`__init__` only re-exports: whatever it takes from its own modules is in `__all__`."""
    module = importlib.import_module(package)
    tree = ast.parse((SOURCES[package] / "__init__.py").read_text(encoding="utf-8"))
    taken = {
        name.asname or name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == package
        for name in node.names
        if not is_private(name.asname or name.name)
    }
    assert taken <= set(module.__all__)
