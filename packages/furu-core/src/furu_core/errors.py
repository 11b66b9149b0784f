"""Every error that furu raises on purpose.

::

    FuruError
    ├── FuruDefinitionError (TypeError)     a config class that cannot be defined as written
    ├── FuruValueError (ValueError)         a field's value that has no stable hash
    ├── FuruImportNameError                 a class that another process could not import
    ├── FuruSettingsError (ValueError)      a bad or misspelt setting
    ├── FuruUsageError                      a call that makes no sense where it stands
    │   ├── FuruFrozen (AttributeError)     setting an attribute of a config object or of settings
    │   ├── FuruNestedRun                   a run started inside a node, or by a worker's import
    │   └── FuruNoFolder                    `furu_dir` of an object that has none yet
    ├── FuruStoreError                      the store cannot be read or written (full, read-only)
    │   ├── FuruDamagedRecord               a record that is not what was written
    │   ├── FuruUntrustedFile               a file of somebody whose code is not to be run
    │   └── FuruFormatError                 a record of another furu, in a format not read here
    ├── FuruNodeError                       a node that has no result
    │   ├── FuruComputeError                its code raised
    │   ├── FuruResultError                 its result cannot be stored or loaded
    │   ├── FuruValidationError             its fresh result is invalid
    │   ├── FuruMutatedConfig               its config changed while it was computed
    │   ├── FuruSelfDependency              its code waits for itself
    │   ├── FuruSuperseded                  another attempt took over
    │   └── FuruWaitTimeout                 another process computes it for too long
    ├── FuruProtocolError                   an executor's rules were broken; never retried
    │   ├── FuruMissingArtifact             `get()` inside an executor found nothing
    │   └── FuruSpecMismatch                a worker and a node of two spec keys
    ├── FuruInvalidDependency               a dependency's artifact was bad and is gone
    ├── FuruDependencyError (TypeError)     `_dependencies` gave something else
    │   └── FuruCycleError                  nodes that depend on themselves
    ├── FuruArchiveError                    an archive of results that is not what was exported
    ├── FuruExecutorError                   an executor that is unknown or broken
    ├── FuruRunError                        a run whose roots are not all there
    │   └── FuruRunCancelled                because it was cancelled
    └── FuruPlatformError                   an operating system that is not supported

Errors have their data as attributes, survive pickling, and end in the next step.
`NodeCancelled`, `NodeLost` and `KeyboardInterrupt` are no errors: they pass through ``except Exception``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "FuruArchiveError",
    "FuruComputeError",
    "FuruCycleError",
    "FuruDamagedRecord",
    "FuruDefinitionError",
    "FuruDependencyError",
    "FuruError",
    "FuruExecutorError",
    "FuruFormatError",
    "FuruFrozen",
    "FuruImportNameError",
    "FuruInvalidDependency",
    "FuruMissingArtifact",
    "FuruMutatedConfig",
    "FuruNestedRun",
    "FuruNoFolder",
    "FuruNodeError",
    "FuruPlatformError",
    "FuruProtocolError",
    "FuruResultError",
    "FuruRunCancelled",
    "FuruRunError",
    "FuruSelfDependency",
    "FuruSettingsError",
    "FuruSpecMismatch",
    "FuruStoreError",
    "FuruSuperseded",
    "FuruUntrustedFile",
    "FuruUsageError",
    "FuruValidationError",
    "FuruValueError",
    "FuruWaitTimeout",
    "NodeCancelled",
    "NodeLost",
]


class FuruError(Exception):
    """The base class of all errors of furu.

    Args:
        message: what happened: where, what was expected, what was got.
        hint: the next step for the reader.

    Example:
        >>> from furu_core.errors import FuruError
        >>> str(FuruError("the box is empty", hint="fill it"))
        'the box is empty; fill it'
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # `Exception.__reduce__` calls the class with `args` only and would lose keyword arguments.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[FuruError], args: tuple[Any, ...], state: dict[str, Any]) -> FuruError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class FuruDefinitionError(FuruError, TypeError):
    """A config class that cannot be defined as it is written."""


class FuruValueError(FuruError, ValueError):
    """A value in a field that has no stable hash, or does not fit its field."""


class FuruImportNameError(FuruError):
    """A class that no other process could import under one name."""


class FuruSettingsError(FuruError, ValueError):
    """A setting that is misspelt or has a bad value."""


class FuruUsageError(FuruError):
    """A call that makes no sense where it stands."""


class FuruFrozen(FuruUsageError, AttributeError):
    """An attempt to set or delete an attribute of a config object or of settings."""


class FuruNestedRun(FuruUsageError):
    """A run that was started inside a node's code, or while a worker imported a script."""


class FuruNoFolder(FuruUsageError):
    """`furu_dir` of an object that has neither an artifact nor an attempt."""


