"""`furu show HASH`."""

from __future__ import annotations

import json
from typing import Any

import attrs
import click

from furu_core._attempts import _records
from furu_core._cli._output import json_option, print_json
from furu_core._status import _stored_nodes
from furu_core._status._states import NodeState
from furu_core._status._stored_nodes import StoredNode
from furu_core._store._layout import CONFIG_FILE, METADATA_FILE
from furu_core._store._manifest import DamagedArtifact
from furu_core._text import duration, size, when
from furu_core.errors import FuruStoreError


@click.command("show")
@click.argument("name", metavar="HASH")
@json_option
def command(name: str, as_json: bool) -> None:
    """Show one node: config, state, timings, files, attempts, provenance."""
    facts = gather(_stored_nodes.find(name))
    if as_json:
        print_json(facts)
    else:
        click.echo("\n".join(_text(facts)))


def gather(node: StoredNode) -> dict[str, Any]:
    """Everything that is known of a node, as JSON."""
    info = node.info()
    done = info.state is NodeState.DONE
    metadata = (node.meta(METADATA_FILE) if done else None) or {}
    facts: dict[str, Any] = {
        "name": node.name,
        "hash": node.hash,
        "class": node.cls.name,
        "state": info.told.value,
        "path": node.paths.artifact if done else node.paths.attempts,
        "damage": None,
        "config": node.meta(CONFIG_FILE) if done else None,
        "files": {},
        "links": {},
        "attempts": [_records.RECORD.to_json(record) for record in node.attempts()],
        **{key: value for key, value in metadata.items() if key not in {"version", "node"}},
    }
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
    except (DamagedArtifact, FuruStoreError) as damage:
        facts["damage"] = str(damage)
    else:
        if manifest is not None:
            facts["files"], facts["links"] = manifest.files, manifest.links
    return facts


def _text(facts: dict[str, Any]) -> list[str]:
    lines = [f"{facts['class']}({facts['hash']})", _row("state", facts["state"])]
    if facts["damage"]:
        lines.append(_row("damaged", f"{facts['damage']}; it is computed anew when asked for"))
    if facts["state"] == NodeState.UNREADABLE.value:
        lines.append(_row("because", facts["reason"]))
    if facts.get("holder"):
        lines.append(_row("holder", f"{facts['holder']} ({facts['reason'] or 'not judged'})"))
    lines.append(_row("path", facts["path"]))
    if facts.get("to_python"):
        lines.append(_row("python", facts["to_python"]))
    lines += _config(facts) + _timings(facts) + _failure(facts) + _files(facts)
    return lines + _attempts(facts) + _provenance(facts.get("provenance"))


def _row(title: str, value: object) -> str:
    return f"  {title:<10} {value}"


def _config(facts: dict[str, Any]) -> list[str]:
    config = facts["config"]
    fields = config.get("fields") if isinstance(config, dict) else None
    if not isinstance(fields, dict):
        return []
    shown = {name: json.dumps(value, ensure_ascii=False) for name, value in fields.items()}
    return ["config", *(_row(name, value) for name, value in shown.items())]


def _timings(facts: dict[str, Any]) -> list[str]:
    if "wall_secs" not in facts:
        return []
    lines = ["timings", _row("started", when(facts.get("started")))]
    lines.append(_row("took", duration(facts["wall_secs"])))
    if "cpu_secs" in facts:
        lines.append(_row("processor", duration(facts["cpu_secs"])))
    if "process_peak_bytes" in facts:
        lines.append(_row("peak", f"{size(facts['process_peak_bytes'])} of the whole process"))
    return lines


def _failure(facts: dict[str, Any]) -> list[str]:
    failure = facts.get("failure")
    if failure is None:
        return []
    lines = ["failure", _row("kind", failure["kind"])]
    lines.append(_row("error", f"{failure['error_type']}: {failure['message']}".lstrip(": ")))
    if failure["log"]:
        lines.append(_row("log", failure["log"]))
    return lines


def _files(facts: dict[str, Any]) -> list[str]:
    files, links = facts["files"], facts["links"]
    if not files and not links:
        return []
    lines = [f"files ({len(files) + len(links)}, {size(sum(files.values()))})"]
    lines += [f"  {size(count):>10} {name}" for name, count in sorted(files.items())]
    return lines + [f"  {'link':>10} {name} -> {to}" for name, to in sorted(links.items())]


def _attempts(facts: dict[str, Any]) -> list[str]:
    records = [*facts.get("earlier_attempts", []), *facts["attempts"]]
    if facts.get("attempt"):
        records.append(facts["attempt"] | {"status": "published"})
    if not records:
        return []
    return ["attempts", *(_attempt(record) for record in records)]


def _attempt(record: dict[str, Any]) -> str:
    holder = record.get("holder") or {}
    who = f"process {holder.get('pid')} on {holder.get('host')}"
    if record.get("run_id"):
        who += f", run {record['run_id']}"
    ended = record.get("ended") or {}
    said = f"{ended.get('error_type') or ''}: {ended.get('message') or ''}".strip(": ")
    line = f"  {record['number']:>3} {record['status']:<10} {when(record['started'])}  {who}"
    return f"{line}  {said}" if said else line


def _provenance(record: dict[str, Any] | None) -> list[str]:
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
        if git.get("note"):
            lines.append(_row("", git["note"]))
    return lines
