"""A node that tells when it has started; its module imports nothing else, as that would count as well."""

from __future__ import annotations

import time

from furu_core import Furu


class Started(Furu[float]):
    """Seconds of the processor that its process has spent by then."""

    number: int

    def _create(self) -> float:
        return time.process_time()
