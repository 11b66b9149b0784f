"""The reference of the executor interface names everything there is, and nothing that is not."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType

import attrs
import pytest

import furu_core.executors
import furu_core.planning
import furu_core.workers
import furu_plan
import furu_plan.runs
import furu_testing

PAGE = (Path(__file__).parents[1] / "docs" / "executor-reference.md").read_text(encoding="utf-8")
CORE = [furu_core.executors, furu_core.planning, furu_core.workers]
INTERFACE = [*CORE, furu_plan, furu_plan.runs]
MODULES = [*INTERFACE, furu_testing]
# Constants and aliases of types have no docstring that Python keeps.
PLAIN = {"AT_END", "COUNT", "FLAG", "INTERRUPTED", "SECONDS", "TAGS", "TEXT", "WINDOW"} | {
    "Answer", "Place", "PoolEvent", "Report", "Window", "console"
}  # fmt: skip


OF_INTERFACE, _, OF_TESTING = PAGE.partition("## Testing\n")


def rows(text: str) -> dict[str, str]:
    """What a part of the page says of each name."""
    said: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("| `"):
            names, text = line.strip("| ").split(" | ", 1)
            for name in re.findall(r"`(\w+)`", names):
                assert name not in said, f"{name} has two rows"
                said[name] = text
    return said


@pytest.mark.parametrize(
    ("modules", "text"),
    [(INTERFACE, OF_INTERFACE), ([furu_testing], OF_TESTING)],
    ids=["interface", "testing"],
)
def test_every_public_name_has_a_row_and_nothing_else_has(
    modules: list[ModuleType], text: str
) -> None:
    assert set(rows(text)) == {name for module in modules for name in module.__all__}


def test_no_name_is_public_in_two_modules() -> None:
    names = [name for module in [furu_core, *MODULES] for name in module.__all__]
    twice = {name for name in names if names.count(name) > 1}
    assert twice == {"NodeState"}, "what users and planners both ask for"


@pytest.mark.parametrize("module", MODULES, ids=[module.__name__ for module in MODULES])
def test_every_public_name_is_documented_where_it_is_defined(module: ModuleType) -> None:
    bare = []
    for name in set(module.__all__) - PLAIN:
        found = getattr(module, name)
        text = inspect.getdoc(found) or ""
        # attrs and enum write one of their own where there is none.
        if not text.strip().endswith((".", "::", ")")) and "\n" not in text:
            bare.append(name)
    assert bare == []


@pytest.mark.parametrize("module", INTERFACE, ids=[module.__name__ for module in INTERFACE])
def test_every_public_method_and_parameter_is_documented(module: ModuleType) -> None:
    lacking = []
    for name in set(module.__all__) - PLAIN:
        found = getattr(module, name)
        if inspect.isfunction(found):
            lacking += [f"{name}({p})" for p in _undocumented(found)]
        elif inspect.isclass(found):
            for method, function in vars(found).items():
                if method.startswith("_") or not inspect.isfunction(function):
                    continue
                if not inspect.getdoc(getattr(found, method)):
                    lacking.append(f"{name}.{method}")
            if attrs.has(found) and len(attrs.fields(found)) > 2:
                # What a class has from others is explained by them.
                text = "\n".join(inspect.getdoc(cls) or "" for cls in found.__mro__)
                lacking += [
                    f"{name}.{field.name}"
                    for field in attrs.fields(found)
                    if not field.name.startswith("_") and f"{field.name}:" not in text
                ]
    assert lacking == []


def _undocumented(function: object) -> list[str]:
    """Parameters that a docstring with a list of them leaves out."""
    text = inspect.getdoc(function) or ""
    if "Args:" not in text:
        return []
    assert callable(function)
    return [name for name in inspect.signature(function).parameters if f"{name}:" not in text]
