"""Pools whose workers are on other hosts: with caches between them, and without a common store."""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pool_kit import kill_before_its_end
from pool_nodes import Keyed, Leaf, Undeclared, Waiting, counted

import furu_core
from furu_core.errors import FuruExecutorError, FuruRunError
from furu_core.executors import EventKind
from furu_slurm import SlurmSpec
from furu_slurm_pool import SlurmPoolExecutor, SlurmPoolRun
from furu_slurm_pool._resume import stop_run
from furu_testing import Scripts, cached_view, needs_cached_views, needs_namespaces, wait_until

WAIT_SECS = 900.0  # jobs may wait for those of other tests, and the machine may be busy
SPEC = {"cpus": 1, "mem_gb": 1, "time_min": 60}
SPECS = {"default": SlurmSpec(**SPEC), "gpu": SlurmSpec(partition="gpu", **SPEC)}


def start(roots: Any, **options: Any) -> SlurmPoolRun:
    settings: dict[str, Any] = {
        "specs": SPECS,
        "max_workers_total": 4,
        "poll_interval_sec": 0.5,
        "progress": False,
    }
    run = SlurmPoolExecutor(**(settings | options)).submit(roots)
    assert isinstance(run, SlurmPoolRun)
    return run


@pytest.fixture
def other_hosts(
    tmp_path: Path, own_slurm: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Any, Path, Path]]:
    """A cluster whose nodes see a folder through caches of their own, as this process does.

    The cluster, the folder, and where it is without caches.
    """
    from furu_testing.slurm import NodeOptions

    needs_cached_views()
    needs_namespaces()
    back, view = tmp_path / "back", tmp_path / "view"
    back.mkdir()
    with cached_view(back, view, seconds=20):
        cluster = own_slurm(
            node_options={
                f"n{number}": NodeOptions(host=f"furu-h{number}", views={view: back})
                for number in range(1, 5)
            }
        )
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(entry for entry in sys.path if entry))
        with furu_core.use_settings(
            path=view / "store", poll_interval_secs=0.1, lease_secs=30.0, max_wait_secs=600.0
        ):
            yield cluster, view, back


@pytest.mark.slow
def test_p7_caches_between_hosts_cost_no_node_and_no_spurious_error(
    other_hosts: tuple[Any, Path, Path],
) -> None:
    cluster, view, back = other_hosts
    (back / "counts").mkdir()
    below: tuple[Keyed, ...] = ()
    for layer in range(4):
        below = tuple(
            Keyed(
                n=100 * layer + n,
                key=("default", "gpu")[n % 2],
                below=below[n : n + 3],
                folder=view / "counts",
            )
            for n in range(12)
        )
    run = start(below).wait(WAIT_SECS)
    assert run.status().computed == run.status().total
    kinds = [event.kind for event in run.events()]
    assert EventKind.NODE_RETRIED not in kinds
    for path in (back / "counts").iterdir():
        assert path.stat().st_size == 1, path
    cluster.wait_idle()


@pytest.mark.slow
def test_p7_a_dead_workers_node_is_taken_over_by_slurms_word_on_another_host(
    other_hosts: tuple[Any, Path, Path],
) -> None:
    """No process can be looked up from here, and its lease would last for ten minutes."""
    cluster, view, back = other_hosts
    (back / "counts").mkdir()
    with furu_core.use_settings(lease_secs=600.0):
        run = start(Waiting(folder=view / "counts"), max_workers_total=1)
        wait_until("the node to begin", (back / "counts" / "began-0").exists, WAIT_SECS)
        (job,) = [row["id"] for row in cluster.jobs()]
        for pid in _workers(view):
            _signal(pid, signal.SIGKILL)
        (back / "counts" / "go").touch()
        assert run.wait(WAIT_SECS).results() == 0
        assert [row["id"] for row in cluster.squeue()] != [job]
    assert counted(back / "counts", "attempts-0") == 2
    cluster.wait_idle()


@pytest.mark.slow
def test_p3_what_was_not_declared_is_an_error_behind_caches_as_well(
    other_hosts: tuple[Any, Path, Path],
) -> None:
    with pytest.raises(FuruRunError, match="FuruMissingArtifact"):
        start(Undeclared()).wait(WAIT_SECS)


@pytest.mark.slow
def test_p8_a_store_that_nodes_do_not_see_is_an_error_that_names_the_log(
    store: Path, tmp_path: Path, own_slurm: Any
) -> None:
    from furu_testing.slurm import NodeOptions

    needs_cached_views()
    needs_namespaces()
    empty = tmp_path / "empty"
    empty.mkdir()
    cluster = own_slurm(
        node_options={
            f"n{number}": NodeOptions(host=f"furu-h{number}", views={store: empty})
            for number in range(1, 5)
        }
    )
    run = start(Leaf(x=1), max_workers_total=1, submitit_root=tmp_path / "logs")
    with pytest.raises(FuruRunError, match="did 2 before it") as caught:
        run.wait(WAIT_SECS)
    cause = caught.value.__cause__
    assert isinstance(cause, FuruExecutorError)
    log = Path(str(cause).rpartition("read ")[2])
    assert "FURU_PATH must be a folder that all nodes of the cluster see" in log.read_text()
    cluster.wait_idle()


