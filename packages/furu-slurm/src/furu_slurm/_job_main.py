"""What a job runs: ``python -m furu_slurm._job_main PAYLOAD_FILE [PLACE]``.

It imports none of the user's code, and no more than it needs: this process stays in memory beside the
process that computes the node.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from furu_core.errors import FuruError, FuruStoreError
from furu_core.workers import entered_snapshot, this_process
from furu_slurm._environment import (
    VISIBLE_SECS,
    enter_job,
    restore_job_environment,
    this_job,
)
from furu_slurm._job_payload import JobPayload, read_payload

FAILED: Final = 1
_SIGNALS: Final = ("SIGTERM", "SIGCONT", "SIGUSR1", "SIGUSR2", "SIGHUP")


def main(args: Sequence[str]) -> int:
    """Run one job of a submission, and return its exit status."""
    # The submitter may have ignored signals, which its job would inherit.
    for name in _SIGNALS:
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        path = Path(args[0])
        payload = read_payload(path, wait_secs=VISIBLE_SECS, environ=os.environ)
        place = args[1] if len(args) > 1 else os.environ.get("SLURM_ARRAY_TASK_ID", "0")
        enter_job(payload.token, payload.time_min)
        restore_job_environment(payload.run_folder, environ=os.environ)
        _tell_code()
        return _function_of(payload)(payload, int(place)) or 0
    except FileNotFoundError as error:
        where = this_process().host
        return _failed(
            FuruStoreError(
                f"{where} cannot read {args[0]}, which says what this job is to do: {error.strerror}",
                path=args[0],
                hint="FURU_PATH must be a folder that all nodes of the cluster see under one name",
            )
        )
    except FuruError as error:
        return _failed(error)
    except Exception:  # noqa: BLE001 - the job's log must show any error
        import traceback  # imported here, because hardly any job needs it

        traceback.print_exc()
        return FAILED


def _tell_code() -> None:
    """Write to the job's log why its tracebacks name files of a snapshot."""
    snapshot = entered_snapshot()
    if snapshot is not None:
        trees = ", ".join(f"{live} ({copy})" for live, copy in snapshot.trees.items())
        print(f"imports from a snapshot of {trees}", file=sys.stderr, flush=True)


def _function_of(payload: JobPayload) -> Callable[[JobPayload, int], int | None]:
    module, _, name = payload.function.partition(":")
    function: Callable[[JobPayload, int], int | None] = getattr(
        importlib.import_module(module), name
    )
    return function


def _failed(error: FuruError) -> int:
    job = this_job()
    who = "job" if job is None else f"job {job.job_id}"
    print(f"furu: {who}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    return FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
