"""P6: nothing waits for ever, nothing waits for the dead, and a wait names whom it waits for."""

from __future__ import annotations

import errno
import math
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from furu_core import Furu, _process_ids, _provenance
from furu_core._attempts import (
    _attempts,
    _claims,
    _lease,
    _liveness,
    _publishing,
    _records,
)
from furu_core._attempts._records import AttemptRecord
from furu_core._config._objects import short_name
from furu_core._output import _console, _spool
from furu_core._process_ids import ProcessId
from furu_core._settings import _settings
from furu_core._store import _layout, _published, _record_file
from furu_core._store._layout import RECORD_FILE
from furu_core.errors import FuruComputeError, FuruStoreError, FuruWaitTimeout
from furu_core.planning import NodeState, StateReader
from furu_testing import Host, needs_namespaces, wait_until
from furu_testing.nodes import Leaf

pytestmark = pytest.mark.timeout(300)

NODES = Path(__file__).parent / "nodes"
ELSEWHERE = ProcessId("another-host", "another-boot", "pid:[1]", 4711, "1")
HOUR = 3600.0


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    settings = {"lease_secs": HOUR, "poll_interval_secs": 0.2}
    with Host(folder, modules=["raced_nodes"], sys_path=[NODES], settings=settings) as started:
        yield started


@pytest.fixture
def outside(host: Host, tmp_path: Path) -> Iterator[Path]:
    """A folder with a store for nodes that wait for the test."""
    (tmp_path / "store").mkdir()
    yield tmp_path
    for who in ("first", "second", "zombie"):
        (tmp_path / f"go-{who}").touch()


def wait_for(outside: Path, line: str) -> None:
    notes = outside / "notes"
    wait_until(f"the note {line!r}", lambda: notes.exists() and line in notes.read_text())


def leave_attempt(
    node: Furu[object],
    *,
    holder: ProcessId = ELSEWHERE,
    token: str = "0" * 16,
    age_secs: float = 0.0,
    lease_secs: float = 120.0,
) -> str:
    """Leave a running attempt as its holder would, with a sign of life some time ago."""
    paths = _layout.ref_of(node)
    folder = paths.attempt(1)
    os.makedirs(folder)
    record = AttemptRecord(
        number=1,
        token=token,
        node=short_name(node),
        holder=holder,
        started=time.time() - age_secs,
        lease_secs=lease_secs,
    )
    Path(folder, RECORD_FILE).write_bytes(_records.claim_bytes(record, "null") + b"\n")
    touch(folder, time.time() - age_secs)
    return folder


def attempt_of_gate(outside: Path) -> str:
    """The folder of the only attempt at the gate."""
    (folder,) = (outside / "store").glob("data/**/Gate/.*.1")
    return str(folder)


def touch(folder: str, when: float) -> None:
    for name in (RECORD_FILE, ""):
        if os.path.exists(f"{folder}/{name}"):
            os.utime(f"{folder}/{name}", (when, when))


# The holder is dead


def test_a_node_whose_holder_was_killed_on_this_host_is_computed_at_once(
    host: Host, outside: Path
) -> None:
    store = str(outside / "store")
    first = host.start("raced_nodes:get_gate", str(outside), "first", path=store)
    wait_for(outside, "begun by first")
    first.kill()
    assert first.wait().killed
    (outside / "go-second").touch()
    # It ends within the test's patience, which is far less than the lease.
    assert host.run("raced_nodes:get_gate", str(outside), "second", path=store) == "second second"


def test_p9_an_attempt_that_was_killed_is_told_as_lost_and_when_that_was_noticed(
    host: Host, outside: Path
) -> None:
    """K6: it was told as running for ever."""
    store = str(outside / "store")
    first = host.start("raced_nodes:get_gate", str(outside), "first", path=store)
    wait_for(outside, "begun by first")
    first.kill()
    assert first.wait().killed
    killed = time.time()
    (outside / "go-second").touch()
    assert host.run("raced_nodes:get_gate", str(outside), "second", path=store) == "second second"
    (artifact,) = (outside / "store").glob("data/**/Gate/*/.furu.json")
    _, story = _records.raw(str(artifact.parent))
    (earlier,) = story["earlier"]
    assert (earlier["number"], earlier["status"]) == (1, "lost")
    assert earlier["ended"]["kind"] == "lost"
    assert earlier["ended"]["noticed"] is True
    assert earlier["ended"]["time"] >= killed
    assert "has ended" in earlier["ended"]["message"]


