"""Text for messages: values, exceptions, durations, sizes and counts as text, "did you mean"; text for terminals; JSON.

No function here raises, whatever the value or exception is.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Final

from furu_core.errors import FuruError

RUN_PREFIX: Final = "run:"  # begins a name that means a run, or the nodes that it computed
_CHARACTERS: Final = 2000
_COLOUR: Final = "(\x1b\\[[0-9;:]{0,64}m)"  # a sequence that sets colours and weights (SGR)
# Control characters, of which some terminals take U+009B for ESC and `[`, and what reorders text.
_LATE_CONTROLS: Final = (*range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_CONTROLS: Final = (*(set(range(0x20)) - set(b"\t\n")), *_LATE_CONTROLS)
_OBEYED: Final = {number: ascii(chr(number))[1:-1] for number in _CONTROLS}
# JSON escapes the first ones by itself. Surrogates stand for bytes that are no text.
_IN_JSON: Final = {
    number: f"\\u{number:04x}" for number in (*_LATE_CONTROLS, *range(0xD800, 0xE000))
}
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
    """A time, given in seconds since 1970, in the reader's time zone.

    Example:
        >>> when(1e300)
        'after all calendars'
    """
    if not seconds:
        return "-"
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, OSError, ValueError):  # a record may tell any number, and so may a user
        return f"{'after' if seconds > 0 else 'before'} all calendars"


# ---- "did you mean" ----


def nearest(name: str, known: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> list[str]:
    """The known names that a misspelt name may mean, the likeliest first.

    Args:
        name: the name that was typed.
        known: the known names.
        most: how many to give.
        cutoff: how alike they must be, from 0 to 1.

    Example:
        >>> nearest("Gpu", ["cpu", "gpu", "default"])
        ['gpu']
    """
    from difflib import get_close_matches  # not at the top, since loading a result imports `_text`

    spelt: dict[str, str] = {}
    for one in known:
        spelt.setdefault(one.casefold().replace(":", "."), one)
    asked = name.casefold().replace(":", ".")
    return [spelt[form] for form in get_close_matches(asked, spelt, n=most, cutoff=cutoff)]


def did_you_mean(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The end of a sentence with the known name nearest to a misspelt one; empty if none is near.

    Example:
        >>> "no field 'gpu'" + did_you_mean("gpu", ["gpus", "cpus"])
        "no field 'gpu'; did you mean 'gpus'?"
    """
    likely = nearest(name, known, cutoff=cutoff)
    return f"; did you mean {likely[0]!r}?" if likely else ""


# ---- names of classes ----


def is_called(identity: str, name: str) -> bool:
    """Whether `name` can mean a class: its name, with all, some or none of its modules.

    Args:
        identity: the class's name in hashes.
        name: the name that was typed; a dot may stand for the colon.

    Example:
        >>> from furu_core._text import is_called
        >>> [is_called("exp.train:Train", name) for name in ("Train", "train.Train", "rain")]
        [True, True, False]
    """
    whole = f".{identity.replace(':', '.')}"
    return whole.endswith(f".{name.replace(':', '.')}")


def meant(name: str, identities: Iterable[str]) -> list[str]:
    """The classes that `name` means: the one with exactly that name, else all that end in it."""
    found = [identity for identity in identities if is_called(identity, name)]
    # Else the name `a:T` would be ambiguous beside `b.a:T`, which also ends in it.
    dotted = name.replace(":", ".")
    return [identity for identity in found if identity.replace(":", ".") == dotted] or found


def did_you_mean_class(name: str, identities: Iterable[str]) -> str:
    """The end of a sentence with the classes nearest to a misspelt name; empty if none is near."""
    known = [form for one in sorted(set(identities)) for form in (one, one.rpartition(":")[2])]
    likely = nearest(name, known, most=3)
    return f"; did you mean {' or '.join(likely)}?" if likely else ""


# ---- values ----


