"""Imports go on as they did before while their sources are noted."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
import time
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from furu_core._code import _observer, _proofs


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.py").write_text(text)
    importlib.invalidate_caches()


def test_a_module_is_noted_once_with_its_source(folder: Path) -> None:
    for _ in range(2):  # compiled, and then cached
        write(folder, "observed_one", "VALUE = 1")
        module = importlib.import_module("observed_one")
        noted = _observer.notes.pop("observed_one")
        assert [(one.data, one.proven) for one in noted] == [(b"VALUE = 1", True)]
        assert module.VALUE == 1
        assert isinstance(module.__loader__, SourceFileLoader)
        assert module.__loader__.get_source("observed_one") == "VALUE = 1"
        del sys.modules["observed_one"]
    assert "observed_one" not in _observer.notes


@pytest.mark.parametrize("settled", [True, False])
def test_cached_code_is_used_if_it_was_written_long_after_the_last_edit(
    folder: Path, monkeypatch: pytest.MonkeyPatch, settled: bool
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    write(folder, "observed_cached", "VALUE = 1")
    cached = importlib.import_module("observed_cached").__cached__
    if settled:
        later = time.time() + 60
        os.utime(cached, (later, later))
    compiled = []

    def compiling(loader: SourceFileLoader, data: bytes, path: str, **more: Any) -> Any:
        compiled.append(path)
        return compile(data, path, "exec")

    monkeypatch.setattr(SourceFileLoader, "source_to_code", compiling)
    del sys.modules["observed_cached"]
    assert importlib.import_module("observed_cached").VALUE == 1
    assert bool(compiled) is not settled
    noted = _observer.notes.pop("observed_cached")
    assert [(one.data, one.proven) for one in noted] == [(b"VALUE = 1", True)] * 2


def test_a_module_that_is_not_there_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named 'observed_nowhere'"):
        importlib.import_module("observed_nowhere")


def test_finders_of_others_are_asked_in_their_order(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, "observed_two", "VALUE = 1")

    class Loader:
        def create_module(self, spec: ModuleSpec) -> None:
            return None

        def exec_module(self, module: Any) -> None:
            module.VALUE = 2

    class Finder:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
            return ModuleSpec(name, Loader()) if name == "observed_two" else None  # type: ignore[arg-type]

    at = sys.meta_path.index(_observer._finder) + 1
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path[:at], Finder(), *sys.meta_path[at:]])
    assert importlib.import_module("observed_two").VALUE == 2
    assert "observed_two" not in _observer.notes


def test_a_loader_of_others_is_proven_by_a_file_that_stays_the_same(folder: Path) -> None:
    class Loader(SourceFileLoader):
        pass

    for name, edits in (("observed_same", False), ("observed_edited", True)):
        write(folder, name, "VALUE = 1")
        file = str(folder / f"{name}.py")
        spec = importlib.util.spec_from_file_location(name, file, loader=Loader(name, file))
        assert spec is not None
        deadline = threading.Event()
        deadline.wait(0.15)  # what was written just now might be written again unseen
        _observer._finder._observe(spec)
        if edits:
            write(folder, name, "VALUE = 2")
        (noted,) = _observer.notes[name]
        assert bool(_proofs._why_unproven(noted)) is edits


def test_a_lazy_module_is_not_executed_by_looking_at_it(folder: Path) -> None:
    write(folder, "observed_lazy", "raise AssertionError('executed')")
    spec = importlib.util.find_spec("observed_lazy")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules["observed_lazy"] = module
    spec.loader.exec_module(module)
    assert "observed_lazy" not in [one.key for one in _proofs.loaded_modules()]
    with pytest.raises(AssertionError, match="executed"):
        _ = module.VALUE


def test_strange_things_among_the_modules_are_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Raises(ModuleType):
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(name)

    monkeypatch.setitem(sys.modules, "observed_none", None)
    monkeypatch.setitem(sys.modules, "observed_number", 3)
    monkeypatch.setitem(sys.modules, "observed_raises", Raises("observed_raises"))
    found = [one.key for one in _proofs.loaded_modules()]
    assert __name__ in found
    assert not [name for name in found if name.startswith("observed_")]


def test_threads_that_import_note_all_of_it(folder: Path) -> None:
    names = [f"observed_thread_{number}" for number in range(40)]
    for name in names:
        write(folder, name, "VALUE = 1")
    before = len(_observer.noted)
    threads = [
        threading.Thread(target=lambda part=part: [*map(importlib.import_module, names[part::4])])
        for part in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(_observer.notes[name]) == 1 for name in names)
    orders = [one.order for one in _observer.noted[before:]]
    assert len(set(orders)) == len(orders) >= len(names)
