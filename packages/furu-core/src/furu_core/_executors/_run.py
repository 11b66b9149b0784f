"""`furu_core.run`: any executor by its name."""

from __future__ import annotations

from typing import Any

from furu_core._executors import _executor, _registry
from furu_core._executors._executor import Run


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
    _executor.refuse_nested_run()
    return _registry.load_executor(executor).from_options(options).submit(roots).wait()
