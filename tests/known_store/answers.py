"""What commands answer about the known store, in files beside it, and what of it no two stores have alike."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs

from furu_core._trust import user_name
from furu_testing import Said
from known_store.make import KnownProject

FOLDER: Final = Path(__file__).parent / "answers"
_VAGUE: Final = "sizes vary"  # in a comment: sizes are not compared, since records of one history differ by some bytes
_WIDE: Final = 150  # characters of a line of JSON

# What differs each time, by the names of keys in JSON: seconds and times, which are floats; bytes of memory; and what tells
# of the machine, the process, or this very attempt.
_TIMES: Final = frozenset(
    {
        *(
            "began",
            "ended",
            "started",
            "time",
            "cutoff",
            "last_used",
            "closest_age",
            "secs",
            "seconds",
        ),
        *(
            "took",
            "took_secs",
            "wall_secs",
            "cpu_secs",
            "computed",
            "computed_secs",
            "cpu",
            "nested_secs",
        ),
        *("usual_secs", "silent_secs", "left_secs", "waited_secs"),
    }
)
_BYTES: Final = frozenset({"peak", "peak_bytes", "process_peak_bytes"})
_OTHERS: Final = frozenset(
    {
        "adoption",
        "host",
        "user",
        "owner",
        "boot",
        "pid_namespace",
        "pid",
        "start",
        "token",
        "version",
        "provenance",
    }
)
_HOST: Final = re.escape(platform.node())
_USER: Final = re.escape(user_name(os.getuid()))
_PATTERNS: Final = [
    (re.compile(pattern), text)
    for pattern, text in (
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME"),
        (r"(?<![\w.])\d+(\.\d+)? (ms|s|min)\b", "SECS"),
        (r"(?<![\w.])\d+\.\d MiB", "MEMORY"),
        (r"\bjust now\b|\b(a|\d+) (minute|hour)s? ago\b", "AGO"),
        (r"\bprocess \d+", "process PID"),
        (rf"(?<= on ){_HOST}\b|(?<=  ){_HOST}(?=  )|(?<=output/){_HOST}", "HOST"),
        (r"output/HOST-\w+-\w+", "output/LOG"),
        (r"\b\d{8}-\d{6}\.\d{6}-[0-9a-f]{6}", "PIN"),
        (r"\b\d{8}T\d{6}(\.\d+Z-[0-9a-f]{6})?", "REMOVAL"),
        (
            r"(?<=gc --do )[0-9a-f]{12}|(?<=gc --undo )[0-9a-f]{12}|(?<=gc --empty )[0-9a-f]{12}",
            "PLAN",
        ),
        (r"(?<=of plan )[0-9a-f]{12}", "PLAN"),
        (r'(?<="removed": \[")[0-9a-f]{12}', "PLAN"),
        (re.escape(sys.executable), "PYTHON"),
        (rf"{re.escape(sys.prefix)}(/lib/python3\.\d+)?", "VENV"),
        (r'(?<="plan": ")[0-9a-f]{12}', "PLAN"),
        (rf"(?<= by ){_USER}\b|(?<=\(){_USER}(?=\))|(?<=  ){_USER}(?=  )", "USER"),
        (r"\b\d{8}-\d{6}-[0-9a-f]{6}\b", "RUN"),
        (r"(?m)^provenance\n(?:  .*\n)*", "provenance\n  ...\n"),
    )
]


@attrs.frozen
class Question:
    """A command and what was answered.

    Attributes:
        comment: what a reader should know, each line beginning with ``#``.
        line: the command line, without ``furu``.
        answer: what it prints.
    """

    comment: str
    line: str
    answer: str = ""

    @property
    def args(self) -> list[str]:
        """The arguments of the command."""
        return shlex.split(self.line)

    def __str__(self) -> str:
        return f"{self.comment}$ furu {self.line}\n{self.answer}"


def questions_in(text: str) -> Iterator[Question]:
    """The questions in a file of answers."""
    comment, *parts = re.split(r"^\$ furu ", text, flags=re.MULTILINE)
    for part in parts:
        line, _, rest = part.partition("\n")
        answer, mark, following = re.split(r"^(# )", f"{rest}# ", maxsplit=1, flags=re.MULTILINE)
        yield Question(comment, line, answer)
        comment = f"{mark}{following}".removesuffix("# ")


class Normal:
    """Replaces what differs between two stores with the same history, and nothing else.

    Args:
        known: the project.
        original: the folder in which its store was made.
    """

    def __init__(self, known: KnownProject, original: Path) -> None:
        runs = []
        for folder in (known.store / "runs").glob("2*"):
            record = json.loads((folder / "run.json").read_text())
            runs.append((record["started"], folder.name))
        self._run_ids = [name for _, name in sorted(runs)]
        self._plan = ""
        self._folders = [str(known.folder), str(original)]

    def typed(self, question: Question) -> list[str]:
        """The arguments of a question, with ids in place of RUN-1, RUN-2 and so on, and the last one in place of PLAN."""
        runs = [
            re.sub(r"RUN-(\d+)", lambda one: self._run_ids[int(one[1]) - 1], arg)
            for arg in question.args
        ]
        return [self._plan if arg == "PLAN" else arg for arg in runs]

    def answer(self, said: Said, question: Question) -> str:
        """What a command said, without what differs."""
        is_json = "--json" in question.args
        out = said.out
        if plan := re.search(r"gc --do ([0-9a-f]{12})", out):
            self._plan = plan[1]
        for number, name in enumerate(self._run_ids, 1):
            out = out.replace(name, f"RUN-{number}")
        if is_json and out:
            out = self._json(out)
        elif out and not out.endswith("\n"):
            out += "\n"
        parts = [out, *(f"! {line}\n" for line in said.err.splitlines())]
        if said.status:
            parts.append(f"[exit status {said.status}]\n")
        text = "".join(parts)
        is_vague = _VAGUE in question.comment
        if is_vague:
            text = re.sub(r"(?<![\w.])[\d.]+ (B|[KM]iB)\b", "SIZE", text)
            text = re.sub(r'(?<="bytes": )\d+|(?<="bytes_read": )\d+', '"SIZE"', text)
        return self._text(text, blanks_vary=is_vague and not is_json, keeps_blanks=is_json)

    def _text(self, text: str, *, blanks_vary: bool, keeps_blanks: bool) -> str:
        for folder in self._folders:
            text = text.replace(folder, "PROJECT")
        for number, name in enumerate(self._run_ids, 1):
            text = text.replace(name, f"RUN-{number}")
        before = text
        for pattern, name in _PATTERNS:
            text = pattern.sub(name, text)
        if blanks_vary or (text != before and not keeps_blanks):
            text = re.sub(r"(?<=\S) {2,}", "  ", text)  # columns are as wide as what was in them
        return text

    def _json(self, out: str) -> str:
        return "".join(f"{_laid_out(_without_times(one))}\n" for one in documents_in(out))


def documents_in(text: str) -> list[Any]:
    """The JSON documents in a text, one after the other."""
    found, place = [], 0
    while place < len(text):
        value, place = json.JSONDecoder().raw_decode(text, place)
        found.append(value)
        place += len(text[place:]) - len(text[place:].lstrip())
    return found


def _without_times(value: Any, key: str = "") -> Any:
    if key in _OTHERS and value:
        return key.upper()
    if key == "costs" and isinstance(value, list):  # of `furu diff`
        return [{name: one[name] if name == "name" else "COST" for name in one} for one in value]
    if isinstance(value, dict):
        return {name: _without_times(one, name) for name, one in value.items()}
    if isinstance(value, list):
        found = [_without_times(one, key) for one in value]
        return sorted(found) if key == "runs" else found
    is_time = isinstance(value, float) and key in _TIMES
    is_size = isinstance(value, int) and key in _BYTES
    return key.upper() if is_time or is_size else value


def _laid_out(value: Any, indent: str = "") -> str:
    line = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(line) <= _WIDE or not isinstance(value, dict | list) or not value:
        return line
    inner = indent + "  "
    if isinstance(value, dict):
        rows = [f"{json.dumps(name)}: {_laid_out(one, inner)}" for name, one in value.items()]
        return "{\n" + ",\n".join(inner + row for row in rows) + f"\n{indent}}}"
    rows = [_laid_out(one, inner) for one in value]
    return "[\n" + ",\n".join(inner + row for row in rows) + f"\n{indent}]"
