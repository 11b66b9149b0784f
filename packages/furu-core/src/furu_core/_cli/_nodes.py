"""`furu show`, `log` and `upgrade`: single nodes, and all of them brought to today's format."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import attrs
import click

from furu_core import _provenance, _trust
from furu_core._attempts import _attempts, _records
from furu_core._cli import _completing
from furu_core._cli._output import (
    FAILED,
    NodeOutput,
    is_terminal,
    json_option,
    print_json,
    say,
    say_next,
    show_progress,
)
from furu_core._code import _listings
from furu_core._explain._staleness import StalenessReader
from furu_core._status import _stored_nodes
from furu_core._status._states import NodeState
from furu_core._status._stored_nodes import StoredNode
from furu_core._store._manifest import DamagedArtifact
from furu_core._text import count, duration, harmless, size, when
from furu_core._upkeep import _upgrade
from furu_core.errors import FuruStoreError, FuruUsageError

# What `furu show` tells of a node's record as it stands there.
_TOLD = (
    *("made_by", "adopted_from", "submission", "job_times", "started", "ended", "costs"),
    *("dependencies", "to_python", "code_edited"),
)
_ENDED = (NodeState.FAILED.value, NodeState.CANCELLED.value)  # nobody holds such a node
_ATTEMPT = frozenset(field.name for field in attrs.fields(_records.AttemptRecord))


@click.command("show", short_help="Show all that is known of one node.")
@click.argument("name", metavar="HASH", shell_complete=_completing.a_node)
@json_option
def show(name: str, as_json: bool) -> None:
    """Show one node: config, state, timings, files, attempts, provenance."""
    node = _stored_nodes.find(name, also=True)
    facts = _facts(node)
    if as_json:
        print_json(facts)
    else:
        say("\n".join(harmless(line).replace("\n", "\\n") for line in _lines(facts)))
        say_next(_after_show(facts, has_log=_newest_log(node) is not None))


def _after_show(facts: dict[str, Any], *, has_log: bool) -> str:
    """What to type next when a node was shown, of which there may be a log."""
    short = facts["hash"][:12]
    if facts["damage"]:
        return f"`furu rm {short}` has it computed anew by whatever needs it"
    if facts["stale"]:
        return f"`furu code --diff {short}` shows how its code differs; `furu rm {short}` has it computed anew"
    match facts["state"]:
        case NodeState.RUNNING.value | NodeState.QUEUED.value:
            return f"`furu log -f {short}` shows what it prints"
        case NodeState.FAILED.value | NodeState.LOST.value | NodeState.CANCELLED.value:
            return f"`furu log {short}` shows what it printed, `furu debug {short}` runs it here, under pdb"
        case _:
            differs = f"`furu diff {short} HASH` shows how another differs"
            return f"`furu log {short}` shows what it printed, {differs}" if has_log else differs


def _facts(node: StoredNode) -> dict[str, Any]:
    """Everything that is known of a node, as JSON."""
    info = node.info()
    done = info.state is NodeState.DONE
    record = node.record()
    facts: dict[str, Any] = {
        "name": node.name,
        "hash": node.hash,
        "class": node.cls.name,
        "state": info.told.value,
        "path": node.folder,
        "damage": None,
        "reason": "",
        "config": record.get("config"),
        "files": {},
        "links": {},
        "attempts": _attempts_of(node, record, done=done),
        **{key: record[key] for key in _TOLD if key in record},
        **_shares(record),
        "stale": StalenessReader().of(node).reasons if done else [],
        "code": _listings.expanded(record.get("code")),
        "provenance": _provenance.expanded(record.get("provenance")),
    }
    origin = _trust.origin_of(node.folder) if done else None
    if origin is not None:
        facts["imported"] = attrs.asdict(origin)
    if info.state is NodeState.UNREADABLE:
        facts["reason"] = info.reason
    if info.holder is not None and not done:
        facts["holder"] = str(info.holder)
        facts["reason"] = info.reason
    if info.failure is not None:
        facts["failure"] = {
            **attrs.asdict(info.failure),
            "kind": info.failure.kind.value,
            "log": None if info.failure.log is None else str(info.failure.log),
        }
    try:
        manifest = node.manifest()
    except DamagedArtifact as damage:
        facts["damage"] = str(damage)
    except FuruStoreError as error:
        facts["reason"] = str(error)
    else:
        if manifest is not None:
            facts["files"] = {name: size for name, (size, _) in manifest.files.items()}
            facts["links"], facts["digest"] = manifest.links, manifest.digest
    return facts


def _shares(record: dict[str, Any]) -> dict[str, float]:
    """How long its job was in the queue, and its code ran without waiting, where both are known."""
    shares = {}
    times, costs = record.get("job_times") or {}, record.get("costs") or {}
    if {"eligible", "started"} <= times.keys():
        shares["queued_secs"] = max(0.0, times["started"] - times["eligible"])
    if {"wall_secs", "waited_secs", "nested_secs"} <= costs.keys():
        others = costs["waited_secs"] + costs["nested_secs"]
        shares["computed_secs"] = round(max(0.0, costs["wall_secs"] - others), 6)
    return shares


def _attempts_of(node: StoredNode, record: dict[str, Any], *, done: bool) -> list[dict[str, Any]]:
    """The attempts at a node, in the form of `AttemptRecord`: earlier ones, then those on disk."""
    found = list(record.get("earlier", ()))
    if done and "number" in record:
        found.append({key: record[key] for key in record if key in _ATTEMPT})
    return found + [_records.RECORD.to_json(attempt) for attempt in node.attempts()]


def _lines(facts: dict[str, Any]) -> list[str]:
    lines = [f"{facts['class']}({facts['hash']})", _row("state", facts["state"])]
    lines += [_row("stale", reason) for reason in facts["stale"]]
    if facts["damage"]:
        lines.append(_row("damaged", f"{facts['damage']}; it is computed anew when asked for"))
    if facts["reason"] and not facts.get("holder"):
        lines.append(_row("because", facts["reason"]))
    if facts.get("holder") and facts["state"] not in _ENDED:
        lines.append(_row("holder", f"{facts['holder']} ({facts['reason'] or 'not judged'})"))
    lines.append(_row("path", facts["path"]))
    if facts.get("to_python"):
        lines.append(_row("python", facts["to_python"]))
    config = facts["config"]
    if isinstance(config, dict) and config.get("import"):
        lines.append(_row("import", config["import"]))
    if facts.get("adopted_from"):
        first = facts["adopted_from"]
        lines.append(_row("adopted", f"from {first.get('class')}({first.get('hash')})"))
    if facts.get("imported"):
        one = facts["imported"]
        source = "a pipe" if one["source"] == "-" else one["source"]
        trusted = "" if one["trusted"] else "; its pickles are not loaded (--trust)"
        lines.append(
            _row("imported", f"from {source} on {when(one['time'])} by {one['user']}{trusted}")
        )
    lines += (
        _config_lines(facts)
        + _job_lines(facts)
        + _timing_lines(facts)
        + _failure_lines(facts)
        + _file_lines(facts)
    )
    lines += _attempt_lines(facts) + _code_lines(facts)
    return lines + _provenance_lines(facts.get("provenance"))


def _row(title: str, value: object) -> str:
    return f"  {title:<10} {value}"


def _config_lines(facts: dict[str, Any]) -> list[str]:
    config = facts["config"]
    fields = config.get("fields") if isinstance(config, dict) else None
    if not isinstance(fields, dict):
        return []
    shown = {name: json.dumps(value, ensure_ascii=False) for name, value in fields.items()}
    return ["config", *(_row(name, value) for name, value in shown.items())]


def _job_lines(facts: dict[str, Any]) -> list[str]:
    """Of the scheduler's job: what it is called, when it was queued and when it began."""
    job, times = facts.get("submission"), facts.get("job_times") or {}
    if not job:
        return []
    lines = ["job", _row("id", f"{job.get('id')} ({job.get('executor')})")]
    lines += [_row(name, when(times[name])) for name in ("submitted", "started") if name in times]
    if "queued_secs" in facts:
        lines.append(_row("queued for", duration(facts["queued_secs"])))
    return lines


