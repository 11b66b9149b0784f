"""Calling the user's code: where it raises, its traceback is shown without the frames of furu."""

from __future__ import annotations

import importlib
import os
import traceback
from collections.abc import Callable
from typing import TypeVar

from furu_core._cli._output import say
from furu_core.errors import FuruError

T = TypeVar("T")


class UserCodeError(FuruError):
    """The user's own code raised; its traceback was shown."""


def called(target: str, call: Callable[[], T]) -> T:
    """What a call of the user's code returns.

    Args:
        target: what the error calls it.
        call: it.

    Raises:
        UserCodeError: it raised.
    """
    try:
        return call()
    except FuruError:
        raise
    except Exception as error:  # the user's constructor or function may raise anything
        raise user_error(target, error) from error


def user_error(what: str, error: BaseException) -> UserCodeError:
    """Show the traceback of the user's code, without the frames of furu and of the import system."""
    frame = error.__traceback__
    while frame is not None and _is_ours(frame.tb_frame.f_code.co_filename):
        frame = frame.tb_next
    lines = traceback.format_exception(type(error), error, frame)
    say("".join(lines).rstrip(), err=True)
    last = traceback.format_exception_only(error)[-1].strip()
    return UserCodeError(f"{what} raised {last}", hint="correct that code; nothing was computed")


def _is_ours(file: str) -> bool:
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return file.startswith((here, "<frozen importlib", os.path.dirname(importlib.__file__)))
