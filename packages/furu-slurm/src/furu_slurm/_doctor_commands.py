"""Whether Slurm's commands are here and answer; for the host of a user, and for a node."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

from furu_core.checks import CheckLevel, CheckResult
from furu_slurm._commands import Reply, call, configuration, installed, query_environ
from furu_slurm._sbatch_errors import Complaint, complaint_of
from furu_slurm._squeue import NO_ACCOUNTING

NEEDED: Final = ("sbatch", "squeue", "scancel", "scontrol")
_SECS: Final = 30.0
_UP: Final = ("idle", "mix", "alloc", "comp")


def commands(*, next_step: str) -> Iterator[CheckResult]:
    """Whether the commands that furu calls are there.

    Args:
        next_step: what to do where one is missing.
    """
    missing = [name for name in NEEDED if not installed(name)]
    if missing:
        yield CheckResult(
            "slurm", CheckLevel.PROBLEM, f"there is no {', no '.join(missing)} here", next_step
        )


def controller() -> Iterator[CheckResult]:
    """Whether Slurm answers, and what it has."""
    reply = _ask("scontrol", "ping")
    found = configuration()
    if found is None:
        yield CheckResult(
            "slurm",
            CheckLevel.PROBLEM,
            f"Slurm does not answer: {_words(reply)}",
            "type it on a login node, or have SLURM_CONF name the cluster's slurm.conf"
            if complaint_of(reply) is Complaint.UNCONFIGURED
            else "sinfo (try again when it answers)",
        )
        return
    version = _ask("sbatch", "--version").out.strip()
    yield CheckResult("slurm", CheckLevel.OK, f"{version} of the cluster {found.cluster} answers")


def partitions(wanted: str | None) -> Iterator[CheckResult]:
    """The partitions, and whether that which jobs go to has nodes that take any.

    Args:
        wanted: its name; None for the default one.
    """
    reply = _ask("sinfo", "--noheader", "--format=%P|%a|%D|%T")
    nodes: dict[str, Counter[str]] = {}
    default = ""
    for line in reply.out.splitlines():
        name, up, number, state = [*line.strip().split("|"), "", "", ""][:4]
        if name.endswith("*"):
            name = default = name[:-1]
        if number.isdecimal():
            nodes.setdefault(name, Counter())[state if up == "up" else up] += int(number)
    if not nodes:
        return
    told = "; ".join(
        f"{name}{' (default)' if name == default else ''}: "
        + ", ".join(f"{number} {state}" for state, number in states.items())
        for name, states in nodes.items()
    )
    chosen = wanted or default
    if chosen in nodes and not any(state.startswith(_UP) for state in nodes[chosen]):
        yield CheckResult(
            "nodes",
            CheckLevel.WARNING,
            f"no node of the partition {chosen} is up: {told}",
            "sinfo -R",
        )
    else:
        yield CheckResult("nodes", CheckLevel.OK, told)


def accounting() -> Iterator[CheckResult]:
    """Whether `sacct` tells how jobs ended that `squeue` has forgotten."""
    # Of this minute alone, as a user may have many jobs.
    reply = _ask(
        "sacct", "--allocations", "--noheader", "--parsable2", "--format=JobID", _this_minute()
    )
    if reply.ok:
        yield CheckResult("sacct", CheckLevel.OK, "accounting is on: how a job ended stays known")
    elif any(words in reply.err for words in NO_ACCOUNTING):
        yield CheckResult(
            "sacct",
            CheckLevel.NOTE,
            f"there is no accounting ({_words(reply)}): how a job ended is known while squeue shows it, which is for "
            "MinJobAge seconds",
            "scontrol show config | grep MinJobAge",
        )
    else:
        yield CheckResult(
            "sacct", CheckLevel.WARNING, f"sacct does not answer: {_words(reply)}", "sacct"
        )


def _this_minute() -> str:
    return time.strftime("--starttime=%Y-%m-%dT%H:%M", time.localtime())


def _words(reply: Reply) -> str:
    return reply.said if reply.err.strip() else " ".join(reply.out.split()) or reply.said


def _ask(*command: str) -> Reply:
    return call(command, timeout=_SECS, environ=query_environ())
