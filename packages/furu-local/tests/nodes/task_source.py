"""What pools are fed from where no controller feeds them."""

from __future__ import annotations

import attrs

from furu_plan.runs import Task


@attrs.define
class Tasks:
    """A source of tasks."""

    waiting: list[Task]

    def ready(self, place: object) -> int:
        """How many are left."""
        return len(self.waiting)

    def take(self, place: object, *, ahead: bool = False, queued: bool = False) -> Task | None:
        """The next."""
        return self.waiting.pop(0) if self.waiting else None
