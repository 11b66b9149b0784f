"""P9: the costs in a node's record are its own, apart from waiting and from the nodes inside it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner
from costs_nodes import Inner, Outer

from furu_core import Furu
from furu_core._cli._nodes import show
from furu_core._context import _context
from furu_core._costs import Moment, NodeTimer
from furu_core.executors import JobTimes, Submission
from furu_core.workers import WorkerContext, run_node, worker_session
from furu_testing import Host, wait_until

pytestmark = pytest.mark.timeout(300)

NODES = Path(__file__).parent / "nodes"
ROUNDING = 3e-6


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    settings = {"poll_interval_secs": 0.05}
    with Host(folder, modules=["costs_nodes"], sys_path=[NODES], settings=settings) as started:
        yield started


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder with a store, for nodes that wait for the test."""
    (tmp_path / "store").mkdir()
    return tmp_path


def own_secs(costs: dict[str, Any]) -> float:
    """The time in which the node's own code ran and waited for no other process."""
    wall, waited, nested = (costs[f"{what}_secs"] for what in ("wall", "waited", "nested"))
    return float(wall - waited - nested)


def while_held(
    host: Host, outside: Path, call: str, *args: object, names: tuple[str, ...]
) -> tuple[Any, float, float]:
    """Run a function that waits for the nodes of these names, which other processes hold.

    Returns:
        What it returned; for how many seconds at least it waited for all of them at once; and how
        many it took at most.
    """
    store = str(outside / "store")
    notes = outside / "notes"
    holders = [host.start("costs_nodes:get_held", str(outside), name, path=store) for name in names]
    for name in names:
        line = f"{name} begun"
        wait_until(line, lambda line=line: notes.exists() and line in notes.read_text())
    began = time.perf_counter()
    waiter = host.start(call, str(outside), list(names), *args, path=store)
    wait_until("the wait", lambda: f"wait {len(names)}" in notes.read_text())
    all_wait = time.perf_counter()
    # Long enough that to count it twice would be more than all the rest takes.
    wait_until("time to pass", lambda: time.perf_counter() > 3 * all_wait - 2 * began + 1.0)
    held = time.perf_counter() - all_wait
    # A last look that began before the gates open may find what is published after that.
    wait_until("some more looks", lambda: time.perf_counter() > all_wait + held + 1.0)
    for name in names:
        (outside / f"go-{name}").touch()
    costs = waiter.result()
    took = time.perf_counter() - began
    for holder in holders:
        holder.result()
    return costs, held, took


def test_p9_the_time_that_a_node_waits_for_another_process_is_told_apart(
    host: Host, outside: Path
) -> None:
    found, held, took = while_held(host, outside, "costs_nodes:get_waits", names=("a",))
    waits, outer = found["waits"], found["outer"]
    assert held <= waits["waited_secs"] <= waits["wall_secs"] <= took
    assert waits["nested_secs"] == 0.0
    assert 0.05 <= own_secs(waits) <= took - held
    # The node around it did not wait itself.
    assert outer["waited_secs"] == 0.0
    assert waits["wall_secs"] <= outer["nested_secs"] <= outer["wall_secs"] <= took
    assert own_secs(outer) + own_secs(waits) <= took - held


@pytest.mark.parametrize(("names", "force"), [(("a",), False), (("a", "b"), True)])
def test_p9_in_a_worker_all_kinds_of_waiting_count_and_threads_that_wait_at_once_count_once(
    host: Host, outside: Path, names: tuple[str, ...], force: bool
) -> None:
    costs, held, took = while_held(host, outside, "costs_nodes:work_on_waits", force, names=names)
    assert held <= costs["waited_secs"] <= costs["wall_secs"] <= took
    assert 0.05 <= own_secs(costs) <= took - held


def test_p9_a_nodes_processor_time_and_that_of_its_children_is_without_the_node_inside_it(
    host: Host, tmp_path: Path
) -> None:
    found = host.run("costs_nodes:get_outer", 0.5, True, path=str(tmp_path))
    inner, outer = found["inner"], found["outer"]
    assert inner["wall_secs"] <= outer["nested_secs"] <= outer["wall_secs"]
    assert inner["waited_secs"] == outer["waited_secs"] == inner["nested_secs"] == 0.0
    assert inner["cpu_secs"] >= 0.5
    assert outer["cpu_secs"] >= 0.5
    assert inner["cpu_secs"] + outer["cpu_secs"] <= found["used"] + ROUNDING
    assert inner["children_cpu_secs"] >= 0.5
    assert outer.get("children_cpu_secs", 0.0) < 0.5


def test_p9_nodes_that_threads_of_one_node_compute_at_once_count_once(
    host: Host, tmp_path: Path
) -> None:
    found = host.run("costs_nodes:work_on_forces", ["a", "b", "c"], path=str(tmp_path))
    outer = found["outer"]
    assert {one.get("nested_secs", 0.0) for one in found["inner"]} == {0.0}
    longest = max(one["wall_secs"] for one in found["inner"])
    assert longest <= outer["nested_secs"] + ROUNDING
    assert own_secs(outer) + ROUNDING >= 0.0
    assert outer["cpu_secs"] >= 0.0


