"""How the house stands: `python tools/house.py [--at GIT_REVISION] [--json]`, or `make house`.

It reads `packages/*/src` of this folder, or of a revision of it, and prints for each package and for all, with
and without furu-testing:

- **lines**, those of **code** (no blank lines, comments and docstrings), **files**, and the lines of the median
  and of the largest module;
- **circles** of modules that import each other: by imports that run when a module is loaded; by those and the ones
  for type checkers; and by all, those within functions too;
- **names with two meanings**: classes (enums and protocols are such) and type aliases that several modules define
  at their top. Public functions of one name are listed apart, since the module's name tells them apart;
- **names renamed on export**, by `import ... as` or by assignment, in public modules and in any `__init__`;
- **blocks that occur twice**: six or more lines of code in a row that are the same but for indentation, strings
  and numbers. Imports and lines of mere punctuation do not count. It finds what was copied, not copies with other
  names.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import tokenize
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from sources import (
    ROOT,
    Module,
    When,
    circles,
    defined_functions,
    defined_types,
    imports,
    names_of_several,
    read_modules,
    renamed_exports,
)

KIT = "furu_testing"
LAYOUT = (
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
    *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
)


@dataclass(frozen=True)
class Size:
    """How large a package is, or several are together."""

    lines: int
    code: int
    files: int
    median: int
    largest: int
    largest_module: str


@dataclass(frozen=True)
class Duplicate:
    """Lines of code that stand in two places, each given as `module:first-last`."""

    first: str
    second: str
    lines: int


@dataclass(frozen=True)
class House:
    """All that is measured."""

    sizes: dict[str, Size]
    circles: dict[str, list[list[str]]]
    types_of_one_name: dict[str, list[str]]
    functions_of_one_name: dict[str, list[str]]
    renamed_exports: list[str]
    duplicates: list[Duplicate]


def measure(modules: Collection[Module]) -> House:
    """Measure the house that these modules make."""
    found = imports(modules)
    return House(
        sizes=dict(_sizes(modules)),
        circles={when.name.lower(): circles(found, when) for when in When},
        types_of_one_name=names_of_several({one.name: defined_types(one) for one in modules}),
        functions_of_one_name=names_of_several(
            {one.name: defined_functions(one) for one in modules}
        ),
        renamed_exports=renamed_exports(modules),
        duplicates=duplicate_blocks(modules),
    )


def _sizes(modules: Collection[Module]) -> Iterator[tuple[str, Size]]:
    for package in sorted({module.package for module in modules}):
        yield package, size_of([module for module in modules if module.package == package])
    yield "all", size_of(modules)
    yield f"all but {KIT}", size_of([module for module in modules if module.package != KIT])


def size_of(modules: Collection[Module]) -> Size:
    """The size of these modules together."""
    lines = {module.name: len(module.text.splitlines()) for module in modules}
    largest = max(lines, key=lambda name: lines[name])
    return Size(
        lines=sum(lines.values()),
        code=sum(len(code_lines(module)) for module in modules),
        files=len(lines),
        median=round(statistics.median(lines.values())),
        largest=lines[largest],
        largest_module=largest,
    )


@cache
def code_lines(module: Module) -> dict[int, str]:
    """The lines of code by number, each as its tokens: a string as `""` in its first line, a number as 0."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        node.body[0].lineno
        for node in ast.walk(module.tree)
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None
    }
    literals = {tokenize.STRING: '""', tokenize.NUMBER: "0"}
    lines: dict[int, list[str]] = {}
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        first, last = token.start[0], token.end[0]
        is_docstring = token.type == tokenize.STRING and first in docstrings and first not in lines
        if token.type not in LAYOUT and not is_docstring:
            for line in range(first, last + 1):
                lines.setdefault(line, [])
            lines[first].append(literals.get(token.type, token.string))
    return {line: " ".join(tokens) for line, tokens in sorted(lines.items())}


