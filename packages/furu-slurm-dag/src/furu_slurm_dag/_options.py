"""The options of a run on Slurm, one job per node: their checks, and spelling on a command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from furu_core.errors import FuruUsageError
from furu_plan.runs import COUNT, FLAG, SECONDS, TEXT, OptionParser, is_count
from furu_slurm import SlurmSpec

GivenSpecs = Mapping[str, SlurmSpec | Mapping[str, Any]]


@attrs.frozen
class Options:
    """How to run, checked.

    Attributes:
        specs: what jobs ask for, by spec key; None for those of the project.
        submitit_root: the folder of logs; None for the setting.
        signal_before_secs: how long before their walltime's end jobs are told.
        poll_interval_sec: seconds between two looks of `wait`.
        keep_going: whether a protocol failure ends only what depends on its node.
        retry_failed: in place of the setting; None leaves that.
        progress: False says nothing on the console.
    """

    specs: GivenSpecs | None = None
    submitit_root: Path | None = None
    signal_before_secs: int = 60
    poll_interval_sec: float = 2.0
    keep_going: bool = False
    retry_failed: bool | None = None
    progress: bool | None = None

    def __attrs_post_init__(self) -> None:
        if not is_count(self.signal_before_secs):
            raise FuruUsageError(
                f"signal_before_secs is {self.signal_before_secs!r}",
                hint="give a whole number of seconds from 1 on",
            )
        number = isinstance(self.poll_interval_sec, int | float)
        if not number or not 0 < self.poll_interval_sec < 3600:
            raise FuruUsageError(
                f"poll_interval_sec is {self.poll_interval_sec!r}",
                hint="give a number of seconds between 0 and 3600",
            )


def _specs(text: str) -> GivenSpecs:
    specs = json.loads(text)
    if not isinstance(specs, dict):
        raise ValueError(text)  # noqa: TRY004 - what a parser of options raises
    return specs


PARSERS: Final[Mapping[str, OptionParser]] = {
    "specs": OptionParser(_specs, 'JSON such as {"default": {"partition": "cpu"}}'),
    "submitit_root": TEXT,
    "signal_before_secs": COUNT,
    "poll_interval_sec": SECONDS,
    "keep_going": FLAG,
    "retry_failed": FLAG,
    "progress": FLAG,
}
