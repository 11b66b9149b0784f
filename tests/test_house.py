"""The house keeps its rooms, has no circles, and no name has two meanings; and `tools/house.py` measures that.

The rooms stand in tools/house_rooms.toml, what is not mended yet in tools/house_allowed.toml.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Collection
from functools import cache
from pathlib import Path
from textwrap import dedent

import pytest

TOOLS = Path(__file__).parent.parent / "tools"
sys.path.append(str(TOOLS))
import house  # noqa: E402
import sources  # noqa: E402

pytestmark = pytest.mark.source_tree

Rooms = dict[str, list[list[str]]]
ROOMS: Rooms = tomllib.loads((TOOLS / "house_rooms.toml").read_text(encoding="utf-8"))
ALLOWED = tomllib.loads((TOOLS / "house_allowed.toml").read_text(encoding="utf-8"))
MOST_TERMS = 20


def rooms_of(module: sources.Module, rooms: Rooms) -> list[int]:
    """The numbers of the rooms in which a module is: one, if the table is right."""
    inside = module.name.partition(".")[2] or "__init__"
    return [
        number
        for number, room in enumerate(rooms.get(module.package, []))
        for name in room
        if stands_for(name, inside)
    ]


def stands_for(entry: str, name: str) -> bool:
    return name == entry or name.startswith(f"{entry}.")


def faults_of_the_table(modules: Collection[sources.Module], rooms: Rooms) -> list[str]:
    """Names in the table that are no module, and modules that are in two rooms."""
    inside = {f"{one.package}.{one.name.partition('.')[2] or '__init__'}" for one in modules}
    listed = [f"{package}.{name}" for package in rooms for room in rooms[package] for name in room]
    unknown = [name for name in listed if not any(stands_for(name, one) for one in inside)]
    twice = [one.name for one in modules if len(rooms_of(one, rooms)) > 1]
    return [f"{name}: no such module" for name in unknown] + [f"{name}: twice" for name in twice]


def against_the_order(modules: Collection[sources.Module], rooms: Rooms) -> set[str]:
    """The imports from a room further down, as "importer -> imported"."""
    room = {one.name: number for one in modules for number in rooms_of(one, rooms)}
    return {
        f"{one.importer} -> {one.imported}"
        for one in sources.imports(modules)
        if one.importer.partition(".")[0] == one.imported.partition(".")[0]
        and room.get(one.importer, sys.maxsize) < room.get(one.imported, -1)
    }


def glossary(docstring: str) -> dict[str, str] | None:
    """The terms below the line "Glossary:" with what each means, or None if there is no such line.

    Raises:
        ValueError: a line is no "term: what it is", or explains a term again.
    """
    _, found, text = docstring.partition("\nGlossary:\n")
    terms: dict[str, str] = {}
    for line in text.splitlines():
        if line and not line.startswith(" "):
            break
        term, colon, meaning = line.strip().partition(": ")
        if line.strip() and (not colon or not meaning or term in terms):
            raise ValueError(f"no glossary has the line {line!r}")
        if term:
            terms[term] = meaning
    return terms if found else None


def check(found: Collection[str], allowed: str, wrong: str) -> None:
    """Fail for what is found and not allowed, and for what is allowed and no longer found."""
    entries = ALLOWED[allowed]
    new = [one for one in sorted(found) if not any(stands_for(entry, one) for entry in entries)]
    assert not new, wrong
    unneeded = [one for one in entries if not any(stands_for(one, other) for other in found)]
    assert not unneeded, f"mended: delete these lines of {allowed} in tools/house_allowed.toml"


@cache
def workspace() -> list[sources.Module]:
    return sources.read_modules(sources.ROOT)


def test_the_rooms_in_the_table_are_there() -> None:
    faults = faults_of_the_table(workspace(), ROOMS)
    assert not faults, "mend tools/house_rooms.toml"


def test_every_module_is_in_a_room() -> None:
    outside = [one.name for one in workspace() if not rooms_of(one, ROOMS)]
    check(outside, "in_no_room", "name their room in tools/house_rooms.toml")


def test_a_room_imports_only_from_rooms_above_it() -> None:
    found = against_the_order(workspace(), ROOMS)
    check(found, "against_the_order", "these imports lead to a room further down")


def test_no_modules_import_each_other() -> None:
    found = sources.circles(sources.imports(workspace()), sources.When.CALLED)
    check({name for circle in found for name in circle}, "circles", f"circles: {found}")


def test_no_name_has_two_meanings() -> None:
    found = sources.names_of_several({m.name: sources.defined_types(m) for m in workspace()})
    check(found, "two_meanings", f"tell them apart by naming the thing: {found}")


def test_no_name_is_another_on_export() -> None:
    found = dict(one.split(" is ") for one in sources.renamed_exports(workspace()))
    check(found, "renamed_on_export", f"give the thing this name where it is defined: {found}")


def test_every_package_has_a_short_glossary() -> None:
    found = {
        one.name: glossary(ast.get_docstring(one.tree) or "")
        for one in workspace()
        if one.name == one.package
    }
    check([name for name, terms in found.items() if terms is None], "no_glossary", "no glossary")
    assert not {name for name, terms in found.items() if terms and len(terms) > MOST_TERMS}
    meanings = {item for terms in found.values() for item in (terms or {}).items()}
    terms = sorted(term for term, _ in meanings)
    assert terms == sorted(set(terms)), "a term means the same in all packages: give it one line"


# Modules whose loaders run what they load, and who may import them: what they load is from a file that
# furu_core._trust opened, or from the pipe between a process and its own child.
UNPICKLERS = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "torch", "shelve", "marshal"}
UNPICKLING = {
    "furu_core._codecs._pickles": "a file that furu_core._trust opened",
    "furu_core._forms._node_pickle": "the pipe to a child",
    "furu_core._processes._messages": "the pipe to a child",
}


def unpickling(module: sources.Module) -> bool:
    """Whether a module could unpickle: it imports what can, or has NumPy or pandas do so."""
    for node in ast.walk(module.tree):
        match node:
            case ast.Import(names=names):
                found = {one.name.partition(".")[0] for one in names}
            case ast.ImportFrom(module=str(source), level=0):
                found = {source.partition(".")[0]}
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(str(name))]):
                found = {name.partition(".")[0]}
            case ast.keyword(arg="allow_pickle", value=value):
                found = set() if ast.unparse(value) == "False" else {"pickle"}
            case ast.Attribute(attr="read_pickle"):
                found = {"pickle"}
            case _:
                continue
        if found & UNPICKLERS:
            return True
    return False


def opened(module: sources.Module) -> set[str]:
    """What a module opens, as it is written."""
    return {
        ast.unparse(node.args[0])
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("open", "os.open", "read_file")
    }


def test_only_what_is_trusted_is_unpickled() -> None:
    modules = [one for one in workspace() if one.package != "furu_testing"]
    assert {one.name for one in modules if unpickling(one)} == UNPICKLING.keys()
    opening = {one.name: opened(one) for one in modules if one.name in UNPICKLING}
    trusted = opening.pop("furu_core._codecs._pickles")
    assert trusted == {"_trust.open_trusted(path)"}
    assert not any(opening.values()), "what is unpickled here comes from no file"


def test_what_is_packed_for_a_child_is_unpacked_from_its_pipe_alone() -> None:
    users = {
        one.name
        for one in workspace()
        if any(isinstance(node, ast.Name) and node.id == "Unpacker" for node in ast.walk(one.tree))
    }
    # The second one makes again what a pickle of a deep graph holds, which was trusted by then.
    assert users == {"furu_core._processes._node_server", "furu_core._forms._pack"}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("import pickle", True),
        ("def f():\n    from torch.serialization import load", True),
        ("import importlib\nimportlib.import_module('joblib')", True),
        ("np.load(file, allow_pickle=some)", True),
        ("pandas.read_pickle(file)", True),
        ("np.load(file, allow_pickle=False)", False),
        ("from furu_core._codecs import _pickles", False),
    ],
)
def test_what_unpickles_is_found(tmp_path: Path, line: str, found: bool) -> None:
    (module,) = tree(tmp_path, {"furu_a/_one.py": line})
    assert unpickling(module) is found


def tree(root: Path, files: dict[str, str]) -> list[sources.Module]:
    """Write the source of packages, each file below the folder of its package, and read it."""
    for name, text in files.items():
        path = root / "packages" / name.partition("/")[0] / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
    return sources.read_modules(root)


def test_lines_of_code_are_without_blank_ones_comments_and_docstrings(tmp_path: Path) -> None:
    text = '''\
        """A docstring
        of two lines."""

        # a comment
        class A:
            """Another."""

            x = 1  # with a comment
            text = """no docstring

            but a value"""


        def f(x: int) -> str:
            "One with other quotes."
            return (
                str(x)
            )
        '''
    modules = tree(tmp_path, {"furu_a/__init__.py": text, "furu_a/_b.py": "x = 1\n"})
    first, second = modules
    assert list(house.code_lines(first)) == [5, 8, 9, 10, 11, 14, 16, 17, 18]
    assert house.size_of(modules) == house.Size(
        lines=19, code=10, files=2, median=10, largest=18, largest_module="furu_a"
    )
    assert house.size_of([second]).code == 1


CIRCLES = {
    "furu_a/__init__.py": "from furu_a._a import A",
    "furu_a/_a.py": """\
        from typing import TYPE_CHECKING
        from furu_a import _b
        if TYPE_CHECKING:
            from furu_a._c import C
        class A: ...
        """,
    "furu_a/_b.py": "import furu_a._c",
    "furu_a/_c.py": """\
        class C:
            def f(self):
                from . import _d
        """,
    "furu_a/_d.py": "from .  import _a\nfrom furu_a._c import C",
    "furu_b/__init__.py": "from furu_a import A",
    "furu_b/_e.py": "from furu_b._f.g import x",
    "furu_b/_f/__init__.py": "",
    "furu_b/_f/g.py": "import typing as _t\nif _t.TYPE_CHECKING:\n    from ..  import _e",
}


def test_imports_are_told_apart_by_when_they_run(tmp_path: Path) -> None:
    found = sources.imports(tree(tmp_path, CIRCLES))
    when = {(one.importer, one.imported): one.when.name for one in found}
    assert when == {
        ("furu_a", "furu_a._a"): "LOADED",
        ("furu_a._a", "furu_a._b"): "LOADED",
        ("furu_a._a", "furu_a._c"): "TYPE_CHECKED",
        ("furu_a._b", "furu_a._c"): "LOADED",
        ("furu_a._c", "furu_a._d"): "CALLED",
        ("furu_a._d", "furu_a._a"): "LOADED",
        ("furu_a._d", "furu_a._c"): "LOADED",
        ("furu_b", "furu_a"): "LOADED",
        ("furu_b._e", "furu_b._f.g"): "LOADED",
        ("furu_b._f.g", "furu_b._e"): "TYPE_CHECKED",
    }


def test_circles_are_found_by_what_imports_count(tmp_path: Path) -> None:
    found = sources.imports(tree(tmp_path, CIRCLES))
    small = ["furu_b._e", "furu_b._f.g"]
    assert sources.circles(found, sources.When.LOADED) == []
    assert sources.circles(found, sources.When.TYPE_CHECKED) == [small]
    large = ["furu_a._a", "furu_a._b", "furu_a._c", "furu_a._d"]
    assert sources.circles(found, sources.When.CALLED) == [large, small]


def test_types_and_functions_of_one_name_are_found(tmp_path: Path) -> None:
    one = """\
        from typing import TypeVar
        T = TypeVar("T")
        LIMIT = OTHER = 3
        class Origin: ...
        class _Entry: ...
        Names = dict[str, int]
        if True:
            Place = int | None
        def read(): ...
        def _write(): ...
        """
    other = """\
        from typing import NewType, TypeAlias, TypeVar
        from furu_a._one import Inner
        T = TypeVar("T")
        LIMIT = 4
        try:
            class Origin(Enum): ...
        except ImportError:
            Place: TypeAlias = "str"
        _Entry = NewType("_Entry", int)
        Names = [1]
        class Outer:
            class Inner: ...
        async def read(): ...
        def _write(): ...
        """
    modules = tree(tmp_path, {"furu_a/_one.py": one, "furu_b/_other.py": other})
    both = ["furu_a._one", "furu_b._other"]
    found = house.measure(modules)
    assert found.types_of_one_name == {"Origin": both, "Place": both, "_Entry": both}
    assert found.functions_of_one_name == {"read": both}


def test_names_renamed_on_export_are_found(tmp_path: Path) -> None:
    files = {
        "furu_a/__init__.py": """\
            import json as js
            from typing import Any as _Any
            from furu_a._own import current as settings, plain, other as _other
            from furu_a import _own as own
            from furu_b import Thing as Thing
            """,
        "furu_a/_own.py": "from furu_b import Thing as T\ndef current(): ...\nuse = current",
        "furu_a/public.py": """\
            from furu_a import _own
            use = _own.current
            current = _own.current
            _hidden = _own.current
            LIMIT = VALUE
            """,
        "furu_b/__init__.py": "def first(): ...\nsecond = first",
    }
    assert sources.renamed_exports(tree(tmp_path, files)) == [
        "furu_a.own is furu_a._own",
        "furu_a.public.use is _own.current",
        "furu_a.settings is furu_a._own.current",
        "furu_b.second is first",
    ]


def test_copied_blocks_are_found_once_at_their_full_length(tmp_path: Path) -> None:
    lines = [f"x{n} = call({n}, 'text {n}')" for n in range(8)]
    again = [
        line.replace("text", "another") for line in [*lines[:4], "", "# comment", *lines[4:], "y"]
    ]
    short = ["import os", *lines[:5], "import sys"]
    files = {
        "furu_a/_one.py": "\n".join(lines),
        "furu_a/_two.py": "def f():\n    " + "\n    ".join(again),
        "furu_a/_three.py": "\n".join(short),
    }
    found = house.duplicate_blocks(tree(tmp_path, files))
    assert found == [house.Duplicate("furu_a._one:1-8", "furu_a._two:2-11", lines=8)]


def test_a_block_that_follows_itself_is_a_duplicate_and_no_overlap_is(tmp_path: Path) -> None:
    block = [f"x{n} = {n}" for n in range(6)]
    files = {
        "furu_a/_same.py": "\n".join(["y = 1"] * 11),
        "furu_a/_twice.py": "\n".join(block * 2),
    }
    found = house.duplicate_blocks(tree(tmp_path, files))
    assert [one.second for one in found] == ["furu_a._twice:7-12"]


def test_a_revision_is_read_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree(tmp_path, {"furu_a/__init__.py": "x = 1\n", "furu_testing/__init__.py": "y = 1\n"})
    git = ["git", "-C", str(tmp_path), "-c", "user.name=me", "-c", "user.email=me@localhost"]
    for command in (["init", "-q"], ["add", "packages"], ["commit", "-q", "-m", "One."]):
        subprocess.run([*git, *command], check=True)
    tree(tmp_path, {"furu_a/_later.py": "class Later: ...\n" * 3})
    monkeypatch.setattr(house, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["house.py", "--at", "HEAD", "--json"])
    assert house.main() == 0
    then = json.loads(capsys.readouterr().out)
    assert then["sizes"]["all"]["lines"] == 2
    assert then["sizes"]["all but furu_testing"]["files"] == 1
    monkeypatch.setattr(sys, "argv", ["house.py"])
    assert house.main() == 0
    told = capsys.readouterr().out
    assert "names with two meanings: 0" in told
    assert "furu_a._later (3)" in told
    monkeypatch.setattr(sys, "argv", ["house.py", "--at", "never"])
    assert house.main() == 1
    assert "never" in capsys.readouterr().err


ROOMS_OF_A = {"furu_a": [["_top"], ["_middle", "_beside"], ["__init__"]]}


def test_imports_from_a_room_further_down_are_found(tmp_path: Path) -> None:
    files = {
        "furu_a/__init__.py": "from furu_a._middle.one import x\nfrom furu_a._top import y",
        "furu_a/_top.py": "def f():\n    from furu_a._middle.one import x",
        "furu_a/_middle/__init__.py": "",
        "furu_a/_middle/one.py": "from furu_a import _top, _beside, _outside",
        "furu_a/_beside.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import furu_a",
        "furu_a/_outside.py": "import furu_a",
        "furu_b/__init__.py": "import furu_a",
    }
    modules = tree(tmp_path, files)
    assert against_the_order(modules, ROOMS_OF_A) == {
        "furu_a._top -> furu_a._middle.one",
        "furu_a._beside -> furu_a",
    }
    outside = [one.name for one in modules if not rooms_of(one, ROOMS_OF_A)]
    assert outside == ["furu_a._outside", "furu_b"]
    assert not faults_of_the_table(modules, ROOMS_OF_A)


def test_unknown_names_in_the_table_are_faults(tmp_path: Path) -> None:
    modules = tree(tmp_path, {"furu_a/__init__.py": "", "furu_a/_mid/_one.py": ""})
    rooms = {"furu_a": [["_mid", "_middle"], ["_mid._one", "__init__"]], "furu_c": [["_x"]]}
    assert faults_of_the_table(modules, rooms) == [
        "furu_a._middle: no such module",
        "furu_c._x: no such module",
        "furu_a._mid._one: twice",
    ]


def test_what_is_found_is_held_against_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ALLOWED, "names", ["Kind", "furu_a"])
    check(["Kind", "furu_a._b", "furu_a._c"], "names", "wrong")
    with pytest.raises(AssertionError, match="wrong"):
        check(["Kind", "furu_a", "furu_ab"], "names", "wrong")
    with pytest.raises(AssertionError, match="mended: delete"):
        check(["Kind"], "names", "wrong")


def test_a_glossary_has_one_line_for_each_term() -> None:
    text = "What it is.\n\nMore.\n\nGlossary:\n    node: a config\n    run: what it does: all\n"
    assert glossary(text) == {"node": "a config", "run": "what it does: all"}
    assert glossary(text + "\nAfterwards: more.\n") == glossary(text)
    assert glossary("What it is.") is None
    for wrong in ("    and goes on\n", "    node: again\n", "    lone:\n"):
        with pytest.raises(ValueError, match="no glossary has"):
            glossary(text + wrong)


def test_the_page_about_the_code_names_what_is_there() -> None:
    page = (TOOLS.parent / "docs/code.md").read_text()
    named = sorted(set(re.findall(r"`(furu_\w+(?:\.\w+)+)`", page)))
    assert len(named) > 20
    for name in named:
        module, attribute = (name, "") if is_module(name) else name.rsplit(".", 1)
        found = importlib.import_module(module)
        assert not attribute or hasattr(found, attribute), f"docs/code.md names {name}"


def is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
