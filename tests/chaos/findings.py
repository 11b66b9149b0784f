"""What is found when a run is over: each thing that must hold, and what was seen."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs

import furu_core
from chaos.witness import Witness
from furu_core.executors import EventKind, read_events


@attrs.frozen
class Finding:
    """One thing that must hold.

    Attributes:
        what: in a few words.
        seen: what was found.
        bad: what is wrong with it, a line each; empty when it holds.
    """

    what: str
    seen: str
    bad: tuple[str, ...] = ()


@attrs.frozen
class Computation:
    """What a node's own file tells of one attempt at it."""

    attempt: int
    job: str
    ended: bool


def computations(file: Path) -> list[Computation]:
    """What a node counted; none when nobody began."""
    began: dict[tuple[int, str], str] = {}
    ended: set[tuple[int, str]] = set()
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        return []
    for line in text.splitlines():
        what, attempt, job, pid, _ = line.split()
        which = (int(attempt), pid)
        if what == "began":
            began[which] = job
        else:
            ended.add(which)
    return [
        Computation(attempt, job, (attempt, pid) in ended) for (attempt, pid), job in began.items()
    ]


def of_results(nodes: Sequence[Any]) -> list[Finding]:
    """Whether all artifacts are there, whole, and what they should be.

    Args:
        nodes: all nodes, inputs before what needs them.
    """
    missing: list[str] = []
    damaged: list[str] = []
    expected: dict[str, int] = {}
    for node in nodes:
        name = node.furu_hash
        expected[name] = node.value([expected[one.furu_hash] for one in node.inputs])
        if not node.exists():
            missing.append(f"{name} is {node.status().value}, its file says {_told(node)}")
            continue
        try:
            # The manifest is compared with the files as it is loaded; nothing is computed anew.
            with furu_core.use_settings(max_wait_secs=0):
                value = node.get()
            data = (node.furu_dir / "data").read_bytes()
        except Exception as error:
            damaged.append(f"{name}: {type(error).__name__}: {error}")
            continue
        if value != expected[name] or data != node.data():
            damaged.append(f"{name} holds {value}, expected {expected[name]}")
    there = len(nodes) - len(missing)
    return [
        Finding("nodes with an artifact", f"{there} of {len(nodes)}", tuple(missing)),
        Finding("artifacts whole and right", f"{there - len(damaged)} of {there}", tuple(damaged)),
    ]


def of_publications(nodes: Sequence[Any], witness: Witness) -> list[Finding]:
    """Whether each artifact appeared once, by the attempt that says so, and its rivals' work is gone."""
    bad: list[str] = []
    again = finished_again = 0
    for node in nodes:
        name = node.furu_hash
        if witness.published[name] != 1 or witness.otherwise[name]:
            bad.append(
                f"{name} appeared {witness.published[name]} times by a rename and changed "
                f"{witness.otherwise[name]} times in another way"
            )
        done = computations(node.counts())
        again += max(0, len(done) - 1)
        finished_again += max(0, sum(one.ended for one in done) - 1)
        bad += _rivals(node, done)
    if witness.blind:
        bad.append("inotify had more to tell than it could")
    seen = f"{sum(witness.published[node.furu_hash] for node in nodes)} of {len(nodes)} nodes"
    return [
        Finding("published, once each", seen, tuple(bad)),
        Finding("computations begun again", str(again)),
        Finding("computations ended and discarded", str(finished_again)),
    ]


def _rivals(node: Any, done: list[Computation]) -> list[str]:
    """What is wrong with the attempts at a node, by what the artifact says of them."""
    if not node.exists():
        return []
    record = node.provenance()
    winner = record["number"]
    earlier = {one["number"]: one["status"] for one in record.get("earlier", ())}
    finished = Counter(one.attempt for one in done if one.ended)
    bad = []
    if finished[winner] != 1:
        bad.append(
            f"{node.furu_hash}: attempt {winner} published and ended {finished[winner]} times"
        )
    for attempt in finished.keys() - {winner}:
        # A later one may have been claimed while the winner published; its work is then discarded.
        if attempt < winner and earlier.get(attempt, "published") == "published":
            bad.append(
                f"{node.furu_hash}: attempt {attempt} ended as well as {winner}, and its record "
                f"says {earlier.get(attempt, 'nothing')}: {_told(node)}"
            )
    return bad


