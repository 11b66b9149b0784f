"""P4: one live attempt and one publisher, whoever races, stalls or sees an old state of the disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from furu_core._store._layout import attempted_in
from furu_testing import (
    Child,
    Host,
    cached_view,
    needs_cached_views,
    needs_namespaces,
    wait_until,
)

pytestmark = pytest.mark.timeout(300)

NODES = Path(__file__).parent / "nodes"
CACHE_SECS = 2.0
SHORT_SECS = 1.5  # the lease of a holder that is to stall, whom nobody disturbs before


class Place:
    """Two hosts that share one store, each in its own way.

    Args:
        hosts: whose own stores are the parents of this one.
        outside: a folder for notes, with the store in it.
        cached: whether caches lie between the hosts and the store.
    """

    def __init__(self, hosts: Sequence[Host], outside: Path, *, cached: bool) -> None:
        self.hosts = hosts
        self.outside = outside
        self.cached = cached
        (outside / "store").mkdir(parents=True)

    def start(self, host: int, call: str, *args: Any, **settings: Any) -> Child:
        """Start a function that is told where to leave its notes."""
        view = self.hosts[host].store / self.outside.name / "store"
        # A long lease, because on a busy machine a live holder may stall for seconds.
        settings = {"lease_secs": 600, **settings, "path": str(view)}
        return self.hosts[host].start(f"raced_nodes:{call}", str(self.outside), *args, **settings)

    def run(self, host: int, call: str, *args: Any, **settings: Any) -> Any:
        return self.start(host, call, *args, **settings).result()

    def notes(self) -> Counter[str]:
        """How often each line was noted."""
        try:
            return Counter((self.outside / "notes").read_text().splitlines())
        except FileNotFoundError:
            return Counter()

    def wait_for(self, line: str) -> None:
        wait_until(f"the note {line!r}", lambda: self.notes()[line])

    def losses(self) -> int:
        """How often holders on the first host have said so far that somebody took over."""
        return self.hosts[0].log().count("took over")

    def open_gate(self, who: str, *, to_fail: str = "") -> None:
        (self.outside / f"go-{who}").write_text(to_fail)

    def start_asleep(self, host: int, who: str, *steps: str, **settings: Any) -> Child:
        """Start a process that asks for the gate, and wait until it sleeps at the first step."""
        child = self.start(host, "get_gate_asleep", who, *steps, **settings)
        self.wait_for(f"asleep: {who}, {steps[0]}")
        return child

    def left(self) -> list[str]:
        """What lies in folders of attempts, and what it says."""
        folders = [path for path in self.outside.rglob(".*.*") if attempted_in([path.name])]
        paths = [path for folder in folders for path in (folder, *folder.rglob("*"))]
        return [f"{path}: {path.read_text() if path.is_file() else ''}" for path in paths]


@pytest.fixture(scope="module")
def one_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Host]]:
    base = tmp_path_factory.mktemp("one-host")
    with start_host(base) as host:
        yield [host, host]


@pytest.fixture(scope="module")
def two_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Host]]:
    needs_namespaces()
    base = tmp_path_factory.mktemp("two-hosts")
    with start_host(base, "host-a") as here, start_host(base, "host-b") as there:
        yield [here, there]


@pytest.fixture(scope="module")
def cached_views(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Host]]:
    needs_cached_views()
    base = tmp_path_factory.mktemp("behind-views")
    views = tmp_path_factory.mktemp("views")
    with (
        cached_view(base, views / "a", seconds=CACHE_SECS) as view_a,
        cached_view(base, views / "b", seconds=CACHE_SECS) as view_b,
        start_host(view_a) as here,
        start_host(view_b) as there,
    ):
        yield [here, there]


def start_host(store: Path, name: str | None = None) -> Host:
    settings = {"poll_interval_secs": 0.1, "log_level": "WARNING"}
    return Host(store, modules=["raced_nodes"], sys_path=[NODES], name=name, settings=settings)


@pytest.fixture
def place(
    request: pytest.FixtureRequest, where: str, tmp_path_factory: pytest.TempPathFactory
) -> Place:
    hosts: list[Host] = request.getfixturevalue(where)
    base = hosts[0].store if where != "cached_views" else None
    if base is None:
        base = next(iter(tmp_path_factory.getbasetemp().glob("behind-views*")))
    outside = base / f"test-{len(list(base.iterdir()))}"
    return Place(hosts, outside, cached=where == "cached_views")


everywhere = pytest.mark.parametrize("where", ["one_host", "two_hosts", "cached_views"])
stalling = pytest.mark.parametrize("where", ["one_host", "two_hosts"])


@everywhere
def test_eight_processes_that_want_the_same_twenty_objects_compute_each_once(place: Place) -> None:
    wanted = list(range(20))
    orders = [wanted, wanted[::-1], wanted[10:] + wanted[:10], wanted]
    children = [place.start(number % 2, "get_counted", orders[number // 2]) for number in range(8)]
    for child, order in zip(children, [orders[n // 2] for n in range(8)], strict=True):
        assert child.result(250) == [f"value {number}" for number in order]
    assert place.notes() == {f"computed {number}": 1 for number in wanted}
    assert place.cached or not place.left(), place.left()


@pytest.mark.parametrize("where", ["one_host"])
def test_threads_with_one_object_compute_it_once(place: Place) -> None:
    values = place.run(0, "get_in_threads", 2)
    assert values == ["value 1"] * 2
    assert place.notes() == {"computed 1": 1}


@everywhere
def test_many_waiters_get_what_one_holder_computes(place: Place) -> None:
    holder = place.start(0, "get_gate", "holder")
    place.wait_for("begun by holder")
    waiters = [place.start(number % 2, "get_gate", f"waiter-{number}") for number in range(12)]
    place.open_gate("holder")
    values = [child.result(250) for child in (holder, *waiters)]
    assert values == ["holder holder"] * 13
    assert place.notes() == {"begun by holder": 1, "ended by holder": 1}
    assert place.cached or not place.left(), place.left()


@stalling
def test_p4_numbers_begin_at_1_again_for_one_that_saw_a_claim_and_then_the_artifact(
    place: Place,
) -> None:
    first = place.start_asleep(0, "first", "before its record is made")
    looks = place.start_asleep(
        1, "looks", "before it judges a folder without a record", "when it has claimed"
    )
    place.open_gate("first")
    first.resume()
    assert first.result() == "first first"
    looks.resume()
    place.wait_for("asleep: looks, when it has claimed")
    assert place.run(0, "attempts") == 1
    looks.resume()
    assert looks.result() == "first first"
    assert not place.left(), place.left()


@stalling
def test_p4_a_claim_beside_the_artifact_is_left_to_its_holder_by_one_that_takes_over_another(
    place: Place,
) -> None:
    place.open_gate("fails", to_fail="as the test wants")
    with pytest.raises(AssertionError, match="as the test wants"):
        place.run(0, "get_gate", "fails")
    _one_claims_number_1_again_while_another_claims_number_2(place, publishes=0)


@stalling
def test_p4_a_claim_that_has_the_number_of_a_dead_one_is_not_taken_for_that(place: Place) -> None:
    dead = place.start(1, "get_gate", "dead")
    place.wait_for("begun by dead")
    dead.kill()
    dead.wait()
    _one_claims_number_1_again_while_another_claims_number_2(place, publishes=1)


def _one_claims_number_1_again_while_another_claims_number_2(
    place: Place, *, publishes: int
) -> None:
    """There is an attempt 1 that has ended; a host computes and publishes, and the two find the artifact."""
    late = place.start_asleep(0, "late", "before it claims", "when it has claimed")
    looks = place.start_asleep(1, "looks", "when it has looked at the newest attempt")
    place.open_gate("first")
    assert place.run(publishes, "get_gate", "first") == "first first"
    late.resume()  # claims number 1, which is free again, while the other is about to claim number 2
    place.wait_for("asleep: late, when it has claimed")
    looks.resume()
    assert looks.result() == "first first"
    late.resume()
    assert late.result() == "first first"
    assert not place.left(), place.left()


@stalling
def test_p1_an_artifact_that_is_being_replaced_is_not_removed_by_one_that_cleans_up(
    place: Place,
) -> None:
    place.open_gate("fails", to_fail="as the test wants")
    with pytest.raises(AssertionError, match="as the test wants"):
        place.run(0, "get_gate", "fails")
    renaming = "between looking for a successor and the rename"
    moved = "when it has moved the artifact that it replaces"
    late = place.start_asleep(0, "late", "before it claims", renaming, moved, always_rerun="ALL")
    looked, cleans = "when it has looked at the newest attempt", "before it cleans up"
    looks = place.start_asleep(1, "looks", looked, cleans, "when it has cleaned up")
    for who in ("first", "late", "again"):
        place.open_gate(who)
    assert place.run(0, "get_gate", "first") == "first first"
    late.resume()  # claims number 1, which is free again
    place.wait_for(f"asleep: late, {renaming}")
    looks.resume()
    place.wait_for(f"asleep: looks, {cleans}")
    late.resume()
    place.wait_for(f"asleep: late, {moved}")
    looks.resume()
    place.wait_for("asleep: looks, when it has cleaned up")
    for child in (looks, late):
        child.kill()
        child.wait()
    again = place.run(0, "get_gate", "again")
    assert again == "first first", "the artifact was lost"


@stalling
def test_a_stalled_holder_that_goes_on_beside_its_successor_disturbs_nothing(place: Place) -> None:
    first, second = _stall_and_take_over(place)
    before = place.losses()
    first.resume()
    place.open_gate("first")
    # Its record says that it was taken for dead, so it does not publish, and waits for the successor.
    wait_until("the stalled holder to see that it lost", lambda: place.losses() > before)
    assert place.notes()["ended by second"] == 0
    place.open_gate("second")
    assert second.result() == "second second"
    assert first.result() == "second second"
    assert place.notes()["begun by first"] == 1
    assert _files(place) == {"first": "second", "second": "second"}


@stalling
def test_a_stalled_holder_that_goes_on_after_its_successor_published_loads_that(
    place: Place,
) -> None:
    first, second = _stall_and_take_over(place)
    place.open_gate("second")
    assert second.result() == "second second"
    first.resume()
    place.open_gate("first")
    assert first.result() == "second second"
    assert _files(place) == {"first": "second", "second": "second"}


@stalling
def test_a_stalled_holder_does_not_disturb_who_computes_after_its_successor(place: Place) -> None:
    """The artifact was deleted meanwhile, so that the numbers of attempts could start anew."""
    first, second = _stall_and_take_over(place)
    place.open_gate("second")
    assert second.result() == "second second"
    assert place.run(1, "delete_gate")
    third = place.start(1, "get_gate", "third")
    place.wait_for("begun by third")
    before = place.losses()
    first.resume()
    place.open_gate("first")
    wait_until("the stalled holder to see that it lost", lambda: place.losses() > before)
    place.open_gate("third")
    assert third.result() == "third third"
    assert first.result() == "third third"
    assert _files(place) == {"first": "third", "second": "third"}


@stalling
def test_a_stalled_holder_neither_publishes_nor_fails_when_its_artifact_was_made_by_hand(
    place: Place,
) -> None:
    """Two holders one after the other stall, and both go on at last."""
    first, second = _stall_and_take_over(place, lease_secs=SHORT_SECS)
    second.stop()
    third = place.start(1, "get_gate", "third")
    place.wait_for("begun by third")
    for child, who in ((first, "first"), (second, "second")):
        child.resume()
        place.open_gate(who)
    place.open_gate("third")
    assert {child.result() for child in (first, second, third)} == {"third third"}
    assert _files(place) == {"first": "third", "second": "third"}


IN_PUBLISHING = {  # where a holder sleeps; whether the attempt is its own when it wakes
    "before its line is written": False,
    "between looking at its record and writing its line": False,
    "between writing its line and looking for a successor": False,
    "between looking for a successor and the rename": True,
}


@pytest.mark.parametrize("step", IN_PUBLISHING)
@pytest.mark.parametrize("successor_is_done", [False, True])
@stalling
def test_p1_a_holder_that_sleeps_while_it_publishes_leaves_a_whole_artifact_or_none(
    place: Place, step: str, successor_is_done: bool
) -> None:
    place.open_gate("first")
    first = place.start_asleep(0, "first", step, lease_secs=SHORT_SECS)
    second = place.start(1, "get_gate", "second")
    place.wait_for("begun by second")
    before = place.losses()
    values = []
    if successor_is_done:
        place.open_gate("second")
        values.append(second.result())
    first.resume()
    publishes = IN_PUBLISHING[step] and not successor_is_done
    if publishes:
        values.append(first.result())
        assert _files(place) == {"first": "first", "second": "first"}
    elif not successor_is_done:
        wait_until("the sleeper to see that it lost", lambda: place.losses() > before)
    place.open_gate("second")
    values.append(first.result() if successor_is_done else second.result())
    if not publishes and not successor_is_done:
        values.append(first.result())
    who = "first" if publishes else "second"
    assert values == [f"{who} {who}"] * 2
    assert _files(place) == {"first": who, "second": who}


def _stall_and_take_over(place: Place, *, lease_secs: float = 600) -> tuple[Any, Any]:
    """A holder that is stopped, and the one that goes on in its place."""
    first = place.start(0, "get_gate", "first", lease_secs=SHORT_SECS)
    place.wait_for("begun by first")
    first.stop()
    second = place.start(1, "get_gate", "second", lease_secs=lease_secs)
    place.wait_for("begun by second")
    return first, second


def _files(place: Place) -> dict[str, str]:
    """The files of the only artifact of the gate."""
    (artifact,) = (
        path for path in (place.outside / "store").glob("data/**/Gate/*") if path.name[0] != "."
    )
    return {path.name: path.read_text() for path in artifact.iterdir() if path.name[0] != "."}


@everywhere
def test_several_that_find_one_artifact_bad_have_it_computed_once_more(place: Place) -> None:
    for number in range(5):
        place.run(0, "get_counted", [number])
        place.run(0, "damage_counted", number)
    children = [place.start(number % 2, "get_counted", list(range(5))) for number in range(6)]
    for child in children:
        assert child.result(250) == [f"value {number}" for number in range(5)]
    counts = [place.notes()[f"computed {number}"] for number in range(5)]
    # Behind caches the mended artifact may look bad for a while still, and is mended again.
    assert min(counts) == 2
    assert max(counts) == 2 or place.cached


@stalling
def test_deleting_while_others_ask_gives_every_asker_the_value(place: Place) -> None:
    askers = [place.start(number % 2, "keep_getting", 60) for number in range(3)]
    deleter = place.start(1, "keep_deleting", 200)
    for child in (*askers, deleter):
        assert child.result(250) == []
    assert place.notes()["computed"] >= 1


@everywhere
def test_two_processes_with_overlapping_graphs_compute_each_node_once(place: Place) -> None:
    children = [place.start(int(backwards), "get_graph", backwards) for backwards in (False, True)]
    values = {child.result(250) for child in children}
    assert len(values) == 1
    assert set(place.notes().values()) == {1}
    assert len(place.notes()) == 21


@pytest.mark.parametrize("where", ["cached_views"])
def test_a_cached_absence_leads_to_no_second_computation(place: Place) -> None:
    place.run(1, "get_counted", [6])
    assert not place.run(1, "exists_counted", 7)
    assert place.run(0, "get_counted", [7]) == ["value 7"]
    # The other host's cache still says that there is nothing, and a listing that there is.
    assert place.run(1, "exists_counted", 7)
    assert place.run(1, "get_counted", [7]) == ["value 7"]
    assert place.notes() == {"computed 6": 1, "computed 7": 1}


@pytest.mark.parametrize("where", ["cached_views"])
def test_a_cached_absence_of_an_attempt_leads_to_no_second_computation(place: Place) -> None:
    assert place.run(1, "attempts") == 0
    first = place.start(0, "get_gate", "first")
    place.wait_for("begun by first")
    second = place.start(1, "get_gate", "second")
    third = place.start(1, "get_gate", "third")
    place.open_gate("first")
    assert {child.result() for child in (first, second, third)} == {"first first"}
    assert place.notes() == {"begun by first": 1, "ended by first": 1}
