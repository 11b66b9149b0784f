"""A scheduler's job: its name, and when it began."""

from __future__ import annotations

import attrs

from furu_core._record_format import OMIT_EMPTY


@attrs.frozen
class Submission:
    """A scheduler's job for a node or a worker, as the executor that submitted it names it.

    Attributes:
        executor: the executor's registered name.
        id: the backend's name of the job.
        restarts: how often the backend had restarted the job when this was written.
    """

    executor: str
    # Schedulers call jobs by numbers as well, and a record with one would be read as damaged.
    id: str = attrs.field(converter=str)
    restarts: int = attrs.field(default=0, converter=int)


@attrs.frozen
class JobTimes:
    """When a scheduler's job was queued and began, as the scheduler says; None for what is unknown.

    All are seconds since the epoch, by the scheduler's clock, which may know whole seconds only.

    Attributes:
        submitted: when it was submitted; after a restart, when it was put back into the queue.
        eligible: since when only free resources were missing: what it depends on was there.
        started: when it began, the last time.
    """

    submitted: float | None = attrs.field(default=None, metadata=OMIT_EMPTY)
    eligible: float | None = attrs.field(default=None, metadata=OMIT_EMPTY)
    started: float | None = attrs.field(default=None, metadata=OMIT_EMPTY)
