"""The conformance suite catches executors with one fault each, and says which promise they break.

Each case runs pytest in a process of its own, as the author of that executor would.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import broken_executors as broken
import pytest
from sound_executor import SoundExecutor

_NOT_DECLARED = "test_what_was_not_declared_is_not_computed_though_the_error_is_swallowed"

# Executor, the test that catches it, and what that says.
CASES: list[tuple[type[SoundExecutor], str, str]] = [
    (
        broken.WrongOrder,
        "test_a_diamond_computes_what_is_shared_once_and_first",
        "P3: a node begins when all that it needs is there",
    ),
    (
        broken.ComputesTwice,
        "test_a_diamond_computes_what_is_shared_once_and_first",
        "P4: one attempt publishes a node, and a run computes each node once",
    ),
    (
        broken.ComputesAgain,
        "test_what_is_there_is_not_computed_again",
        "P7: what was published is never computed again",
    ),
    (
        broken.ReportsWithoutArtifacts,
        "test_a_root_that_is_given_twice_is_computed_once",
        "P8: a run whose roots are not all there ends in an error",
    ),
    (
        broken.TrustsExitStatus,
        "test_a_worker_that_ends_well_without_an_artifact_has_not_done_its_node",
        "P8: a run whose roots are not all there ends in an error",
    ),
    (
        broken.SortsResults,
        "test_results_come_in_the_shape_and_order_of_the_roots[list]",
        "P8: results() come in the shape and order of the roots",
    ),
    (
        broken.IgnoresWindow,
        "test_a_window_bounds_the_roots_that_are_begun[dfs]",
        "Windows: with window_size='dfs' work begins on 1 root at a time",
    ),
    (
        broken.IsInteractive,
        f"{_NOT_DECLARED}[directly]",
        "P3: inside an executor get() loads and never computes",
    ),
    (
        broken.LosesChildren,
        f"{_NOT_DECLARED}[in a spawned child]",
        "P3: inside an executor get() loads and never computes",
    ),
    (
        broken.HasOneSpecKey,
        "test_nodes_are_computed_in_the_name_of_their_run_and_spec_key",
        "P3: a worker knows for which executor, run and spec key it computes",
    ),
    (
        broken.SwallowsFailures,
        "test_a_node_that_keeps_raising_is_tried_so_often_and_no_more",
        "P8: a run whose roots are not all there ends in an error",
    ),
    (
        broken.ExitsWell,
        "test_a_command_whose_node_fails_exits_with_1_and_names_it",
        "P8: the exit status tells the truth",
    ),
    (
        broken.SaysNothing,
        "test_a_failure_is_told_with_its_node_kind_and_log",
        "P8: an error names each node that failed",
    ),
    (
        broken.RetriesProtocol,
        f"{_NOT_DECLARED}[directly]",
        "P5: a broken rule (kind protocol) is never tried again",
    ),
    (
        broken.CountsLostAsCompute,
        "test_a_node_whose_workers_are_killed_is_tried_so_often_and_no_more",
        "P5: a node whose worker died is tried again max_lost_retries times",
    ),
    (
        broken.RetriesLostForEver,
        "test_a_node_whose_workers_are_killed_is_tried_so_often_and_no_more",
        "P5: a node whose worker died is tried again max_lost_retries times",
    ),
    (
        broken.IgnoresProgress,
        "test_progress_in_the_checkpoint_begins_the_count_anew",
        "P5: max_lost_retries counts in a row without progress",
    ),
    (
        broken.IgnoresKeepGoing,
        "test_with_keep_going_only_what_needs_the_failed_node_is_left_out",
        "P5: with keep_going a failure ends only what depends on its node",
    ),
    (
        broken.NeverEnds,
        "test_a_root_that_is_given_twice_is_computed_once",
        "P6: nothing waits for ever",
    ),
    (
        broken.IgnoresCancel,
        "test_cancel_ends_a_run_and_begins_nothing_new",
        "P6: cancel() ends a run in bounded time",
    ),
    (
        broken.LeaksProcesses,
        "test_a_run_leaves_nothing_behind",
        "P6: a run leaves no process behind",
    ),
    (
        broken.LeavesStaging,
        "test_cancel_ends_a_run_and_begins_nothing_new",
        "P1: a cancelled node leaves no half result and no job behind",
    ),
    (
        broken.LeavesNotes,
        "test_a_run_leaves_nothing_behind",
        "P1: a failed node leaves no half result and no job behind",
    ),
    (
        broken.NeedsCleaningUp,
        "test_after_the_controller_was_killed_the_same_command_finishes",
        "P7: after a kill the same command finishes the work",
    ),
    (
        broken.ForgetsOthers,
        "test_a_node_that_somebody_else_computes_is_waited_for",
        "P6: a node that somebody else computes is waited for",
    ),
    (
        broken.DropsSettings,
        "test_settings_made_in_code_reach_the_workers",
        "P7: workers have the settings of the program",
    ),
    (
        broken.StartsElsewhere,
        "test_workers_begin_in_the_working_directory_of_the_program",
        "P7: relative paths mean the same to workers",
    ),
    (
        broken.LeavesEventsOut,
        "test_events_of_a_run_that_ends_well_are_complete_and_in_order",
        "P8: events tell what happened, all of it",
    ),
    (
        broken.LeavesTheEndOut,
        "test_events_of_a_run_that_ends_well_are_complete_and_in_order",
        "P8: events tell what happened, all of it",
    ),
    (
        broken.SaysDone,
        "test_a_failed_run_says_so_each_time_it_is_asked",
        "P8: status() tells how the run ended",
    ),
    (
        broken.LivenessRaises,
        "test_liveness_of_what_it_never_submitted_is_not_alive",
        "P4: liveness() tells whether submitted work can still compute anything, and never raises",
    ),
    (
        broken.LivenessIsHopeful,
        "test_liveness_of_what_it_never_submitted_is_not_alive",
        "P4: liveness() tells whether submitted work can still compute anything",
    ),
    (
        broken.LivenessKillsTheLiving,
        "test_liveness_tells_running_work_from_work_that_has_ended",
        "P4: liveness() tells whether submitted work can still compute anything; a node is computed",
    ),
    (
        broken.ForgetsReruns,
        "test_what_is_to_be_computed_anew_is_computed_once_more",
        "P4: what FURU_ALWAYS_RERUN names is computed anew",
    ),
    (
        broken.TakesAnyOption,
        "test_an_option_that_it_does_not_know_is_refused",
        "P8: from_options raises FuruExecutorError for an option that it does not know",
    ),
    (
        broken.IsNeverIdle,
        "test_waiting_for_work_costs_no_processor",
        "P6: waiting on work costs no busy loop",
    ),
]

# Where the suite's own deadline is what ends the test.
LATE = {
    broken.CountsLostAsCompute,
    broken.IgnoresCancel,
    broken.LeavesNotes,
    broken.LeavesStaging,
    broken.LeaksProcesses,
    broken.NeverEnds,
    broken.RetriesLostForEver,
}
_FILE = """
from broken_executors import {cls}
from furu_testing import ExecutorConformance

