"""Functions that jobs run; each writes down what it finds."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from furu_slurm import JobPayload

ASKED_FOR = ("submitit", "numpy", "furu_plan", "pandas")


def report(payload: JobPayload, place: int) -> int:
    """Write down what this job is and where it stands."""
    to, status = payload.jobs[place]
    import furu_core
    from furu_core.workers import process_provenance
    from furu_slurm import this_job

    job = this_job()
    assert job is not None
    found = {
        "cluster": job.cluster,
        "job_id": job.job_id,
        "token": job.token,
        "restarts": job.restarts,
        "seconds_left": job.seconds_left,
        "cwd": os.getcwd(),
        "path": str(furu_core.settings().path),
        "lease_secs": furu_core.settings().lease_secs,
        "command": list(process_provenance().command),
        "run_folder": str(payload.run_folder),
        "furu": sorted(name for name in os.environ if name.startswith("FURU_")),
        "imported": [name for name in ASKED_FOR if name in sys.modules],
        "handlers": [str(signal.getsignal(one)) for one in (signal.SIGTERM, signal.SIGUSR2)],
        "hello": os.environ.get("HELLO"),
        "sys_path": sys.path,
    }
    fresh = Path(f"{to}.{os.getpid()}")
    fresh.write_text(json.dumps(found))
    fresh.rename(to)
    print("reported by", job.job_id, flush=True)
    return int(status)


def until_signalled(payload: JobPayload, place: int) -> int:
    """Wait for SIGUSR2 and say so."""
    to, _ = payload.jobs[place]
    from furu_testing import wait_until

    seen: list[int] = []
    signal.signal(signal.SIGUSR2, lambda number, _frame: seen.append(number))
    Path(f"{to}.ready").touch()
    wait_until("SIGUSR2", lambda: seen, seconds=900)
    Path(to).write_text(str(seen[0]))
    return 7


def until_killed(payload: JobPayload, place: int) -> int:
    """Wait to be killed, as does a process of its own."""
    to, _ = payload.jobs[place]
    if os.fork():
        Path(to).write_text("forked")
    time.sleep(600)
    return 0
