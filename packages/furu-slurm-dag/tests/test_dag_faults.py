"""What clusters do to graphs of jobs: killed submitters, walltimes, limits, preemption, lost files."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dag_nodes as nodes
import dag_programs as programs
import pytest
from dag_kit import WAIT_SECS, Box, kill_parent, retried, states, submit

import furu_core
from furu_core.errors import FuruRunCancelled, FuruRunError, FuruStoreError
from furu_core.executors import FailureKind, NodeState
from furu_slurm import SlurmCluster, SlurmSpec
from furu_slurm.errors import FuruSlurmUnavailable, FuruSubmitRefused
from furu_slurm_dag import _submit
from furu_testing import (
    Host,
    cached_view,
    needs_cached_views,
    needs_namespaces,
    wait_until,
)
from furu_testing.slurm import NodeOptions

FOLDER = Path(nodes.__file__).parent
WIDE = int(os.environ.get("WIDE", "150"))  # WIDE=2000 takes two cores a quarter of an hour
WIDE_SECS = 800 + 2 * WIDE


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """Where nodes are told what to do."""
    return Box(tmp_path / "box")


@pytest.fixture
def host(slurm: Any, store: Path) -> Iterator[Host]:
    """Starts submitters that may be killed."""
    with Host(store, modules=["dag_programs"], sys_path=[FOLDER]) as host:
        yield host


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was given to sbatch."""
    seen: list[dict[str, Any]] = []
    submit_once = SlurmCluster.submit

    def noting(self: SlurmCluster, **fields: Any) -> list[str]:
        found = submit_once(self, **fields)
        seen.append(fields)
        return found

    monkeypatch.setattr(SlurmCluster, "submit", noting)
    return seen


# Submitters


