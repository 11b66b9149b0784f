"""P9: what differs between the code that made a result and the code that is there now."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from furu_core import use_settings
from furu_core._code import _checkout, _listings
from furu_core._code._differences import CurrentCode, ModuleChange
from furu_core._code._listings import CodeListing, ListedModule, ParsedSource
from furu_core._explain._code_states import CodeStates
from furu_core._store._by_content import content_digest
from furu_core.errors import FuruFormatError, FuruUsageError

MODEL = b"""
class Encoder:
    def forward(self, x): return x + 1

def other(): return 2
"""


@pytest.fixture(autouse=True)
def _store(tmp_path: Path):
    with use_settings(path=tmp_path / "store"):
        yield


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    return folder


def listed(path: str, source: bytes, **more: object) -> ListedModule:
    digest = content_digest(source)
    syntax = _listings.parsed({digest: source})[digest].syntax
    return ListedModule(path, syntax=syntax, source=digest, **more)  # type: ignore[arg-type]


def stored(modules: dict[str, ListedModule], *sources: bytes) -> str:
    return _listings.store(modules, {content_digest(one): one for one in sources})


def listing_of(modules: dict[str, ListedModule], *sources: bytes) -> CodeListing:
    found = _listings.read(stored(modules, *sources))
    assert found is not None
    return found


@pytest.mark.parametrize("folder", ["", "src"])
@pytest.mark.parametrize(
    ("now", "change", "definitions"),
    [
        (MODEL, None, ()),
        (b"# a comment\n" + MODEL, None, ()),
        (MODEL.replace(b"x + 1", b"x - 1"), ModuleChange.CHANGED, ("Encoder.forward",)),
        (MODEL + b"\nLIMIT = 3\n", ModuleChange.CHANGED, ("<module>",)),
        (b"def", ModuleChange.CHANGED, ()),
        (None, ModuleChange.GONE, ()),
    ],
)
def test_p9_a_module_that_says_something_else_now_differs(
    project: Path,
    folder: str,
    now: bytes | None,
    change: ModuleChange | None,
    definitions: tuple[str, ...],
) -> None:
    listing = listing_of({"lab.model": listed("lab/model.py", MODEL)}, MODEL)
    if now is not None:
        (project / folder / "lab").mkdir(parents=True)
        (project / folder / "lab" / "model.py").write_bytes(now)
    found = CurrentCode(str(project)).differences(listing)
    assert [one.change for one in found] == ([] if change is None else [change])
    assert [one.definitions() for one in found] == ([] if change is None else [definitions])


def test_p9_what_only_the_asking_program_imported_and_what_is_unknown_are_told_apart(
    project: Path,
) -> None:
    modules = {
        "plot": listed("plot.py", b"x = 1", is_script=True),
        "lost": ListedModule("lost.py", unknown="nobody knows"),
    }
    listing = listing_of(modules, b"x = 1")
    (project / "plot.py").write_text("x = 2")
    (project / "lost.py").write_text("x = 2")
    assert listing.unknown == {"lost": "nobody knows"}
    code = CurrentCode(str(project))
    assert [one.name for one in code.differences(listing)] == ["lost"]
    assert code.differences(listing)[0].change is ModuleChange.UNKNOWN
    assert code.differences(listing)[0].definitions() == ()
    both = code.differences(listing, scripts=True)
    assert {one.name: one.change.value for one in both} == {"plot": "changed", "lost": "unknown"}


def test_p9_a_module_is_found_where_it_would_be_imported_from(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    (outside / "furu_test_lab").mkdir(parents=True)
    (outside / "furu_test_lab" / "__init__.py").touch()
    (outside / "furu_test_lab" / "model.py").write_bytes(MODEL)
    (outside / "furu_test_flat.py").write_bytes(MODEL)
    monkeypatch.syspath_prepend(outside)
    modules = {
        "furu_test_lab.model": listed("furu_test_lab/model.py", MODEL),
        "exp.furu_test_flat": listed("exp/furu_test_flat.py", MODEL, imported="furu_test_flat"),
    }
    listing = listing_of(modules, MODEL)
    code = CurrentCode(str(project))
    assert code.differences(listing) == ()
    files = [code.file_of(name, module) for name, module in listing.modules.items()]
    assert files == [f"{outside}/furu_test_flat.py", f"{outside}/furu_test_lab/model.py"]
    assert "furu_test_lab" not in sys.modules


def test_sources_are_parsed_once_and_what_they_say_is_kept_in_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_listings, "_remembered", {})
    sources = {content_digest(text): text for text in (b"import a", b"x = 1", b"def")}
    found = _listings.parsed(sources)
    assert [one.imports for one in found.values()] == [("a",), ()]
    monkeypatch.setattr(_listings, "_remembered", {})
    monkeypatch.setattr("furu_core._code._syntax.read_syntax", lambda _: pytest.fail("parsed"))
    sources.pop(content_digest(b"def"))
    assert _listings.parsed(sources) == found


@pytest.mark.parametrize("damage", [b"", b"{", b'{"furu":9}', b'{"furu":1,"sources":3}'])
def test_what_sources_say_is_found_out_again_where_the_file_is_damaged(
    damage: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_listings, "_remembered", {})
    (tmp_path / "store" / "code").mkdir(parents=True)
    (tmp_path / "store" / "code" / "parsed.json").write_bytes(damage)
    digest = content_digest(b"import a")
    found = _listings.parsed({digest: b"import a"})
    assert found == {digest: ParsedSource(found[digest].syntax, ("a",))}
    assert b"import" in (tmp_path / "store" / "code" / "parsed.json").read_bytes()


def test_a_listing_that_is_damaged_is_none_and_a_newer_one_is_refused() -> None:
    digest = stored({"model": listed("model.py", MODEL)}, MODEL)
    path = Path(_listings.LISTINGS.path_of(digest))
    text = path.read_bytes()
    path.write_bytes(text[:-5])
    assert _listings.read(digest) is None
    path.write_bytes(text.replace(b'{"furu":1', b'{"furu":2'))
    with pytest.raises(FuruFormatError):
        _listings.read(digest)
    path.unlink()
    assert _listings.read(digest) is None


# A checkout


def test_p9_code_is_written_where_imports_find_it_by_the_names_that_it_had(tmp_path: Path) -> None:
    modules = {
        "exp.train": listed("exp/train.py", MODEL, imported="train"),
        "lab": listed("lab/__init__.py", b""),
        "lab.model": listed("lab/model.py", MODEL),
        "mod": listed("mod.py", MODEL, imported="space.mod"),
        "lost": ListedModule("lost.py", unknown="nobody knows"),
    }
    digest = stored(modules, MODEL, b"")
    made = _checkout.checkout(digest, str(tmp_path / "empty"))
    files = {
        str(path.relative_to(tmp_path / "empty"))
        for path in (tmp_path / "empty").rglob("*")
        if path.is_file()
    }
    expected = {"exp/train.py", "lab/__init__.py", "lab/model.py", "space/mod.py", "pyproject.toml"}
    assert files == expected
    assert made.roots == (str(tmp_path / "empty"), str(tmp_path / "empty" / "exp"))
    assert made.missing == {"lost": "nobody knows"}


def test_code_is_not_written_over_what_is_there(tmp_path: Path) -> None:
    digest = stored({"model": listed("model.py", MODEL)}, MODEL)
    os.mkdir(tmp_path / "full")
    (tmp_path / "full" / "mine.py").touch()
    for place in ("full", "full/mine.py"):
        with pytest.raises(FuruUsageError, match="not an empty folder"):
            _checkout.checkout(digest, str(tmp_path / place))
    with pytest.raises(FuruUsageError, match="no code"):
        _checkout.checkout("0" * 32, str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_source_that_the_store_lacks_is_said_to_be_missing(tmp_path: Path) -> None:
    digest = stored({"model": listed("model.py", MODEL)}, MODEL)
    Path(_listings.SOURCES.path_of(content_digest(MODEL))).unlink()
    made = _checkout.checkout(digest, str(tmp_path / "empty"))
    assert "the store lacks its source" in made.missing["model"]


def test_p9_a_script_with_the_name_of_a_module_of_python_is_not_taken_for_that(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    (project / "test.py").write_bytes(MODEL)
    listing = listing_of({"test": listed("test.py", MODEL)}, MODEL)
    assert CurrentCode().differences(listing) == ()
    (project / "test.py").write_bytes(MODEL.replace(b"2", b"3"))
    (found,) = CurrentCode().differences(listing)
    assert found.file == str(project / "test.py")


def test_p9_results_of_another_project_are_not_compared_with_modules_of_the_same_names_here(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    train = b"import utils\nclass Train:\n    def _create(self): return utils.load()\n"
    utils = b"def load(): return 1\n"
    modules = {"theirs": listed("theirs.py", train), "utils": listed("utils.py", utils)}
    digest = stored(modules, train, utils)
    (project / "utils.py").write_bytes(utils.replace(b"1", b"2"))
    state = CodeStates().of("theirs:Train", digest)
    assert state.changed == ()
    assert state.not_compared == ("theirs is not found here",)
    (project / "theirs.py").write_bytes(train)
    assert CodeStates().of("theirs:Train", digest).texts == ("utils.py load",)


def test_p9_while_a_module_is_no_python_results_are_not_said_to_be_by_other_code(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    source = b"class Train:\n    def _create(self): return 1\n"
    digest = stored({"train": listed("train.py", source)}, source)
    (project / "train.py").write_bytes(b"<<<<<<< HEAD\n" + source)
    state = CodeStates().of("train:Train", digest)
    assert state.changed == ()
    assert state.not_compared == ("train is no Python now",)


def test_a_listing_writes_nothing_outside_of_the_folder(tmp_path: Path) -> None:
    source = b"x = 1\n"
    modules = {"bad": listed("../../out.py", source), "good": listed("good.py", source)}
    folder = tmp_path / "a" / "b" / "c"
    made = _checkout.checkout(stored(modules, source), str(folder))
    assert made.missing == {"bad": "its place, ../../out.py, is outside of the folder"}
    assert not (tmp_path / "a" / "out.py").exists()
    assert (folder / "good.py").exists()