def test_a_node_whose_host_went_down_is_computed_when_the_lease_has_run_out(
    host: Host, outside: Path
) -> None:
    needs_namespaces()
    store = outside / "store"
    (outside / "go-second").touch()
    with Host(store, sys_path=[NODES], name="lost-host", settings={"lease_secs": HOUR}) as lost:
        lost.start("raced_nodes:get_gate", str(outside), "first")
        wait_for(outside, "begun by first")
        lost.crash()
    seen = host.run("raced_nodes:gate_state", str(outside), path=str(store))
    assert seen["state"] == "running"
    assert "lost-host" in seen["holder"]
    waits = host.log().count("wait for")
    second = host.start("raced_nodes:get_gate", str(outside), "second", path=str(store))
    wait_until("the wait to begin", lambda: host.log().count("wait for") > waits)
    assert "second" not in (outside / "notes").read_text()
    touch(attempt_of_gate(outside), time.time() - 2 * HOUR)
    assert second.result() == "second second"


def test_a_zombie_is_dead(host: Host, outside: Path) -> None:
    store = str(outside / "store")
    zombie = host.start("raced_nodes:become_zombie_with_gate", str(outside), path=store)
    wait_for(outside, "zombie")
    assert host.run("raced_nodes:gate_state", str(outside), path=store)["state"] == "lost"
    (outside / "go-zombie").touch()
    zombie.result()


def test_a_pid_that_is_used_again_does_not_keep_a_dead_holder_alive(store: Path) -> None:
    me = _process_ids.this_process()
    leave_attempt(Leaf(), holder=attrs.evolve(me, start="1"))
    assert StateReader().state(Leaf()).state is NodeState.LOST
    assert Leaf().get() == 0


