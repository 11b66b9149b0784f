"""Every error that the Slurm backends raise on purpose, beside those of `furu_core.errors`.

::

    FuruExecutorError
    └── FuruSlurmError
        ├── FuruSpecError (ValueError)   a spec, or what is configured, that makes no sense
        ├── FuruSubmitRefused            Slurm will never run this; nothing was submitted
        ├── FuruSubmitLimit              Slurm takes no more jobs now; nothing was submitted
        └── FuruSlurmUnavailable         Slurm does not answer; perhaps something was submitted
"""

from __future__ import annotations

from furu_core.errors import FuruExecutorError

__all__ = [
    "FuruSlurmError",
    "FuruSlurmUnavailable",
    "FuruSpecError",
    "FuruSubmitLimit",
    "FuruSubmitRefused",
]


class FuruSlurmError(FuruExecutorError):
    """The base class of all errors of the Slurm backends.

    Attributes:
        token: of the submission that it is about; empty for none.
        said: the error message of Slurm's command, where there is one.
    """

    def __init__(self, message: str, *, token: str = "", said: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.token = token
        self.said = said


class FuruSpecError(FuruSlurmError, ValueError):
    """A `SlurmSpec`, or a set of them, that makes no sense."""


class FuruSubmitRefused(FuruSlurmError):
    """A submission that Slurm refuses and would refuse again; nothing was submitted."""


class FuruSubmitLimit(FuruSlurmError):
    """A submission of more jobs than Slurm accepts now; nothing was submitted."""


class FuruSlurmUnavailable(FuruSlurmError):
    """Slurm's commands are missing, or its controller does not answer in time.

    Attributes:
        maybe_submitted: whether the jobs of `token` may have been submitted all the same.
    """

    def __init__(
        self,
        message: str,
        *,
        token: str = "",
        said: str = "",
        maybe_submitted: bool = False,
        hint: str = "",
    ) -> None:
        super().__init__(message, token=token, said=said, hint=hint)
        self.maybe_submitted = maybe_submitted
