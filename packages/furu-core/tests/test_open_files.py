"""What a node leaves open below its folder is closed before it is published, or keeps it from that."""

from __future__ import annotations

import gzip
import logging
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import open_nodes as nodes
import pytest
from open_nodes import Leaves

from furu_core._compute import _open_files
from furu_core.errors import FuruComputeError, FuruResultError
from furu_core.workers import Outcome, run_node


@pytest.fixture(autouse=True)
def _closed_in_the_end() -> Iterator[None]:
    yield
    for one in nodes.kept:
        if isinstance(one, int):
            os.close(one)
        elif isinstance(one, subprocess.Popen):
            one.kill()
            one.wait()
        elif hasattr(one, "close"):
            one.close()
    nodes.kept.clear()


def content(file: Path, what: str) -> str:
    """What a reader finds in a file, whatever its format."""
    if "gzip" in what:
        return gzip.decompress(file.read_bytes()).decode()
    if "zip" in what:
        return zipfile.ZipFile(file).read("member").decode()
    if "tar" in what:
        with tarfile.open(file) as archive:
            return "written" if archive.getnames() == ["member"] else "nothing"
    return file.read_text()


@pytest.mark.parametrize("what", nodes.CLOSED)
def test_p1_what_a_node_leaves_open_is_written_and_closed_before_its_artifact_appears(
    store: Path, what: str
) -> None:
    node = Leaves(what=what)
    streams = sys.stdout, sys.stderr
    assert node.get() == "done"
    if "not opened" not in what:
        assert "written" in content(node.furu_dir / "file", what)
    assert (sys.stdout, sys.stderr) == streams
    nodes.left.warning("later")
    print("later")
    assert nodes.left.handlers == []
    assert not _open_files._open_here(f"{store}/data")
    before = (node.furu_dir / ".furu.json").stat().st_mtime_ns
    assert Leaves(what=what).get() == "done"
    assert (node.furu_dir / ".furu.json").stat().st_mtime_ns == before, "it was loaded"


@pytest.mark.parametrize("what", nodes.REFUSED)
def test_p1_where_something_goes_on_writing_the_node_fails_and_the_file_is_named(
    store: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(_open_files, "_PATIENCE_SECS", 0.05)
    node = Leaves(what=what)
    who = "child process" if what == "a child" else "this process"
    with pytest.raises(FuruResultError, match=rf"/file' is still open for writing in .*{who}"):
        node.get()
    assert not node.exists()


def test_a_child_process_that_is_just_ending_is_waited_for(store: Path) -> None:
    node = Leaves(what="a child")
    ending = subprocess.Popen.__init__

    def brief(self: Any, _args: Any, **options: Any) -> None:
        ending(self, ["sleep", "0.1"], **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", brief)
        assert node.get() == "done"


def test_p7_what_a_failed_node_leaves_open_does_not_reach_the_next_one(
    store: Path, session: Any
) -> None:
    with session():
        assert run_node(Leaves(what="a log handler", fails=True)).outcome is Outcome.FAILED
    with pytest.raises(FuruComputeError, match="after that"):
        Leaves(what="a file", fails=True).get()
    assert logging.getLogger("left.open").handlers == []
    assert not _open_files._open_here(f"{store}/data")