class TestIt(ExecutorConformance):
    executor = {cls}
    options = {{"max_workers": 2}}
    command_options = ["-j", "2"]
    patience_secs = {patience}
"""


def run_pytest(folder: Path, text: str, *args: str) -> tuple[int, str]:
    """The exit status and output of pytest for a test module."""
    (folder / "test_it.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -rs -p no:cacheprovider\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *args],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.timeout(900)  # of which none is needed, unless the machine is very slow
@pytest.mark.parametrize(("cls", "test", "said"), CASES, ids=[case[0].name for case in CASES])
def test_a_fault_is_caught_by_a_test_that_names_the_promise(
    tmp_path: Path, cls: type[SoundExecutor], test: str, said: str
) -> None:
    # On a slow machine a short deadline may end the test before the fault shows.
    for patience in (10.0, 90.0) if cls in LATE else (90.0,):
        text = _FILE.format(cls=cls.__name__, patience=patience)
        status, output = run_pytest(tmp_path, text, f"test_it.py::TestIt::{test}")
        if f"Failed: {said}" in output:
            break
    assert status == pytest.ExitCode.TESTS_FAILED, f"exit status {status}:\n{output}"
    assert f"Failed: {said}" in output
    assert "1 failed" in output


def test_every_broken_executor_has_a_case() -> None:
    assert {case[0] for case in CASES} == set(broken.all_broken())


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
