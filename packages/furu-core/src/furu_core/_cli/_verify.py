"""`furu verify`: whether the results in the store are what was published."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import click

from furu_core import _text
from furu_core._cli import _completing
from furu_core._cli._output import (
    FAILED,
    is_terminal,
    json_option,
    print_json,
    say,
    say_next,
    show_progress,
)
from furu_core._settings import _settings
from furu_core._status import _stored_nodes
from furu_core._upkeep import _verify
from furu_core._upkeep._verify import REMOVE, Finding, Verified

_SHOWN: Final = 10  # of the damage to one result, and of the nodes in the last line
_REFRESH_SECS: Final = 0.2
_SHALLOW: Final = "; contents are compared with --deep"


@click.command("verify", short_help="Tell which results are damaged.")
@click.argument(
    "names", metavar="[CLASS|HASH]...", nargs=-1, shell_complete=_completing.a_class_or_node
)
@click.option("--deep", is_flag=True, help="Read all files, and compare their digests.")
@json_option
def verify(names: tuple[str, ...], deep: bool, as_json: bool) -> int:
    """Tell which results are damaged: of nodes, of all nodes of classes, or of the whole store.

    Without --deep, records are read and the names and sizes of files compared. It changes nothing,
    and may run while other processes use the store. The status is 1 if anything is damaged.
    """
    chosen = _stored_nodes.classes_or_nodes(names) if names else None
    shown = _Shown(deep=deep, silent=as_json)
    try:
        done = _verify.verify(chosen, deep=deep, progress=shown.update)
    finally:
        shown.clear()
    if as_json:
        print_json(_as_json(done, deep=deep))
    shown.end(done)
    return FAILED if done.damage else 0


def _as_json(done: Verified, *, deep: bool) -> dict[str, Any]:
    def listed(findings: list[Finding]) -> list[dict[str, Any]]:
        return [
            {
                "hash": one.hash or None,
                "class": one.class_name or None,
                "path": _text.writable(one.path),
                "what": one.what,
                "next": one.next_step or None,
            }
            for one in findings
        ]

    return {
        "deep": deep,
        "artifacts": done.artifacts,
        "damaged_artifacts": done.damaged_artifacts,
        "bytes_read": done.bytes_read,
        "not_compared": done.not_compared,
        "without_digest": done.without_digest,
        "damage": listed(done.damage),
        "unreadable": listed(done.unreadable),
        "notes": listed(done.notes),
    }


class _Shown:
    """What is on the console: findings as they come, and for people how far it is."""

    def __init__(self, *, deep: bool, silent: bool) -> None:
        self._deep = deep
        self._silent = silent
        self._live = not silent and is_terminal(2)
        self._drawn = time.monotonic()
        self._printed: Counter[str] = Counter()
        self._of_node: Counter[str] = Counter()
        self._root = f"{_settings.settings().path}/"

    def update(self, done: Verified) -> None:
        """Print what was found since the last call."""
        if self._silent:
            return
        for kind, findings in (
            ("damaged", done.damage),
            ("unread", done.unreadable),
            ("note", done.notes),
        ):
            if len(findings) > self._printed[kind]:
                self.clear()
                say("\n".join(self._lines(kind, findings[self._printed[kind] :])))
                self._printed[kind] = len(findings)
        now = time.monotonic()
        if self._live and now - self._drawn > _REFRESH_SECS:
            self._drawn = now
            show_progress(_so_far(done))

    def clear(self) -> None:
        """Remove the line that tells how far it is."""
        if self._live:
            show_progress()

    def end(self, done: Verified) -> None:
        """Print the rest, a summary, and what to do next."""
        self.update(done)
        if self._silent:
            return
        self.clear()
        for node_hash, many in self._of_node.items():
            if many > _SHOWN:
                say(f"{'damaged':<8} {node_hash[:12]}  and {many - _SHOWN:,} more (see --json)")
        say(f"checked {_so_far(done)}: {_verdict(done)}{'' if self._deep else _SHALLOW}")
        damaged = [
            one.next_step.removeprefix(REMOVE)
            for one in done.damage
            if one.next_step.startswith(REMOVE)
        ]
        if damaged:
            damaged = list(dict.fromkeys(damaged))
            more = f" and {len(damaged) - _SHOWN:,} more (see --json)" if damaged[_SHOWN:] else ""
            say_next(
                f"`{REMOVE}{' '.join(damaged[:_SHOWN])}`{more} removes what is damaged; then get(), or the run that "
                "needs it, computes it again"
            )

    def _lines(self, kind: str, findings: list[Finding]) -> Iterator[str]:
        for one in findings:
            if kind == "damaged" and one.hash:
                self._of_node[one.hash] += 1
                if self._of_node[one.hash] > _SHOWN:
                    continue
            file = one.path.removeprefix(self._root)
            if one.hash:
                file = file.partition(f"{one.hash}/")[2] or file.rpartition("/")[2]
            step = one.next_step
            if kind == "damaged" and step.startswith(REMOVE):
                step = ""  # the last line has it for all nodes
            yield _text.writable(
                f"{kind:<8} {one.hash[:12] or '-':<12}  {one.class_name or '-'}  {file}: {one.what}"
                + (f" (next: {step})" if step else "")
            )


def _so_far(done: Verified) -> str:
    return f"{_counted(done.artifacts, 'result')}, {_text.size(done.bytes_read)} read"


def _verdict(done: Verified) -> str:
    others = sum(not one.hash for one in done.damage)
    parts = [] if done.damage else ["nothing damaged"]
    if done.damaged_artifacts:
        parts.append(f"{done.damaged_artifacts:,} damaged")
    if others:
        parts.append(f"{_counted(others, 'file')} of provenance or code damaged")
    if done.not_compared:
        without = f" ({done.without_digest:,} without a digest)" if done.without_digest else ""
        parts.append(f"{_counted(done.not_compared, 'file')} not compared{without}")
    return ", ".join(parts)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
