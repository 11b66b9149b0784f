"""The record of a scheduler's job."""

from __future__ import annotations

import attrs


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
