"""The distributions in examples/, as their users get them: built, installed, tested, their pages run."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path
from shlex import quote

import pytest

from test_docs import Block, blocks_of, commands_of
from third_party import environments
from third_party.conftest import once
from third_party.environments import ROOT, Environment

pytestmark = pytest.mark.source_tree

EXAMPLES = {
    "furu-polars": ("polars", "hypothesis", "pytest"),
    "furu-usage": ("pytest",),
}


@pytest.fixture(params=EXAMPLES)
def example(
    request: pytest.FixtureRequest, shared: Path, furu_wheels: Path, tmp_path: Path
) -> tuple[Path, Environment]:
    """The source of an example, and an environment that its wheel is installed into."""
    name: str = request.param
    source = ROOT / "examples" / name

    def fill(folder: Path) -> Path:
        made = environments.make(folder)
        wheel = environments.build(source, folder / "dist")
        made.install(wheel, *EXAMPLES[name], find_links=[furu_wheels])
        return folder

    folder = once(shared / name, fill)
    (tmp_path / "pyproject.toml").touch()
    return source, Environment(folder / "env", tmp_path)


def test_an_example_passes_its_own_tests_as_an_installed_wheel(
    example: tuple[Path, Environment],
) -> None:
    source, environment = example
    config, tests = quote(str(source / "pyproject.toml")), quote(str(source / "tests"))
    options = f"--config-file {config} -p no:cacheprovider --basetemp tmp -q"
    done = environment.shell(f"cp -r {tests} . && python -m pytest {options} tests")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


def test_an_example_is_listed_as_sound(example: tuple[Path, Environment]) -> None:
    source, environment = example
    found = environment.json("plugins")
    assert {(entry["distribution"], entry["problem"]) for entry in found} == {(source.name, "")}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_uses_public_names_only(name: str) -> None:
    wrong = []
    for file in (ROOT / "examples" / name / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or node.module is None:
                continue
            if node.module.partition(".")[0] in {"furu_core", "furu_plan"}:
                public = importlib.import_module(node.module).__all__
                wrong += [name.name for name in node.names if name.name not in public]
    assert not wrong


def test_what_the_page_of_an_example_shows_works_as_shown(
    example: tuple[Path, Environment],
) -> None:
    source, environment = example
    for block in blocks_of(source / "README.md"):
        show(block, environment)


def show(block: Block, environment: Environment) -> None:
    if block.language == "python":
        first, _, _ = block.text.partition("\n")
        (environment.project / first.removeprefix("# ")).write_text(block.text)
        return
    assert block.language == "console", f"nobody runs this block: {block.text}"
    for command in commands_of(block.text):
        if command.line.startswith("pip install"):
            continue  # its name is taken from no index, but it is installed
        done = environment.shell(command.line)
        assert done.returncode == 0, done.stdout + done.stderr
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        same = not command.expected.strip() or doctest.OutputChecker().check_output(
            command.expected, done.stdout, flags
        )
        assert same, f"{command.line}\nexpected:\n{command.expected}\ngot:\n{done.stdout}"
