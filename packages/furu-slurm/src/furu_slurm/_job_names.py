"""Names and ids of jobs: names end in the token of a submission, ids may include the job's home.

No two submissions share a token, so a job whose id got lost is found again by its name.

The id of a job that is a local process includes machine and start time, because pids are used again.
Two Slurm clusters that share a filesystem have jobs with the same numbers, and a scheduler may tell a
user that another user's job does not exist. So an id that is stored includes cluster and user as the
job's home: ``"12_3@alpha:1000"``. An id without a home belongs to the cluster and user that read it.
"""

from __future__ import annotations

import re
import zlib
from typing import Final

import attrs

from furu_core.workers import process_with_pid, this_process

# The `restarts` of a submission that means the job, however often it is restarted.
ANY_RESTART: Final = -1
PREFIX: Final = "local-"
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_LENGTH: Final = 12
_READABLE: Final = 60  # Slurm cuts very long names


def new_token() -> str:
    """A name for one submission that no other has.

    Example:
        >>> from furu_slurm import new_token
        >>> new_token() != new_token()
        True
    """
    import secrets  # it imports much of cryptography, and jobs only read tokens

    return "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))


def job_name(readable: str, token: str) -> str:
    """The name of the jobs of one submission.

    Example:
        >>> job_name("Train(3fa9c1)", "k3v9x0a1b2c3")
        'Train(3fa9c1).k3v9x0a1b2c3'
    """
    readable = re.sub(r"[^\w()+=.-]", "_", readable, flags=re.ASCII)[:_READABLE]
    return f"{readable or 'furu'}.{token}"


def token_of(name: str) -> str:
    """The token in a job's name; for jobs not of furu, the text after the last full stop."""
    return name.rpartition(".")[2]


@attrs.frozen
class Home:
    """A user on a cluster.

    Attributes:
        cluster: the name by which Slurm knows the cluster.
        user: the user's number.
    """

    cluster: str
    user: int

    def __str__(self) -> str:
        return f"{self.cluster}:{self.user}"


def at_home(job_id: str, home: str) -> str:
    """A job's id with its home; the id alone where the home is not known.

    Example:
        >>> from furu_slurm import at_home
        >>> at_home("12_3", "alpha:1000"), at_home("12_3", "")
        ('12_3@alpha:1000', '12_3')
    """
    return f"{job_id}@{home}" if home else job_id


def bare_id(job_id: str) -> str:
    """A job's id without its home, as its own scheduler knows it.

    Example:
        >>> from furu_slurm import bare_id
        >>> bare_id("12_3@alpha:1000")
        '12_3'
    """
    return job_id.partition("@")[0]


def same_job(one: str, other: str) -> bool:
    """Whether two ids mean the same job; an id without a home matches any home.

    Example:
        >>> from furu_slurm import same_job
        >>> same_job("7@alpha:1000", "7"), same_job("7@alpha:1000", "7@beta:1000")
        (True, False)
    """
    homes = home_of(one), home_of(other)
    return bare_id(one) == bare_id(other) and (None in homes or homes[0] == homes[1])


def home_of(job_id: str) -> Home | None:
    """The home in a job's id; None where it has none."""
    cluster, _, user = job_id.partition("@")[2].rpartition(":")
    return Home(cluster, int(user)) if cluster and user.isdecimal() else None


def is_local(job_id: str) -> bool:
    """Whether a job is a process of some machine, and not one of Slurm's."""
    return job_id.startswith(PREFIX)


def local_job_id(pid: int) -> str:
    """The id of a job that is a process of this machine.

    It includes machine and start time: pids are used again, and other machines have the same pids.
    """
    process = process_with_pid(pid)
    start = "0" if process is None else re.sub(r"\W", "", process.start)
    return f"{PREFIX}{pid}-{start}-{_place()}"


def is_here(job_id: str) -> bool:
    """Whether a job is a process of this machine."""
    return is_local(job_id) and job_id.endswith(f"-{_place()}")


def pid_of(job_id: str) -> int | None:
    """The pid of a job of this machine, dead or alive; None for a job elsewhere."""
    parts = job_id.removeprefix(PREFIX).split("-")
    return int(parts[0]) if is_here(job_id) and parts[0].isdigit() else None


def _place() -> str:
    here = this_process()
    text = f"{here.host} {here.boot} {here.pid_namespace}"
    return f"{zlib.crc32(text.encode()):08x}"