def at(wall: float) -> Moment:
    return Moment(wall, 10 * wall, 100 * wall, 0)


def test_p9_each_moment_counts_once_as_nested_else_as_waited_else_as_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("furu_core._costs.this_moment", lambda: at(now))
    timer = NodeTimer(alone=False)
    timer.waits["two threads"] = at(1.0), at(3.0)
    timer.waits["at once"] = at(2.0), at(4.0)
    for begin, end in ((3.5, 5.0), (4.5, 6.0), (4.6, 4.7), (8.0, 9.0)):
        now = end
        timer.end_nested(at(begin))
    timer.waits["meanwhile"] = at(8.5), at(8.6)
    now = 10.0
    costs = timer.stop()
    assert (costs["wall_secs"], costs["waited_secs"], costs["nested_secs"]) == (10.0, 2.5, 3.5)
    assert (costs["cpu_secs"], costs["children_cpu_secs"]) == (65.0, 650.0)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems measure no peak anew")
@pytest.mark.usefixtures("store")
def test_p9_the_peak_of_a_node_is_not_forgotten_when_another_one_begins_inside_it() -> None:
    inner = Inner(secs=0.0)
    outer = Outer(inner=(inner,), mebibytes=300)
    outer.get()
    peaks = [node.provenance()["costs"]["peak_bytes"] for node in (outer, inner)]
    assert peaks[0] > peaks[1] + (200 << 20)


# What `furu show` makes of it


def shown(node: Furu[Any]) -> tuple[str, dict[str, Any]]:
    """What `furu show` prints of a node, and as JSON."""
    said = [
        CliRunner().invoke(show, [node.furu_hash, *options], catch_exceptions=False).output
        for options in ([], ["--json"])
    ]
    return said[0], json.loads(said[1])


JOB = Submission("elsewhere", "17", 0)


@pytest.mark.parametrize(
    ("times", "queued"),
    [
        (JobTimes(submitted=1000.0, eligible=1060.0, started=1075.0), 15.0),
        (JobTimes(submitted=1000.0, started=1075.0), None),
        (JobTimes(started=1075.0), None),
        (None, None),
    ],
)
@pytest.mark.usefixtures("store")
def test_p9_the_times_of_a_nodes_job_are_in_its_record_and_what_is_unknown_is_not(
    times: JobTimes | None, queued: float | None
) -> None:
    worker = WorkerContext("elsewhere", "run-1", submission=JOB, job_times=times)
    with worker_session(worker):
        assert run_node(Inner(secs=0.0)).failure is None
    record = Inner(secs=0.0).provenance()
    told = None if times is None else attrs.asdict(times, filter=lambda _, value: value is not None)
    assert record.get("job_times") == told
    text, facts = shown(Inner(secs=0.0))
    assert (facts["submission"]["id"], facts.get("job_times")) == ("17", told)
    assert facts["attempts"][0].get("job_times") == told
    assert facts.get("queued_secs") == queued
    assert ("queued for 15 s" in text) == (queued is not None)
    assert ("submitted  1970-01-01" in text) == ("submitted" in (told or {}))


def test_p9_children_of_a_nodes_code_know_the_times_of_its_job() -> None:
    times = JobTimes(submitted=1000.0, started=1075.0)
    with worker_session(WorkerContext("elsewhere", "run-1", submission=JOB, job_times=times)):
        inherited = _context._inherited_context()
    assert (inherited.submission, inherited.job_times) == (JOB, times)


@pytest.mark.usefixtures("store")
def test_p9_show_tells_what_a_node_computed_itself() -> None:
    outer = Outer(inner=(Inner(secs=0.1),), secs=0.1)
    outer.get()
    text, facts = shown(outer)
    assert facts["computed_secs"] == pytest.approx(own_secs(facts["costs"]), abs=ROUNDING)
    assert "for nodes inside it" in text
    assert "  computed   " in text
    assert "waited" not in text


def test_p9_the_peak_is_measured_also_after_a_node_closed_the_descriptors_of_its_worker(
    tmp_path: Path,
) -> None:
    assert "peak_bytes" in NodeTimer().stop()
    before = set(os.listdir("/proc/self/fd"))
    kept = {
        int(fd)
        for fd in before
        if os.path.exists(f"/proc/self/fd/{fd}")
        and os.readlink(f"/proc/self/fd/{fd}").endswith(("/clear_refs", "/status"))
    }
    assert len(kept) >= 2
    for fd in kept:
        os.close(fd)
    written = [(tmp_path / f"{n}.txt").open("w+") for n in range(len(kept))]
    assert {file.fileno() for file in written} >= kept, "the numbers are those of others now"
    assert NodeTimer().stop()["peak_bytes"] > 0
    for file in written:
        with file:
            assert file.read() == ""
