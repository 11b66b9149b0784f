"""Controllers that are interrupted, killed, detached and resumed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from pool_nodes import Flaky, Leaf, Waiting, counted

from furu_core.errors import FuruRunCancelled, FuruRunError
from furu_core.executors import RunState, this_process
from furu_slurm import SlurmSpec
from furu_slurm_pool import SlurmPoolExecutor, run_slurm_pool
from furu_slurm_pool._controllers import Ruler, ruler
from furu_slurm_pool.errors import FuruRunAlive
from furu_testing import Scripts, wait_until

SPECS = {"default": SlurmSpec()}
PROGRAM = """
    import sys
    from pathlib import Path
    from pool_nodes import Above, FlakyWaiting, Leaf, Stubborn, Sum, Waiting
    from furu_slurm_pool import run_slurm_pool

    folder = Path(sys.argv[1])
    what = {
        "waiting": lambda: Sum(parts=tuple(Waiting(n=n, folder=folder) for n in range(6))),
        "flaky": lambda: FlakyWaiting(folder=folder),
        "stubborn": lambda: Stubborn(folder=folder),
    }
    if __name__ == "__main__":
        run = run_slurm_pool(
            what[sys.argv[2]](), specs={"default": {}}, cluster="local", max_workers_total=2,
            poll_interval_sec=0.2, progress=False,
        )
        print("result", run.results(), run.status().computed)
