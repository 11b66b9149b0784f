"""What is called when a run has ended: the user's command in the setting `on_run_end`, with the run as JSON."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

from furu_core._output import _logging
from furu_core._runs import _runs
from furu_core._runs._run_status import RunWatch
from furu_core._settings import _settings
from furu_core._text import duration, json_text

LIMIT_SECS: Final = 30.0


def tell_run_end(folder: Path, *, limit_secs: float = LIMIT_SECS) -> None:
    """Call the user's command for a run that has ended, if there is one; it never fails the run.

    The command gets on its standard input what `furu status --json` prints, and `FURU_RUN_ID`.

    Args:
        folder: the run's folder.
        limit_secs: after so many seconds the command is killed.
    """
    command = _settings.settings().on_run_end
    if not command:
        return
    try:
        _call(command, folder, limit_secs)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong, the run has ended as it has
        _warn(command, f"{type(error).__name__}: {error}")


def _call(command: str, folder: Path, limit_secs: float) -> None:
    run = _runs.run_at(folder)
    if run is None:
        return
    told = json_text(RunWatch(run).report().to_json())
    process = subprocess.Popen(
        command,
        shell=True,
        stdin=subprocess.PIPE,
        stdout=2,  # standard output is for results
        env={**os.environ, "FURU_RUN_ID": run.id},
        start_new_session=True,  # Ctrl-C, which ended the run, is not for it; and children end with it
        text=True,
    )
    try:
        process.communicate(told, timeout=limit_secs)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _warn(command, f"it took longer than {duration(limit_secs)}, and was killed")
        return
    except BaseException:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode:
        _warn(command, f"exit status {process.returncode}")


def _warn(command: str, why: str) -> None:
    _logging.log.warning("the command on_run_end, %s, failed: %s", command, why)
