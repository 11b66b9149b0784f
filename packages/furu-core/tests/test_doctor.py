"""The checks of `furu doctor`, on disks and stores of all kinds."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from disk_nodes import PAGE, Value, fill
from machine import mounted

import furu_core
from furu_core._doctor import (
    _checkup,
    _filesystem,
    _installation,
    _probe_folder,
    _project,
    _remains,
    _room,
)
from furu_core._doctor._installation import InstalledPackage
from furu_core._doctor._results import CheckLevel, CheckResult, caught
from furu_core._output import _spool
from furu_testing import Host, KillAtEvent, cached_view, needs_cached_views

NODES = Path(__file__).parent / "nodes"
OK, NOTE, WARNING, PROBLEM = CheckLevel
DAY_SECS = 24 * 3600.0


def told(results: Iterator[CheckResult]) -> dict[str, tuple[CheckLevel, str]]:
    """What is not as it should be, by check: how bad it is, and in which words."""
    found = list(results)
    assert all(bool(one.next_step) == (one.level is not OK) for one in found), found
    assert all("\n" not in one.what + one.next_step for one in found)
    return {one.check: (one.level, one.what) for one in found if one.level is not OK}


def doctors_folders(*where: Path) -> list[str]:
    return [name for one in where for name in os.listdir(one) if "doctor" in name]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with Host(
        tmp_path_factory.mktemp("host"), modules=["doctor_nodes"], sys_path=[NODES]
    ) as started:
        yield started


# The store


def test_p8_a_new_store_and_one_that_is_not_there_yet_are_fit_and_left_as_they_were(
    furu_store: Path, tmp_path: Path
) -> None:
    assert told(_checkup.store_checks()) == {}
    assert list(furu_store.iterdir()) == []
    missing = tmp_path / "not" / "yet"
    before = sorted(tmp_path.iterdir())
    with furu_core.use_settings(path=missing):
        assert told(_checkup.store_checks()) == {
            "store": (NOTE, f"there is no {missing} yet; the first result makes it")
        }
        assert told(_remains.runs()) == told(_remains.attempts()) == told(_remains.trash()) == {}
    assert sorted(tmp_path.iterdir()) == before


def test_stores_that_are_only_read_are_told_when_they_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "other" / "data").mkdir(parents=True)
    for name, found in (("other", {}), ("nowhere", {"also": WARNING})):
        with furu_core.use_settings(path=tmp_path / "mine", also=[tmp_path / name]):
            results = told(_checkup.store_checks())
            results.pop("store")
            assert {check: level for check, (level, _) in results.items()} == found


def test_a_store_of_a_newer_furu_and_what_is_no_folder_are_problems(
    furu_store: Path, tmp_path: Path
) -> None:
    (furu_store / "furu.json").write_text('{"furu": 99}')
    (level, what) = told(caught("store", _checkup.store_checks()))["store"]
    assert (level, "has format 99" in what) == (PROBLEM, True)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "file/below", "link"):
        with furu_core.use_settings(path=tmp_path / name):
            assert told(caught("store", _checkup.store_checks()))["store"][0] is PROBLEM


@pytest.mark.parametrize("leave", [0, 1])
def test_p8_a_full_disk_is_one_problem_and_nothing_is_left(tmp_path: Path, leave: int) -> None:
    with (
        mounted(tmp_path / "disk", f"size={32 * PAGE}") as disk,
        furu_core.use_settings(path=disk / "store"),
    ):
        (disk / "store").mkdir()
        fill(disk, leave=leave)
        found = told(_checkup.store_checks())
        assert found.pop("space")[0] is WARNING
        ((level, what),) = found.values()
        assert (level, "No space left on device" in what) == (PROBLEM, True)
        assert doctors_folders(disk, disk / "store") == []


def test_p8_a_disk_without_inodes_is_a_problem(tmp_path: Path) -> None:
    with (
        mounted(tmp_path / "disk", "size=4m,nr_inodes=40") as disk,
        furu_core.use_settings(path=disk / "store"),
    ):
        (disk / "store").mkdir()
        for number in range(30):
            (disk / str(number)).touch()
        found = told(_checkup.store_checks())
        assert found["inodes"][0] is WARNING
        assert found["store"][0] is PROBLEM
        assert doctors_folders(disk / "store") == []


def test_p8_a_read_only_store_is_told_and_what_can_be_read_is_checked(tmp_path: Path) -> None:
    with (
        mounted(tmp_path / "disk", "size=4m") as disk,
        furu_core.use_settings(path=disk / "store"),
    ):
        Value(n=1).get()
        _spool._remove_all()  # a disk on which a file is open for writing cannot become read-only
        command = ["mount", "-o", "remount,ro", str(disk)]
        subprocess.run(command, check=True, capture_output=True)
        found = told(_checkup.store_checks())
        assert found == {"store": (PROBLEM, found["store"][1])}
        assert "it can only be read" in found["store"][1]
        for checks in (_remains.runs, _remains.attempts, _remains.passing_files, _remains.trash):
            assert told(checks()) == {}


def test_a_store_behind_caches_is_fit_and_told_to_be_on_a_network(tmp_path: Path) -> None:
    needs_cached_views()
    (tmp_path / "server").mkdir()
    with (
        cached_view(tmp_path / "server", tmp_path / "view", seconds=5) as view,
        furu_core.use_settings(path=view),
    ):
        results = list(_checkup.store_checks())
        assert told(iter(results)) == {}
        (mount,) = [one.what for one in results if one.check == "mount"]
        assert "a network filesystem" in mount
        assert doctors_folders(tmp_path / "server") == []


def test_what_a_filesystem_cannot_do_is_named_with_what_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    found = [one.what for one in _filesystem.operations(str(tmp_path)) if one.level is PROBLEM]
    assert found == [
        f"{name} does not work here: Operation not permitted; {need}"
        for name, need in (
            ("exclusive create", "two processes would hold one attempt"),
            ("link", "records are made by it"),
        )
    ]


def test_locks_that_keep_nobody_out_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(_filesystem.locks(str(tmp_path))) == {}

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert told(_filesystem.locks(str(tmp_path)))["locks"][0] is WARNING


def test_a_clock_that_is_off_is_told_and_one_that_cannot_tell_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(tmp_path)
    assert told(_filesystem.clock(folder)) == {}
    for off, words in ((-90.0, "90 s ahead of"), (90.0, "90 s behind")):
        level, what = told(_filesystem.clock(folder, lambda off=off: time.time() + off))["clock"]
        assert (level, words in what) == (WARNING, True)
    touch = os.utime
    monkeypatch.setattr(os, "utime", lambda path: touch(path, (0, time.time() + 60)))
    assert told(_filesystem.clock(folder))["clock"][0] is PROBLEM


def test_mounts_tell_how_late_they_show_what_others_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mounted_as(kind: str, options: str) -> CheckResult:
        told = ("/net", options, kind, "server:/export")
        monkeypatch.setattr(_filesystem, "mount_of", lambda _: told)
        (result,) = _filesystem.mount(str(tmp_path / "gone"))
        return result

    assert "up to 90 s late" in mounted_as("nfs4", "rw,hard,acregmax=90,acdirmax=30").what
    assert "hardly late" in mounted_as("nfs", "rw,noac").what
    assert mounted_as("nfs", "rw,soft").level is WARNING
    monkeypatch.setattr(
        _filesystem, "mount_of", lambda _: ("/n", "rw,local_lock=all", "nfs", "s:/")
    )
    assert told(_filesystem.locks(str(tmp_path)))["locks"][0] is WARNING
    monkeypatch.setattr(_filesystem, "mount_of", lambda _: None)
    assert told(_filesystem.mount(str(tmp_path)))["mount"][0] is NOTE


def test_p7_what_a_killed_doctor_left_goes_with_the_next_one_and_a_living_one_keeps_its_own(
    host: Host, furu_store: Path
) -> None:
    for number in (4, 5, 12, 30):
        kill = KillAtEvent(number, below=furu_store)
        child = host.start("doctor_nodes:examine", path=str(furu_store), die=kill)
        assert child.wait().killed
    left = doctors_folders(furu_store)
    assert len(left) == 4
    with _probe_folder.probe_folder() as own:
        other = Path(own).with_name(f"{_probe_folder.PREFIX}00000000-7-8-600-ab")
        other.mkdir()  # of another host
        removed = [one.what for one in _probe_folder.leftovers()]
        assert removed == [
            f"removed {furu_store}/{name}, which an earlier doctor left" for name in sorted(left)
        ]
        assert {Path(own), other} == set(furu_store.iterdir())
        old = time.time() - 700
        os.utime(other, (old, old))
        assert len(list(_probe_folder.leftovers())) == 1
    assert list(furu_store.iterdir()) == []


def test_who_cannot_use_what_is_written_is_told(furu_store: Path) -> None:
    store = str(furu_store)

    def shared(mode: int, umask: int) -> dict[str, tuple[CheckLevel, str]]:
        furu_store.chmod(mode)
        before = os.umask(umask)
        try:
            with _probe_folder.probe_folder() as folder:
                return told(_room.access(store, folder))
        finally:
            os.umask(before)

    assert shared(0o755, 0o022) == shared(0o2775, 0o002) == shared(0o700, 0o077) == {}
    assert shared(0o755, 0o077)["sharing"][0] is NOTE
    level, what = shared(0o2775, 0o022)["sharing"]
    assert (level, "(umask 022)" in what) == (WARNING, True)


def test_space_is_told_and_a_quota_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "quota"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)

    def says(line: str) -> dict[str, tuple[CheckLevel, str]]:
        program.write_text(f"#!/bin/sh\necho 'Disk quotas for user me (uid 7):'\necho '{line}'\n")
        program.chmod(0o755)
        return told(_room.quota(str(tmp_path)))

    assert says(" server:/home 1000 900000 1000000 0 12 0 0 0") == {}
    assert says("no quota") == {}
    used = says(" server:/home 1000000* 900000 1000000 6days 9990 10000 10000 0")["quota"]
    assert used == (WARNING, "10 files of 10,000 are left to you")
    full = next(_room.quota(str(tmp_path)))
    assert (full.level, full.what) == (PROBLEM, "0 B of 976.6 MiB are left to you")
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(_room, "_QUOTA_SECS", 0.05)
    assert told(_room.quota(str(tmp_path)))["quota"][0] is NOTE


# What is installed


def test_versions_that_do_not_fit_each_other_are_named() -> None:
    core = InstalledPackage("furu-core", "0.1.0")
    local = InstalledPackage(
        "furu-local", "0.2.0", ("attrs", "furu-core==0.2.0", "furu-plan==0.2.0")
    )
    mine = InstalledPackage("mine", "1.0", ("furu-core>=0.1,<0.2", "furu-x; extra == 'all'"))
    fit = list(_installation.packages({one.name: one for one in (core, mine)}))
    assert [(one.level, one.what) for one in fit] == [
        (OK, "furu-core 0.1.0; mine 1.0 fit each other")
    ]
    found = list(_installation.packages({one.name: one for one in (core, local, mine)}))
    assert [(one.level, one.what, one.next_step) for one in found] == [
        (
            PROBLEM,
            "furu-local 0.2.0 requires furu-core==0.2.0, but furu-core 0.1.0 is installed",
            "pip install --upgrade furu-core furu-local",
        ),
        (
            PROBLEM,
            "furu-local 0.2.0 requires furu-plan==0.2.0, but furu-plan is not installed",
            "pip install --upgrade furu-local furu-plan",
        ),
    ]


def test_the_packages_here_fit_each_other() -> None:
    found = _installation.installed_packages()
    assert "furu-core" in found
    assert told(_installation.packages(found)) == {}


# The project


def test_modules_that_cannot_be_imported_or_hide_others_are_named(
    furu_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project := tmp_path / "project").mkdir()
    monkeypatch.chdir(project)
    (project / "train.py").write_text("x = 1")
    (project / "data" / "exp" / "Old").mkdir(parents=True)
    (project / "exp").mkdir()
    (project / "exp" / "__init__.py").touch()
    assert {**told(_project.project()), **told(_project.classes())} == {}
    for name in ("train/Known", "exp/gone/Train", "other/Lost"):
        (furu_store / "data" / name / ("0" * 32)).mkdir(parents=True)
    level, what = {**told(_project.project()), **told(_project.classes())}["classes"]
    assert (level, what.partition("(")[2].partition(")")[0]) == (NOTE, "modules exp.gone, other")
    (project / "random.py").write_text("")
    (project / "model.py").write_text("class Model(:\n")
    results = [*_project.project()]
    assert [(one.level, one.what) for one in results] == [
        (PROBLEM, "model.py cannot be imported: line 1: invalid syntax"),
        (
            WARNING,
            "random.py hides Python's own module `random` in programs that start in this folder",
        ),
    ]


# What is left


def test_p7_a_run_whose_controller_was_killed_and_its_node_are_told_with_what_goes_on(
    host: Host, furu_store: Path
) -> None:
    child = host.start("doctor_nodes:run_until_killed", path=str(furu_store))
    assert child.wait().killed
    (run,) = _remains.runs()
    assert (run.level, run.what.startswith("run 20"), " is gone" in run.what) == (NOTE, True, True)
    (attempt,) = _remains.attempts()
    assert attempt.what.startswith("1 node has attempts or jobs that are gone: Killed(")
    assert attempt.next_step == "furu ls --state lost"


def test_what_killed_processes_left_is_told_once_it_is_old(furu_store: Path) -> None:
    Value(n=1).get()
    folder = Value(n=1).furu_dir.parent
    made = [
        folder / ".probe-1-ab",
        furu_store / "runs" / ".run.json.7-ab.tmp",
        folder / ".removed-x",
    ]
    for path in made:
        path.parent.mkdir(exist_ok=True)
        path.write_text("12345")
    assert told(_remains.passing_files()) == {}
    for path in made:
        os.utime(path, (time.time() - 2 * DAY_SECS,) * 2)
    (result,) = _remains.passing_files()
    assert result.what.startswith("3 leftovers of processes that were killed, 15 B")
    assert set(result.next_step.split()[2:]) == {str(path) for path in made}


def test_the_trash_is_told_with_what_frees_it(
    furu_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [one.what for one in _remains.trash()] == ["it is empty"]
    Value(n=1).get()
    Value(n=1).delete()
    (result,) = _remains.trash()
    assert (result.level, "1 removal with" in result.what) == (OK, True)
    monkeypatch.setattr(_remains, "_MOST", 1)
    (result,) = _remains.trash()
    assert (result.level, result.next_step) == (NOTE, "furu rm --empty")
