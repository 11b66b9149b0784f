"""What a run's folder tells of it, to readers of this furu and of others."""

from __future__ import annotations

import json
import resource
from pathlib import Path

from furu_core.executors import EventKind, EventLog, read_events


def test_events_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    written = [
        log.write(EventKind.RUN_STARTED),
        log.write(EventKind.NODE_FAILED, hash="3fa9c1", node="Train(3fa9c1)", detail="a\nb"),
    ]
    log.close()
    assert list(read_events(tmp_path)) == written


def test_a_run_without_events_has_none(tmp_path: Path) -> None:
    assert list(read_events(tmp_path)) == []


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    EventLog(tmp_path).write(EventKind.RUN_STARTED)
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('[1.0, "run en')
    assert [event.kind for event in read_events(tmp_path)] == [EventKind.RUN_STARTED]


def test_p8_a_disk_that_was_full_for_a_while_costs_the_events_of_that_while_and_no_others(
    tmp_path: Path,
) -> None:
    log = EventLog(tmp_path)
    log.write(EventKind.RUN_STARTED)
    size = (tmp_path / "events.jsonl").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 9, hard))  # of a line, nine bytes still fit
    try:
        for _ in range(2):
            log.write(EventKind.NODE_COMPUTED, hash="3fa9c1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "events.jsonl").stat().st_size == size + 9
    log.write(EventKind.NODE_LOADED, hash="3fa9c1")
    log.write(EventKind.RUN_ENDED)
    log.close()
    kinds = [EventKind.RUN_STARTED, EventKind.NODE_LOADED, EventKind.RUN_ENDED]
    assert [event.kind for event in read_events(tmp_path)] == kinds


def test_p7_the_events_of_a_killed_controller_end_before_those_of_its_successor_begin(
    tmp_path: Path,
) -> None:
    EventLog(tmp_path).write(EventKind.RUN_STARTED)
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('[1.0, "run en')
    EventLog(tmp_path).write(EventKind.RUN_STARTED)
    assert [event.kind for event in read_events(tmp_path)] == [EventKind.RUN_STARTED] * 2


def test_events_of_a_newer_furu_are_read_as_far_as_they_are_known(tmp_path: Path) -> None:
    lines = [
        [1.0, "node frozen", "3fa9c1", "Train(3fa9c1)", ""],
        [2.0, "node computed", "3fa9c1", "Train(3fa9c1)", "0.1 s", {"joules": 3}],
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "events.jsonl").write_text(text)
    (event,) = read_events(tmp_path)
    assert (event.kind, event.detail) == (EventKind.NODE_COMPUTED, "0.1 s")
