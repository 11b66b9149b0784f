"""Graphs of jobs on clusters that forget: jobs that ended, or that they have ended."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from dag_kit import WAIT_SECS, Box, kill_parent, states, submit

import furu_core
from furu_core import NodeState
from furu_core.errors import FuruRunError
from furu_core.executors import FailureKind
from furu_slurm_dag import _submit
from furu_testing import wait_until
from furu_testing.slurm import GHOSTLY


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """Where nodes are told what to do."""
    return Box(tmp_path / "box")


@pytest.mark.slow
def test_p6_jobs_whose_end_slurm_forgot_hold_up_nobody(
    own_slurm: Any, store: Path, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at the wrong moment, Slurm believes in a job that has ended, until its walltime."""
    monkeypatch.setattr("furu_slurm_dag._board._GHOST_SECS", 3.0)
    cluster = own_slurm(nodes=2, conf=GHOSTLY)
    source, bad = box.step("source"), box.step("bad")
    hold = box.tell("source", "hold")
    root = box.step("root", source)
    run = submit(root)
    box.await_start("source")
    before = run.job_id_by_hash
    cluster.make_ghost(before[source.furu_hash], hold.unlink)
    assert run.wait(WAIT_SECS).results() == 2
    assert run.job_id_by_hash[root.furu_hash] != before[root.furu_hash]
    assert [box.starts("source"), box.starts("root")] == [1, 1]
    cluster.wait_idle(120)

    hold = box.tell("bad", "hold")
    box.tell("bad", "fail")
    with furu_core.use_settings(max_compute_retries=0):
        run = submit(bad)
    box.await_start("bad")
    cluster.make_ghost(run.job_id_by_hash[bad.furu_hash], hold.unlink)
    with pytest.raises(FuruRunError, match="bad was told to fail"):
        run.wait(WAIT_SECS)
    cluster.wait_idle(120)


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["well", "badly"])
def test_p7_jobs_that_slurm_has_purged_are_judged_by_the_store(
    own_slurm: Any, store: Path, box: Box, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """No sacct, and squeue forgets jobs seconds after their end: while wiring, and later on."""
    cluster = own_slurm(nodes=2, accounting=False, min_job_age=2)
    source, other = box.step("source"), box.step("other")
    hold, hold_other = box.tell("source", "hold"), box.tell("other", "hold")
    if ends == "badly":
        box.tell("source", "fail")
    with furu_core.use_settings(max_compute_retries=0):
        submit(source)
    box.await_start("source")
    adopt = _submit.Submitter.adopt

    def adopt_and_purge(self: Any, node: Any, submission: Any) -> Any:
        job = adopt(self, node, submission)
        if hold.exists():
            hold.unlink()
            wait_until("the job to be purged", lambda: not cluster.squeue(job.job_id))
        return job

    monkeypatch.setattr(_submit.Submitter, "adopt", adopt_and_purge)
    run = submit(box.step("root", source, other))
    box.await_start("other")
    # Nor does it know of a job that is killed.
    kill_parent(int((box.folder / "other.starts").read_text()))
    hold_other.unlink()
    if ends == "well":
        assert run.wait(WAIT_SECS).results() == 3
    else:
        with pytest.raises(FuruRunError, match="source was told to fail") as caught:
            run.wait(WAIT_SECS)
        assert [failure.kind for failure in caught.value.failures] == [FailureKind.COMPUTE]
        assert states(source, other) == [NodeState.FAILED, NodeState.DONE]
    assert [box.starts("source"), box.starts("other")] == [1, 2]
    cluster.wait_idle()


def test_p6_a_job_that_slurm_has_set_aside_is_submitted_anew_and_one_that_a_user_holds_is_not(
    slurm: Any, store: Path, box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = box.step("source")
    first, second = box.step("first", source), box.step("second", source)
    hold = box.tell("source", "hold")
    run = submit([first, second])
    box.await_start("source")
    before = run.job_id_by_hash
    dropped, held = before[first.furu_hash], before[second.furu_hash]
    slurm.run("scontrol", "hold", dropped, held)
    # Slurm drops jobs that it could not start, which cannot be brought about at will.
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    drop = f"s/^{dropped}|\\(.*\\)JobHeld[A-Z][a-z]*/{dropped}|\\1launch failed requeued held/"
    squeue.write_text(f"#!/bin/sh\n{shutil.which('squeue')} \"$@\" | sed '{drop}'\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(squeue.parent), prepend=os.pathsep)

    def is_submitted_anew() -> bool:
        with suppress(TimeoutError):
            run.wait(0.1)
        return run.job_id_by_hash.get(first.furu_hash, dropped) != dropped

    wait_until("the job that was set aside to be submitted anew", is_submitted_anew, WAIT_SECS)
    hold.unlink()
    wait_until("the source to be there", source.exists, WAIT_SECS)
    assert run.job_id_by_hash[second.furu_hash] == held
    slurm.run("scontrol", "release", held)
    assert run.wait(WAIT_SECS).results() == [2, 2]
    assert [box.starts(name) for name in ("source", "first", "second")] == [1, 1, 1]
    slurm.wait_idle()
