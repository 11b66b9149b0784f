"""What goes wrong around a pool: full disks, damaged files, workers that cannot start or are killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
from pool_kit import RUN_SECS, start

import furu_core
from furu_core.errors import FuruExecutorError, FuruRunError, FuruStoreError
from furu_core.executors import EventKind
from furu_core.workers import NodeReport, NodeResult, Outcome
from furu_slurm import SlurmSpec
from furu_slurm_pool import SlurmPoolRun, _worker
from furu_slurm_pool._queue._run_folder import open_queue
from furu_slurm_pool._queue._tasks import QueuedTask
from furu_testing import Program, Scripts, await_mark, is_running, let_go, times, wait_until
from furu_testing.nodes import Above, Leaf, Step


@pytest.fixture
def waiting(store: Path) -> Iterator[SlurmPoolRun]:
    """A run whose only worker has begun with a node that waits, while another is in the queue."""
    with furu_core.use_settings(lease_secs=4.0):
        run = start([Step(label="waits", waits=True), Leaf(x=1)], max_workers_total=1)
        await_mark(store, "waits")
        yield run


def test_p5_an_unreadable_task_stops_the_run_and_is_named(
    store: Path, waiting: SlurmPoolRun, nothing_left: Callable[[], None]
) -> None:
    (task,) = (waiting.run_dir / "queue" / "default" / "todo").iterdir()
    task.write_text("no json")
    let_go(store)
    with pytest.raises(FuruRunError, match="FuruDamagedRecord") as caught:
        waiting.wait(RUN_SECS)
    assert f"hash {Leaf(x=1).furu_hash}" in str(caught.value)
    assert task.name in str(caught.value)
    nothing_left()


def test_a_damaged_report_loses_no_node(store: Path, tmp_path: Path, waiting: SlurmPoolRun) -> None:
    """What it told is found out by looking."""
    (tmp_path / "x").write_text("no json")
    (tmp_path / "x").rename(waiting.run_dir / "reports" / "w1-0001.000000.json")
    let_go(store)
    assert waiting.wait(RUN_SECS).results() == [1, 1]
    assert times(store) == {"waits": 1}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_p8_a_full_disk_in_the_run_folder_loses_nothing_and_hangs_nowhere(
    store: Path, tmp_path: Path, small_disk: Path, nothing_left: Callable[[], None]
) -> None:
    roots = [Above(below=Step(label="waits", waits=True)), Leaf(x=1)]
    where = {"run_root": small_disk, "submitit_root": tmp_path, "max_workers_total": 1}
    with furu_core.use_settings(lease_secs=5.0):
        run = start(roots, **where)
        await_mark(store, "waits")
        with _kept_full(small_disk):
            let_go(store)
            # What workers could not tell is found out by looking, so the run may even get through.
            cause = None
            try:
                run.wait(RUN_SECS)
            except FuruRunError as error:
                cause = error.__cause__
            assert cause is None or isinstance(cause, FuruStoreError), cause
        nothing_left()
        assert start(roots, **where).wait(RUN_SECS).results() == [1, 1]
    assert times(store) == {"waits": 1}


def test_p8_a_full_disk_at_the_start_is_an_error(store: Path, small_disk: Path) -> None:
    with _kept_full(small_disk), pytest.raises(FuruStoreError, match="No space left on device"):
        start(Leaf(x=1), run_root=small_disk)


@contextmanager
def _kept_full(folder: Path) -> Iterator[None]:
    """Take all room on a disk, also what others give back."""
    done = threading.Event()
    full = threading.Event()

    def fill() -> None:
        with (folder / "filling").open("wb", buffering=0) as file:
            while not done.is_set():
                try:
                    file.write(bytes(4096))
                except OSError:
                    full.set()
                    done.wait(0.005)

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        assert full.wait(RUN_SECS)
        yield
    finally:
        done.set()
        thread.join()
        (folder / "filling").unlink()


def test_p8_workers_that_cannot_start_are_an_error_that_names_the_log(
    store: Path, nothing_left: Callable[[], None]
) -> None:
    spec = SlurmSpec(setup=("echo module not found", "exit 7"))
    run = start(Leaf(x=1), specs={"default": spec})
    with pytest.raises(FuruRunError, match="did 2 before it") as caught:
        run.wait(RUN_SECS)
    cause = caught.value.__cause__
    assert isinstance(cause, FuruExecutorError)
    assert "module not found" in Path(str(cause).rpartition("read ")[2]).read_text()
    # The node was never begun, so it was neither lost nor interrupted.
    told = {event.kind for event in run.events()}
    assert told == {EventKind.RUN_STARTED, EventKind.RUN_ENDED}
    nothing_left()


# Leaving


def test_a_worker_without_work_leaves_and_another_comes_when_there_is_some(store: Path) -> None:
    slow = Step(label="slow", waits=True)
    late = [Step(label=name, needs=(slow,), meets=("left", "right")) for name in ("left", "right")]
    run = start([slow, Leaf(x=1), *late], idle_timeout_sec=0.5)
    await_mark(store, "slow")
    logs = store / "submitit" / "workers" / "default" / run.run_id
    wait_until(
        "a worker to leave",
        lambda: any("without work" in log.read_text() for log in logs.glob("*_log.out")),
    )
    let_go(store)
    assert run.wait(RUN_SECS).results() == [1, 1, 2, 2]


def test_a_worker_leaves_before_its_walltime_ends_as_it_is_by_then(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from furu_slurm import JobEnvironment

    more = [500.0]  # what the job is given before it leaves
    monkeypatch.setattr(
        "furu_slurm.with_current_end",
        lambda job: attrs.evolve(job, end=job.end + more.pop()) if more else job,
    )
    made = _made_worker(store, monkeypatch, JobEnvironment("slurm", "1", end=time.time() + 1000))
    assert made._look() is _worker.Intent.GO_ON
    made._longest = 995.0  # another node like the longest so far would not be done in time
    assert made._look() is _worker.Intent.GO_ON
    assert not more
    made._longest = 1495.0
    assert made._look() is _worker.Intent.LEAVE
    more.append(500.0)
    made._job = attrs.evolve(made._job, end=time.time() + 4)
    assert made._look() is _worker.Intent.LEAVE
    made._job = attrs.evolve(made._job, end=time.time() + 4)
    assert made._look() is _worker.Intent.LOST
    assert "walltime" in made._why


def test_a_worker_is_told_by_signals_and_orders(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from furu_slurm_pool._queue._run_folder import order_leave, order_stop

    made = _made_worker(store, monkeypatch, None)
    with made.signals():
        made._on_signal(signal.SIGUSR2, None)
        assert made._look() is _worker.Intent.LOST  # how long it has is not known
    second = _made_worker(store, monkeypatch, None, name="w2")
    order_leave(str(store / "run"), "w2")
    second._next_orders = 0.0
    assert second._look() is _worker.Intent.LEAVE
    order_stop(str(store / "run"))
    second._next_orders = 0.0
    assert second._look() is _worker.Intent.STOP


class _Hangs:
    """The process of a node that is killed and hangs in the kernel for a while."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._never, self._end = os.pipe()
        self.looks = self.kills = 0

    def assign(self, *_: Any, **__: Any) -> None:
        pass

    interrupt = assign

    def fileno(self) -> int:
        return self._never

    def kill(self) -> None:
        self.kills += 1

    def poll(self) -> list[NodeReport]:
        self.looks += 1
        done = time.monotonic() > self._until
        return [NodeReport(1, NodeResult("h", Outcome.CANCELLED))] if done else []


