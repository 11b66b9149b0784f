"""The conformance suite catches executors with one fault each, and says which promise they break.

They run as the authors of those executors would run them, of whose code the fault is: only with the tests
that are tagged for that part of an executor. The sound executor passes all tests (`make test-all`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Final

import attrs
import broken_executors as broken
import pytest
from sound_executor import SoundExecutor

from furu_testing import TAGS

_NOT_DECLARED: Final = "test_what_was_not_declared_is_not_computed_though_the_error_is_swallowed"


@attrs.frozen
class Case:
    """An executor with a fault.

    Attributes:
        executor: its class.
        part: which part of it has the fault, as a tag.
        test: the test that catches it.
        said: the beginning of what that says.
    """

    executor: type[SoundExecutor]
    part: str
    test: str
    said: str

    @property
    def suite(self) -> str:
        """The name of its suite."""
        return f"Test{self.executor.__name__}"


# What catches each of them.
CASES: Final = [
    Case(
        broken.WrongOrder,
        "graph",
        "test_a_diamond_computes_what_is_shared_once_and_first",
        "P3: a node begins when all that it needs is there",
    ),
    Case(
        broken.ComputesTwice,
        "worker",
        "test_a_diamond_computes_what_is_shared_once_and_first",
        "P4: one attempt publishes a node, and a run computes each node once",
    ),
    Case(
        broken.ComputesAgain,
        "graph",
        "test_what_is_there_is_not_computed_again",
        "P7: what was published is never computed again",
    ),
    Case(
        broken.ReportsWithoutArtifacts,
        "worker",
        "test_a_root_that_is_given_twice_is_computed_once",
        "P8: a run whose roots are not all there ends in an error",
    ),
    Case(
        broken.TrustsExitStatus,
        "cluster",
        "test_a_worker_that_ends_well_without_an_artifact_has_not_done_its_node",
        "P8: a run whose roots are not all there ends in an error",
    ),
    Case(
        broken.SortsResults,
        "graph",
        "test_results_come_in_the_shape_and_order_of_the_roots[list]",
        "P8: results() come in the shape and order of the roots",
    ),
    Case(
        broken.IgnoresWindow,
        "graph",
        "test_a_window_bounds_the_roots_that_are_begun[dfs]",
        "Windows: with window_size='dfs' work begins on 1 root at a time",
    ),
    Case(
        broken.IsInteractive,
        "strict",
        f"{_NOT_DECLARED}[directly]",
        "P3: inside an executor get() loads and never computes",
    ),
    Case(
        broken.LosesChildren,
        "strict",
        f"{_NOT_DECLARED}[in a spawned child]",
        "P3: inside an executor get() loads and never computes",
    ),
    Case(
        broken.HasOneSpecKey,
        "worker",
        "test_nodes_are_computed_in_the_name_of_their_run_and_spec_key",
        "P3: a worker knows for which executor, run and spec key it computes",
    ),
    Case(
        broken.SwallowsFailures,
        "failures",
        "test_a_node_that_keeps_raising_is_tried_so_often_and_no_more",
        "P8: a run whose roots are not all there ends in an error",
    ),
    Case(
        broken.ExitsWell,
        "command",
        "test_a_command_whose_node_fails_exits_with_1_and_names_it",
        "P8: the exit status tells the truth",
    ),
    Case(
        broken.SaysNothing,
        "failures",
        "test_a_failure_is_told_with_its_node_kind_and_log",
        "P8: an error names each node that failed",
    ),
    Case(
        broken.RetriesProtocol,
        "failures",
        "test_with_keep_going_a_broken_rule_ends_only_what_depends_on_it",
        "P5: a failure of kind protocol is never tried again",
    ),
    Case(
        broken.CountsLostAsCompute,
        "failures",
        "test_a_node_whose_workers_are_killed_is_tried_so_often_and_no_more",
        "P5: a node whose worker died is tried again max_lost_retries times",
    ),
    Case(
        broken.RetriesLostForEver,
        "failures",
        "test_a_node_whose_workers_are_killed_is_tried_so_often_and_no_more",
        "P5: a node whose worker died is tried again max_lost_retries times",
    ),
    Case(
        broken.IgnoresProgress,
        "failures",
        "test_progress_in_the_checkpoint_begins_the_count_anew",
        "P5: max_lost_retries counts in a row without progress",
    ),
    Case(
        broken.IgnoresKeepGoing,
        "failures",
        "test_with_keep_going_only_what_needs_the_failed_node_is_left_out",
        "P5: with keep_going a failure ends only what depends on its node",
    ),
    Case(
        broken.NeverEnds,
        "run",
        "test_a_root_that_is_given_twice_is_computed_once",
        "P6: nothing waits for ever",
    ),
    Case(
        broken.IgnoresCancel,
        "cluster",
        "test_cancel_ends_a_run_and_begins_nothing_new",
        "P6: cancel() ends a run in bounded time",
    ),
    Case(
        broken.LeaksProcesses,
        "cluster",
        "test_a_run_leaves_nothing_behind",
        "P6: a run leaves no process behind",
    ),
    Case(
        broken.LeavesFiles,
        "cluster",
        "test_cancel_ends_a_run_and_begins_nothing_new",
        "P1: a cancelled node leaves no half result and no job behind",
    ),
    Case(
        broken.LeavesNotes,
        "cluster",
        "test_a_run_leaves_nothing_behind",
        "P1: a failed node leaves no half result and no job behind",
    ),
    Case(
        broken.NeedsCleaningUp,
        "command",
        "test_after_the_controller_was_killed_the_same_command_finishes",
        "P7: after a kill the same command finishes the work",
    ),
    Case(
        broken.ForgetsOthers,
        "graph",
        "test_a_node_that_somebody_else_computes_is_waited_for",
        "P6: a node that somebody else computes is waited for",
    ),
    Case(
        broken.DropsSettings,
        "worker",
        "test_settings_made_in_code_reach_the_workers",
        "P7: workers have the settings of the program",
    ),
    Case(
        broken.StartsElsewhere,
        "worker",
        "test_workers_begin_in_the_working_directory_of_the_program",
        "P7: relative paths mean the same to workers",
    ),
    Case(
        broken.LeavesEventsOut,
        "run",
        "test_events_of_a_run_that_ends_well_are_complete_and_in_order",
        "P8: events tell what happened, all of it",
    ),
    Case(
        broken.LeavesTheEndOut,
        "run",
        "test_events_of_a_run_that_ends_well_are_complete_and_in_order",
        "P8: events tell what happened, all of it",
    ),
    Case(
        broken.SaysDone,
        "run",
        "test_a_failed_run_says_so_each_time_it_is_asked",
        "P8: status() tells how the run ended",
    ),
    Case(
        broken.LivenessRaises,
        "cluster",
        "test_liveness_of_what_it_never_submitted_is_not_alive",
        "P4: liveness() tells whether submitted work can still compute anything, and never raises",
    ),
    Case(
        broken.LivenessIsHopeful,
        "cluster",
        "test_liveness_of_what_it_never_submitted_is_not_alive",
        "P4: liveness() tells whether submitted work can still compute anything",
    ),
    Case(
        broken.LivenessKillsTheLiving,
        "cluster",
        "test_liveness_tells_running_work_from_work_that_has_ended",
        "P4: liveness() tells whether submitted work can still compute anything; a node is computed",
    ),
    Case(
        broken.ForgetsReruns,
        "graph",
        "test_what_is_to_be_computed_anew_is_computed_once_more",
        "P4: what FURU_ALWAYS_RERUN names is computed anew",
    ),
    Case(
        broken.TakesAnyOption,
        "command",
        "test_an_option_that_it_does_not_know_is_refused",
        "P8: from_options raises FuruExecutorError for an option that it does not know",
    ),
    Case(
        broken.IsNeverIdle,
        "run",
        "test_waiting_for_work_costs_no_processor",
        "P6: waiting on work costs no busy loop",
    ),
]

# Where the suite's own deadline is what ends the test.
LATE = {
    broken.CountsLostAsCompute,
    broken.IgnoresCancel,
    broken.LeavesNotes,
    broken.LeavesFiles,
    broken.LeaksProcesses,
    broken.NeverEnds,
    broken.RetriesLostForEver,
}
_HEAD: Final = """
import broken_executors as broken
from furu_testing import ExecutorConformance