def _timing_lines(facts: dict[str, Any]) -> list[str]:
    costs = facts.get("costs") or {}
    if "wall_secs" not in costs:
        return []
    lines = ["costs", _row("started", when(facts.get("started")))]
    lines.append(_row("took", duration(costs["wall_secs"])))
    if costs.get("waited_secs"):
        lines.append(_row("waited", f"{duration(costs['waited_secs'])} for other processes"))
    if costs.get("nested_secs"):
        lines.append(_row("nested", f"{duration(costs['nested_secs'])} for nodes inside it"))
    if "computed_secs" in facts:
        lines.append(_row("computed", duration(facts["computed_secs"])))
    if "cpu_secs" in costs:
        lines.append(_row("processor", duration(costs["cpu_secs"])))
    if "peak_bytes" in costs:
        lines.append(_row("peak", size(costs["peak_bytes"])))
    if "process_peak_bytes" in costs:
        lines.append(_row("peak", f"{size(costs['process_peak_bytes'])} of the whole process"))
    return lines


def _failure_lines(facts: dict[str, Any]) -> list[str]:
    failure = facts.get("failure")
    if failure is None:
        return []
    lines = ["failure", _row("kind", failure["kind"])]
    lines.append(_row("error", f"{failure['error_type']}: {failure['message']}".lstrip(": ")))
    if failure["log"]:
        lines.append(_row("log", failure["log"]))
    return lines