def duplicate_blocks(modules: Iterable[Module], least: int = 6) -> list[Duplicate]:
    """The pairs of places that share `least` or more lines of code, longest first.

    A block that stands in three places gives two pairs: each other place with the first.
    """
    lines: dict[str, list[tuple[int, str]]] = {}
    first_place: dict[tuple[str, ...], tuple[str, int]] = {}
    shared: dict[tuple[str, str, int], list[int]] = defaultdict(list)
    for module in modules:
        lines[module.name] = _comparable_lines(module)
        texts = [text for _, text in lines[module.name]]
        for at in range(len(texts) - least + 1):
            name, first = first_place.setdefault(tuple(texts[at : at + least]), (module.name, at))
            if name != module.name or first <= at - least:
                shared[name, module.name, at - first].append(at)

    def place(name: str, first: int, last: int) -> str:
        return f"{name}:{lines[name][first][0]}-{lines[name][last][0]}"

    found = []
    for (name, other, shift), starts in shared.items():
        while starts:
            run = next((n for n, at in enumerate(starts) if at != starts[0] + n), len(starts))
            first, last = starts[0], starts[run - 1] + least - 1
            pair = (place(name, first - shift, last - shift), place(other, first, last))
            found.append(Duplicate(*pair, lines=last - first + 1))
            del starts[:run]
    return sorted(found, key=lambda one: (-one.lines, one.first, one.second))


def _comparable_lines(module: Module) -> list[tuple[int, str]]:
    """The lines in which a copy shows: neither imports nor mere punctuation."""
    imported = {
        line
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    return [
        (line, text)
        for line, text in code_lines(module).items()
        if line not in imported and any(char.isalnum() for char in text)
    ]


def show(house: House) -> Iterator[str]:
    """The lines that tell how the house stands."""
    yield f"{'':22}{'lines':>7}{'code':>7}{'files':>7}{'median':>8}  largest module"
    for name, size in house.sizes.items():
        counts = f"{size.lines:7}{size.code:7}{size.files:7}{size.median:8}"
        yield f"{name:22}{counts}  {size.largest_module} ({size.largest})"
    told = {
        When.LOADED: "by imports that run when a module is loaded",
        When.TYPE_CHECKED: "and by those for type checkers",
        When.CALLED: "and by those within functions",
    }
    for when, text in told.items():
        found = house.circles[when.name.lower()]
        sizes = ", ".join(str(len(circle)) for circle in found)
        yield from ("", f"circles of modules {text}: {f'{len(found)}, of {sizes}' if found else 0}")
        yield from (f"  {' '.join(circle)}" for circle in found)
    yield from ("", f"names with two meanings: {len(house.types_of_one_name)}")
    yield from _named(house.types_of_one_name)
    yield from ("", f"public functions of one name: {len(house.functions_of_one_name)}")
    yield from _named(house.functions_of_one_name)
    yield from ("", f"names renamed on export: {len(house.renamed_exports)}")
    yield from (f"  {one}" for one in house.renamed_exports)
    lines = sum(one.lines for one in house.duplicates)
    yield from ("", f"blocks that occur twice: {len(house.duplicates)}, of {lines} lines")
    yield from (f"  {one.lines:3}  {one.first} ~ {one.second}" for one in house.duplicates)


def _named(names: dict[str, list[str]]) -> Iterator[str]:
    return (f"  {name}: {', '.join(modules)}" for name, modules in names.items())


def modules_at(revision: str, root: Path) -> list[Module]:
    """The modules of a git revision.

    Raises:
        subprocess.CalledProcessError: git does not know it; what git said is in `stderr`.
    """
    command = ["git", "-C", str(root), "archive", revision, "packages"]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    with tempfile.TemporaryDirectory(prefix="furu-house-") as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        return read_modules(Path(folder))


def main() -> int:
    parser = argparse.ArgumentParser(description="Tell how the house stands.")
    parser.add_argument("--at", metavar="GIT_REVISION", help="of this revision, not of the folder")
    parser.add_argument("--json", action="store_true", help="as JSON")
    options = parser.parse_args()
    try:
        modules = read_modules(ROOT) if options.at is None else modules_at(options.at, ROOT)
    except subprocess.CalledProcessError as error:
        print(error.stderr.decode().strip(), file=sys.stderr)
        return 1
    house = measure(modules)
    print(json.dumps(asdict(house), indent=2) if options.json else "\n".join(show(house)))
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as `| head` would have it
    sys.exit(main())
