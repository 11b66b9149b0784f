"""Provenance says what it can find out, and never fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

from furu_core import _provenance
from furu_core._costs import NodeTimer
from furu_core._provenance import (
    Provenance,
    adopt_provenance,
    capture,
    process_provenance,
)

NAME = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_CONFIG_GLOBAL": "/dev/null"}
NAME |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b", "GIT_CONFIG_NOSYSTEM": "1"}


def git(folder: Path, *args: str) -> str:
    done = subprocess.run(
        ["git", *args],
        cwd=folder,
        env={**os.environ, **NAME},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    git(tmp_path, "init", "-q", "-b", "trunk")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_provenance, "_project", lambda cwd: cwd)
    monkeypatch.setattr(_provenance, "GIT_TIMEOUT_SECS", 120.0)  # a busy machine is no hanging git
    return tmp_path


def commit(repository: Path) -> str:
    (repository / "a.py").write_text("one\n")
    git(repository, "add", "a.py")
    git(repository, "commit", "-q", "-m", "first")
    return git(repository, "rev-parse", "HEAD")


def test_a_clean_tree_gives_commit_and_branch(repository: Path) -> None:
    sha = commit(repository)
    found = capture().git
    assert found is not None
    assert (found.root, found.commit, found.branch) == (str(repository), sha, "trunk")
    assert (found.dirty, found.patch, found.untracked, found.note) == (False, "", (), "")


def test_a_dirty_tree_gives_its_patch_and_names_untracked_files(repository: Path) -> None:
    commit(repository)
    (repository / "a.py").write_text("two\n")
    (repository / "new ü.py").write_text("new")
    found = capture().git
    assert found is not None
    assert found.dirty
    assert "-one\n+two\n" in found.patch
    assert found.untracked == ("new ü.py",)


def test_a_huge_patch_is_cut_and_says_how_long_it_was(repository: Path) -> None:
    commit(repository)
    (repository / "a.py").write_text("x" * 200_000)
    found = capture().git
    assert found is not None
    assert len(found.patch) == _provenance.PATCH_LIMIT
    assert found.patch_chars > 200_000


def test_a_renamed_file_is_a_change_and_not_two_entries(repository: Path) -> None:
    commit(repository)
    git(repository, "mv", "a.py", "b.py")
    found = capture().git
    assert found is not None
    assert found.dirty
    assert found.untracked == ()


def test_a_repository_without_commits_has_no_commit(repository: Path) -> None:
    (repository / "a.py").write_text("one\n")
    git(repository, "add", "a.py")
    found = capture().git
    assert found is not None
    assert (found.commit, found.branch, found.dirty, found.note) == (None, "trunk", True, "")


def test_a_detached_head_has_no_branch(repository: Path) -> None:
    sha = commit(repository)
    git(repository, "checkout", "-q", "--detach")
    found = capture().git
    assert found is not None
    assert (found.commit, found.branch) == (sha, None)


def test_without_git_the_commit_is_still_known(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha = commit(repository)
    monkeypatch.setenv("PATH", "/nowhere")
    found = capture().git
    assert found is not None
    assert (found.commit, found.branch) == (sha, "trunk")
    assert found.dirty is None
    assert "git" in found.note


def test_a_git_that_hangs_is_given_up(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(repository)
    slow = repository / "bin"
    slow.mkdir()
    (slow / "git").write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    (slow / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow}:{os.environ['PATH']}")
    monkeypatch.setattr(_provenance, "GIT_TIMEOUT_SECS", 0.2)
    found = capture().git
    assert found is not None
    assert found.commit is not None
    assert "took longer than 0.2 s" in found.note


def test_a_broken_repository_fails_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_provenance, "_project", lambda cwd: cwd)
    found = capture().git
    assert found is not None
    assert found.commit is None
    assert found.note


def test_outside_a_repository_there_is_no_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_provenance, "_project", lambda cwd: tmp_path)
    if any((folder / ".git").exists() for folder in tmp_path.parents):
        pytest.skip("the temporary folder lies in a repository")
    assert capture().git is None


def test_a_deleted_working_directory_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert capture().cwd == "/"


def test_git_is_called_at_most_twice_and_once_a_process(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(repository)
    (repository / "a.py").write_text("two\n")
    calls = []
    real = subprocess.run

    def counted(*args: object, **kwargs: object) -> object:
        calls.append(args)
        return real(*args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", counted)
    monkeypatch.setattr(_provenance, "_captured", None)
    assert process_provenance() is process_provenance()
    assert len(calls) == 2


def test_all_installed_distributions_are_named_with_their_versions() -> None:
    def spelled(name: str) -> str:
        return name.replace("_", "-").lower()

    expected: dict[str, str] = {}
    for dist in distributions():  # in the order of sys.path, and the first one is imported
        if dist.name:
            expected.setdefault(spelled(dist.name), dist.version)
    found = capture().packages
    assert {name: found.get(name) for name in expected} == expected


def test_a_worker_adopts_the_provenance_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_provenance, "_captured", None)
    parent = process_provenance()
    record = json.loads(parent.record_bytes)
    record |= {"host": "elsewhere", "a_later_field": 1, "command": ["furu", "run", "exp:roots"]}
    adopt_provenance(record)
    mine = process_provenance()
    assert isinstance(mine, Provenance)
    assert mine.command == ("furu", "run", "exp:roots")
    assert mine.host == parent.host
    assert mine.git == parent.git


def test_p9_the_timer_counts_processor_time_of_children_apart() -> None:
    timer = NodeTimer()
    code = "import time\nwhile time.process_time() < 0.2: pass"
    subprocess.run(["python3", "-c", code], check=True)
    cost = timer.stop()
    assert cost["wall_secs"] >= 0.2
    assert cost["children_cpu_secs"] >= 0.19
    assert cost["cpu_secs"] < 0.19


@pytest.mark.skipif(sys.platform != "linux", reason="other systems measure no peak anew")
def test_p9_the_peak_is_that_of_the_node_and_not_of_an_earlier_one() -> None:
    timer = NodeTimer()
    large = bytearray(400 << 20)
    high = timer.stop()["peak_bytes"]
    del large
    low = NodeTimer().stop()["peak_bytes"]
    assert low < high - (300 << 20)
    timer = NodeTimer()
    large = bytearray(150 << 20)
    del large
    assert 140 << 20 < timer.stop()["peak_bytes"] - low < 170 << 20
    assert "process_peak_bytes" in NodeTimer(alone=False).stop()
