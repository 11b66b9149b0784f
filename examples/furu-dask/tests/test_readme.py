"""What the README shows works, and the digits example as well."""

from __future__ import annotations

import ast
import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import DaskCluster

HERE = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w+)[ \w]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DIGITS = HERE.parent / "digits"
# One model on one part of the images; furu's own tests run the whole.
SMALL = """
from digits import Neighbours, Pixels, Validate, split

trial = Validate(features=Pixels(split=split), model=Neighbours(k=1), folds=2)
"""


def shell(line: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FURU_")}
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env={**environ, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def test_the_files_and_commands_of_the_readme_work(
    tmp_path: Path, shared_cluster: DaskCluster
) -> None:
    (tmp_path / "pyproject.toml").touch()
    checker = doctest.OutputChecker()
    for language, text in BLOCK.findall((HERE / "README.md").read_text(encoding="utf-8")):
        if language == "python":
            (tmp_path / text.partition("\n")[0].removeprefix("# ")).write_text(text)
            continue
        for command in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            line, _, expected = command.partition("\n")
            if line.startswith("pip install"):
                continue  # what these tests run in was installed so
            got = shell(line, tmp_path, DASK=shared_cluster.address).stdout
            if not expected.startswith("..."):  # progress comes and goes
                got = "\n".join(one for one in got.splitlines() if not one.startswith("run "))
            flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            # doctest would take a leading ellipsis for a line that goes on.
            assert checker.check_output(expected.replace("...\n", "...", 1), got, flags), (
                line,
                got,
            )


def test_P7_the_digits_example_runs_on_dask(tmp_path: Path, shared_cluster: DaskCluster) -> None:
    if not DIGITS.exists():
        pytest.skip("the digits example is not beside this one")
    folder = shutil.copytree(
        DIGITS, tmp_path / "digits", ignore=shutil.ignore_patterns("furu-data")
    )
    (folder / "small.py").write_text(SMALL, encoding="utf-8")
    command = f"furu run small:trial --executor dask -o address={shared_cluster.address}"
    first = shell(command, folder)
    assert first.returncode == 0, first.stdout
    assert " 4 computed, 0 loaded, 0 failed" in first.stdout
    again = shell(command, folder)
    assert " 0 computed, 1 loaded, 0 failed" in again.stdout


def test_the_distribution_is_small_and_uses_public_names_only() -> None:
    files = sorted((HERE / "src").rglob("*.py"))
    lines = [
        line for file in files for line in file.read_text("utf-8").splitlines() if line.strip()
    ]
    assert len(lines) < 300
    for file in files:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [*node.module.split("."), *(alias.name for alias in node.names)]
                private = [name for name in names if name.startswith("_")]
                assert not private or names[0] == "furu_dask" or names[0] == "__future__", names
