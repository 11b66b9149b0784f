"""What exceptions say, as text that can be written down, whatever the code behind them does."""

from __future__ import annotations

from typing import Final

_CHARACTERS: Final = 2000


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