def _file_lines(facts: dict[str, Any]) -> list[str]:
    files, links = facts["files"], facts["links"]
    if not files and not links:
        return []
    lines = [f"files ({len(files) + len(links)}, {size(sum(files.values()))})"]
    lines += [f"  {size(count):>10} {name}" for name, count in sorted(files.items())]
    return lines + [f"  {'link':>10} {name} -> {to}" for name, to in sorted(links.items())]


def _attempt_lines(facts: dict[str, Any]) -> list[str]:
    if not facts["attempts"]:
        return []
    lines = [_attempt_line(record, facts["state"]) for record in facts["attempts"]]
    return ["attempts", *lines]


def _attempt_line(record: dict[str, Any], state: str) -> str:
    holder = record.get("holder") or {}
    who = f"process {holder.get('pid')} on {holder.get('host')}"
    if record.get("run_id"):
        who += f", run {record['run_id']}"
    ended = record.get("ended") or {}
    said = f"{ended.get('error_type') or ''}: {ended.get('message') or ''}".strip(": ")
    # Whoever died did not write down that it did.
    is_lost = (record["status"], state) == ("running", NodeState.LOST.value)
    status = state if is_lost else record["status"]
    line = f"  {record['number']:>3} {status:<10} {when(record['started'])}  {who}"
    return f"{line}  {said}" if said else line


def _code_lines(facts: dict[str, Any]) -> list[str]:
    """What ran, and which modules it is not known of."""
    code = facts["code"]
    if code is None:
        computed = facts["state"] == NodeState.DONE.value and not facts.get("made_by")
        return ["code", _row("unknown", "the record does not tell")] if computed else []
    modules = code["modules"]
    lines = ["code", _row("digest", code["digest"])]
    if modules is None:
        return [*lines, _row("modules", "the store lacks the listing")]
    count = f"{len(modules)} module{'' if len(modules) == 1 else 's'} of the project"
    lines.append(_row("what ran", f"{count} (see --json)"))
    if facts.get("code_edited"):
        names = ", ".join(facts["code_edited"])
        lines.append(_row("edited", f"{names}: between the beginning of the run and the import"))
    for name, module in sorted(modules.items()):
        if "unknown" in module:
            lines.append(_row("unknown", f"{name}: {module['unknown']}"))
    return lines


def _provenance_lines(record: dict[str, Any] | None) -> list[str]:
    if not record:
        return []
    lines = ["provenance", _row("command", " ".join(record.get("command", ())))]
    lines.append(_row("host", f"{record.get('host')} ({record.get('platform')})"))
    lines.append(_row("user", record.get("user")))
    packages = len(record.get("packages", {}))
    lines.append(_row("python", f"{record.get('python')}, {packages} packages (see --json)"))
    git = record.get("git")
    if git:
        dirty = ", with changes (see --json)" if git.get("dirty") else ""
        branch = git.get("branch") or "no branch"
        lines.append(_row("git", f"{git.get('commit') or 'no commit'} ({branch}){dirty}"))
        lines.append(_row("", "as the program that asked found it; what ran is the code above"))
        if git.get("note"):
            lines.append(_row("", git["note"]))
    return lines


