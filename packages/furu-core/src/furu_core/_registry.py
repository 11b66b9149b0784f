"""Executors by name: found among the entry points of installed distributions, loaded one at a time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

import attrs

from furu_core._executor import Executor, Liveness
from furu_core._records import Submission
from furu_core.errors import FuruExecutorError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP: Final = "furu.executors"
_log = logging.getLogger("furu.executors")


@attrs.frozen
class InstalledExecutor:
    """An executor that some distribution registers.

    Attributes:
        name: what `furu run --executor` calls it.
        target: module and attribute.
        distribution: name of the distribution.
        version: its version.
        problem: why it cannot be used; empty when it can.
    """

    name: str
    target: str
    distribution: str
    version: str
    problem: str = ""


def load_executor(name: str) -> type[Executor]:
    """The executor class registered as `name`; no other one is imported.

    Raises:
        FuruExecutorError: it is unknown, registered twice, cannot be imported, or is no executor.
    """
    points = [point for point in _entry_points() if point.name == name]
    if not points:
        known = sorted({point.name for point in _entry_points()})
        raise FuruExecutorError(
            f"no executor is called {name!r}; installed are: {', '.join(known) or 'none'}",
            hint="install the distribution that brings it, for instance furu-local for 'local'",
        )
    if len({point.value for point in points}) > 1 or len({_owner(point) for point in points}) > 1:
        owners = " and ".join(sorted(_owner(point) for point in points))
        raise FuruExecutorError(
            f"the executor {name!r} is registered by {owners}", hint="uninstall one of them"
        )
    return _load(points[0])


def installed_executors() -> list[InstalledExecutor]:
    """All registered executors, each one tried."""
    found = []
    for point in sorted(_entry_points(), key=lambda point: (point.name, _owner(point))):
        try:
            load_executor(point.name)
            problem = ""
        except FuruExecutorError as error:
            problem = str(error)
        dist = point.dist
        found.append(
            InstalledExecutor(
                point.name,
                point.value,
                "unknown" if dist is None else dist.name,
                "" if dist is None else dist.version,
                problem,
            )
        )
    return found


def liveness(submissions: Sequence[Submission]) -> dict[Submission, Liveness]:
    """Ask each submission's own executor, once for all of its submissions.

    What no installed executor can tell is unknown.
    """
    answers = dict.fromkeys(submissions, Liveness.UNKNOWN)
    for name in {submission.executor for submission in submissions}:
        own = [submission for submission in submissions if submission.executor == name]
        backend = _backend(name)
        if backend is not None:
            answers.update(backend.liveness(own))
    return answers


def is_gone(submission: Submission | None) -> bool:
    """Whether a scheduler says that it no longer runs a job."""
    return submission is not None and liveness([submission])[submission] is Liveness.GONE


def _entry_points() -> list[EntryPoint]:
    from importlib.metadata import entry_points  # costs 20 ms, and a cache hit has no executor

    return list(entry_points(group=GROUP))


@cache
def _backend(name: str) -> type[Executor] | None:
    """The executor called `name`, or None; remembered, since a plan asks for each queued node."""
    try:
        return load_executor(name)
    except FuruExecutorError as error:
        _log.debug("%s", error)
        return None


@cache
def _load(point: EntryPoint) -> type[Executor]:
    owner = _owner(point)
    try:
        loaded = point.load()
    except Exception as error:  # whatever a third party's module raises while it is imported
        raise FuruExecutorError(
            f"the executor {point.name!r} of {owner} cannot be imported: "
            f"{type(error).__name__}: {error}",
            hint=f"reinstall {owner} so that it fits this furu, or uninstall it",
        ) from error
    if not (isinstance(loaded, type) and issubclass(loaded, Executor)):
        raise FuruExecutorError(
            f"the executor {point.name!r} of {owner} is {point.value}, which is no subclass of "
            "furu_core.executors.Executor",
            hint=f"report it to the authors of {owner}",
        )
    return loaded


def _owner(point: EntryPoint) -> str:
    return "an unknown distribution" if point.dist is None else point.dist.name
