"""A job of a scheduler, as the executor that submitted it names it."""

from __future__ import annotations

import attrs


@attrs.frozen
class Submission:
    """A node's or worker's job in the words of the executor that started it.

    Attributes:
        executor: the executor's registered name.
        id: what the backend calls the job.
        restarts: how often the backend had restarted the job when this was written.
    """

    executor: str
    # Schedulers call jobs by numbers as well, and a record with one would be read as damaged.
    id: str = attrs.field(converter=str)
    restarts: int = attrs.field(default=0, converter=int)