# Many nodes, and chaos


@pytest.mark.slow
def test_many_nodes_of_two_spec_keys_are_computed_once_each(
    store: Path, tmp_path: Path, slurm: Any
) -> None:
    """FURU_TEST_NODES=5000 makes it what the demands say."""
    layers = 5
    width = int(os.environ.get("FURU_TEST_NODES", "500")) // layers
    below: tuple[Keyed, ...] = ()
    everything: list[Keyed] = []
    for layer in range(layers):
        below = tuple(
            Keyed(
                n=layer * width + n,
                key=("default", "gpu")[n % 2],
                below=below[n : n + 2],
                folder=tmp_path,
            )
            for n in range(width)
        )
        everything += below
    run = start(below, max_workers_total=8).wait(WAIT_SECS)
    assert run.status().computed + run.status().loaded >= len(below)
    computed = {event.hash for event in run.events() if event.kind is EventKind.NODE_COMPUTED}
    for node in everything:
        if node.furu_hash in computed:
            assert counted(tmp_path, f"keyed-{node.key}-{node.n}") == 1
            assert node.get().startswith(f"slurm-pool {node.key} ")
    assert run.status().total == len(computed)
    slurm.wait_idle()


@pytest.mark.slow
def test_p7_chaos_on_a_cluster(
    program: Scripts,
    store: Path,
    tmp_path: Path,
    own_slurm: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Workers, nodes, Slurm's controller and ours are hurt at random; nothing is lost."""
    cluster = own_slurm(slurmd_timeout=10)
    seed = int(os.environ.get("FURU_TEST_SEED", "4711"))
    chance = random.Random(seed)
    monkeypatch.setenv("FURU_MAX_LOST_RETRIES", "50")
    monkeypatch.setenv("FURU_LEASE_SECS", "5")
    count = int(os.environ.get("FURU_TEST_NODES", "120"))
    code = f"""
        from pathlib import Path
        from pool_nodes import Keyed
        from furu_slurm_pool import run_slurm_pool

        spec = {SPEC!r}
        nodes = [
            Keyed(n=n, key=("default", "gpu")[n % 2], secs=0.2 * (n % 6), folder=Path({str(tmp_path)!r}))
            for n in range({count})
        ]
        if __name__ == "__main__":
            run = run_slurm_pool(
                nodes, specs={{"default": spec, "gpu": {{**spec, "partition": "gpu"}}}},
                max_workers_total=6, poll_interval_sec=0.5, progress=False,
            )
            print("done", run.status().total)
    """
    controller = program(code)
    done: dict[str, int] = {}
    forgetful = -math.inf  # when Slurm last forgot what had happened a moment before
    deadline = time.monotonic() + 60 + count
    while controller.process.poll() is None and time.monotonic() < deadline:
        wait_until("a moment to pass", _after(chance.uniform(1.0, 3.0)))
        if controller.process.poll() is not None:
            break
        what = chance.choice(["kill", "kill", "scancel", "stop", "node", "slurmctld", "controller"])
        done[what] = done.get(what, 0) + 1
        workers = _workers(tmp_path)
        if what == "controller" and controller.process.poll() is None:
            if kill_before_its_end(controller, store):
                controller = program("")
        elif what == "slurmctld":
            cluster.stop_controller(kill=True)
            wait_until("a moment to pass", _after(5.0))
            cluster.start_controller()
            forgetful = time.monotonic()
        elif what == "node":
            node = chance.choice(cluster.nodes)
            cluster.crash(node)
            cluster.down(node)
            cluster.start_slurmd(node)
            cluster.resume(node)
        elif what == "scancel" and (jobs := [row["id"] for row in cluster.jobs()]):
            with suppress(AssertionError):  # it has just ended
                cluster.run("scancel", chance.choice(jobs))
        elif what in ("kill", "stop") and workers:
            pid = chance.choice(workers)
            _signal(pid, signal.SIGKILL if what == "kill" else signal.SIGSTOP)
            if what == "stop":
                wait_until("a moment to pass", _after(chance.uniform(1.0, 7.0)))
                _signal(pid, signal.SIGCONT)
    said = controller.finish(600)
    status, output = said.status, said.text
    ended = time.monotonic()
    assert status == 0, f"seed {seed}, {done}:\n{output}"
    for n in range(count):
        node = Keyed(n=n, key=("default", "gpu")[n % 2], secs=0.2 * (n % 6))
        assert node.get().startswith("slurm-pool ")
    (folder,) = (store / "runs").iterdir()
    if ended - forgetful < 60:  # a moment before the end, or after it
        stop_run(folder)
    cluster.wait_idle()


def _after(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _workers(folder: Path) -> list[int]:
    """The workers of this test that run, by what their jobs were started with."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"furu_slurm._entry" in command and str(folder).encode() in command:
                found.append(int(entry.name))
    return found
