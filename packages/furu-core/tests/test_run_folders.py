"""What is told of a run from its folder: of other hosts, of foreign executors, torn, begun again, with history."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

import furu_core
from furu_core import Furu
from furu_core._executors._outline import Prospect, read_outline, write_outline
from furu_core._executors._run import EVENTS_FILE, RUN_FILE, RUN_RECORD, EventKind, EventLog
from furu_core._process_ids import ProcessId, this_process
from furu_core._runs import _runs
from furu_core._runs._failures import FailedNode, grouped
from furu_core._runs._run_status import RunReport, RunWatch
from furu_core._runs._runs import EventReader, command_text, find_run, newest_run, standing
from furu_core.errors import FuruUsageError
from furu_core.executors import named_roots, new_run_folder

ELSEWHERE: Final = ProcessId("another-host", "boot", "pid:[1]", 7, "1")
GONE: Final = attrs.evolve(this_process(), pid=4_000_000, start="1")


class Part(Furu[int]):
    number: int

    def _create(self) -> int:
        return self.number


class Whole(Furu[int]):
    parts: tuple[Part, ...]

    def _create(self) -> int:
        return sum(part.get() for part in self.parts)


PARTS: Final = tuple(Part(number=number) for number in range(4))
WHOLE: Final = Whole(parts=PARTS)


def new_run(*, controller: ProcessId | None = None, age_secs: float = 0.0, **more: Any) -> Path:
    """The folder of a run that began some time ago under a controller; default: this process."""
    _, folder = new_run_folder("no-such", named_roots([WHOLE]), **more)
    record = RUN_RECORD.read(folder / RUN_FILE)
    changed = attrs.evolve(
        record, controller=controller or record.controller, started=record.started - age_secs
    )
    RUN_RECORD.replace(folder / RUN_FILE, changed)
    return folder


def outline(folder: Path, prospects: Mapping[Furu[int], Prospect] | None = None) -> None:
    known = prospects or {}
    needs = [part.furu_hash for part in PARTS]
    nodes = [(part, (), known.get(part, Prospect.COMPUTE)) for part in PARTS]
    write_outline(folder, [*nodes, (WHOLE, needs, known.get(WHOLE, Prospect.COMPUTE))])


def write(folder: Path, *events: tuple[EventKind, Furu[int] | None, str], **facts: Any) -> None:
    log = EventLog(folder)
    for kind, obj, detail in events:
        named = {} if obj is None else {"hash": obj.furu_hash, "node": f"{type(obj).__name__}(x)"}
        log.write(kind, detail=detail, facts=facts or None, **named)
    log.close()


def report(folder: Path) -> RunReport:
    found = _runs.run_at(folder)
    assert found is not None
    return RunWatch(found).report()


def state(folder: Path) -> str:
    return report(folder).standing.state


def stages(folder: Path) -> dict[str, dict[str, int]]:
    """The stages that are not empty, by the short name of the class."""
    classes = report(folder).classes
    return {name.rpartition(":")[2]: dict(+counts) for name, counts in classes.items()}


def grown_old(folder: Path, secs: float) -> None:
    for name in os.listdir(folder):
        os.utime(folder / name, (time.time() - secs,) * 2)


def test_of_a_foreign_executor_events_alone_tell_what_they_can(store: Path) -> None:
    folder = new_run()
    started = EventKind.RUN_STARTED
    write(
        folder,
        (started, None, "5 nodes, as far as is known"),
        (EventKind.NODE_STARTED, PARTS[0], ""),
    )
    write(
        folder,
        (EventKind.NODE_COMPUTED, PARTS[0], "2.000 s"),
        (EventKind.NODE_STARTED, PARTS[1], ""),
    )
    write(folder, (EventKind.NODE_FAILED, PARTS[2], "Part(x) it broke"))
    found = report(folder)
    assert stages(folder) == {"Part": {"done": 1, "running": 1, "failed": 1}}
    assert (found.standing.total, found.standing.computed, found.standing.failed) == (5, 1, 1)
    (group,) = found.failures
    assert (group.first.short_class, group.first.error) == ("Part", "Part(x) it broke")
    assert [node.usual_secs for node in found.slowest] == [2.0]


def test_a_run_of_another_host_lives_while_it_gives_signs_of_life(store: Path) -> None:
    folder = new_run(controller=ELSEWHERE, age_secs=10_000)
    outline(folder)
    write(folder, (EventKind.RUN_STARTED, None, "5 nodes"))
    assert state(folder) == "running"
    grown_old(folder, 10_000)
    found = report(folder).standing
    assert found.state == "died"
    assert found.why == "its controller, process 7 on another-host, gave no sign of life for 2.8 h"
    log = EventLog(folder)
    log._next_sign = 0.0
    log.sign()
    assert state(folder) == "running"


def test_a_run_without_any_event_lives_as_long_as_the_process_that_began_it(store: Path) -> None:
    assert state(new_run()) == "running"
    assert state(new_run(controller=GONE)) == "died"


def test_the_controller_is_the_process_that_began_the_run_last(store: Path) -> None:
    folder = new_run(controller=GONE)
    begun = EventKind.RUN_STARTED
    write(folder, (begun, None, "5 nodes"), controller=attrs.asdict(this_process()))
    assert state(folder) == "running"
    write(folder, (EventKind.RUN_ENDED, None, "cancelled"))
    assert state(folder) == "cancelled"
    write(folder, (begun, None, "5 nodes"), controller=attrs.asdict(GONE))
    assert report(folder).standing.why == f"its controller, {GONE}, is gone"


def test_a_run_that_is_begun_again_forgets_failures_and_keeps_what_it_computed(store: Path) -> None:
    folder = new_run()
    outline(folder)
    write(
        folder,
        (EventKind.RUN_STARTED, None, "5 nodes"),
        (EventKind.NODE_COMPUTED, PARTS[0], "1.0 s"),
    )
    write(folder, (EventKind.NODE_FAILED, PARTS[1], "broke"), (EventKind.RUN_ENDED, None, "failed"))
    PARTS[0].get()
    assert stages(folder) == {"Part": {"done": 1, "failed": 1, "ready": 2}, "Whole": {"blocked": 1}}
    outline(folder, {PARTS[0]: Prospect.LOAD})
    write(folder, (EventKind.RUN_STARTED, None, "5 nodes"))
    found = report(folder)
    assert stages(folder) == {"Part": {"done": 1, "ready": 3}, "Whole": {"waiting": 1}}
    assert (found.standing.state, found.standing.computed, found.standing.failed) == (
        "running",
        1,
        0,
    )


def test_what_is_ready_waits_failed_before_or_is_computed_elsewhere_is_told_apart(
    store: Path,
) -> None:
    folder = new_run()
    outline(folder, {PARTS[0]: Prospect.ELSEWHERE, PARTS[1]: Prospect.LOAD})
    write(folder, (EventKind.RUN_STARTED, None, "5 nodes"))
    write(folder, (EventKind.NODE_RETRIED, PARTS[2], "failed once"))
    assert stages(folder) == {
        "Part": {"elsewhere": 1, "done": 1, "ready": 2},
        "Whole": {"waiting": 1},
    }
    assert report(folder).retries == 1
    outline(folder, {PARTS[3]: Prospect.FAILED})
    assert stages(folder)["Whole"] == {"blocked": 1}


def test_a_node_that_is_computed_again_is_not_done_because_its_old_result_is_there(
    store: Path,
) -> None:
    PARTS[0].get()
    folder = new_run()
    outline(folder, {PARTS[0]: Prospect.RERUN})
    write(folder, (EventKind.RUN_STARTED, None, "5 nodes"))
    assert stages(folder)["Part"] == {"ready": 4}
    write(folder, (EventKind.NODE_COMPUTED, PARTS[0], "1.0 s"))
    assert stages(folder)["Part"] == {"done": 1, "ready": 3}


def test_what_others_computed_counts_though_no_event_tells_of_it(store: Path) -> None:
    folder = new_run(controller=GONE)
    outline(folder)
    write(folder, (EventKind.RUN_STARTED, None, "5 nodes"))
    PARTS[3].get()
    assert stages(folder) == {"Part": {"done": 1, "ready": 3}, "Whole": {"waiting": 1}}
    assert state(folder) == "died"
    WHOLE.get()
    found = report(folder).standing
    assert (found.state, found.loaded) == ("done", 5)
    assert found.why.endswith("and all its roots are there")


def test_p9_torn_and_unknown_lines_are_left_out_and_the_rest_is_told(store: Path) -> None:
    folder = new_run()
    write(folder, (EventKind.RUN_STARTED, None, "5 nodes"))
    with (folder / EVENTS_FILE).open("ab") as file:
        file.write(b'[1.0, "node comp\n\n{}\n[1]\n[1.0, "of the future", "aa", "A(x)", ""]\n')
    write(folder, (EventKind.NODE_COMPUTED, PARTS[0], "no number s"))
    with (folder / EVENTS_FILE).open("ab") as file:
        file.write(b'[2.0, "node computed", "bb"')  # being written
    found = report(folder)
    assert (found.standing.total, found.standing.computed) == (5, 1)
    with (folder / EVENTS_FILE).open("ab") as file:
        file.write(b', "Part(y)", ""]\n')
    assert report(folder).standing.computed == 2
    (folder / "plan.json").write_text('{"furu": 1}')
    assert read_outline(folder) is None
    assert report(folder).standing.computed == 2


def test_events_are_read_once_however_often_one_looks(store: Path) -> None:
    folder = new_run()
    events = EventReader(folder)
    events.update()
    assert events.total == 0
    write(folder, (EventKind.RUN_STARTED, None, "5 nodes"), (EventKind.NODE_STARTED, PARTS[0], ""))
    events.update()
    size = (folder / EVENTS_FILE).stat().st_size
    (folder / EVENTS_FILE).write_bytes(b"x" * size)  # what was read is not read again
    write(folder, (EventKind.NODE_COMPUTED, PARTS[0], "1.0 s"))
    events.update()
    assert (events.total, list(events.computed), events.took(PARTS[0].furu_hash)) == (
        5,
        [PARTS[0].furu_hash],
        1.0,
    )


def test_the_end_of_a_run_is_told_by_its_last_line_alone(store: Path) -> None:
    folder = new_run()
    write(folder, (EventKind.RUN_STARTED, None, "5 nodes"))
    write(folder, (EventKind.RUN_ENDED, None, "failed"), total=5, computed=1, loaded=2, failed=1)
    data = (folder / EVENTS_FILE).read_bytes()
    (folder / EVENTS_FILE).write_bytes(b"x" * 10_000_000 + b"\n" + data)
    found = _runs.run_at(folder)
    assert found is not None
    told = standing(found)
    assert (told.state, told.total, told.computed, told.loaded, told.failed) == (
        "failed",
        5,
        1,
        2,
        1,
    )


def test_the_time_that_is_left_is_told_from_this_run_and_else_from_the_store(store: Path) -> None:
    for part in PARTS[:2]:
        part.get()
    folder = new_run()
    outline(folder, {PARTS[0]: Prospect.LOAD, PARTS[1]: Prospect.LOAD})
    write(folder, (EventKind.RUN_STARTED, None, "5 nodes"))
    found = report(folder)
    assert [name.rpartition(":")[2] for name in found.unknown] == ["Whole"]
    assert found.left_secs is not None
    assert found.left_secs < 1.0  # two parts by the records of the others
    write(folder, (EventKind.NODE_COMPUTED, PARTS[2], "60.000 s"))
    assert report(folder).left_secs == 60.0


def test_what_runs_for_longer_than_usual_is_not_told_to_end_at_once(store: Path) -> None:
    PARTS[0].get()
    folder = new_run()
    outline(folder, {PARTS[0]: Prospect.LOAD, PARTS[3]: Prospect.LOAD})
    write(folder, (EventKind.RUN_STARTED, None, "5 nodes"))
    write(folder, (EventKind.NODE_COMPUTED, PARTS[2], "60.000 s"))
    late = [time.time() - 3600.0, EventKind.NODE_STARTED.value, PARTS[1].furu_hash, "Part", ""]
    with (folder / EVENTS_FILE).open("a") as file:
        file.write(f"{json.dumps(late)}\n")
    (PARTS[0].furu_dir.parent / f".{PARTS[1].furu_hash}.1").mkdir()
    found = report(folder)
    assert [node.seconds > 3599.0 for node in found.slowest] == [True]
    assert found.left_secs is not None
    assert found.left_secs > 3500.0


def test_a_run_is_found_by_the_beginning_or_end_of_its_id_and_by_its_folder(store: Path) -> None:
    folder = new_run(tags={"sweep": "lr"}, note="the first")
    assert newest_run().id == folder.name
    for name in (
        folder.name,
        folder.name[:-2],
        folder.name[-6:],
        f"run:{folder.name}",
        str(folder),
    ):
        assert find_run(name).folder == folder
    record = find_run(folder.name).record
    assert record is not None
    assert (record.tags, record.note, record.cwd) == ({"sweep": "lr"}, "the first", os.getcwd())
    with pytest.raises(FuruUsageError, match=r"has no run 'nothing'"):
        find_run("nothing")
    new_run()
    with pytest.raises(FuruUsageError, match="may be any of 2 runs"):
        find_run(folder.name[:2])
    (folder / RUN_FILE).write_text("{")
    assert state(folder) == "died"


def test_a_run_that_an_earlier_furu_wrote_is_told_without_what_it_lacks(store: Path) -> None:
    folder = new_run(controller=GONE)
    record = json.loads((folder / RUN_FILE).read_text())
    for later in ("command", "cwd", "tags", "note"):
        record.pop(later, None)
    (folder / RUN_FILE).write_text(json.dumps(record))
    lines = [
        [1.0, "run started", "", "", "2 nodes"],
        [2.0, "node computed", "aa", "A(aa)", "1.0 s"],
    ]
    lines.append([3.0, "run ended", "", "", "done"])
    (folder / EVENTS_FILE).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    told = report(folder).to_json()
    assert {key: told[key] for key in ("state", "total", "computed", "loaded", "command")} == {
        "state": "done",
        "total": 2,
        "computed": 1,
        "loaded": 1,
        "command": [],
    }


def test_failures_with_other_numbers_in_their_text_are_one_group_and_other_places_are_not() -> None:
    def failed(message: str, at: str = "a.py:1", name: str = "m:A") -> FailedNode:
        return FailedNode("aa", name, "compute", "ValueError", message, at)

    groups = grouped(
        [
            failed("alone", "a.py:9"),
            failed("size 7 of 0x7f01"),
            failed("size 100 of 0x7e02"),
            failed("size 3 of 0x7e02", "a.py:2"),
            failed("size 7 of 0x7f01", name="m:B"),
        ]
    )
    assert [len(group.nodes) for group in groups] == [2, 1, 1, 1]
    assert groups[0].first.message == "size 7 of 0x7f01"
    assert groups[0].next_command == "furu show aa"
    (full,) = grouped([FailedNode("aa", "m:A", "protocol", "FuruStoreError", "cannot write")])
    assert full.next_command == "furu doctor", "nothing of the node could be written, to be shown"


def test_a_command_is_told_as_one_types_it() -> None:
    assert command_text(()) == ""
    assert command_text(("/e/python", "-m", "furu_core", "run", "a b:C")) == "furu run 'a b:C'"


def test_a_command_that_cannot_be_called_fails_no_run(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from furu_core._runs._run_end import tell_run_end

    with furu_core.use_settings(on_run_end="exit 0"):
        tell_run_end(store / "runs" / "none")
    with furu_core.use_settings(on_run_end="no-such-command-here"):
        tell_run_end(new_run())
    assert "failed: exit status 127" in caplog.text
