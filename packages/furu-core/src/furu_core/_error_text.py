"""What exceptions say, as text that can be written down, whatever the code behind them does."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Final

from furu_core.errors import FuruError

_CHARACTERS: Final = 2000
_OWN_FILES: Final = os.path.dirname(__file__) + os.sep
_PYTHON: Final = os.path.dirname(os.__file__) + os.sep


def writable(text: str) -> str:
    """The same text where UTF-8 has all of it; else what it lacks is escaped.

    The odd bytes of a file's name, for instance, become characters that no file or console takes.
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def text_of(error: BaseException) -> str:
    """What an exception says; a word about it where it cannot say anything."""
    try:
        return writable(str(error))
    except Exception as trouble:  # noqa: BLE001 - its code is the user's, and its failure is none
        return f"(it cannot say why: its __str__ raises {type(trouble).__name__})"


def last_line(error: BaseException) -> str:
    """The last line of an exception's text, which says the most in a summary."""
    lines = text_of(error).strip().splitlines()
    return lines[-1][:_CHARACTERS] if lines else ""


def without_own_frames(error: BaseException) -> TracebackType | None:
    """The traceback of an exception without furu's frames, between which one looks for the user's code.

    Of an error in furu's own code they stay, but for those before the user's.
    """
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    while frames and _is_own(frames[0]):
        frames.pop(0)
    if frames and (isinstance(error, FuruError) or not _is_own(frames[-1])):
        frames = [frame for frame in frames if not _is_own(frame)]
    for found in reversed(frames):
        trace = TracebackType(trace, found.tb_frame, found.tb_lasti, found.tb_lineno)
    return trace


def place_of(error: BaseException) -> str:
    """File and line of the user's code that an exception comes from; empty where there is none."""
    place = fallback = ""
    trace = without_own_frames(error)
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        fallback = f"{file}:{trace.tb_lineno}"
        packaged = f"{os.sep}site-packages{os.sep}" in file or _is_own(trace)
        if not packaged and not file.startswith((_PYTHON, "<")):
            place = fallback
        trace = trace.tb_next
    return place or fallback


def _is_own(trace: TracebackType) -> bool:
    return trace.tb_frame.f_code.co_filename.startswith(_OWN_FILES)
