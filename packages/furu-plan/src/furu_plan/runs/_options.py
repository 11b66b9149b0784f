"""The options that runs have in common, whatever their executor."""

from __future__ import annotations

from typing import Final

import attrs

import furu_core
from furu_core import Settings
from furu_core.executors import COUNT, FLAG, OptionKind, option
from furu_plan._frontier import Window

WINDOW: Final = OptionKind(
    '"dfs", "bfs" or a number from 1 on',
    lambda window: window in ("dfs", "bfs") or COUNT.check(window),
)


@attrs.frozen(kw_only=True)
class RunOptions:
    """The options that every executor has.

    An executor derives from this or from `ControlledRunOptions`, and so is an attrs class.

    Attributes:
        keep_going: when a node fails for good, go on with what does not depend on it.
        retry_failed: whether nodes that failed are tried again; None for `FURU_RETRY_FAILED`.
        progress: whether to tell of progress on the console; None shows a display on a terminal.
    """

    keep_going: bool = option(
        False, "when a node fails for good, go on with what does not depend on it", FLAG
    )
    retry_failed: bool | None = option(None, "whether nodes that failed are tried again", FLAG)
    progress: bool | None = option(None, "whether to tell of progress on the console", FLAG)

    def settings(self) -> Settings:
        """The current settings, overridden by the options."""
        settings = furu_core.settings()
        if self.retry_failed is None:
            return settings
        return attrs.evolve(settings, retry_failed=self.retry_failed)


@attrs.frozen(kw_only=True)
class ControlledRunOptions(RunOptions):
    """The options of every executor whose runs a process of the user controls; see `start_run`.

    Attributes:
        window_size: how many roots are worked on at once.
    """

    window_size: Window = option("bfs", "how many roots are worked on at once", WINDOW)
