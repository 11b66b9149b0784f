"""The interface of executors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Self

import attrs

from furu_core._context._submission import Submission
from furu_core._executors._options import read_options
from furu_core._executors._run import Run


class Liveness(Enum):
    """Whether a scheduler's job can still compute anything."""

    ALIVE = "alive"  # queued or running, with the restart count in the submission
    GONE = "gone"
    UNKNOWN = "unknown"


@attrs.frozen
class RunOutlook:
    """What an executor tells of a run of its own that has not ended, to whoever looks at it from outside.

    Attributes:
        goes_on: whether it goes on, though its controller be gone; None where the executor cannot tell.
        why: the reason, as a clause, where that is not plain.
        lines: about its workers and jobs, for people.
        resume: the command to go on with it; empty for the one that began it.
    """

    goes_on: bool | None = None
    why: str = ""
    lines: tuple[str, ...] = ()
    resume: str = ""


class Executor(ABC):
    """Computes graphs. A subclass is registered under the entry-point group `furu.executors`.

    A subclass with options is an attrs class, and declares each of them as a field, by `option`.

    Attributes:
        name: the name it is registered under.
    """

    name: ClassVar[str]

    @abstractmethod
    def submit(self, roots: Any) -> Run:
        """Start computing `roots` and everything they depend on, and return the run.

        Args:
            roots: one Furu object, an iterable of them, or a dict of named ones.
        """

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Make an executor from the options of `furu run` or `furu_core.run`.

        Args:
            options: the values by name; those from the command line are all strings.

        Raises:
            FuruExecutorError: an option is unknown, or its text cannot be read.
            FuruUsageError: an option makes no sense.
        """
        return cls(**read_options(cls, cls.name, options))

    @classmethod
    def liveness(cls, submissions: Sequence[Submission]) -> dict[Submission, Liveness]:
        """Whether jobs that such an executor submitted, perhaps long ago, can still compute anything.

        It is called often, so an answer may be a few seconds old; but gone means gone for good.

        Args:
            submissions: any number, so that the backend can be asked once.
        """
        return dict.fromkeys(submissions, Liveness.UNKNOWN)

    @classmethod
    def outlook(cls, folder: Path) -> RunOutlook:  # noqa: ARG003 - for executors that know more
        """What is to be told of a run that has not ended; nothing in the run may change by it.

        Args:
            folder: the run's folder.
        """
        return RunOutlook()
