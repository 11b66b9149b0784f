"""P1 and P7: wherever a process is killed, no half artifact is seen and the next run finishes."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from furu_core import _files
from furu_core._attempts import (
    _attempts,
    _claims,
    _lease,
    _liveness,
    _publishing,
    _records,
)
from furu_core._codecs import _store
from furu_core._compute import _acquire, _compute, _compute_or_wait, _hit, _invalid
from furu_core._store import _manifest, _record_file
from furu_testing import Child, Host, KillAtEvent, KillAtLine, Kills

pytestmark = pytest.mark.timeout(1200)  # hundreds of processes, on a machine that may be busy

NODES = Path(__file__).parent / "nodes"
THOROUGH = bool(os.environ.get("TEST_THOROUGH"))
RANDOM_KILLS = 1000 if THOROUGH else 60
# The places before which a process is killed. Which come first differs from day to day, so in the end all of
# them have had their turn.
LINES_APART = 1 if THOROUGH else 4
EVENTS_APART = 1 if THOROUGH else 2
STORE_CODE = tuple(
    str(module.__file__)
    for module in (
        _acquire, _attempts, _claims, _store, _compute, _hit, _lease, _liveness, _manifest,
        _compute_or_wait, _invalid,
        _publishing, _records, _record_file, _files,
    )
)  # fmt: skip


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    settings = {"log_level": "ERROR"}
    with Host(folder, modules=["killed_nodes"], sys_path=[NODES], settings=settings) as started:
        yield started


def start(host: Host, place: Path, what: str, **options: Any) -> Child:
    """Begin to compute in a store of its own below `place`."""
    place.mkdir(exist_ok=True)
    return host.start("killed_nodes:compute", what, path=str(place / "store"), **options)


def judge(host: Host, place: Path, what: str) -> list[str]:
    """Check what a kill left, finish the work, and return what had been published before."""
    # The lease of a record that its writer did not finish is that of whoever looks at it.
    seen = host.run(
        "killed_nodes:inspect_and_finish", what, path=str(place / "store"), lease_secs=2
    )
    assert not seen["wrong"], seen["wrong"]
    assert not seen["left"], seen["left"]
    return seen["published"]


def draw_seed() -> int:
    """The seed of what is left to chance, which a failure shows."""
    seed = int(os.environ.get("TEST_SEED", time.time_ns() % 1_000_000))
    print(f"TEST_SEED={seed}")
    return seed


def kills_before(apart: int, part: int = 0, parts: int = 1, *, at_least: int) -> Kills:
    """The numbers of the lines or events before which to kill, to the end of what there are.

    Args:
        apart: how far two of them are from each other.
        part: which of the parts that share them.
        parts: how many these are.
        at_least: how many lines or events there are at least.
    """
    first = 1 + draw_seed() % apart + part * apart
    return Kills(first=first, apart=apart * parts, at_least=at_least)


def test_a_kill_before_any_file_operation_harms_nothing(host: Host, tmp_path: Path) -> None:
    seen_published: set[tuple[str, ...]] = set()
    kills = kills_before(EVENTS_APART, at_least=100)
    for number in kills:
        place = tmp_path / str(number)
        kills.wait(start(host, place, "nested", die=KillAtEvent(number, place), durable=True))
        seen_published.add(tuple(judge(host, place, "nested")))
    assert len(seen_published) == 4  # it died before, between and after the nodes of the graph


# Where a record was begun, whoever looks waits for a lease, so the lines are shared out.
@pytest.mark.parametrize("part", range(3))
def test_a_kill_before_any_line_of_the_store_code_harms_nothing(
    host: Host, tmp_path: Path, part: int
) -> None:
    kills = kills_before(LINES_APART, part, 3, at_least=200)
    for number in kills:
        place = tmp_path / str(number)
        kills.wait(start(host, place, "files", die=KillAtLine(number, STORE_CODE)))
        judge(host, place, "files")


def test_a_checkpoint_passes_from_a_killed_attempt_to_the_next(host: Host, tmp_path: Path) -> None:
    kills = kills_before(EVENTS_APART, at_least=50)
    for number in kills:
        place = tmp_path / str(number)
        kills.wait(start(host, place, "steps", die=KillAtEvent(number, place)))
        judge(host, place, "steps")
        steps = [
            name for name in (place / "computed").read_text().split() if name.startswith("one-")
        ]
        repeated = [name for name in steps if steps.count(name) > 1]
        # The step that the kill interrupted may have to be done again; what was saved has not.
        assert len(repeated) in (0, 2), steps


def test_kills_at_random_moments_harm_nothing(host: Host, tmp_path: Path) -> None:
    draw = random.Random(draw_seed())
    lasts = 0.1
    killed = number = 0
    while killed < RANDOM_KILLS:
        number += 1
        assert number < 5 * RANDOM_KILLS, f"only {killed} of {number} were killed in time"
        what = draw.choice(["nested", "nested", "steps"])
        place = tmp_path / str(number)
        began = time.monotonic()
        child = start(host, place, what, durable=draw.random() < 0.2)
        child.kill_after(draw.uniform(0, lasts))
        if child.wait().killed:
            killed += 1
            lasts *= 1.02
        else:  # how long a process takes depends on what else the machine does
            lasts = min(lasts, time.monotonic() - began)
        judge(host, place, what)


def test_one_node_killed_again_and_again_is_finished_at_last(host: Host, tmp_path: Path) -> None:
    place = tmp_path / "place"
    for number in range(1, 60):
        start(host, place, "steps", die=KillAtEvent(number, place)).wait()
    judge(host, place, "steps")


def test_a_kill_while_an_artifact_is_replaced_leaves_the_old_or_the_new_one(
    host: Host, tmp_path: Path
) -> None:
    kills = kills_before(EVENTS_APART, at_least=20)
    for number in kills:
        place = tmp_path / str(number)
        start(host, place, "leaf").result()
        (place / "generation").write_text("2")
        die = KillAtEvent(number, place)
        died = kills.wait(start(host, place, "leaf", die=die, always_rerun=["Leaf"]))
        judge(host, place, "leaf")
    assert died.value["of"] == 2