"""
_SUITE: Final = """
class {suite}(ExecutorConformance):
    executor = broken.{executor}
    options = {{"max_workers": 2}}
    command_options = ["-j", "2"]
    own_code = ["{part}"]
    patience_secs = {patience}

"""
_GROUPS: Final = 4  # so that several processes share them, of which each imports pytest once


def run_pytest(folder: Path, text: str, *args: str) -> tuple[int, str]:
    """The exit status and output of pytest for a test module."""
    folder.mkdir(exist_ok=True)
    (folder / "test_it.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -rs -p no:cacheprovider\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--basetemp=tmp", *args],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=800,
        check=False,
    )
    return done.returncode, done.stdout


def what_is_said(folder: Path, cases: list[Case], patience: float) -> dict[Case, str]:
    """What the tests that are to catch them say of executors."""
    suites = [
        _SUITE.format(
            suite=case.suite,
            executor=case.executor.__name__,
            part=case.part,
            patience=patience if case.executor in LATE else 90.0,
        )
        for case in cases
    ]
    chosen = [f"test_it.py::{case.suite}::{case.test}" for case in cases]
    _, output = run_pytest(folder, _HEAD + "".join(suites), "--junit-xml=report.xml", *chosen)
    report = folder / "report.xml"
    assert report.exists(), output
    found = {
        (str(test.get("classname")).rpartition(".")[2], test.get("name")): test
        for test in ET.parse(report).iter("testcase")
    }
    said = {}
    for case in cases:
        test = found.get((case.suite, case.test))
        if test is None:
            said[case] = f"nothing: {case.test} has not run"
        elif (failure := test.find("failure")) is None:
            said[case] = f"nothing: {case.test} ended as if all were well"
        else:
            said[case] = str(failure.get("message"))
    return said


@pytest.mark.timeout(1800)  # of which little is needed, unless the machine is very slow
@pytest.mark.parametrize("group", range(_GROUPS))
def test_a_fault_is_caught_by_a_test_that_names_the_promise(tmp_path: Path, group: int) -> None:
    cases = CASES[group::_GROUPS]
    said = what_is_said(tmp_path / "first", cases, 10.0)

    def missed() -> list[Case]:
        return [case for case in cases if not said[case].startswith(f"Failed: {case.said}")]

    # On a slow machine a short deadline may end a test before the fault shows.
    if late := [case for case in missed() if case.executor in LATE]:
        said |= what_is_said(tmp_path / "again", late, 90.0)
    assert not missed(), "\n".join(f"of {case.executor.name}: {said[case]}" for case in missed())


def test_every_broken_executor_has_a_case() -> None:
    assert {case.executor for case in CASES} == set(broken.all_broken())


def test_every_tag_has_a_broken_executor_that_needs_it() -> None:
    assert {case.part for case in CASES} == set(TAGS)


_BAD_FILE = """
from furu_testing import ExecutorConformance

class TestIt(ExecutorConformance):
    executor = "local"
    lacks = {{"{lack}": "for a reason of its own"}}
"""


def test_a_capability_that_is_misspelt_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    _, output = run_pytest(tmp_path, _BAD_FILE.format(lack="windwos"))
    assert "TestIt.lacks names 'windwos'; it may name 'background', 'killing'" in output


def test_what_an_executor_lacks_is_skipped_with_its_reason(tmp_path: Path) -> None:
    _, output = run_pytest(tmp_path, _BAD_FILE.format(lack="windows"), "-k", "window")
    assert "4 skipped" in output
    assert "local lacks windows: for a reason of its own" in output


def test_a_suite_that_names_no_executor_says_so(tmp_path: Path) -> None:
    text = _BAD_FILE.format(lack="windows").replace('executor = "local"', "")
    _, output = run_pytest(tmp_path, text, "-k", "twice")
    assert "TestIt must say its `executor`" in output
