"""Executors by name, each imported when it is asked for; and `furu_core.run`, which runs one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from furu_core import _plugins, _text
from furu_core._context._submission import Submission
from furu_core._executors._executor import Executor, Liveness, RunOutlook
from furu_core._executors._run import Run, refuse_nested_run
from furu_core._plugins import BrokenPlugin, EntryPointGroup, InstalledPlugin
from furu_core.errors import FuruExecutorError, FuruStoreError

_log = logging.getLogger("furu.executors")


def run(roots: Any, executor: str = "local", **options: Any) -> Run:
    """Compute roots and everything they depend on with an executor, and wait for the end.

    Args:
        roots: one Furu object, an iterable of them, or a dict of named ones.
        executor: the name of an installed executor.
        **options: the executor's own, as its documentation lists them.

    Returns:
        The run; its `results()` come in the shape of the roots.

    Raises:
        FuruExecutorError: no such executor, or no such option.
        FuruRunError: the roots are not all there; it names each node that failed, and its log.
        FuruNestedRun: the caller is itself the code of a node.

    Example:
        >>> import furu_core
        >>> furu_core.run([], executor="no-such")
        Traceback (most recent call last):
            ...
        furu_core.errors.FuruExecutorError: no executor is called 'no-such'; installed are: ...
    """
    refuse_nested_run()
    return submit(load_executor(executor).from_options(options), roots).wait()


def submit(executor: Executor, roots: Any) -> Run:
    """Start computing `roots`, as `executor.submit` does; where the store cannot be written, load what is there.

    An executor begins with the run's folder, after it has planned. Where the store takes none because it is only read,
    and the results of all roots are there, nothing is to be computed: then the run is one that has ended, and is not
    recorded. Its `id` is empty.

    Args:
        executor: the executor.
        roots: one Furu object, an iterable of them, or a dict of named ones.

    Raises:
        FuruStoreError: the store cannot be written, and something would have to be computed.

    Example:
        >>> from furu_core.executors import submit
        >>> from furu_local import LocalExecutor
        >>> from furu_testing.nodes import Leaf
        >>> run = submit(LocalExecutor(worker="inline", progress=False), Leaf(x=3))
        >>> run.wait().results()
        3
    """
    # Imported here, as workers import this module, too, and ask it for other things.
    from furu_core._config._grid import named_roots

    named = named_roots(roots)
    try:
        return executor.submit(named)
    except FuruStoreError as error:
        from furu_core._executors._unrecorded import instead_of

        return instead_of(error, named)


def load_executor(name: str) -> type[Executor]:
    """The executor class registered as `name`; no other one is imported.

    Raises:
        FuruExecutorError: it is unknown, registered twice, made for another furu, cannot be
            imported, or is no executor.
    """
    executor = _load(name)
    if executor is None:
        raise _unknown(name)
    return executor


def installed_executors() -> list[InstalledPlugin]:
    """All registered executors, each one imported to see whether it can be used."""
    return _plugins.examined(EntryPointGroup.EXECUTORS, lambda plugin: plugin.load_class(Executor))


def liveness(submissions: Sequence[Submission]) -> dict[Submission, Liveness]:
    """Ask each submission's own executor, once for all of its submissions.

    A submission of which no installed executor can tell is unknown.
    """
    answers = dict.fromkeys(submissions, Liveness.UNKNOWN)
    for name in {submission.executor for submission in submissions}:
        own = [submission for submission in submissions if submission.executor == name]
        backend = _backend(name)
        if backend is not None:
            answers.update(_told(backend, own))
    return answers


def is_gone(submission: Submission | None) -> bool:
    """Whether a scheduler says that it no longer runs a job."""
    return submission is not None and liveness([submission])[submission] is Liveness.GONE


def outlook(executor: str, folder: Path) -> RunOutlook:
    """What an executor tells of a run of its own that has not ended; nothing where it cannot be asked.

    Args:
        executor: its name.
        folder: the run's folder.
    """
    backend = _backend(executor) if executor else None
    if backend is None:
        return RunOutlook()
    try:
        return backend.outlook(folder)
    except Exception as error:  # noqa: BLE001 - foreign code; a run is told of all the same
        _warn(f"the executor {executor!r} cannot tell of its run: {type(error).__name__}: {error}")
        return RunOutlook()


def _load(name: str) -> type[Executor] | None:
    try:
        plugin = _plugins.find(EntryPointGroup.EXECUTORS, name)
        found: type[Executor] | None = None if plugin is None else plugin.load_class(Executor)
        return found
    except BrokenPlugin as error:
        raise FuruExecutorError(error.message, hint=error.hint) from error.__cause__


def _unknown(name: str) -> FuruExecutorError:
    known = sorted({plugin.name for plugin in _plugins.registered(EntryPointGroup.EXECUTORS)})
    likely = _text.nearest(name, known)
    return FuruExecutorError(
        f"no executor is called {name!r}; installed are: {', '.join(known) or 'none'}",
        hint=f"did you mean {likely[0]!r}?"
        if likely
        else "install the distribution that brings it, for instance furu-local for 'local'",
    )


@cache
def _backend(name: str) -> type[Executor] | None:
    """The executor called `name`, or None; cached, since a plan asks for each queued node."""
    try:
        executor = _load(name)
    except FuruExecutorError as error:
        _log.warning("cannot ask about the jobs of %s: %s", name, error)
        return None
    if executor is None:
        _log.debug("cannot ask about the jobs of %s, which is not installed", name)
    return executor


def _told(backend: type[Executor], submissions: list[Submission]) -> dict[Submission, Liveness]:
    try:
        told = backend.liveness(submissions)
        return {submission: Liveness(said) for submission, said in told.items()}
    except Exception as error:  # noqa: BLE001 - foreign code; one backend must not end every plan
        _warn(
            f"the executor {backend.name!r} cannot tell whether its jobs live: "
            f"{type(error).__name__}: {error}"
        )
        return {}


@cache
def _warn(text: str) -> None:
    _log.warning("%s", text)  # once, as a plan is asked again and again
