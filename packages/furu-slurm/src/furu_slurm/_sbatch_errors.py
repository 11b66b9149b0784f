"""Errors of sbatch: why it submitted nothing, and the exception that follows.

The messages are those of Slurm 20.11 to 25.05 (`slurm_errno.c`, and what sbatch itself prints).
"""

from __future__ import annotations

import os
import re
from enum import Enum
from typing import Final

from furu_slurm._commands import NO_SUCH_CONFIGURATION, Reply, installed
from furu_slurm.errors import (
    FuruSlurmError,
    FuruSlurmUnavailable,
    FuruSubmitLimit,
    FuruSubmitRefused,
)


class Complaint(Enum):
    """Why sbatch submitted nothing, or why it is not known whether it did."""

    REFUSED = "refused"  # Slurm refuses the jobs, and would refuse them again
    LIMIT = "limit"  # there are too many jobs now
    UNREACHABLE = "unreachable"  # Slurm's controller did not get the request
    UNSURE = "unsure"  # the controller may have got the request
    UNCONFIGURED = "unconfigured"  # sbatch does not know any controller


_LIMIT: Final = (
    r"(Assoc|QOS|User)\w*(MaxSubmit|MaxJobs|GrpSubmit|GrpJobs|Submit\w*Limit)"
    r"|temporarily unable to accept job|MaxJobCount|Job violates accounting/QOS policy"
)
_UNREACHABLE: Final = (
    r"Unable to contact slurm controller(?! \((send|receive|shutdown))|Connection refused|connect failure"
    r"|Communication connection failure|standby mode|No route to host|Network is unreachable"
    r"|get addr for controller"
)
_UNSURE: Final = (
    r"timed out|Zero Bytes|Connection reset|Unexpected message|Transport endpoint"
    r"|send/recv|(send|receive) failure|Broken pipe|Insane message|shutting down|shutdown"
    r"|Resource temporarily unavailable"
)
# The order matters: a message about a limit may come together with one that names no reason.
_WORDS: Final = (
    (Complaint.LIMIT, _LIMIT),
    (Complaint.UNREACHABLE, _UNREACHABLE),
    (Complaint.UNSURE, _UNSURE),
    (
        Complaint.UNCONFIGURED,
        r"configuration source|DNS SRV lookup failed|" + NO_SUCH_CONFIGURATION,
    ),
)
# A limit on the size of one job is no limit on their number: waiting does not help.
_TOO_LARGE: Final = re.compile(
    r"(Assoc|QOS)\w*(Per\s?Job|PerNode|WallDuration|MaxWall|MinCpu|MinGRES|MaxNode|MaxCpu|MaxTRES|MaxMem)"
)


def complaint_of(reply: Reply) -> Complaint:
    """The meaning of a reply of sbatch that names no job."""
    if reply.timed_out:
        # sbatch itself tries again after this message, until it is killed.
        limit = "temporarily unable to accept job" in reply.err
        return Complaint.LIMIT if limit else Complaint.UNSURE
    if reply.ok:
        return Complaint.UNSURE  # it succeeded, but did not name the job
    if reply.status is None:
        unconfigured = NO_SUCH_CONFIGURATION in reply.err
        return Complaint.UNCONFIGURED if unconfigured else Complaint.REFUSED
    if _TOO_LARGE.search(reply.err):
        return Complaint.REFUSED
    for complaint, words in _WORDS:
        if re.search(words, reply.err, re.IGNORECASE):
            return complaint
    # When sbatch was killed by a signal, it is not known how far it got.
    return Complaint.UNSURE if reply.status < 0 else Complaint.REFUSED


def refused_error(
    reply: Reply, token: str, complaint: Complaint = Complaint.REFUSED
) -> FuruSlurmError:
    """The error for jobs that sbatch refused, or for an sbatch that is missing or not configured."""
    if complaint is Complaint.UNCONFIGURED:
        return FuruSlurmUnavailable(
            f"sbatch does not know of any cluster: {reply.said}",
            token=token,
            said=reply.said,
            hint="run this on a login node of the cluster, or have SLURM_CONF name its slurm.conf; else "
            "use another executor",
        )
    if reply.status is None and not installed("sbatch"):
        return FuruSlurmUnavailable(
            "there is no sbatch here, so nothing can be submitted",
            token=token,
            said=reply.said,
            hint="run this on a login node of the cluster, or use another executor",
        )
    return FuruSubmitRefused(
        f"Slurm refuses the job: {reply.said}",
        token=token,
        said=reply.said,
        hint=f"correct the SlurmSpec{_own_settings()}; `sinfo` lists partitions, and what their nodes have",
    )


def _own_settings() -> str:
    """The user's own settings of sbatch (``SBATCH_*``), which apply beside the spec."""
    names = sorted(name for name in os.environ if name.startswith("SBATCH_"))
    return f", or {', '.join(names)} in the environment" if names else ""


def limit_error(reply: Reply, token: str) -> FuruSubmitLimit:
    """The error for a submission of more jobs than Slurm accepts now."""
    return FuruSubmitLimit(
        f"Slurm takes no more jobs now: {reply.said}",
        token=token,
        said=reply.said,
        hint="run the same command again when some have ended; what was submitted stays in order",
    )


def unavailable_error(reply: Reply, token: str, *, maybe: bool = True) -> FuruSlurmUnavailable:
    """The error for a Slurm controller that does not answer."""
    whether = "and whether the job was submitted is not known" if maybe else "nothing was submitted"
    return FuruSlurmUnavailable(
        f"Slurm does not answer ({reply.said}), {whether}",
        token=token,
        said=reply.said,
        maybe_submitted=maybe,
        hint="run the same command again when `sinfo` answers: jobs are found by their names",
    )
