"""Names of jobs. Each ends in a token that no other submission has, by which it is found again."""

from __future__ import annotations

import re
from typing import Final

_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_LENGTH: Final = 12
_READABLE: Final = 60  # Slurm cuts very long names


def new_token() -> str:
    """A name for one submission that no other has.

    Example:
        >>> from furu_slurm import new_token
        >>> new_token() != new_token()
        True
    """
    import secrets  # with all of cryptography: jobs only read tokens

    return "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))


def job_name(readable: str, token: str) -> str:
    """The name of the jobs of one submission.

    Example:
        >>> job_name("Train(3fa9c1)", "k3v9x0a1b2c3")
        'Train(3fa9c1).k3v9x0a1b2c3'
    """
    readable = re.sub(r"[^\w()+=.-]", "_", readable, flags=re.ASCII)[:_READABLE]
    return f"{readable or 'furu'}.{token}"


def token_of(name: str) -> str:
    """The token in a job's name; of other jobs, whatever follows the last full stop."""
    return name.rpartition(".")[2]
