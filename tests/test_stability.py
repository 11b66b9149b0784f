"""What docs/stability.md claims, held against the code."""

from __future__ import annotations

import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from furu_core import _provenance
from furu_core._attempts import _records, _submissions
from furu_core._cli import _output
from furu_core._codecs._own import OWN_CODECS
from furu_core._config import _encoding
from furu_core._executors import _run
from furu_core._forms import _pack
from furu_core._plugins import EntryPointGroup
from furu_core._store import _format
from furu_plan import _render

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "stability.md").read_text(encoding="utf-8")


def cells(first: str) -> list[str]:
    """The cells of the row whose first one begins so."""
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| {first}")]
    return [cell.strip() for cell in row.strip("| ").split(" | ")]


@pytest.mark.parametrize(
    ("file", "version"),
    [
        ("none: the encoding", f"`{_encoding.FORMAT.decode()}`"),
        ("`furu.json`", _format.FORMAT),
        ("`.furu.json`", _records.RECORD.version),
        ("the config in it", _pack.FORMAT),
        ("`provenance/<digest>.json`", _provenance.PROVENANCE.version),
        ("`.<hash>.job`", _submissions.NOTE.version),
        ("`runs/<id>/run.json`", _run.RUN_RECORD.version),
        ("`furu plan --json`", _render.VERSION),
    ],
)
def test_the_page_tells_the_version_of_each_format(file: str, version: object) -> None:
    assert cells(file)[1] == str(version)


def test_the_page_tells_the_version_of_furus_own_codecs() -> None:
    assert {codec.version for codec in OWN_CODECS} == {1}
    assert "1 for all of furu's own" in cells("`.furu.result.*`")[1]


def test_the_page_tells_each_exit_status() -> None:
    said = {int(status) for status in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    known = {value for value in vars(_output).values() if isinstance(value, int)}
    assert said == known | {0}


def test_the_page_tells_each_group_of_entry_points() -> None:
    said = re.findall(r"`(furu\.\w+)`", cells("Entry-point groups")[1])
    assert said == [group.value for group in EntryPointGroup]


def test_every_public_module_says_what_is_public() -> None:
    modules = ["furu_core", "furu_plan", "furu_plan.runs", "furu_local", "furu_slurm"]
    modules += ["furu_slurm_dag", "furu_slurm_pool"]
    modules += [
        f"furu_core.{name}"
        for name in ("checks", "codecs", "command", "errors", "executors", "planning", "workers")
    ]
    modules += ["furu_testing", "furu_testing.nodes", "furu_testing.plugin", "furu_testing.slurm"]
    for name in modules:
        module = import_module(name)
        lacking = [item for item in module.__all__ if not hasattr(module, item)]
        assert lacking == [], name


@pytest.mark.source_tree
def test_no_module_is_public_by_accident() -> None:
    """One whose name has no underscore is public, and so is in the page."""
    public = set()
    for source in ROOT.glob("packages/*/src"):
        for path in source.rglob("*.py"):
            parts = path.relative_to(source).with_suffix("").parts
            if not any(part.startswith("_") and part != "__init__" for part in parts):
                public.add(".".join(part for part in parts if part != "__init__"))
    named = {"furu_core", "furu_plan", "furu_plan.runs", "furu_local", "furu_slurm"} | {
        "furu_slurm_dag", "furu_slurm_pool", "furu_slurm.errors", "furu_slurm_pool.errors"
    }  # fmt: skip
    named |= {
        f"furu_core.{name}"
        for name in ("checks", "codecs", "command", "errors", "executors", "planning", "workers")
    }
    # `furu_core.testing` only says where its names went.
    named |= {"furu_core.testing", "furu_testing", "furu_testing.nodes", "furu_testing.plugin"}
    named |= {"furu_testing.slurm", "furu_testing.slurm.fixtures"}
    assert public == named


@pytest.mark.parametrize("name", ["furu_core.testing", "furu_core.testing.nodes"])
def test_the_former_place_of_the_testing_kit_says_where_it_went(name: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"pip install furu-testing.*from furu_testing"):
        import_module(name)


def test_a_plugin_pins_the_series_that_is_here() -> None:
    major, minor = map(int, version().split(".")[:2])
    series = f">={major}.{minor},<{major}.{minor + 1}"
    pins = re.findall(r"furu-(?:core|plan)(>=[\d.]+,<[\d.]+)", PAGE + executors_page())
    assert pins
    assert set(pins) == {series}


def test_our_packages_pin_each_other_exactly() -> None:
    for path in ROOT.glob("packages/*/pyproject.toml"):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        assert project["version"] == version()
        ours = [text for text in project.get("dependencies", ()) if text.startswith("furu-")]
        assert all(text.endswith(f"=={version()}") for text in ours), path


def version() -> str:
    file = ROOT / "packages" / "furu-core" / "pyproject.toml"
    found: str = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"]
    return found


def executors_page() -> str:
    return (ROOT / "docs" / "executors.md").read_text(encoding="utf-8")