def test_p6_a_worker_waits_for_a_killed_node_without_a_busy_loop(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_worker, "_INTERRUPT_SECS", 0.0)
    made = _made_worker(store, monkeypatch, None)
    made._setup = attrs.evolve(made._setup, poll_interval_secs=0.1)
    hangs = _Hangs(0.3)
    made._process, made._graph = hangs, "g"
    made._intend(_worker.Intent.LOST, "its job was cancelled")
    with made.signals():
        assert made._compute(QueuedTask("h", "g", 0), []).outcome is Outcome.CANCELLED
    assert 1 <= hangs.kills < 10
    assert hangs.looks < 20


def _made_worker(store: Path, monkeypatch: Any, job: Any, name: str = "w1") -> Any:
    from furu_slurm_pool._queue._run_folder import make_folders
    from furu_slurm_pool._queue._tasks import Claims

    run_folder = str(store / "run")
    make_folders(run_folder)
    monkeypatch.setattr(_worker, "this_job", lambda: job)
    setup = _worker.WorkerSetup(run_folder, "run", "default", 60.0, 1.0, 5.0, True, name)
    return _worker._PoolWorker(setup, Claims(open_queue(run_folder, "default"), name))


# Chaos


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_p7_chaos_among_local_workers_and_controllers(
    program: Scripts,
    store: Path,
    nothing_left: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Workers and controllers are killed at random; every node is there in the end, and whole."""
    seed = int(os.environ.get("TEST_SEED", "4711"))
    chance = random.Random(seed)
    monkeypatch.setenv("FURU_MAX_LOST_RETRIES", "50")
    monkeypatch.setenv("FURU_LEASE_SECS", "3")
    code = """
        from furu_slurm_pool import run_slurm_pool
        from pool_nodes import Works

        below = ()
        for layer in range(3):
            below = tuple(
                Works(label=f"{layer}-{n}", secs=0.05 * (n % 5), key=("default", "gpu")[n % 2],
                      needs=below[n : n + 3])
                for n in range(20)
            )
        if __name__ == "__main__":
            run_slurm_pool(
                below, specs={"default": {}, "gpu": {}}, cluster="local",
                max_workers_total=3, poll_interval_sec=0.3, progress=False,
            )
    """
    controller = program(code)
    # A controller that is killed before its run says what it was to do leaves none to go on with.
    wait_until("the first worker", lambda: _workers_of(store))
    deadline = time.monotonic() + 200
    while controller.process.poll() is None and time.monotonic() < deadline:
        _pause(chance.uniform(0.2, 1.2))
        what = chance.choice(["worker", "worker", "stop", "controller"])
        pids = _workers_of(store)
        if what == "controller":
            if _kill_before_its_end(controller, store):
                controller = program("")
        elif pids:
            pid = chance.choice(pids)
            _signal(pid, signal.SIGKILL if what == "worker" else signal.SIGSTOP)
            if what == "stop":
                _pause(chance.uniform(0.1, 4.0))
                _signal(pid, signal.SIGCONT)
    said = controller.finish(500)
    assert said.status == 0, f"seed {seed}: {said}"
    assert set(times(store)) == {f"{layer}-{n}" for layer in range(3) for n in range(20)}
    assert len(list((store / "runs").glob("[!.]*"))) == 1
    nothing_left()


def _pause(seconds: float) -> None:
    until = time.monotonic() + seconds
    wait_until("a moment to pass", lambda: time.monotonic() >= until)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _workers_of(store: Path) -> list[int]:
    """The process ids of the workers that live, by their jobs' names."""
    notes = (store / "runs").glob("*/workers/*.local-*")
    pids = [int(note.name.partition(".local-")[2].split("-")[0]) for note in notes]
    return [pid for pid in pids if is_running(pid)]


def _kill_before_its_end(controller: Program, store: Path) -> bool:
    """Kill a controller, unless its run has ended: then it ends by itself, and once more would be another run."""
    if controller.process.poll() is None:
        controller.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, controller.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    if any((store / "runs").glob("*/controllers/*/ended-*")):
        if controller.process.poll() is None:
            controller.signal(signal.SIGCONT)
        return False
    controller.kill()
    return True