"""


def run_folder(store: Path) -> Path:
    """The folder of the only run."""
    (folder,) = (store / "runs").iterdir()
    return folder


def began(folder: Path) -> set[str]:
    """The nodes that have begun."""
    return {path.name for path in folder.glob("began-*")}


def jobs_of(store: Path) -> set[str]:
    """The jobs of workers that are noted."""
    names = [path.name for path in (run_folder(store) / "workers").iterdir()]
    return {name.split(".", 1)[1] for name in names if not name.endswith(".json")}


def newest(store: Path) -> Ruler | None:
    return ruler(str(run_folder(store)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_p7_a_signal_cancels_the_workers_and_the_same_command_goes_on(
    program: Scripts,
    store: Path,
    tmp_path: Path,
    nothing_left: Callable[[], None],
    number: signal.Signals,
) -> None:
    first = program(PROGRAM, str(tmp_path), "waiting")
    wait_until("two nodes to begin", lambda: len(began(tmp_path)) == 2)
    first.signal(number)
    said = first.finish()
    status, output = said.status, said.text
    assert status == 130, output
    assert "cancelled: nothing new starts" in output
    nothing_left()
    found = newest(store)
    assert found is not None
    assert found.ended is RunState.CANCELLED
    (tmp_path / "go").touch()
    said = program("", str(tmp_path), "waiting").finish()
    status, output = said.status, said.text
    assert status == 0, output
    assert "result 15 7" in output
    assert len(list((store / "runs").iterdir())) == 1
    nothing_left()


def test_p6_a_second_signal_ends_a_node_that_does_not_listen_at_once(
    program: Scripts, store: Path, tmp_path: Path, nothing_left: Callable[[], None]
) -> None:
    run = program(PROGRAM, str(tmp_path), "stubborn")
    wait_until("the node to begin", lambda: began(tmp_path))
    run.signal(signal.SIGINT)
    wait_until("the workers to be told", lambda: (run_folder(store) / "orders" / "stop").exists())
    run.signal(signal.SIGINT)
    assert run.finish()[0] == 130
    nothing_left()


def test_p7_a_killed_controller_is_succeeded_and_its_workers_go_on(
    program: Scripts, store: Path, tmp_path: Path, nothing_left: Callable[[], None]
) -> None:
    first = program(PROGRAM, str(tmp_path), "waiting")
    wait_until("two nodes to begin", lambda: len(began(tmp_path)) == 2)
    wait_until("both workers' jobs to be noted", lambda: len(jobs_of(store)) == 2)
    before = jobs_of(store)
    first.kill()
    second = program("", str(tmp_path), "waiting")
    wait_until("somebody to take over", lambda: (newest(store) or first).number == 2)  # type: ignore[union-attr]
    (tmp_path / "go").touch()
    said = second.finish()
    status, output = said.status, said.text
    assert status == 0, output
    assert "result 15 7" in output
    assert all(counted(tmp_path, f"attempts-{n}") == 1 for n in range(6))
    assert len(list((store / "runs").iterdir())) == 1
    # All that was computed was computed by the workers of the first.
    assert jobs_of(store) <= before
    nothing_left()


def test_p7_what_ended_while_there_was_no_controller_counts(
    program: Scripts, store: Path, tmp_path: Path, nothing_left: Callable[[], None]
) -> None:
    first = program(PROGRAM, str(tmp_path), "waiting")
    wait_until("two nodes to begin", lambda: len(began(tmp_path)) == 2)
    first.kill()
    (tmp_path / "go").touch()
    # The workers do all that is queued.
    wait_until("all nodes to begin", lambda: len(began(tmp_path)) == 6)
    said = program("", str(tmp_path), "waiting").finish()
    status, output = said.status, said.text
    assert status == 0, output
    assert "result 15 " in output
    assert all(counted(tmp_path, f"attempts-{n}") == 1 for n in range(6))
    nothing_left()


def test_p5_budgets_are_kept_when_a_controller_is_killed(
    program: Scripts, store: Path, tmp_path: Path
) -> None:
    """Four attempts in all, whoever counts them, and whenever the controller dies."""
    for number in range(1, 4):
        controller = program(PROGRAM, str(tmp_path), "flaky")
        wait_until(f"attempt {number}", lambda n=number: counted(tmp_path, "flaky-waiting") >= n)
        if number % 2:
            controller.kill()
            (tmp_path / f"go-{number}").touch()
        else:
            (tmp_path / f"go-{number}").touch()
            wait_until(
                "the failure to be counted",
                lambda n=number: counted(tmp_path, "flaky-waiting") > n,
            )
            controller.kill()
    for number in range(1, 10):
        (tmp_path / f"go-{number}").touch()
    said = program("", str(tmp_path), "flaky").finish()
    status, output = said.status, said.text
    assert status == 1
    assert "FuruRunError" in output
    assert counted(tmp_path, "flaky-waiting") == 4


def test_while_its_controller_lives_a_run_is_refused_by_name(
    program: Scripts, store: Path, tmp_path: Path
) -> None:
    first = program(PROGRAM, str(tmp_path), "waiting")
    wait_until("two nodes to begin", lambda: len(began(tmp_path)) == 2)
    said = program("", str(tmp_path), "waiting").finish()
    status, output = said.status, said.text
    assert status == 1
    assert "FuruRunAlive" in output
    assert f"process {first.pid} on " in output
    assert "furu pool stop" in output
    (tmp_path / "go").touch()
    assert first.finish()[0] == 0


def test_p4_a_controller_that_was_given_up_and_wakes_harms_nobody(
    program: Scripts, store: Path, tmp_path: Path, nothing_left: Callable[[], None]
) -> None:
    first = program(PROGRAM, str(tmp_path), "waiting")
    wait_until("two nodes to begin", lambda: len(began(tmp_path)) == 2)
    wait_until("both workers' jobs to be noted", lambda: len(jobs_of(store)) == 2)
    first.signal(signal.SIGSTOP)
    _make_it_another_hosts(store)
    second = program("", str(tmp_path), "waiting")
    wait_until("somebody to take over", lambda: newest(store).number == 2)  # type: ignore[union-attr]
    first.signal(signal.SIGCONT)
    said = first.finish()
    status, output = said.status, said.text
    assert status == 1
    assert "another process controls this run now" in output
    (tmp_path / "go").touch()
    said = second.finish()
    status, output = said.status, said.text
    assert status == 0, output
    assert "result 15 7" in output
    assert all(counted(tmp_path, f"attempts-{n}") == 1 for n in range(6))
    nothing_left()


def _make_it_another_hosts(store: Path) -> None:
    """Have the controller look like one of another host that has been silent for very long."""
    folder = run_folder(store) / "controllers" / "1"
    record = json.loads((folder / "controller.json").read_text())
    record["process"] = attrs.asdict(attrs.evolve(this_process(), host="elsewhere"))
    (folder / "controller.json").write_text(json.dumps(record))
    os.utime(folder / "alive", (0, 0))


def test_a_failed_run_is_not_gone_on_with(store: Path, tmp_path: Path) -> None:

    node = Flaky(times=5, folder=tmp_path)
    with pytest.raises(FuruRunError):
        run_slurm_pool(node, specs=SPECS, cluster="local", max_workers_total=1, progress=False)
    run = run_slurm_pool(node, specs=SPECS, cluster="local", max_workers_total=1, progress=False)
    assert run.results() == 6
    assert len(list((store / "runs").iterdir())) == 2


def test_runs_may_stand_elsewhere(store: Path, tmp_path: Path) -> None:
    run = run_slurm_pool(
        Leaf(x=1),
        specs=SPECS,
        cluster="local",
        run_root=tmp_path / "elsewhere",
        submitit_root=tmp_path / "logs",
        progress=False,
    )
    assert run.results() == 1
    assert run.run_dir.parent == tmp_path / "elsewhere"
    assert list((tmp_path / "logs" / "workers" / "default" / run.run_id).glob("*.out"))
    assert not (store / "runs").exists()


# Detached controllers and commands


def test_a_detached_controller_finishes_the_run(
    store: Path, tmp_path: Path, nothing_left: Callable[[], None]
) -> None:
    nodes = [Waiting(n=n, folder=tmp_path) for n in range(2)]
    executor = SlurmPoolExecutor(
        specs=SPECS,
        cluster="local",
        max_workers_total=2,
        poll_interval_sec=0.2,
        detach=True,
    )
    run = executor.submit(nodes)
    assert not any(node.exists() for node in nodes)
    with pytest.raises(FuruRunAlive, match="job local-"):
        executor.submit(nodes)
    wait_until("both nodes to begin", lambda: len(began(tmp_path)) == 2)
    assert run.status().state is RunState.RUNNING
    with pytest.raises(TimeoutError):
        run.wait(0.1)
    (tmp_path / "go").touch()
    assert run.wait(180).results() == [0, 1]
    assert run.status().computed == 2
    assert run.run_dir == store / "runs" / run.run_id
    assert list((store / "submitit" / "workers" / "controller" / run.run_id).glob("*.out"))
    nothing_left()


def test_a_detached_run_is_cancelled_from_afar(
    store: Path, tmp_path: Path, nothing_left: Callable[[], None]
) -> None:
    run = SlurmPoolExecutor(
        specs=SPECS, cluster="local", poll_interval_sec=0.2, max_workers_total=1, detach=True
    ).submit(Waiting(folder=tmp_path))
    wait_until("the node to begin", lambda: began(tmp_path))
    run.cancel()
    with pytest.raises(FuruRunCancelled, match=run.id):
        run.wait(180)
    nothing_left()


def test_a_killed_detached_controller_is_noticed_and_resumed(
    store: Path, tmp_path: Path, nothing_left: Callable[[], None]
) -> None:
    run = SlurmPoolExecutor(
        specs=SPECS, cluster="local", poll_interval_sec=0.2, max_workers_total=1, detach=True
    ).submit(Waiting(folder=tmp_path))
    wait_until("the node to begin", lambda: began(tmp_path))
    controller = newest(store)
    assert controller is not None
    assert controller.process is not None
    os.kill(controller.process.pid, signal.SIGKILL)
    with pytest.raises(FuruRunError, match=f"furu pool resume {run.id}"):
        run.wait(180)
    (tmp_path / "go").touch()
    assert furu("pool", "resume", run.id[-6:]).returncode == 0
    assert run.wait(180).results() == 0
    assert counted(tmp_path, "attempts-0") == 1
    nothing_left()


def furu(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command `furu`."""
    return subprocess.run(
        [Path(sys.executable).with_name("furu"), *arguments],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


def test_the_command_tells_stops_and_resumes(
    program: Scripts, store: Path, tmp_path: Path, nothing_left: Callable[[], None]
) -> None:
    assert "no runs on a pool" in furu("pool", "status").stdout
    run = program(PROGRAM, str(tmp_path), "waiting")
    wait_until("two nodes to begin", lambda: len(began(tmp_path)) == 2)
    wait_until("both workers' jobs to be noted", lambda: len(jobs_of(store)) == 2)
    run_id = run_folder(store).name
    assert f"{run_id}  running, 7 nodes" in furu("pool", "status").stdout
    told = furu("pool", "status", run_id).stdout
    assert re.search(r"controller  process \d+ on \S+ \(lives\)", told)
    assert "queue       default: 4 waiting, 2 with workers" in told
    assert len(re.findall(r"worker      w1-000\d: job local-", told)) == 2
    record = json.loads(furu("pool", "status", run_id[-6:], "--json").stdout)
    assert (record["state"], record["total"], record["running"]) == ("running", 7, 2)
    refused = furu("pool", "resume", run_id)
    assert refused.returncode != 0
    assert f"process {run.pid}" in refused.stderr
    stopped = furu("pool", "stop", run_id)
    assert "is over: cancelled" in stopped.stdout, stopped.stderr
    assert run.finish()[0] == 1
    nothing_left()
    assert "has ended already: cancelled" in furu("pool", "stop", run_id).stdout
    (tmp_path / "go").touch()
    resumed = furu("pool", "resume", run_id)
    assert resumed.returncode == 0, resumed.stderr
    assert f"{run_id}  done, 7 nodes" in furu("pool", "status").stdout
    missing = furu("pool", "status", "nonsense")
    assert missing.returncode != 0
    assert "no run 'nonsense'" in missing.stderr


def test_a_run_without_a_controller_is_stopped_with_its_workers(
    program: Scripts, store: Path, tmp_path: Path, nothing_left: Callable[[], None]
) -> None:
    run = program(PROGRAM, str(tmp_path), "waiting")
    wait_until("two nodes to begin", lambda: len(began(tmp_path)) == 2)
    wait_until("both workers' jobs to be noted", lambda: len(jobs_of(store)) == 2)
    run.kill()
    run_id = run_folder(store).name
    assert "without a controller" in furu("pool", "status", run_id).stdout
    assert "2 workers were cancelled" in furu("pool", "stop", run_id).stdout
    nothing_left()
