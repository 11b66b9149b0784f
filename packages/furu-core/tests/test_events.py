"""What a run's folder tells of it, to readers of this furu and of others."""

from __future__ import annotations

import json
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


def test_events_of_a_newer_furu_are_read_as_far_as_they_are_known(tmp_path: Path) -> None:
    lines = [
        [1.0, "node frozen", "3fa9c1", "Train(3fa9c1)", ""],
        [2.0, "node computed", "3fa9c1", "Train(3fa9c1)", "0.1 s", {"joules": 3}],
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "events.jsonl").write_text(text)
    (event,) = read_events(tmp_path)
    assert (event.kind, event.detail) == (EventKind.NODE_COMPUTED, "0.1 s")