def test_a_process_that_cannot_be_looked_up_is_not_taken_for_dead(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container may show another namespace's /proc, and `hidepid` hides other users' processes."""
    me = _process_ids.this_process()
    leave_attempt(Leaf(x=1), holder=attrs.evolve(me, pid=me.pid + 1, start=""))
    assert StateReader().state(Leaf(x=1)).state is NodeState.RUNNING

    def hidden(pid: int, signal: int) -> None:
        raise PermissionError

    leave_attempt(Leaf(x=2), holder=attrs.evolve(me, pid=2**22 + 1, start="1"))
    assert StateReader().state(Leaf(x=2)).state is NodeState.LOST
    monkeypatch.setattr(os, "kill", hidden)
    assert StateReader().state(Leaf(x=2)).state is NodeState.RUNNING


def test_an_attempt_without_a_lease_is_judged_by_the_age_of_its_record(store: Path) -> None:
    leave_attempt(Leaf(x=1))
    leave_attempt(Leaf(x=2), age_secs=HOUR)
    assert StateReader().state(Leaf(x=1)).state is NodeState.RUNNING
    assert StateReader().state(Leaf(x=2)).state is NodeState.LOST


def test_an_attempt_without_a_record_is_taken_over(store: Path) -> None:
    folder = leave_attempt(Leaf())
    os.unlink(f"{folder}/{_records.RECORD_FILE}")
    assert Leaf().get() == 0


def test_fifty_nodes_of_a_host_that_died_an_hour_ago_cost_no_wait(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [Leaf(x=number) for number in range(50)]
    for node in nodes:
        leave_attempt(node, age_secs=HOUR)
    _provenance.process_provenance()  # the first node of a process waits for git
    slept: list[float] = []
    sleep = time.sleep

    def noted_sleep(seconds: float) -> None:
        if threading.current_thread() is threading.main_thread():
            slept.append(seconds)
        sleep(seconds)

    probes: list[str] = []
    probe = _liveness._probe
    monkeypatch.setattr(time, "sleep", noted_sleep)
    monkeypatch.setattr(_liveness, "_OFFSET_SECS", HOUR)  # else a slow machine needs another probe
    monkeypatch.setattr(_liveness, "_offsets", {})
    monkeypatch.setattr(_liveness, "_probe", lambda folder: probes.append(folder) or probe(folder))
    reader = StateReader()
    assert [reader.state(node).state for node in nodes] == [NodeState.LOST] * 50
    assert "another-host" in str(reader.state(nodes[0]).holder)
    assert [node.get() for node in nodes] == list(range(50))
    assert slept == []
    assert len(probes) <= 3


@pytest.mark.parametrize("hours", [-5, 5])
def test_the_clock_of_another_host_or_of_the_file_server_does_not_matter(
    store: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    server_now = time.time() + hours * HOUR
    monkeypatch.setattr(_liveness, "_offsets", {})
    monkeypatch.setattr(_liveness, "_probe", lambda folder: server_now)
    alive = leave_attempt(Leaf(x=1))
    dead = leave_attempt(Leaf(x=2))
    touch(alive, server_now - 10)
    touch(dead, server_now - 500)
    reader = StateReader()
    assert reader.state(Leaf(x=1)).state is NodeState.RUNNING
    assert reader.state(Leaf(x=2)).state is NodeState.LOST


# The holder lives


def test_a_live_holder_is_waited_for_and_announced_once(host: Host, outside: Path) -> None:
    store = str(outside / "store")
    # The host's log is shared by the tests of this module, so these are the only waits at INFO.
    before = host.log().count("wait for")
    began = time.monotonic()
    first = host.start("raced_nodes:get_gate", str(outside), "first", path=store)
    wait_for(outside, "begun by first")
    second = host.start(
        "raced_nodes:get_gate_and_measure",
        str(outside), "second", path=store, poll_interval_secs=0.02,
    )  # fmt: skip
    wait_until("the announcement", lambda: host.log().count("wait for") > before)
    polls_begin = time.monotonic()
    wait_until("some polls", lambda: time.monotonic() > polls_begin + 1)
    (outside / "go-first").touch()
    assert first.result() == second.result()["value"] == "first first"
    lines = [line for line in host.log().splitlines() if "wait for" in line]
    # Once, and then once a minute, where the machine takes as long as that.
    minutes = int((time.monotonic() - began) / 60)
    assert before < len(lines) <= before + 1 + minutes
    assert f"process {first.pid}" in host.log().replace("\n", " ")


def test_a_wait_has_an_end_that_names_the_holder(host: Host, outside: Path) -> None:
    store = str(outside / "store")
    first = host.start("raced_nodes:get_gate", str(outside), "first", path=store)
    wait_for(outside, "begun by first")
    second = host.run(
        "raced_nodes:get_gate_and_measure",
        str(outside), "second", path=store, max_wait_secs=0.5, log_level="ERROR",
    )  # fmt: skip
    assert f"process {first.pid} on" in second["holder"]
    assert second["holder"] in second["message"]
    assert "FURU_MAX_WAIT_SECS" in second["message"]
    assert second["wall"] >= 0.5
    (outside / "go-first").touch()
    assert first.result() == "first first"


def test_a_heartbeat_keeps_a_holder_alive_for_longer_than_its_lease(
    host: Host, outside: Path
) -> None:
    """Its process cannot be looked up, so its heartbeat alone shows that it lives."""
    needs_namespaces()
    store = outside / "store"
    with Host(store, sys_path=[NODES], name="far-host", settings={"lease_secs": 4.0}) as far:
        first = far.start("raced_nodes:get_gate", str(outside), "first")
        wait_for(outside, "begun by first")

        def seen() -> dict[str, str]:
            found: dict[str, str] = host.run(
                "raced_nodes:gate_state", str(outside), path=str(store)
            )
            return found

        lease = Path(attempt_of_gate(outside), RECORD_FILE)
        long_ago = time.time() - HOUR
        for _ in range(2):  # as if it had not been touched for so long, which nobody sees meanwhile
            os.utime(lease, (long_ago, long_ago))
            wait_until("a heartbeat", lambda: lease.stat().st_mtime > long_ago + HOUR / 2)
        # Not at the first look where this machine stalls for longer than the lease.
        wait_until("a look that finds it alive", lambda: seen()["state"] == "running")
        assert "far-host" in seen()["holder"]
        (outside / "go-first").touch()
        assert first.result() == "first first"


@pytest.fixture
def threads_run_out() -> Iterator[Callable[[bool], None]]:
    """Lets the system refuse new threads or give them again: it has no room for such a stack."""

    def refuse(refused: bool) -> None:
        threading.stack_size(1 << 46 if refused else 0)

    yield refuse
    refuse(False)


def test_p6_a_node_that_cannot_show_that_it_lives_is_not_begun_and_the_next_one_beats(
    store: Path, monkeypatch: pytest.MonkeyPatch, threads_run_out: Callable[[bool], None]
) -> None:
    monkeypatch.setattr(_lease, "_keeper", _lease._Keeper())
    node = Leaf()
    folder = Path(_layout.ref_of(node).attempt(1))
    threads_run_out(True)
    with pytest.raises(FuruStoreError) as refused:
        node.get()
    assert "cannot be kept up: can't start new thread" in str(refused.value)
    assert "ulimit -u" in str(refused.value)
    assert not folder.exists()
    threads_run_out(False)

    def beats(self: Leaf) -> int:
        record = folder / RECORD_FILE
        began = record.stat().st_mtime_ns
        wait_until("a heartbeat", lambda: record.stat().st_mtime_ns > began)
        return 7

    monkeypatch.setattr(Leaf, "_create", beats)
    with _settings.use_settings(lease_secs=0.25):
        assert node.get() == 7


@pytest.mark.parametrize("trouble", [MemoryError(), OSError(errno.EIO, "the server is away")])
def test_p6_a_heartbeat_that_failed_is_tried_again_and_stops_no_other(
    store: Path, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    monkeypatch.setattr(_lease, "_keeper", _lease._Keeper())
    folders = [Path(leave_attempt(Leaf(x=x))) for x in (1, 2)]
    failed: list[int] = []

    def utime(fd: int) -> None:
        if fd not in failed:
            failed.append(fd)
            raise trouble
        beaten.add(os.fstat(fd).st_ino)

    beaten: set[int] = set()
    monkeypatch.setattr(os, "utime", utime)
    leases = [_lease.hold(str(folder), "0" * 16, 0.05) for folder in folders]
    wait_until("both to beat", lambda: len(beaten) == 2)
    for lease in leases:
        lease.release()
    assert failed


def test_p4_a_holder_whose_folder_was_removed_gives_no_signs_of_life_for_the_next_one(
    store: Path,
) -> None:
    folder = Path(leave_attempt(Leaf()))
    beating, late = (_lease.Lease(str(folder), "0" * 16, HOUR) for _ in range(2))
    beating.beat()
    shutil.rmtree(folder)
    leave_attempt(Leaf(), token="1" * 16)
    os.utime(folder / RECORD_FILE, (1, 1))
    late.beat()
    for lease in (beating, late):
        lease.beat()
        lease.release()
    assert (folder / RECORD_FILE).stat().st_mtime == 1
    successor = _lease.Lease(str(folder), "1" * 16, HOUR)
    successor.beat()
    assert (folder / RECORD_FILE).stat().st_mtime > 1
    successor.release()


def test_p6_output_is_copied_to_the_console_again_once_there_are_threads(
    threads_run_out: Callable[[bool], None],
) -> None:
    copied = threading.Event()
    copier = _console.Copier(lambda: copied.set() is not None)
    threads_run_out(True)
    copier.wake()
    threads_run_out(False)
    copier.wake()
    assert copied.wait(60)


def test_an_end_that_cannot_be_recorded_leaves_nobody_to_wait_for(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ran out of memory when it was to say how its attempt ended."""

    def without_memory(*args: object) -> bytes:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(_records, "story_bytes", without_memory)
        patch.setattr(Leaf, "_create", lambda self: 1 / 0)
        with pytest.raises((MemoryError, FuruComputeError)):
            Leaf().get()
    with _settings.use_settings(max_wait_secs=0):
        assert Leaf().get() == 0


def test_p9_output_of_an_attempt_whose_end_could_not_be_recorded_is_no_other_nodes(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record still names the file, which whoever finds it dead moves to its folder."""
    used: list[str] = []
    take = _spool.take

    def noting_take() -> _spool.Spool:
        spool = take()
        used.append(spool.name)
        return spool

    def full(*args: Any, **kwargs: Any) -> bool:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_spool, "take", noting_take)
    Leaf(x=1).get()
    Leaf(x=2).get()
    assert used[0] == used[1]
    with monkeypatch.context() as patch:
        patch.setattr(_record_file, "append", full)
        with pytest.raises(FuruStoreError):
            Leaf(x=3).get()
    Leaf(x=4).get()
    assert used[2] == used[1]
    assert used[3] != used[2]


def test_p4_a_number_whose_record_appears_while_it_is_removed_is_not_given_out_again(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever made the folder slept before it made the record, and believes to hold the attempt."""
    folder = leave_attempt(Leaf())
    record = Path(folder, RECORD_FILE)
    line = record.read_bytes()
    record.unlink()
    hide = _publishing.hide

    def late(folder: str) -> str | None:
        if os.path.isdir(folder):
            record.write_bytes(line)
        return hide(folder)

    monkeypatch.setattr(_publishing, "hide", late)
    _publishing.remove_all(_layout.ref_of(Leaf()))
    assert os.path.isfile(folder)


def test_no_wait_at_all_is_possible(store: Path) -> None:
    leave_attempt(Leaf())
    with _settings.use_settings(max_wait_secs=0), pytest.raises(FuruWaitTimeout) as timeout:
        Leaf().get()
    assert "another-host" in str(timeout.value)


def test_a_wait_looks_once_an_interval(host: Host, outside: Path) -> None:
    """So it costs next to no processor time, however much the machine takes for one look."""
    store = str(outside / "store")
    first = host.start("raced_nodes:get_gate", str(outside), "first", path=store)
    wait_for(outside, "begun by first")
    second = host.run(
        "raced_nodes:get_gate_and_measure",
        str(outside), "second", path=store, max_wait_secs=1.5, log_level="ERROR",
        poll_interval_secs=0.5,
    )  # fmt: skip
    growing = math.ceil(math.log(0.5 / 0.005, 1.5))  # the first pauses grow up to the interval
    assert 2 <= second["looks"] <= 1 + growing + second["wall"] / 0.5
    (outside / "go-first").touch()
    first.result()


def test_p4_an_attempt_that_another_host_claimed_and_that_is_not_visible_yet_is_waited_for(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K4: this host's cache says that there is no such folder, and the server that there is."""
    leave_attempt(Leaf())
    monkeypatch.setattr(_attempts, "numbers", lambda paths: [])
    with _settings.use_settings(max_wait_secs=0.1), pytest.raises(FuruWaitTimeout) as late:
        Leaf().get()
    assert "of another host, whose record cannot be seen from here yet" in str(late.value)
    assert "damaged" not in str(late.value)


def test_p6_a_later_attempt_that_is_not_visible_yet_is_waited_for_with_pauses(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K4: a dead attempt is seen here, and the one that took over from it is not."""
    node = Leaf()
    leave_attempt(node, age_secs=HOUR)
    os.mkdir(_layout.ref_of(node).attempt(2))
    monkeypatch.setattr(_attempts, "numbers", lambda paths: [1])
    claims = pauses = 0
    claim, sleep = _claims.claim, time.sleep

    def counted_claim(*args: Any, **kwargs: Any) -> Any:
        nonlocal claims
        claims += 1
        return claim(*args, **kwargs)

    def counted_sleep(secs: float) -> None:
        nonlocal pauses
        pauses += 1
        sleep(secs)

    monkeypatch.setattr(_claims, "claim", counted_claim)
    monkeypatch.setattr(time, "sleep", counted_sleep)
    with _settings.use_settings(max_wait_secs=0.3), pytest.raises(FuruWaitTimeout) as late:
        node.get()
    assert "in attempt 2" in str(late.value)
    assert pauses > 1
    assert claims <= 5 * (pauses + 1)


def test_p4_a_record_that_a_cache_may_hide_is_waited_for_as_long_as_the_lease(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = _layout.ref_of(Leaf())
    os.makedirs(paths.attempt(1))
    touch(paths.attempt(1), time.time() - 10.0)
    newest = _attempts.latest(paths, lease_secs=HOUR)
    assert newest is not None
    assert not newest.alive
    monkeypatch.setattr(_liveness, "is_local_folder", lambda folder: False)
    newest = _attempts.latest(paths, lease_secs=HOUR)
    assert newest is not None
    assert newest.alive


@pytest.mark.parametrize(("names", "most"), [(1000, 1000), (1001, 2)])
def test_off_local_disks_long_listings_take_a_small_share_of_the_time(
    store: Path, monkeypatch: pytest.MonkeyPatch, names: int, most: int
) -> None:
    """K5: each computed node listed the folder of its class, however much that held."""
    monkeypatch.setattr(_published, "is_local_folder", lambda folder: False)
    now, listings = 0.0, 0

    def slow_listing(folder: str) -> frozenset[str]:
        nonlocal now, listings
        listings += 1
        now += 0.050
        return frozenset(map(str, range(names)))

    monkeypatch.setattr(_published, "listed", slow_listing)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for number in range(1000):
        assert not _published.is_published(_layout.ref_of(Leaf(x=number)))
        now += 0.001
    assert 1 <= listings <= most


def test_p7_an_artifact_that_appeared_since_is_seen_once_its_parent_was_opened(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On NFS opening a folder drops what the cache knew of absent names in it; no listing is needed."""
    Leaf().get()
    paths = _layout.ref_of(Leaf())
    monkeypatch.setattr(_published, "is_local_folder", lambda folder: False)
    monkeypatch.setattr(_published, "listed", lambda folder: pytest.fail("it was listed"))
    opened = False
    open_, isdir = os.open, os.path.isdir

    def noting_open(path: str, *args: Any, **kwargs: Any) -> int:
        nonlocal opened
        opened = opened or path == paths.class_dir
        return open_(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", noting_open)
    monkeypatch.setattr(os.path, "isdir", lambda path: opened and isdir(path))
    assert _published.is_published(paths)


@pytest.mark.parametrize("claimed_anew", [False, True])
def test_p7_an_attempt_that_is_cleaned_up_while_it_is_judged_is_looked_at_again(
    furu_store: Path, monkeypatch: pytest.MonkeyPatch, claimed_anew: bool
) -> None:
    """Taken for dead, its number would be counted on and left behind, for numbers begin anew."""
    paths = _layout.ref_of(Leaf())
    leave_attempt(Leaf())
    judge = _liveness.judge

    def after_cleaning_up(folder: str, record: AttemptRecord) -> _liveness.Judgement:
        monkeypatch.undo()
        shutil.rmtree(paths.attempt(1))  # as if its holder had published
        judgement = judge(folder, record)
        if claimed_anew:
            leave_attempt(Leaf(), token="1" * 16)
        return judgement

    monkeypatch.setattr(_liveness, "judge", after_cleaning_up)
    with _settings.use_settings(path=furu_store):
        newest = _attempts.latest(paths, lease_secs=HOUR)
    if not claimed_anew:
        assert newest is None
    else:
        assert newest is not None
        assert newest.alive
