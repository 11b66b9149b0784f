"""Pools whose workers are on other hosts, with caches between them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pool_kit import JOBS_SECS, SMALL, start_on_slurm

import furu_core
from furu_core.errors import FuruRunError
from furu_core.executors import EventKind
from furu_testing import (
    await_mark,
    cached_view,
    let_go,
    needs_cached_views,
    needs_namespaces,
    times,
)
from furu_testing.nodes import Asks, Step
from furu_testing.slurm import NodeOptions


@pytest.fixture
def other_hosts(
    tmp_path: Path, own_slurm: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Any, Path]]:
    """A cluster whose nodes see the store through caches of their own, as this process does.

    The cluster, and where the store is without caches.
    """
    needs_cached_views()
    needs_namespaces()
    back, view = tmp_path / "back", tmp_path / "view"
    back.mkdir()
    with cached_view(back, view, seconds=20):
        cluster = own_slurm(
            nodes=2,
            node_options={
                f"n{number}": NodeOptions(host=f"furu-h{number}", views={view: back})
                for number in (1, 2)
            },
        )
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(entry for entry in sys.path if entry))
        with furu_core.use_settings(
            path=view / "store", poll_interval_secs=0.1, lease_secs=30.0, max_wait_secs=600.0
        ):
            yield cluster, back / "store"


@pytest.mark.slow
def test_p7_p3_caches_between_hosts_cost_no_node_and_what_was_not_declared_is_an_error_all_the_same(
    other_hosts: tuple[Any, Path],
) -> None:
    cluster, back = other_hosts
    below: tuple[Step, ...] = ()
    for layer in range(4):
        below = tuple(
            Step(label=f"{layer}-{n}", key=("default", "other")[n % 2], needs=below[n : n + 3])
            for n in range(8)
        )
    asks = Asks(label="asks")
    run = start_on_slurm(
        [asks, *below],
        specs={"default": SMALL, "other": SMALL},
        max_workers_total=4,
        keep_going=True,
    )
    with pytest.raises(FuruRunError, match="FuruMissingArtifact") as caught:
        run.wait(JOBS_SECS)
    assert [failure.hash for failure in caught.value.failures] == [asks.furu_hash]
    assert EventKind.NODE_RETRIED not in {event.kind for event in run.events()}
    assert set(times(back).values()) == {1}
    assert len(times(back)) == 33
    cluster.wait_idle()


@pytest.mark.slow
def test_p7_a_dead_workers_node_is_taken_over_by_slurms_word_on_another_host(
    other_hosts: tuple[Any, Path],
) -> None:
    """No process can be looked up from here, and its lease would last for an hour."""
    cluster, back = other_hosts
    with furu_core.use_settings(lease_secs=3600.0):
        run = start_on_slurm(Step(label="waits", waits=True), max_workers_total=1)
        first = await_mark(back, "waits")
        for pid in _workers(furu_core.settings().path):
            with suppress(ProcessLookupError):  # a node's process ends with its worker
                os.kill(pid, signal.SIGKILL)
        second = await_mark(back, "waits", 2)
        let_go(back)
        assert run.wait(JOBS_SECS).results() == 1
    assert first.facts["submission"][1] != second.facts["submission"][1]
    cluster.wait_idle()


def _workers(store: Path) -> list[int]:
    """The workers that run, by what their jobs were started with: their own pids are of other hosts."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"furu_slurm._job_main" in command and str(store).encode() in command:
                found.append(int(entry.name))
    return found