@pytest.mark.parametrize("when", ["before", "after"])
def test_p7_after_a_submitter_was_killed_the_same_command_submits_the_rest(
    slurm: Any, host: Host, box: Box, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    # What may be on its way to the queue is given a minute and a half, which no test has.
    monkeypatch.setattr("furu_slurm_dag._liveness.SUBMITTING_SECS", 2.0)
    hold = box.tell("0", "hold")
    killed = host.start("dag_programs:submit_and_die", str(box.folder), 5, 3, when)
    assert killed.wait().killed
    box.await_start("0")
    if when == "before":
        wait_until("what was not submitted to be given up", _third_is_given_up(box))
    root = programs.chain(str(box.folder), 5)
    run = submit(root)
    left = len(list((furu_core.settings().path / "runs" / run.id / "jobs").glob("*.ids")))
    assert left == (3 if when == "before" else 2)
    hold.unlink()
    assert run.wait(WAIT_SECS).results() == 5
    assert [box.starts(str(number)) for number in range(5)] == [1] * 5


def _third_is_given_up(box: Box) -> Callable[[], bool]:
    return lambda: states(programs.chain(str(box.folder), 3)) == [NodeState.STALE]


def test_p4_two_submitters_at_once_compute_each_node_once(
    slurm: Any, host: Host, tmp_path: Path, box: Box
) -> None:
    first = host.start("dag_programs:run_chain", str(box.folder), 4)
    second = host.start("dag_programs:run_chain", str(box.folder), 4)
    assert (first.result(WAIT_SECS), second.result(WAIT_SECS)) == (4, 4)
    assert [box.starts(str(number)) for number in range(4)] == [1] * 4
    note = tmp_path / "numbers"
    runs = [host.start("dag_programs:run_total", str(note), 8) for _ in range(2)]
    assert [run.result(WAIT_SECS) for run in runs] == [28, 28]
    assert sorted(note.read_text().split()) == [str(x) for x in range(8)]


# Wide graphs and limits


def test_nodes_that_wait_for_the_same_share_an_array_whose_end_is_waited_for_as_one(
    slurm: Any, store: Path, tmp_path: Path, calls: list[dict[str, Any]]
) -> None:
    numbers = tuple(nodes.Number(x=x, note=tmp_path / "note") for x in range(20))
    run = submit(nodes.Total(numbers=numbers))
    assert [len(call["calls"]) for call in calls] == [20, 1]
    array = run.job_id_by_hash[numbers[0].furu_hash].partition("_")[0]
    assert calls[1]["dependency"] == f"afterok:{array}"
    assert run.wait(WAIT_SECS).results() == sum(range(20))


def test_2000_nodes_and_a_root_take_three_submissions(
    own_slurm: Any, store: Path, tmp_path: Path, calls: list[dict[str, Any]]
) -> None:
    own_slurm(nodes=1, cpus=2, accounting=False)
    numbers = tuple(nodes.Number(x=x, note=tmp_path / "note") for x in range(2000))
    run = submit(nodes.Total(numbers=numbers))
    assert [len(call["calls"]) for call in calls] == [1001, 999, 1]
    first, second = (run.job_id_by_hash[numbers[x].furu_hash].partition("_")[0] for x in (0, -1))
    assert calls[2]["dependency"] == f"afterok:{first}:{second}"
    run.cancel()
    with pytest.raises(FuruRunCancelled):
        run.wait(WAIT_SECS)


@pytest.mark.slow
@pytest.mark.timeout(WIDE_SECS + 400)
def test_p4_the_nodes_of_a_wide_graph_are_computed_once_each(
    own_slurm: Any, store: Path, tmp_path: Path
) -> None:
    own_slurm(nodes=2, cpus=4)
    note = tmp_path / "note"
    numbers = tuple(nodes.Number(x=x, note=note) for x in range(WIDE))
    run = submit(nodes.Total(numbers=numbers), poll_interval_sec=1.0)
    assert run.wait(WIDE_SECS).results() == sum(range(WIDE))
    assert sorted(map(int, note.read_text().split())) == list(range(WIDE))
    assert run.status().computed == WIDE + 1


def test_arrays_are_no_longer_than_the_cluster_takes_them(
    own_slurm: Any, store: Path, tmp_path: Path, calls: list[dict[str, Any]]
) -> None:
    own_slurm(max_array_size=4)
    numbers = tuple(nodes.Number(x=x, note=tmp_path / "note") for x in range(10))
    run = submit(nodes.Total(numbers=numbers))
    assert [len(call["calls"]) for call in calls] == [4, 4, 2, 1]
    assert run.wait(WAIT_SECS).results() == sum(range(10))


def test_a_submit_limit_is_said_and_the_wait_goes_on_in_waves(
    own_slurm: Any,
    store: Path,
    box: Box,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    own_slurm(max_submit_jobs=3)
    monkeypatch.setattr("furu_slurm_dag._run._AGAIN_SECS", 1.0)
    steps = [box.step(str(number)) for number in range(8)]
    holds = [box.tell(step.name, "hold") for step in steps]  # or some end before all is submitted
    run = submit(box.step("root", *steps))
    assert "Slurm takes no more jobs now" in caplog.text
    assert run.status().unsubmitted == 6
    for hold in holds:
        hold.unlink()
    assert run.wait(WAIT_SECS).results() == 9
    assert [box.starts(step.name) for step in steps] == [1] * 8


def test_what_is_too_long_a_list_to_wait_for_is_submitted_when_less_is_left(
    slurm: Any, store: Path, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Enough for one job, whatever its number, and not for four.
    monkeypatch.setattr(_submit, "LONGEST", 14)
    sources = [box.step(f"source {number}") for number in range(4)]
    pairs = [box.step(f"pair {number}", source) for number, source in enumerate(sources)]
    root = box.step("root", *pairs)
    run = submit(root)
    assert root.furu_hash not in run.job_id_by_hash
    assert run.wait(WAIT_SECS).results() == 9


# Time and preemption


@pytest.mark.slow
def test_p5_out_of_walltime_a_job_goes_back_into_the_queue_and_on_from_its_checkpoint(
    slurm: Any, store: Path, box: Box
) -> None:
    step = box.step("long")
    box.tell("long", "steps", "1000")
    with furu_core.use_settings(max_lost_retries=0):  # each time there is progress
        run = submit(step, signal_before_secs=50)
    job_id = run.job_id_by_hash[step.furu_hash]
    wait_until("some progress", lambda: len(_pids(box, "long.ran")) > 5, WAIT_SECS)
    box.tell("long", "steps", "3")  # for the next start, which has to do no more than it finds
    let_walltime_end_soon(slurm, job_id)
    wait_until("it to go back", lambda: slurm.squeue(job_id)[0]["restarts"] == "1", WAIT_SECS)
    slurm.run("scontrol", "update", f"jobid={job_id}", "timelimit=60")
    assert run.wait(WAIT_SECS).results() == 1
    first, _second = _pids(box, "long.starts")
    assert {*_pids(box, "long.ran")} == {first}
    (log,) = (store / "submitit").rglob("*_log.out")
    assert "out of walltime (lost after progress in its checkpoint)" in log.read_text()


def let_walltime_end_soon(slurm: Any, job_id: str) -> None:
    """Have Slurm tell a job that its walltime ends, within half a minute.

    To a short walltime it would do that at any moment, perhaps before the job has begun its node.
    """
    end = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 70))
    slurm.run("scontrol", "update", f"jobid={job_id}", f"endtime={end}")


def _pids(box: Box, file: str) -> list[int]:
    return [int(line) for line in _text(box.folder / file).splitlines()]


@pytest.mark.slow
def test_p5_a_job_that_makes_no_progress_within_its_walltime_fails(
    slurm: Any, store: Path, box: Box
) -> None:
    box.tell("long", "hold")
    step = box.step("long")
    with furu_core.use_settings(max_lost_retries=0):
        run = submit(step, signal_before_secs=50)
    box.await_start("long")
    let_walltime_end_soon(slurm, run.job_id_by_hash[step.furu_hash])
    with pytest.raises(FuruRunError, match="walltime") as caught:
        run.wait(WAIT_SECS)
    assert caught.value.failures[0].kind is FailureKind.LOST


def test_p5_a_preempted_job_goes_on_from_its_checkpoint(
    own_slurm: Any, store: Path, box: Box
) -> None:
    cluster = own_slurm(nodes=1, cpus=1)
    box.tell("long", "steps", "1000")
    step = box.step("long")
    run = submit(step)
    wait_until("some progress", lambda: len(_pids(box, "long.ran")) > 3, WAIT_SECS)
    box.tell("long", "steps", "1")  # for the next start, which has to do no more than it finds
    cluster.sbatch("sleep 2", "--partition=urgent", "--ntasks=1")
    assert run.wait(WAIT_SECS).results() == 1
    first, _second = _pids(box, "long.starts")
    assert {*_pids(box, "long.ran")} == {first}
    (why,) = retried(run, step)
    assert "preempted" in why


def test_p7_a_node_that_goes_down_takes_no_run_with_it(
    own_slurm: Any, store: Path, box: Box
) -> None:
    cluster = own_slurm(nodes=2)
    step = box.step("long")
    hold = box.tell("long", "hold")
    run = submit(box.step("root", step))
    box.await_start("long")
    (row,) = [row for row in cluster.squeue() if row["id"] == run.job_id_by_hash[step.furu_hash]]
    cluster.crash(row["nodes"])
    cluster.down(row["nodes"])
    box.await_start("long", 2)
    hold.unlink()
    assert run.wait(WAIT_SECS).results() == 2


def test_p5_a_job_whose_own_process_is_killed_is_submitted_once_more(
    slurm: Any, store: Path, box: Box
) -> None:
    hold = box.tell("one", "hold")
    step = box.step("one")
    run = submit(box.step("root", step))
    box.await_start("one")
    before = run.job_id_by_hash
    kill_parent(int((box.folder / "one.starts").read_text()))
    hold.unlink()
    assert run.wait(WAIT_SECS).results() == 2
    # The root's first job was cancelled along with it, and that is no failure either.
    after = run.job_id_by_hash
    assert all(before[node_hash] != after[node_hash] for node_hash in before)
    assert [box.starts("one"), box.starts("root")] == [2, 1]
    assert retried(run, step) == ["it is submitted once more"]


# Dependencies


def test_a_job_whose_dependency_failed_long_ago_ends_and_says_why(
    slurm: Any, store: Path, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when Slurm has forgotten a job that failed, and lets those that waited for it run."""
    monkeypatch.setattr(_submit, "afterok", lambda _jobs, _sizes: "")
    hold = box.tell("source", "hold")
    box.tell("source", "fail")
    source = box.step("source")
    root = box.step("root", source)
    with furu_core.use_settings(max_compute_retries=0):
        run = submit(root)
    box.await_start("source")
    log = store / "submitit" / "nodes" / "default" / run.id
    wait_until(
        "the root's job to wait",
        lambda: (
            "waiting for Step(" in _text(log / f"{run.job_id_by_hash[root.furu_hash]}_0_log.out")
        ),
    )
    hold.unlink()
    with pytest.raises(FuruRunError, match="source was told to fail"):
        run.wait(WAIT_SECS)
    assert [name for name, _ in run.status().never_ran] == [f"Step({root.furu_hash[:6]})"]
    text = _text(log / f"{run.job_id_by_hash[root.furu_hash]}_0_log.out")
    assert f"its dependency Step({source.furu_hash[:6]}) is not there, it failed" in text


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_a_dependency_that_ends_between_plan_and_submission_is_judged_by_the_store(
    slurm: Any, store: Path, box: Box, monkeypatch: pytest.MonkeyPatch, calls: list[dict[str, Any]]
) -> None:
    source = box.step("source")
    hold = box.tell("source", "hold")
    first = submit(source)
    box.await_start("source")
    adopt = _submit.Submitter.adopt

    def adopt_and_end(self: Any, node: Any, submission: Any) -> Any:
        job = adopt(self, node, submission)
        hold.unlink()
        first.wait(WAIT_SECS)
        return job

    monkeypatch.setattr(_submit.Submitter, "adopt", adopt_and_end)
    run = submit(box.step("root", source))
    assert calls[-1]["dependency"] == ""
    assert run.wait(WAIT_SECS).results() == 2


def test_p4_a_job_whose_node_somebody_else_computes_waits_for_it(
    slurm: Any, host: Host, store: Path, box: Box
) -> None:
    step = box.step("one")
    hold = box.tell("one", "hold")
    run = submit(step)
    log = store / "submitit" / "nodes" / "default" / run.id
    job_id = run.job_id_by_hash[step.furu_hash]
    box.await_start("one")
    slurm.run("scontrol", "requeuehold", job_id)
    slurm.wait_for_state(job_id, "PENDING")
    # A node that only waits in a queue is computed by whoever asks for it.
    child = host.start("dag_programs:get", "one", str(box.folder))
    box.await_start("one", 2)
    slurm.run("scontrol", "release", job_id)
    wait_until(
        "the job to wait",
        lambda: "computes Step(" in _text(log / f"{job_id}_0_log.out"),
        WAIT_SECS,
    )
    hold.unlink()
    assert child.result() == 1
    assert run.wait(WAIT_SECS).results() == 1
    assert box.starts("one") == 2
    wait_until(
        "the job to say what it found",
        lambda: "computed by somebody else" in _text(log / f"{job_id}_0_log.out"),
    )


# What is wrong from the start


def test_p6_a_partition_that_does_not_exist_is_refused_and_leaves_nothing(
    slurm: Any, store: Path, box: Box
) -> None:
    step = box.step("one")
    with pytest.raises(FuruSubmitRefused, match="partition"):
        submit(step, specs={"default": SlurmSpec(partition="nowhere", cpus=1, mem_gb=1)})
    assert states(step) == [NodeState.ABSENT]
    assert submit(step).wait(WAIT_SECS).results() == 1


def test_p6_a_spec_that_no_node_can_satisfy_is_refused(slurm: Any, store: Path, box: Box) -> None:
    with pytest.raises(FuruSubmitRefused, match=r"[Mm]emory"):
        submit(box.step("one"), specs={"default": SlurmSpec(partition="cpu", mem_gb=1e6)})


def test_p6_a_job_that_no_node_will_ever_start_is_given_up(
    slurm: Any, store: Path, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("furu_slurm_dag._board._HOPELESS_SECS", 1.0)
    run = submit(box.step("one"), specs={"default": SlurmSpec(partition="cpu", cpus=500)})
    with pytest.raises(FuruRunError, match="PartitionConfig"):
        run.wait(WAIT_SECS)
    slurm.wait_idle()


@pytest.mark.slow
def test_p6_a_controller_that_is_down_is_an_error_in_bounded_time(
    own_slurm: Any, store: Path, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = own_slurm()
    monkeypatch.setattr(
        "furu_slurm_dag._executor.SlurmCluster", lambda: programs.SlurmCluster(patience_secs=5.0)
    )
    cluster.stop_controller()
    with pytest.raises(FuruSlurmUnavailable):
        submit(box.step("one"))
    cluster.start_controller()
    assert submit(box.step("one")).wait(WAIT_SECS).results() == 1


def test_p6_a_class_that_jobs_cannot_import_fails_at_once(
    slurm: Any, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    module = folder / "dag_gone.py"
    module.write_text("from furu_core import Furu\nclass Gone(Furu[int]):\n    x: int = 1\n")
    monkeypatch.syspath_prepend(str(folder))
    import dag_gone

    node = dag_gone.Gone()
    module.unlink()
    run = submit(node)
    with pytest.raises(FuruRunError, match="dag_gone") as caught:
        run.wait(WAIT_SECS)
    assert caught.value.failures[0].kind is FailureKind.PROTOCOL


def test_p6_a_damaged_job_file_fails_and_names_it(
    slurm: Any, store: Path, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_damaged(folder: Path, batch: Any) -> None:
        (folder / "jobs" / f"{batch.token}.json").write_text("{")

    monkeypatch.setattr(_submit, "write_batch", write_damaged)
    run = submit(box.step("one"))
    with pytest.raises(FuruRunError, match="is damaged") as caught:
        run.wait(WAIT_SECS)
    assert caught.value.failures[0].log is not None


@pytest.mark.slow
def test_p6_a_store_that_a_node_cannot_see_fails_and_is_named(
    own_slurm: Any, store: Path, box: Box, tmp_path: Path
) -> None:
    needs_namespaces()
    hide = ("unshare", "--mount", "sh", "-c", f'mount -t tmpfs none {store} && exec "$@"', "sh")
    own_slurm(nodes=1, node_options={"n1": NodeOptions(wrapper=hide)})
    run = submit(box.step("one"), submitit_root=tmp_path / "logs")
    with pytest.raises(FuruRunError, match="FURU_PATH must be a folder that all nodes") as caught:
        run.wait(WAIT_SECS)
    assert str(store) in str(caught.value)


def test_p6_a_full_disk_in_the_run_folder_is_an_error_and_nothing_is_lost(
    slurm: Any, store: Path, box: Box
) -> None:
    (runs := store / "runs").mkdir()
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", runs],
            check=True,
            capture_output=True,
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a tmpfs: run as root")
    try:
        step = box.step("one")
        with contextlib.suppress(OSError), (runs / "rest").open("wb") as rest:
            while True:
                rest.write(bytes(4096))
                rest.flush()
        with pytest.raises(FuruStoreError, match="space"):
            submit(step)
        assert states(step) == [NodeState.ABSENT]
        (runs / "rest").unlink()
        assert submit(step).wait(WAIT_SECS).results() == 1
    finally:
        subprocess.run(["umount", "-l", str(runs)], check=True, capture_output=True)


@pytest.mark.slow
def test_behind_caches_and_on_hosts_of_their_own_jobs_find_what_others_computed(
    own_slurm: Any, tmp_path: Path, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_namespaces()
    needs_cached_views()
    (back := tmp_path / "back").mkdir()
    with cached_view(back, tmp_path / "view", seconds=20) as view:
        options = {
            name: NodeOptions(host=f"host-{name}", views={view: back}, view_secs=20)
            for name in ("n1", "n2", "n3")
        }
        cluster = own_slurm(nodes=3, cpus=2, node_options=options)
        monkeypatch.setenv("FURU_PATH", str(view))
        with furu_core.use_settings(path=view, lease_secs=30.0):
            layer = [box.step(f"0 {number}") for number in range(4)]
            for depth in range(1, 3):
                layer = [box.step(f"{depth} {number}", *layer) for number in range(4)]
            box.tell("1 2", "kill", "1")
            hold = box.tell("1 3", "hold")
            run = submit(layer)
            box.await_start("1 3")
            job_id = run.job_id_by_hash[layer[0].after[3].furu_hash]
            cluster.run("scontrol", "requeue", job_id)  # mostly to another host
            box.await_start("1 3", 2)
            hold.unlink()
            assert run.wait(WAIT_SECS).results() == [21, 21, 21, 21]
        for depth in range(3):
            for number in range(4):
                killed = (depth, number) in {(1, 2), (1, 3)}
                assert box.starts(f"{depth} {number}") == 1 + killed
        cluster.end()


def test_the_command_line_reaches_it_with_specs_of_the_project(
    slurm: Any, store: Path, box: Box, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        "[tool.furu.slurm.specs.default]\npartition = 'cpu'\ncpus = 1\nmem_gb = 0.5\ntime_min = 5\n"
    )
    (project / "exp.py").write_text(
        "from pathlib import Path\nfrom furu_core import Furu\n"
        "class One(Furu[int]):\n    def _create(self):\n        return 1\n"
        "class Two(Furu[int]):\n    one: One\n"
        "    def _create(self):\n        return 1 + self.one.get()\n"
        "two = Two(one=One())\n"
    )
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("furu"), "run", "exp:two"),
            *("--executor", "slurm-dag"),
            *("-o", "poll-interval-sec=0.3"),
        ],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=WAIT_SECS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "2 nodes: 2 computed" in done.stdout
