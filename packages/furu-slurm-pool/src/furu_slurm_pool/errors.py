"""Every error that runs on a pool raise on purpose, beside those of `furu_core` and `furu_slurm`.

::

    FuruExecutorError
    └── FuruRunAlive       a live process controls a run of the same roots already
"""

from __future__ import annotations

from furu_core.errors import FuruExecutorError

__all__ = ["FuruRunAlive"]


class FuruRunAlive(FuruExecutorError):
    """A live process controls a run of the same roots already.

    Attributes:
        run_id: the run.
        controller: the controller, in words.
    """

    def __init__(self, message: str, *, run_id: str, controller: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.run_id = run_id
        self.controller = controller
