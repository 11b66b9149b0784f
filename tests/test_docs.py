"""Everything that the documentation shows is run: files, code and commands, page by page.

A ``python`` or ``toml`` block whose first line is a comment with a file name is that file; any other
``python`` block is run as a program of its own. In a ``console`` block, lines that begin with ``$ `` are
run by a shell, and what follows is what they print, ``...`` standing for anything; they end well, or in a
``console fails`` block do not. A ``diff`` block changes the file that its first line names: each part, up to
the next ``@@``, is found once in it. The blocks of a page share one empty folder, in the order in which they
stand.
"""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("packages/*/README.md")])
NEED_SLURM = {"docs/clusters.md", "packages/furu-slurm-dag/README.md"}
# The conformance suite is run on them, more than once.
SLOW = {"docs/executors.md"}
DEADLINE_SECS = 300  # for one command; many times what it takes, since the machine may be busy
PAGE_SECS = 900  # for all of a page
SLOW_DEADLINE_SECS = 1200
SITE = ".site"  # in a page's folder: where the distribution that it makes is installed
THIRD_PARTY = {"pytest"}
_FENCE = re.compile(r"^```(\w*)( fails)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE_NAME = re.compile(r"# ([\w./-]+\.(?:py|toml))\n")
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    language: str
    text: str
    line: int
    fails: bool = False


@dataclass(frozen=True)
class Command:
    """One command of a ``console`` block, and what the page says it prints."""

    line: str
    expected: str


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Block(match[1], match[3], line, fails=bool(match[2]))


def commands_of(text: str) -> Iterator[Command]:
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, _, expected = part.partition("\n")
        yield Command(line, expected)


def changed(old: str, diff: str, where: str) -> str:
    """A file's text after a ``diff`` block, whose first line names the file."""
    for part in diff.partition("\n")[2].split("@@\n"):
        lines = part.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] in " -")
        after = "".join(line[1:] for line in lines if line[0] in " +")
        assert old.count(before) == 1, f"{where}: found {old.count(before)} times:\n{before}"
        old = old.replace(before, after)
    return old


def run(
    command: str, folder: Path, deadline: float = DEADLINE_SECS
) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FURU_")}
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    environ["COLUMNS"] = "200"
    if (folder / SITE).exists():
        environ["PYTHONPATH"] = os.pathsep.join([str(folder), str(folder / SITE)])
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=deadline,
        check=False,
    )


def check_set_up_command(line: str) -> None:
    """What sets up or tests the whole repository is checked, and run by CI itself."""
    if line.startswith("make "):
        done = subprocess.run(
            ["make", "--dry-run", *line.split()[1:]],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECS,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
        return
    ours = {
        tomllib.loads(path.read_text())["project"]["name"]
        for path in ROOT.glob("packages/*/pyproject.toml")
    }
    names = line.removeprefix("pip install ").removeprefix("--find-links dist ").split()
    unknown = {name.partition("[")[0] for name in names} - ours - THIRD_PARTY
    assert not unknown, f"{line}: no packages of this repository: {unknown}"


def install(*what: str, site: Path, cwd: Path) -> None:
    """Install distributions into the folder `site`, and nowhere else."""
    options = ["--quiet", "--offline", "--no-deps", "--no-config", "--target", str(site)]
    done = subprocess.run(
        [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable, *options, *what],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECS,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def install_here(folder: Path) -> None:
    """Install the distribution of a page's folder beside the page."""
    site = folder / SITE
    install(".", site=site, cwd=folder)
    # The page says `--editable`, so the package is the one in its folder, changed or not.
    for package in folder.glob("*/__init__.py"):
        shutil.rmtree(site / package.parent.name, ignore_errors=True)


def pages() -> list[Any]:
    return [
        pytest.param(
            page,
            id=(name := page.relative_to(ROOT).as_posix()),
            marks=[pytest.mark.slow, pytest.mark.timeout(2 * SLOW_DEADLINE_SECS)]
            if name in SLOW
            else [pytest.mark.timeout(PAGE_SECS)],
        )
        for page in PAGES
    ]


@pytest.mark.parametrize("page", pages())
def test_everything_that_a_page_shows_works_as_shown(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    title = page.relative_to(ROOT).as_posix()
    if title in NEED_SLURM:
        request.getfixturevalue("slurm")
    deadline = SLOW_DEADLINE_SECS if title in SLOW else DEADLINE_SECS
    (tmp_path / "pyproject.toml").touch()
    for block in blocks_of(page):
        where = f"{title}:{block.line}"
        name = _FILE_NAME.match(block.text)
        if block.language == "diff":
            assert name is not None, f"{where}: which file is it that changes?"
            target = tmp_path / name[1]
            target.write_text(changed(target.read_text(), block.text, where), encoding="utf-8")
        elif name is not None:
            target = tmp_path / name[1]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            program = tmp_path / f"block_{block.line}.py"
            program.write_text(block.text, encoding="utf-8")
            done = run(f"python {program.name}", tmp_path)
            assert done.returncode == 0, f"{where}:\n{done.stdout}{done.stderr}"
        elif block.language == "console":
            for command in commands_of(block.text):
                run_as_shown(command, tmp_path, where, fails=block.fails, deadline=deadline)
        else:
            assert block.language in {"text", "toml", "json"}, f"{where}: nobody runs this block"


def run_as_shown(
    command: Command, folder: Path, where: str, *, fails: bool, deadline: float
) -> None:
    if command.line == "pip install --editable .":
        install_here(folder)
        return
    if command.line.startswith("pip install ./"):  # in a clone
        site = folder / ".from-clone"
        install(*command.line.split()[2:], site=site, cwd=ROOT)
        done = run(
            f"PYTHONPATH={site} python -c 'import furu_local as it; print(it.__file__)'", folder
        )
        assert done.stdout.startswith(str(site)), done
        return
    if command.line.startswith(("make ", "pip install ")):
        check_set_up_command(command.line)
        return
    done = run(command.line, folder, deadline)
    said = f"{where}: $ {command.line}\n{done.stdout}{done.stderr}"
    assert (done.returncode != 0) == fails, said
    if command.expected.strip() in {"", "..."}:
        return
    printed = done.stdout
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    same = doctest.OutputChecker().check_output(command.expected, printed, flags)
    assert same, f"{where}: $ {command.line}\nexpected:\n{command.expected}\ngot:\n{printed}"


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_of_a_page_lead_to_files_that_are_there(page: Path) -> None:
    missing = [
        link
        for link in _LINK.findall(page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    ]
    assert not missing, f"{page.relative_to(ROOT)} links to {missing}"


def test_there_are_pages() -> None:
    assert {"README.md", "tutorial.md", "how-it-works.md"} <= {page.name for page in PAGES}