class FuruStoreError(FuruError):
    """The store cannot be read or written, for instance because the disk is full."""

    def __init__(
        self, message: str, *, path: str | os.PathLike[str] | None = None, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.path = None if path is None else Path(path)


class FuruDamagedRecord(FuruStoreError):
    """A record on disk that is empty, truncated or otherwise not what furu wrote.

    Attributes:
        reason: what is wrong with it, without its path.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | os.PathLike[str] | None = None,
        reason: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, path=path, hint=hint)
        self.reason = reason


class FuruFormatError(FuruStoreError):
    """A record on disk that another furu wrote, mostly a newer one, in a format not read here.

    Attributes:
        found: the version of its format.
        known: the newest version that this furu reads.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | os.PathLike[str] | None = None,
        found: object = None,
        known: int | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, path=path, hint=hint)
        self.found = found
        self.known = known


class FuruUntrustedFile(FuruStoreError):
    """A file that may run code when it is loaded, of somebody whom `FURU_TRUST_PICKLES` does not name.

    Attributes:
        owner: the name of the user whose file it is.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | os.PathLike[str] | None = None,
        owner: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, path=path, hint=hint)
        self.owner = owner


class FuruArchiveError(FuruError):
    """An archive of results that is not what `furu export` wrote, so that nothing of it is imported."""


class FuruNodeError(FuruError):
    """A node that has no result, and why.

    Attributes:
        node: short name, such as ``Train(3fa9c1)``.
        hash: the node's full hash.
        log: the log of the attempt, where there is one.
    """

    def __init__(
        self,
        message: str,
        *,
        node: str = "",
        hash: str = "",
        log: Path | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.node = node
        self.hash = hash
        self.log = log


class FuruComputeError(FuruNodeError):
    """The code of a node raised; the original error is the `__cause__` where it is known."""

    @property
    def original_error(self) -> BaseException | None:
        """The exception that the code raised; None where that was in another process."""
        return self.__cause__


class FuruResultError(FuruNodeError):
    """A result that cannot be stored, or a stored one that cannot be loaded."""


class FuruValidationError(FuruNodeError):
    """A fresh result that its own `_validate` finds invalid."""


class FuruMutatedConfig(FuruNodeError):
    """A config whose fields changed between hashing and publishing."""


class FuruSelfDependency(FuruNodeError):
    """A node whose code asks for the node itself."""


class FuruSuperseded(FuruNodeError):
    """An attempt that found a successor and therefore does not publish."""


class FuruWaitTimeout(FuruNodeError):
    """Another process computes the node for longer than `FURU_MAX_WAIT_SECS`.

    Attributes:
        holder: the process or job that computes it, in words.
        waited: seconds waited.
    """

    def __init__(
        self, message: str, *, node: str, hash: str, holder: str, waited: float, hint: str = ""
    ) -> None:
        super().__init__(message, node=node, hash=hash, hint=hint)
        self.holder = holder
        self.waited = waited


class FuruProtocolError(FuruError):
    """A rule of executors was broken; trying again would break it again.

    Attributes:
        asker: short name of the node whose code asked, or a description of the process.
        node: short name of the node asked for.
        hash: full hash of the node asked for.
    """

    def __init__(
        self, message: str, *, asker: str = "", node: str = "", hash: str = "", hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.asker = asker
        self.node = node
        self.hash = hash


class FuruMissingArtifact(FuruProtocolError):
    """`get()` inside an executor found no artifact; it never computes there."""


class FuruSpecMismatch(FuruProtocolError):
    """A worker was to compute a node of another spec key, by `get(force=True)` or as its own task."""


class FuruInvalidDependency(FuruError):
    """A dependency's artifact was bad; it was moved aside and must be computed again.

    Attributes:
        node: short name of the dependency.
        hash: full hash of the dependency.
    """

    def __init__(self, message: str, *, node: str, hash: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.node = node
        self.hash = hash


class FuruDependencyError(FuruError, TypeError):
    """`_dependencies` returned something that is no Furu object."""


class FuruCycleError(FuruDependencyError):
    """Nodes that depend on themselves.

    Attributes:
        cycle: short names, the first again at the end.
    """

    def __init__(self, message: str, *, cycle: Sequence[str] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.cycle = tuple(cycle)


class FuruExecutorError(FuruError):
    """An executor that is unknown, broken or ambiguous."""


class FuruRunError(FuruError):
    """A run that ended without all of its roots.

    Attributes:
        failures: one `furu_core.executors.Failure` for each node that failed for good.
        run_id: the run's id.
    """

    def __init__(
        self, message: str, *, failures: Sequence[Any] = (), run_id: str = "", hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.failures = tuple(failures)
        self.run_id = run_id


class FuruRunCancelled(FuruRunError):
    """A run that was cancelled before all of its roots were there."""


class FuruPlatformError(FuruError):
    """An operating system that furu does not support."""


class NodeCancelled(BaseException):
    """Raised in a node's code when its run is cancelled; no `except Exception` swallows it."""


class NodeLost(NodeCancelled):
    """Raised in a node's code when its worker is taken away: out of walltime, or preempted."""
