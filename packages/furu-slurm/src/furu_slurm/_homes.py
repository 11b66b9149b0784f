"""Where a job is at home: on the cluster whose scheduler took it, with the user who submitted it.

Two clusters that share a filesystem have jobs of the same numbers, and a scheduler may deny other users
that a job of theirs is there. So an id that is kept says both: ``"12_3@alpha:1000"``. One without is of
the cluster and user that ask.
"""

from __future__ import annotations

import attrs


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
    """A job's id with its home; the id alone where that is not known.

    Example:
        >>> from furu_slurm import at_home
        >>> at_home("12_3", "alpha:1000"), at_home("12_3", "")
        ('12_3@alpha:1000', '12_3')
    """
    return f"{job_id}@{home}" if home else job_id


def bare_id(job_id: str) -> str:
    """A job's id as its own scheduler calls it.

    Example:
        >>> from furu_slurm import bare_id
        >>> bare_id("12_3@alpha:1000")
        '12_3'
    """
    return job_id.partition("@")[0]


def same_job(one: str, other: str) -> bool:
    """Whether two ids mean one job; an id without a home may be of any.

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
