"""What furu says on the console."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

NODES = str(Path(__file__).parent / "nodes")
PRELUDE = (
    f"NODES = {NODES!r}"
    """
import logging, sys
sys.path.insert(0, NODES)
from furu_core._settings import _settings
from logged import node_log
from furu_core._output._logging import console_through, event, log
_settings.settings()
"""
)


def run(folder: Path, body: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(body)],
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )


MISS_AND_HIT = """
event("get", "Train(3fa9c1)", "missing", "create")
event("get", "Train(3fa9c1)", "done", "load", logging.DEBUG)
"""


@pytest.mark.parametrize(
    ("level", "lines"),
    [
        ("INFO", ["get Train(3fa9c1) missing -> create"]),
        ("WARNING", []),
    ],
)
def test_one_compact_line_says_what_is_done(tmp_path: Path, level: str, lines: list[str]) -> None:
    done = run(tmp_path, MISS_AND_HIT, FURU_LOG_LEVEL=level)
    assert done.stderr.splitlines() == lines
    assert done.stdout == ""


def test_hits_are_said_when_debugging_and_rich_is_imported_for_nobody_who_does_not_look(
    tmp_path: Path,
) -> None:
    no_rich = "assert 'rich' not in sys.modules"
    done = run(tmp_path, MISS_AND_HIT + no_rich, FURU_LOG_LEVEL="DEBUG")
    assert done.stderr.splitlines() == [
        "get Train(3fa9c1) missing -> create",
        "get Train(3fa9c1) done -> load",
    ]


def test_on_a_terminal_the_line_is_coloured_and_not_wrapped(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    node = "A" * 200 + "(3fa9c1)"
    code = PRELUDE + f'event("get", "{node}", "missing", "create")\nassert "rich" in sys.modules'
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
    env.pop("NO_COLOR", None)
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, stderr=follower
    ) as process:
        os.close(follower)
        shown = os.read(leader, 4096).decode()
        assert process.wait(200) == 0
    os.close(leader)
    assert "\x1b[" in shown
    assert shown.count("\n") == 1


def test_a_node_s_own_log_has_its_lines_and_the_console_too_if_it_echoes(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        for echo in (False, True):
            with node_log(f"{echo}.log", echo=echo):
                event("get", f"{echo}(3fa9c1)", "missing", "create")
        """,
    )
    for echo in (False, True):
        log = (tmp_path / f"{echo}.log").read_text()
        assert log.endswith(f"INFO furu: get {echo}(3fa9c1) missing -> create\n")
        assert done.stderr.count(f"get {echo}(3fa9c1)") == echo
        assert log.count(f"get {echo}(3fa9c1)") == 1


def test_an_application_with_handlers_of_its_own_gets_each_record_once(tmp_path: Path) -> None:
    done = run(tmp_path, 'logging.basicConfig(format="app: %(message)s")\n' + MISS_AND_HIT)
    assert done.stderr == "app: get Train(3fa9c1) missing -> create\n"


def test_a_level_that_the_application_chose_stays(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "log.setLevel(logging.ERROR); _settings.configure(log_level='DEBUG')\n" + MISS_AND_HIT,
    )
    assert done.stderr == ""


def test_a_changed_setting_changes_the_level(tmp_path: Path) -> None:
    done = run(tmp_path, "_settings.configure(log_level='ERROR')\n" + MISS_AND_HIT)
    assert done.stderr == ""


def test_warnings_say_what_they_are_and_bring_their_traceback(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        try:
            1 / 0
        except ZeroDivisionError:
            log.warning("_validate of %s raised", "A(3fa9c1)", exc_info=True)
        """,
    )
    assert done.stderr.startswith("warning: _validate of A(3fa9c1) raised\nTraceback")
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_a_progress_display_gets_the_lines_while_it_has_the_screen(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        lines = []
        with console_through(lines.append):
            event("get", "A(3fa9c1)", "missing", "create")
        assert lines == ["get A(3fa9c1) missing -> create"]
        event("get", "B(3fa9c1)", "missing", "create")
        """,
    )
    assert done.stderr == "get B(3fa9c1) missing -> create\n"