def shown(value: object, limit: int = 60) -> str:
    """The `repr` of a value, shortened; if `repr` fails, another description.

    Args:
        value: any value.
        limit: the most characters.

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
            return hex(value)  # Python refuses to write more than 4,300 decimal digits
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


# ---- text for terminals and parsers ----


def harmless(text: str, *, colours: bool = False) -> str:
    """The text with what a terminal would obey written as Python writes it; lines and tabs stay.

    What stands in a store may come from anywhere: it must not set titles, move the cursor, fill the
    clipboard, or hide what stands before it.

    Args:
        text: any text.
        colours: leave the escape sequences that set colours and weights, as ``less -R`` and git do.

    Example:
        >>> from furu_core._text import harmless
        >>> print(harmless("a title: \\x1b]0;owned\\x07"))
        a title: \\x1b]0;owned\\x07
    """
    if text.isprintable():
        return text
    if not colours:
        return text.translate(_OBEYED)
    parts = re.split(_COLOUR, text)
    parts[::2] = [part.translate(_OBEYED) for part in parts[::2]]
    return "".join(parts)


def without_open_colours(text: str) -> str:
    """The text, where a line that leaves colours set ends in a sequence that sets none."""
    if "\x1b[" not in text:
        return text
    return "\n".join(
        line + "\x1b[0m" if leaves_colours(line) else line for line in text.split("\n")
    )


def leaves_colours(text: str, *, before: bool = False) -> bool:
    """Whether colours are set where the text ends.

    Args:
        text: it.
        before: whether they are where it begins.
    """
    found = re.findall(_COLOUR, text)
    return found[-1].strip("\x1b[0;m") != "" if found else before


def json_text(value: object, indent: int | None = None, *, only_ascii: bool = False) -> str:
    """A value as JSON that any parser reads; what JSON lacks is text, and what terminals obey is escaped.

    Infinite numbers and NaN are the texts by which both Python's `float` and JavaScript's `Number` make them. Of
    names of files whose bytes are no text, the characters that stand for these are escaped.

    Example:
        >>> json_text({"loss": [0.5, float("nan")]})
        '{"loss": [0.5, "NaN"]}'
    """
    made = json.JSONEncoder(indent=indent, ensure_ascii=only_ascii, allow_nan=False, default=str)
    try:
        text = made.encode(value)
    except ValueError:
        text = made.encode(_with_finite_numbers(value))
    return text.translate(_IN_JSON)


def _with_finite_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_finite_numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_finite_numbers(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


# ---- exceptions ----


def writable(text: str) -> str:
    """The text, with characters escaped that UTF-8 cannot encode.

    Undecodable bytes of a file's name, for instance, become such characters (lone surrogates).
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def error_text(error: BaseException) -> str:
    """The text of an exception; a short description if its `str` fails."""
    try:
        return writable(str(error))
    except Exception as trouble:  # noqa: BLE001 - its code is the user's, and its failure is none
        return f"(it cannot say why: its __str__ raises {type(trouble).__name__})"


def last_line(error: BaseException) -> str:
    """The last line of an exception's text, usually the most informative one for a summary."""
    lines = error_text(error).strip().splitlines()
    return lines[-1][:_CHARACTERS] if lines else ""


def without_own_frames(error: BaseException) -> TracebackType | None:
    """The traceback of an exception without furu's frames, so that the user's code is easy to find.

    For an error in furu's own code, only the frames before the user's are left out.
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


# Folders of copies that code is imported from, and the folders that users know instead.
_copies: dict[str, str] = {}


def name_files_of(copies: Mapping[str, str]) -> None:
    """Name the files of copies by what they are copies of, from now on and in this process.

    Args:
        copies: the folder of a copy to the folder that it was made from.
    """
    _copies.update({f"{copy}{os.sep}": f"{origin}{os.sep}" for copy, origin in copies.items()})


def error_place(error: BaseException) -> str:
    """File and line of the user's code that raised an exception; empty where there is none."""
    place = fallback = ""
    trace = without_own_frames(error)
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        fallback = f"{file}:{trace.tb_lineno}"
        packaged = f"{os.sep}site-packages{os.sep}" in file or _is_own(trace)
        if not packaged and not file.startswith((_PYTHON, "<")):
            place = fallback
        trace = trace.tb_next
    place = place or fallback
    for copy, origin in _copies.items():
        if place.startswith(copy):
            return origin + place.removeprefix(copy)
    return place


def _is_own(trace: TracebackType) -> bool:
    return trace.tb_frame.f_code.co_filename.startswith(_OWN_FILES)
