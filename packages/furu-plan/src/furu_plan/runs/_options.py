"""The options that runs have in common, whatever their executor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

import furu_core
from furu_core import Settings
from furu_core.executors import COUNT, FLAG, TEXT, OptionKind, option, parse_pairs
from furu_plan._frontier import Window

WINDOW: Final = OptionKind(
    '"dfs", "bfs" or a number from 1 on',
    lambda window: window in ("dfs", "bfs") or COUNT.check(window),
)


def _are_texts(tags: Any) -> bool:
    return isinstance(tags, Mapping) and all(
        isinstance(text, str) for pair in tags.items() for text in pair
    )


TAGS: Final = OptionKind("texts by name, such as sweep=lr,model=small", _are_texts, parse_pairs)


@attrs.frozen(kw_only=True)
class RunOptions:
    """The options that every executor has.

    An executor derives from this or from `ControlledRunOptions`, and so is an attrs class.

    Attributes:
        keep_going: when a node fails for good, go on with what does not depend on it.
        retry_failed: whether nodes that failed are tried again; None for `FURU_RETRY_FAILED`.
        progress: whether to tell of progress on the console; None shows a display on a terminal.
        tags: what the run is called in listings, by name.
        note: what is to be remembered of the run.
    """

    keep_going: bool = option(
        False, "when a node fails for good, go on with what does not depend on it", FLAG
    )
    retry_failed: bool | None = option(None, "whether nodes that failed are tried again", FLAG)
    progress: bool | None = option(None, "whether to tell of progress on the console", FLAG)
    tags: Mapping[str, str] | None = option(None, "tags of the run, for `furu runs`", TAGS)
    note: str = option("", "a note on the run, for `furu runs`", TEXT)

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