@click.command("log", short_help="Print what a node printed and logged.")
@click.argument("name", metavar="HASH", shell_complete=_completing.a_node)
@click.option(
    "--attempt",
    type=int,
    help="The log of this attempt instead of the newest.",
    shell_complete=_completing.an_attempt,
)
@click.option("--path", "only_path", is_flag=True, help="Print where the log is.")
@click.option(
    "-f",
    "--follow",
    "follows",
    is_flag=True,
    help="Go on until the node has ended, over its attempts.",
)
def log(name: str, attempt: int | None, only_path: bool, follows: bool) -> int:
    """Print what a node printed and logged: of its result, else of its newest attempt.

    With -f the exit status is 0 if the node has a result at the end, else 1.
    """
    node = _stored_nodes.find(name, also=True)
    if follows:
        if attempt is not None or only_path:
            raise FuruUsageError(
                f"-f and {'--path' if only_path else '--attempt'} exclude each other",
                hint="leave one of them out",
            )
        from furu_core._cli._follow import follow

        return follow(node)
    path = _find_log(node, attempt)
    if only_path:
        say(path)
        return 0
    with path.open("rb") as file, NodeOutput() as output:
        while chunk := file.read(1 << 16):
            output.write(chunk)
    if attempt is None and node.info().told in (NodeState.FAILED, NodeState.LOST):
        say_next(f"it failed; `furu debug {node.hash[:12]}` runs it here, under pdb")
    return 0


def _find_log(node: StoredNode, attempt: int | None) -> Path:
    """The log to show.

    Raises:
        FuruUsageError: there is none.
    """
    numbers = _attempts.numbers(node)
    artifact = Path(node.artifact)
    if attempt is not None:
        found = _attempts.log_of(node.attempt(attempt))
        number = _published_number(node)
        if not found.exists() and number == attempt:
            found = _attempts.published_log(artifact)
        known = sorted({*numbers, *([number] if number else [])})
        if not found.exists():
            listed = ", ".join(map(str, known)) or "none"
            raise FuruUsageError(
                f"{node.name} has no log of attempt {attempt}; attempts on disk: {listed}",
                hint="leave --attempt out for the newest; logs of earlier attempts go when the "
                "artifact is published",
            )
        return found
    if (newest := _newest_log(node)) is not None:
        return newest
    if artifact.is_dir():
        raise FuruUsageError(
            f"{node.name} has no log: it printed nothing",
            hint=f"`furu show {node.hash[:12]}` tells what is known of it",
        )
    raise FuruUsageError(
        f"{node.name} has no log yet", hint=f"`furu show {node.hash[:12]}` tells how it stands"
    )


def _newest_log(node: StoredNode) -> Path | None:
    """The log of a node's result, else of the newest attempt that has one; None where there is none."""
    attempts = (
        _attempts.log_of(node.attempt(number)) for number in reversed(_attempts.numbers(node))
    )
    candidates = (_attempts.published_log(Path(node.artifact)), *attempts)
    return next((one for one in candidates if one.exists()), None)


def _published_number(node: StoredNode) -> int | None:
    if not os.path.isdir(node.artifact):
        return None
    number = node.record().get("number")
    return number if isinstance(number, int) else None


@click.command("upgrade", short_help="Bring the store to the newest format.")
@json_option
def upgrade(as_json: bool) -> int:
    """Bring the store to the newest format; nothing is computed anew.

    It may run while other processes use the store, and be repeated after it was interrupted.
    """
    shows = not as_json and is_terminal(2)

    def show(done: _upgrade.Upgraded) -> None:
        if shows:
            show_progress(count(done.artifacts, "result"))

    done = _upgrade.upgrade(show)
    if shows:
        show_progress()
    if as_json:
        print_json(attrs.asdict(done))
    else:
        say(
            f"upgraded {count(done.artifacts, 'result')} and "
            f"{count(done.attempts, 'ended attempt')}; {done.new} had the newest format"
        )
        for folder, damage in done.damaged.items():
            say(f"damaged, and computed anew when asked for: {folder}: {damage}")
        for folder in done.alive:
            say(f"an older furu computes in {folder}: run this again when it has ended")
    return FAILED if done.alive else 0
