"""A node that leaves an exit handler to its process."""

from __future__ import annotations

import atexit

from furu_core import Furu


class SaysGoodbye(Furu[None]):
    """Prints when it is computed, and when its process ends."""

    def _create(self) -> None:
        print("hello")
        atexit.register(print, "goodbye")