def _told(node: Any) -> str:
    return str([attrs.astuple(one) for one in computations(node.counts())])


class Commands(Protocol):
    """What is known of the commands that were given.

    Attributes:
        starts: how often one was started.
        kills: how many were killed.
        interrupts: how many were interrupted.
    """

    starts: int
    kills: int
    interrupts: int


def of_runs(runs: Path, rounds: int, commands: Commands) -> list[Finding]:
    """Whether each graph was one run from beginning to end, gone on with by each new controller."""
    bad: list[str] = []
    controllers = 0
    reported: Counter[str] = Counter()
    folders = sorted(runs.glob("[!.]*"))
    for folder in folders:
        numbers = sorted(
            int(one.name) for one in (folder / "controllers").iterdir() if one.name.isdigit()
        )
        controllers += len(numbers)
        last = folder / "controllers" / str(numbers[-1])
        ends = [one.name.removeprefix("ended-") for one in last.glob("ended-*")]
        state = ends[0] if ends else "nothing"
        if state != "done":
            bad.append(f"{folder.name}: its last controller noted {state}")
        for event in read_events(folder):
            if event.kind is EventKind.NODE_COMPUTED:
                reported[event.hash] += 1
        left = [
            name
            for name in ("queue", "reports", "heartbeats", "orders")
            if (folder / name).exists()
        ]
        if left:
            bad.append(f"{folder.name}: {', '.join(left)} are left")
    if len(folders) != rounds:
        bad.append(f"there are {len(folders)} runs for {rounds} graphs")
    bad += [f"{name} was reported as computed {n} times" for name, n in reported.items() if n > 1]
    ends = f"{commands.kills} killed, {commands.interrupts} interrupted"
    return [
        Finding("commands started", f"{commands.starts}: {ends}"),
        Finding(
            "runs gone on with, done", f"{len(folders)}, {controllers} controllers", tuple(bad)
        ),
    ]


def of_leftovers(class_folder: Path, mark: str, jobs: Iterable[dict[str, str]]) -> list[Finding]:
    """Whether anything is left behind: jobs, processes, files of attempts."""
    processes = [f"{pid}: {command}" for pid, command in processes_with(mark).items()]
    live = tuple(map(str, jobs))
    beside = [*class_folder.glob(".*")]
    attempts = [path for path in beside if path.is_dir() and path.name[-1:].isdecimal()]
    staged = [
        str(path)
        for path in attempts
        if not {found.name for found in path.iterdir()} <= {".furu.json", ".furu.log"}
    ]
    hidden = sum(not re.match(r"\.[0-9a-f]{32}\.", path.name) for path in beside)
    return [
        Finding("processes left over", str(len(processes)), tuple(processes)),
        Finding("jobs left over", str(len(live)), live),
        Finding("unfinished results left over", str(len(staged)), tuple(staged)),
        # Who is killed while it prepares or removes a folder leaves it; furu removes it a day later.
        Finding("hidden folders left, for later", str(hidden)),
        Finding("nodes whose attempts left records", str(len(attempts))),
    ]


def processes_with(mark: str) -> dict[int, str]:
    """The processes that were started with a text in their environment, this one left out."""
    found: dict[int, str] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                environ = Path("/proc", entry, "environ").read_bytes()
                command = Path("/proc", entry, "cmdline").read_bytes()
            except OSError:
                continue
            if mark.encode() in environ:
                found[int(entry)] = command.replace(b"\0", b" ").decode("utf-8", "replace").strip()
    return found


def table(rows: Sequence[tuple[str, str, str]]) -> str:
    """Rows of three cells, aligned."""
    widths = [max(len(row[place]) for row in rows) for place in range(2)]
    return "\n".join(f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c}".rstrip() for a, b, c in rows)
