"""What messages are made of: values, exceptions, durations, sizes and counts as text, and what was meant.

None of it raises, whatever the value or exception is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Final

from furu_core.errors import FuruError

_CHARACTERS: Final = 2000
_OWN_FILES: Final = os.path.dirname(__file__) + os.sep
_PYTHON: Final = os.path.dirname(os.__file__) + os.sep


# ---- numbers ----


def count(number: int, what: str) -> str:
    """A number of things.

    Example:
        >>> count(1, "node"), count(3, "node")
        ('1 node', '3 nodes')
    """
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def duration(seconds: float) -> str:
    """A number of seconds in the unit that fits.

    Example:
        >>> duration(0.26), duration(2.5), duration(75), duration(7300)
        ('260 ms', '2.5 s', '75 s', '2.0 h')
    """
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size(number: float) -> str:
    """A number of bytes in the unit that fits.

    Example:
        >>> size(12), size(1536)
        ('12 B', '1.5 KiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def when(seconds: float | None) -> str:
    """A time, given in seconds since 1970, in the reader's time zone."""
    if not seconds:
        return "-"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


# ---- what was meant ----


def nearest(name: str, known: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> list[str]:
    """The known names that somebody may have meant who typed another one, the likeliest first.

    Args:
        name: what was typed.
        known: what could have been.
        most: how many to give.
        cutoff: how alike they must be, from 0 to 1.

    Example:
        >>> nearest("Gpu", ["cpu", "gpu", "default"])
        ['gpu']
    """
    from difflib import get_close_matches  # every program that loads a result imports this module

    spelt: dict[str, str] = {}
    for one in known:
        spelt.setdefault(one.casefold().replace(":", "."), one)
    asked = name.casefold().replace(":", ".")
    return [spelt[form] for form in get_close_matches(asked, spelt, n=most, cutoff=cutoff)]


def did_you_mean(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The end of a sentence that names the known name nearest to a name; empty where none is near.

    Example:
        >>> "no field 'gpu'" + did_you_mean("gpu", ["gpus", "cpus"])
        "no field 'gpu'; did you mean 'gpus'?"
    """
    likely = nearest(name, known, cutoff=cutoff)
    return f"; did you mean {likely[0]!r}?" if likely else ""


# ---- names of classes ----


def is_called(identity: str, name: str) -> bool:
    """Whether `name` can mean a class: its name, with as much of its module as one likes.

    Args:
        identity: the class as hashes know it.
        name: what was typed; a dot does for the colon.

    Example:
        >>> from furu_core._text import is_called
        >>> [is_called("exp.train:Train", name) for name in ("Train", "train.Train", "rain")]
        [True, True, False]
    """
    whole = f".{identity.replace(':', '.')}"
    return whole.endswith(f".{name.replace(':', '.')}")


def meant(name: str, identities: Iterable[str]) -> list[str]:
    """The classes that `name` means: the one of that whole name, else all that end in it."""
    found = [identity for identity in identities if is_called(identity, name)]
    # Else the class `a:T` could not be named beside `b.a:T`, in which its name ends as well.
    dotted = name.replace(":", ".")
    return [identity for identity in found if identity.replace(":", ".") == dotted] or found


def did_you_mean_class(name: str, identities: Iterable[str]) -> str:
    """The end of a sentence that names the classes nearest to a name; empty where none is near."""
    known = [form for one in sorted(set(identities)) for form in (one, one.rpartition(":")[2])]
    likely = nearest(name, known, most=3)
    return f"; did you mean {' or '.join(likely)}?" if likely else ""


# ---- values ----


def shown(value: object, limit: int = 60) -> str:
    """The `repr` of a value, cut; where that fails, what can be said instead.

    Args:
        value: anything.
        limit: how many characters there may be.

    Example:
        >>> shown([1, 10**5000], 40)
        '[1, 0x31e20801036510f3c591f...000000000]'
    """
    text = _text(value, 0)
    if len(text) <= limit:
        return text
    tail = min(10, limit // 4)
    return f"{text[: limit - tail - 3]}...{text[-tail:]}"


def _text(value: object, depth: int) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - a user's __repr__ may raise anything
        if type(value) is int:
            return hex(value)  # Python refuses to write decimals of more than 4,300 digits
        part = _in_parts(value, depth + 1) if depth < 5 else None
        name = type(value).__name__
        return part or f"<{name}, whose repr raised {type(error).__name__}>"


def _in_parts(value: Any, depth: int) -> str | None:
    if type(value) is dict:
        pairs = [f"{_text(key, depth)}: {_text(item, depth)}" for key, item in value.items()]
        return f"{{{', '.join(pairs)}}}"
    brackets = _BRACKETS.get(type(value))
    if brackets is None:
        return None
    items = ", ".join(_text(item, depth) for item in value)
    comma = "," if type(value) is tuple and len(value) == 1 else ""
    return f"{brackets[0]}{items}{comma}{brackets[1]}"


_BRACKETS: dict[type, str] = {list: "[]", tuple: "()", set: "{}"}


# ---- exceptions ----


def writable(text: str) -> str:
    """The same text where UTF-8 has all of it; else what it lacks is escaped.

    The odd bytes of a file's name, for instance, become characters that no file or console takes.
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def error_text(error: BaseException) -> str:
    """What an exception says; a word about it where it cannot say anything."""
    try:
        return writable(str(error))
    except Exception as trouble:  # noqa: BLE001 - its code is the user's, and its failure is none
        return f"(it cannot say why: its __str__ raises {type(trouble).__name__})"


def last_line(error: BaseException) -> str:
    """The last line of an exception's text, which says the most in a summary."""
    lines = error_text(error).strip().splitlines()
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


def error_place(error: BaseException) -> str:
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
