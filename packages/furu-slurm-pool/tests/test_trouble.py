"""What goes wrong around a pool: full disks, damaged files, classes and stores that are not there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from pool_kit import kill_before_its_end
from pool_nodes import Above, Imports, Keyed, Leaf, Waiting, counted

import furu_core
from furu_core.errors import FuruExecutorError, FuruRunError, FuruStoreError
from furu_slurm import SlurmSpec
from furu_slurm_pool import SlurmPoolExecutor, SlurmPoolRun, _worker
from furu_slurm_pool._folders import open_queue
from furu_testing import Scripts, wait_until

SPECS = {"default": SlurmSpec(), "gpu": SlurmSpec()}


def start(roots: Any, **options: Any) -> SlurmPoolRun:
    settings: dict[str, Any] = {
        "specs": SPECS,
        "cluster": "local",
        "max_workers_total": 1,
        "poll_interval_sec": 0.3,
        "progress": False,
    }
    run = SlurmPoolExecutor(**(settings | options)).submit(roots)
    assert isinstance(run, SlurmPoolRun)
    return run


def waiting_tasks(run: SlurmPoolRun) -> list[Path]:
    return sorted((run.run_dir / "queue" / "default" / "todo").glob("*"))


@pytest.mark.parametrize("damage", ["", "no json", '{"version": 99}'])
def test_p5_an_unreadable_task_stops_the_run_and_is_named(
    store: Path, tmp_path: Path, damage: str, nothing_left: Callable[[], None]
) -> None:
    run = start([Waiting(folder=tmp_path), Leaf(x=1)])
    wait_until("the first to begin", lambda: (tmp_path / "began-0").exists())
    (task,) = waiting_tasks(run)
    task.write_text(damage)
    (tmp_path / "go").touch()
    with pytest.raises(FuruRunError, match="UnreadableTask") as caught:
        run.wait(180)
    assert f"hash {Leaf(x=1).furu_hash}" in str(caught.value)
    assert task.name in str(caught.value)
    nothing_left()


def test_a_damaged_verdict_loses_no_node(store: Path, tmp_path: Path) -> None:
    """What it told is found out by looking."""
    with furu_core.use_settings(lease_secs=4.0):
        run = start([Waiting(folder=tmp_path), Leaf(x=1)])
        wait_until("the first to begin", lambda: (tmp_path / "began-0").exists())
        (tmp_path / "x").write_text("no json")
        (tmp_path / "x").rename(run.run_dir / "verdicts" / "w1-0001.000000.json")
        (tmp_path / "go").touch()
        assert run.wait(180).results() == [0, 1]
    assert counted(tmp_path, "attempts-0") == 1


def test_p5_a_class_that_workers_cannot_import_stops_the_run(
    program: Scripts, store: Path, nothing_left: Callable[[], None]
) -> None:
    code = """
        import sys, types
        from furu_core import Furu
        from furu_slurm_pool import run_slurm_pool

        module = types.ModuleType("made_up")
        exec('''
        from furu_core import Furu
        class Here(Furu[int]):
            def _create(self): return 1
        '''.replace(chr(10) + "        ", chr(10)), module.__dict__)
        sys.modules["made_up"] = module
        if __name__ == "__main__":
            run_slurm_pool(module.Here(), specs={"default": {}}, cluster="local", progress=False)
    """
    said = program(code).finish()
    status, output = said.status, said.text
    assert status == 1
    assert "made_up" in output
    assert "Error" in output
    nothing_left()


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
    roots = [Above(below=Waiting(folder=tmp_path)), Leaf(x=1)]
    with furu_core.use_settings(lease_secs=5.0):
        run = start(roots, run_root=small_disk, submitit_root=tmp_path)
        wait_until("a node to begin", lambda: (tmp_path / "began-0").exists())
        with _kept_full(small_disk):
            (tmp_path / "go").touch()
            # What workers could not tell is found out by looking, so the run may even get through.
            cause = None
            try:
                run.wait(180)
            except FuruRunError as error:
                cause = error.__cause__
            assert cause is None or isinstance(cause, FuruStoreError), cause
        nothing_left()
        again = start(roots, run_root=small_disk, submitit_root=tmp_path)
        assert again.wait(180).results() == [0, 1]
    assert counted(tmp_path, "attempts-0") == 1


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
                    done.wait(0.001)

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        assert full.wait(180)
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
        run.wait(180)
    cause = caught.value.__cause__
    assert isinstance(cause, FuruExecutorError)
    assert "module not found" in Path(str(cause).rpartition("read ")[2]).read_text()
    nothing_left()


def test_the_worker_itself_imports_nothing_of_the_users(store: Path) -> None:
    """Its node's process alone does, and it is not the one that gives signs of life."""
    assert start(Imports()).wait(180).results() == 1
    assert "pool_nodes" not in Path(_worker.__file__).read_text()


# Leaving


