"""What a run shows: a live display on a terminal, few lines elsewhere, results alone on stdout."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from furu_core.executors import Failure, FailureKind, duration
from furu_local import run_local
from furu_plan.runs import RunProgress, failure_text, progress_line
from furu_plan.runs._display import (
    Lines,
    NoDisplay,
    Screen,
    choose_display,
    running_text,
    time_left,
)
from furu_testing import Scripts, let_go
from furu_testing.nodes import Leaf

SCRIPT = """
    import sys
    from furu_testing.nodes import *
    from local_nodes import *
    from furu_local import run_local

    if __name__ == "__main__":
        nodes = [Leaf(x=0), Leaf(x=1), Noisy(), Fails(label="bad", times=1)]
        nodes += [Step(label=label, waits=True) for label in sys.argv[1:]]
        print("results", run_local(nodes, max_workers=1).results())
"""


def in_terminal(script: Path, *args: str, store: Path, awaited: list[str]) -> tuple[int, str, str]:
    """Run a script whose stderr is a terminal: its exit status, stdout and what the terminal got.

    Its nodes wait until the terminal has shown all that is awaited.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(script), *args],
        stdout=subprocess.PIPE,
        stderr=theirs,
        stdin=theirs,
        cwd=script.parent,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        text=True,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            data = os.read(ours, 4096)
        except OSError:  # the other side is closed
            break
        if not data:
            break
        shown += data
        if all(text.encode() in shown for text in awaited):
            let_go(store)
    out, _ = process.communicate(timeout=200)
    os.close(ours)
    return process.returncode, out, shown.decode()


def test_a_terminal_shows_what_is_done_what_runs_and_the_time_left(
    store: Path, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    awaited = ["/5 done", "computing Step(", " left"]
    status, out, shown = in_terminal(script, "waits", store=store, awaited=awaited)
    assert status == 0, shown
    assert out == "results [0, 1, 0, 2, 1]\n"
    for text in (*awaited, "failure 1 of at most 4", "5 computed"):
        assert text in shown
    assert "printed" not in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")  # the cursor is shown again


def test_elsewhere_there_are_a_few_lines_and_stdout_has_the_results_alone(program: Scripts) -> None:
    began = time.monotonic()
    status, out, err = program(SCRIPT).finish()
    assert status == 0, err
    assert out == "results [0, 1, 0, 2]\n"
    assert "4 to compute" in err
    assert "failure 1 of at most 4" in err
    assert "4 computed" in err
    assert "\x1b" not in err
    # One after ten seconds and one each minute tell how the run stands, where it lasts for so long.
    progress = [line for line in err.splitlines() if " nodes there, " in line]
    assert len(progress) <= (time.monotonic() - began + 50) // 60
    assert len(err.splitlines()) - len(progress) <= 5
    assert "printed" not in err


def test_without_progress_nothing_is_shown(
    store: Path, capfd: pytest.CaptureFixture[str], worker: str
) -> None:
    run_local(Leaf(x=1), progress=False, max_workers=1, worker=worker)
    out, err = capfd.readouterr()
    assert out == ""
    assert "run " not in err


def test_what_is_chosen_depends_on_the_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("furu_plan.runs._display.console.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert type(choose_display(wanted=None, live=True)) is Screen
    assert type(choose_display(wanted=None, live=False)) is Lines
    assert type(choose_display(wanted=False, live=True)) is NoDisplay
    monkeypatch.setenv("TERM", "dumb")
    assert type(choose_display(wanted=None, live=True)) is Lines


def test_lines_are_said_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: now)
    lines = Lines()
    view = RunProgress("r1", 10, 4, 1, (("Train(abc)", 75.0),), 30.0, 45.0)
    with caplog.at_level("INFO", "furu"):
        lines.update(view)
        assert caplog.messages == []
        now += lines.due_in() or 0.0
        lines.update(view)
        lines.update(view)
    assert caplog.messages == ["run r1: 4 of 10 nodes there, 1 running, 1 failed, about 45 s left"]


def test_texts_for_people() -> None:
    running = [(f"N({n})", float(n)) for n in range(6)]
    assert running_text(running) == "N(5) 5.0 s, N(4) 4.0 s, N(3) 3.0 s, N(2) 2.0 s, and 2 more"
    assert [duration(secs) for secs in (0.04, 9.94, 119, 130, 7199, 9000)] == [
        "40 ms",
        "9.9 s",
        "119 s",
        "2 min",
        "120 min",
        "2.5 h",
    ]
    failure = Failure(FailureKind.COMPUTE, "ValueError", "no", "N(1)", "1", Path("/log"))
    text = failure_text([failure] * 22)
    assert text.splitlines()[0] == "  N(1) ValueError: no (log: /log)"
    assert text.endswith("and 2 more; `furu failures` groups them by error")
    stopping = RunProgress("r1", 10, 4, 0, (), 30.0, 45.0, "stopping")
    assert progress_line(stopping) == "run r1: 4 of 10 nodes there, 0 running, stopping"
    queued = RunProgress("r1", 10, 4, 0, (), 30.0, 45.0, workers="3 queued")
    assert progress_line(queued).endswith("0 running, 3 queued, about 45 s left")


def test_the_first_time_left_is_that_of_the_nodes_and_not_of_the_start_of_the_workers() -> None:
    """Forty nodes of two seconds for three workers, which took a second to start: 27 s in all."""
    first = time_left(39, elapsed=3.0, done=1, node_secs=2.0, running=[2.0, 1.9, 0.0])
    assert first == pytest.approx(25, abs=1)
    assert time_left(20, elapsed=15.0, done=20, node_secs=2.0, running=[1.0] * 3) == 15.0
    assert time_left(40, elapsed=3.0, done=0, node_secs=0.0, running=[3.0]) is None
    assert time_left(1, elapsed=9.0, done=1, node_secs=2.0, running=[8.0]) == 0.0


def test_a_run_shows_in_a_notebook_how_it_stands(store: Path) -> None:
    run = run_local([Leaf(x=0), Leaf(x=1)], worker="inline", progress=False)
    assert repr(run) == f"<ControlledRun {run.id}: done, 2 of 2 nodes there>"
