"""What a node changes in its process, and the next one does not find changed."""

from __future__ import annotations

import importlib
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import get_nodes
import pytest
from get_nodes import Does

import furu_core
from furu_core.errors import FuruComputeError
from furu_core.workers import Outcome, run_node


def look() -> dict[str, object]:
    umask = os.umask(0o022)
    os.umask(umask)
    return {
        "folder": Path.cwd(),
        "umask": umask,
        "environment": {k: v for k, v in os.environ.items() if not k.startswith("FURU_EXEC_")},
        "settings": furu_core.settings(),
        "handlers": [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGPIPE)],
        "blocked": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "timer": signal.getitimer(signal.ITIMER_VIRTUAL),
    }


def change_all() -> None:
    os.chdir("/")
    os.umask(0o077)
    os.environ["FURU_PATH"] = "/nowhere"
    os.environ["OMP_NUM_THREADS_OF_A_NODE"] = "1"
    del os.environ["PATH"]
    furu_core.configure(path="/nowhere", lease_secs=1)
    for number in (signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    signal.setitimer(signal.ITIMER_VIRTUAL, 3600)


def change_and_fail() -> None:
    change_all()
    raise ValueError("changed it all")


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(get_nodes.hooks, "changes", change_all)
    monkeypatch.setitem(get_nodes.hooks, "fails", change_and_fail)


@pytest.mark.usefixtures("changes")
def test_p2_what_a_node_changes_in_its_process_does_not_reach_the_next_one(
    store: Path, session: Any
) -> None:
    before = look()
    with session():
        inside = look()
        for hook in ("changes", "fails"):
            run_node(Does(hook=hook))
            assert look() == inside
    Does(hook="changes", n=1).get()
    assert look() == before
    with pytest.raises(FuruComputeError, match="changed it all"):
        Does(hook="fails", n=1).get()
    assert look() == before


@pytest.mark.usefixtures("changes")
def test_files_of_a_node_that_changes_the_umask_are_published_for_those_who_may_read_others(
    store: Path, session: Any
) -> None:
    nodes = [Does(n=1), Does(hook="changes"), Does(n=2)]
    with session():
        assert [run_node(node).outcome for node in nodes] == [Outcome.COMPUTED] * 3
    for node in nodes:
        folder = node.furu_dir
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))]
        assert all(mode & 0o044 == 0o044 for mode in modes)


@pytest.mark.usefixtures("changes")
def test_a_node_finds_what_its_own_dependency_changed_put_back(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asks() -> bool:
        os.environ["OF_THE_OUTER"] = "1"
        before = look()
        Does(hook="changes").get()
        return look() == before

    monkeypatch.setitem(get_nodes.hooks, "asks", asks)
    assert Does(hook="asks").get() is True
    assert "OF_THE_OUTER" not in os.environ


def test_what_a_program_changes_while_a_thread_of_it_computes_a_node_is_left_alone(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = threading.Barrier(2, timeout=60)

    def waits() -> None:
        turn.wait()
        turn.wait()

    monkeypatch.setitem(get_nodes.hooks, "waits", waits)
    thread = threading.Thread(target=Does(hook="waits").get)
    thread.start()
    turn.wait()
    monkeypatch.setenv("SET_BY_THE_PROGRAM", "1")
    monkeypatch.chdir(store.parent)
    signal.setitimer(signal.ITIMER_VIRTUAL, 3600)
    try:
        turn.wait()
        thread.join()
        assert os.environ["SET_BY_THE_PROGRAM"] == "1"
        assert Path.cwd() == store.parent
        assert signal.getitimer(signal.ITIMER_VIRTUAL) != (0.0, 0.0)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def test_what_nodes_change_at_the_same_time_in_threads_is_left_alone(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one puts back might be what the other has just set."""
    others = threading.Barrier(2, timeout=60)

    def sets(name: str) -> Callable[[], bool]:
        def do() -> bool:
            others.wait()  # both compute
            monkeypatch.setenv(name, "1")
            others.wait()
            return name in os.environ

        return do

    nodes = []
    for name in ("SET_BY_A", "SET_BY_B"):
        monkeypatch.setitem(get_nodes.hooks, name, sets(name))
        nodes.append(Does(hook=name))
    threads = [threading.Thread(target=node.get) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [node.get() for node in nodes] == [True, True]


def test_what_a_worker_changed_between_nodes_by_an_import_stays(
    store: Path, session: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sets_umask_once.py").write_text("import os; os.umask(0o027)")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = os.umask(0o022)
    try:
        with session():
            run_node(Does(n=1))
            assert os.umask(0o022) == 0o022
            importlib.import_module("sets_umask_once")
            run_node(Does(n=2))
            assert os.umask(0o022) == 0o027
    finally:
        os.umask(before)
        sys.modules.pop("sets_umask_once", None)


def test_a_worker_whose_node_left_a_timer_and_a_folder_puts_both_back_after_every_node(
    store: Path, session: Any, changes: None
) -> None:
    with session():
        run_node(Does(n=1))
        inside = look()
        for n in range(3):
            run_node(Does(hook="changes", n=n))
            assert look() == inside


def test_a_thread_of_a_node_that_set_a_signal_handler_computes_another_node(
    store: Path, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_a_thread() -> None:
        signal.signal(signal.SIGUSR1, lambda *_: None)
        inner = Does(n=sum(1 for _ in store.rglob(".furu.json")))
        with ThreadPoolExecutor(1) as pool:
            pool.submit(inner.get, force=True).result()

    monkeypatch.setitem(get_nodes.hooks, "asks", in_a_thread)
    with session():
        for n in range(3):  # the first may import what the others find
            result = run_node(Does(hook="asks", n=n))
            assert result.outcome is Outcome.COMPUTED, result
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