def test_a_worker_without_work_leaves_and_another_comes_when_there_is_some(
    store: Path, tmp_path: Path
) -> None:
    late = Keyed(n=2, below=(Keyed(n=1),), folder=tmp_path)
    slow = Waiting(folder=tmp_path)
    run = start(
        [slow, Keyed(n=1), Keyed(n=0), Above(below=slow)],
        max_workers_total=2,
        idle_timeout_sec=0.5,
    )
    wait_until("the brief ones", lambda: Keyed(n=0).exists() and Keyed(n=1).exists())
    logs = store / "submitit" / "workers" / "default" / run.run_id
    wait_until(
        "a worker to leave",
        lambda: any("without work" in log.read_text() for log in logs.glob("*_log.out")),
    )
    (tmp_path / "go").touch()
    assert run.wait(180).results()[3] == 0
    assert not late.exists()


def test_a_worker_leaves_before_its_walltime_ends(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from furu_slurm import JobEnvironment

    made = _made_worker(store, monkeypatch, JobEnvironment("slurm", "1", end=time.time() + 1000))
    assert made._look() is _worker._Fate.GO_ON
    made._longest = 995.0  # another node like the longest so far would not be done in time
    assert made._look() is _worker._Fate.LEAVE
    made._job = attrs.evolve(made._job, end=time.time() + 4)
    assert made._look() is _worker._Fate.LOST
    assert "walltime" in made._why


def test_a_worker_is_told_by_signals_and_orders(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from furu_slurm_pool._folders import order_leave, order_stop

    made = _made_worker(store, monkeypatch, None)
    with made.signals():
        made._on_signal(signal.SIGUSR2, None)
        assert made._look() is _worker._Fate.LOST  # how long it has is not known
    second = _made_worker(store, monkeypatch, None, name="w2")
    order_leave(str(store / "run"), "w2")
    second._next_orders = 0.0
    assert second._look() is _worker._Fate.LEAVE
    order_stop(str(store / "run"))
    second._next_orders = 0.0
    assert second._look() is _worker._Fate.STOP


def _made_worker(store: Path, monkeypatch: Any, job: Any, name: str = "w1") -> Any:
    from furu_slurm_pool._folders import make_folders
    from furu_slurm_pool._queue import Desk

    run_folder = str(store / "run")
    make_folders(run_folder)
    monkeypatch.setattr(_worker, "this_job", lambda: job)
    setup = _worker.WorkerSetup(run_folder, "run", "default", name, 60.0, 1.0, 5.0, True)
    return _worker._Worker(setup, Desk(open_queue(run_folder, "default"), name))


# Chaos


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_p7_chaos_among_local_workers_and_controllers(
    program: Scripts,
    store: Path,
    tmp_path: Path,
    nothing_left: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Workers and controllers are killed at random; every node is there in the end, and whole."""
    seed = int(os.environ.get("FURU_TEST_SEED", "4711"))
    chance = random.Random(seed)
    monkeypatch.setenv("FURU_MAX_LOST_RETRIES", "50")
    monkeypatch.setenv("FURU_LEASE_SECS", "3")
    code = f"""
        from pathlib import Path
        from pool_nodes import Keyed
        from furu_slurm_pool import run_slurm_pool

        folder = Path({str(tmp_path)!r})
        below = ()
        for layer in range(4):
            below = tuple(
                Keyed(n=100 * layer + n, key=("default", "gpu")[n % 2], below=below[n : n + 3],
                      secs=0.02 * (n % 5), folder=folder)
                for n in range(40)
            )
        if __name__ == "__main__":
            run = run_slurm_pool(
                below, specs={{"default": {{}}, "gpu": {{}}}}, cluster="local",
                max_workers_total=3, poll_interval_sec=0.3, progress=False,
            )
            print("done", run.status().total)
    """
    controller = program(code)
    ended = None
    deadline = time.monotonic() + 200
    while ended is None and time.monotonic() < deadline:
        assert controller.process.poll() in (None, 0), controller.output
        wait_until(
            "a moment to pass",
            _after(chance.uniform(0.2, 1.2)),
        )
        if controller.process.poll() == 0:
            ended = controller
            break
        what = chance.choice(["worker", "worker", "stop", "controller"])
        if what == "controller":
            if kill_before_its_end(controller, store):
                controller = program("")
            continue
        pids = _workers_of(store)
        if pids:
            pid = chance.choice(pids)
            number = signal.SIGKILL if what == "worker" else signal.SIGSTOP
            _signal(pid, number)
            if what == "stop":
                wait_until("a moment to pass", _after(chance.uniform(0.1, 4.0)))
                _signal(pid, signal.SIGCONT)
    said = controller.finish(500)
    status, output = said.status, said.text
    assert status == 0, f"seed {seed}:\n{output}"
    for layer in range(4):
        for n in range(40):
            assert counted(tmp_path, f"keyed-{('default', 'gpu')[n % 2]}-{100 * layer + n}") >= 1
    assert len(list((store / "runs").iterdir())) == 1
    nothing_left()


def _after(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _workers_of(store: Path) -> list[int]:
    """The process ids of the workers that live, by their jobs' names."""
    found = []
    for note in (store / "runs").glob("*/workers/*.local-*"):
        pid = int(note.name.partition(".local-")[2].split("-")[0])
        if Path(f"/proc/{pid}/environ").exists():
            found.append(pid)
    return found
