"""What the jobs of one submission run: a file beside their logs, named after the submission's token.

A job knows the file before it has an id, so a job whose submission was never confirmed runs all the
same, and is found by its token.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from furu_core.errors import FuruFormatError

VERSION: Final = 1


def _strings(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(values)


@attrs.frozen
class Call:
    """What one job runs.

    Attributes:
        function: ``module:function``; the module is imported after the submitter's `sys.path` and
            settings were restored.
        arguments: strings; the first is the run's folder. What the function returns is the job's exit
            status.
    """

    function: str
    arguments: tuple[str, ...] = attrs.field(converter=_strings)


@attrs.frozen
class Calls:
    """What the jobs of one submission run, by their place in its array.

    Attributes:
        token: of the submission.
        time_min: the walltime in minutes.
        calls: one for each job.
    """

    token: str
    time_min: float
    calls: tuple[Call, ...]


def calls_file(folder: Path, token: str) -> Path:
    """Where the calls of a submission are."""
    return folder / f"{token}.json"


def write_calls(path: Path, token: str, time_min: float, calls: Sequence[Call]) -> None:
    """Write the file that `read_calls` reads, whole or not at all."""
    record = {
        "version": VERSION,
        "token": token,
        "time_min": time_min,
        "calls": [[call.function, *call.arguments] for call in calls],
    }
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(record), "utf-8")
    os.replace(fresh, path)


def read_calls(path: Path) -> Calls:
    """The calls of a submission.

    Raises:
        OSError: the file cannot be read.
        FuruFormatError: it is damaged, or a newer furu wrote it.
    """
    text = path.read_text("utf-8")
    try:
        record = json.loads(text)
        version = record["version"]
        if version <= VERSION:
            calls = tuple(Call(function, rest) for function, *rest in record["calls"])
            return Calls(record["token"], float(record["time_min"]), calls)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FuruFormatError(
            f"the calls of a submission cannot be read from {path}: {error}",
            path=path,
            hint="submit again",
        ) from error
    raise FuruFormatError(
        f"{path} has format version {version}, this furu reads up to {VERSION}",
        path=path,
        hint="use one furu on all machines of the cluster",
    )
