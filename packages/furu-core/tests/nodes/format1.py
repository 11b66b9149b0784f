"""Turns what format 2 stores into what the first furu wrote, to test what reads and upgrades it.

Byte for byte: tests compare it with the golden store of format 1.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from records import told

PROVENANCE = b'{"version": 1, "host": "elsewhere", "command": ["python"], "packages": {}}'
ATTEMPT = re.compile(r"\.([0-9a-f]{32})\.(\d+)")


def store_of_format_1(store: Path, provenance: bytes = PROVENANCE) -> int:
    """Turn a whole store into one of format 1; how many artifacts it has."""
    folders = [path.parent for path in store.rglob(".furu.json")]
    artifacts = [folder for folder in folders if not ATTEMPT.fullmatch(folder.name)]
    for folder in artifacts:
        downgrade(folder, provenance)
    for folder in folders:
        if folder not in artifacts:
            downgrade_attempt(folder, store)
    for note in store.rglob(".*.job"):
        old = note.parent / ".attempts" / note.name[1:-4]
        old.mkdir(parents=True, exist_ok=True)
        note.rename(old / "submission.json")
    (store / "furu.json").unlink()
    return len(artifacts)


def downgrade(folder: Path, provenance: bytes = PROVENANCE) -> None:
    """Give an artifact the form of format 1."""
    record = told(folder)
    manifest = record["manifest"]
    meta = folder / ".furu"
    meta.mkdir()
    files: dict[str, int] = {}
    for name, (size, _) in manifest.get("files", {}).items():
        if name.startswith(".furu."):
            os.rename(folder / name, meta / name.removeprefix(".furu."))
            name = f".furu/{name.removeprefix('.furu.')}"
        files[name] = size
    result = manifest.get("result")
    if result is not None:
        if "value" in result:
            result["file"] = "result.json"
            files[".furu/result.json"] = write(
                meta / "result.json", with_files_of_format_1(result["value"])
            )
        kept = {
            "codec": result["codec"],
            "version": result.get("version", 1),
            "file": result["file"],
        }
        others = {"distribution": result["distribution"]} if "distribution" in result else {}
        result = kept | others
    files[".furu/config.json"] = write(meta / "config.json", record["config"])
    costs = record["costs"]
    peak = costs.get("process_peak_bytes", costs.get("peak_bytes", 0))
    metadata = {
        "version": 1,
        "node": record["node"],
        "class": record["class_name"],
        "hash": record["hash"],
        "to_python": record["to_python"],
        "attempt": attempt_record(record | {"status": "running", "ended": None}),
        "earlier_attempts": [attempt_record(one) for one in record.get("earlier", [])],
        "started": record["started"],
        "ended": record["ended"]["time"],
        "wall_secs": costs["wall_secs"],
        "cpu_secs": costs["cpu_secs"],
        "process_peak_bytes": peak,
        "children_peak_bytes": costs.get("children_peak_bytes", 0),
    }
    text = json.dumps(metadata, separators=(",", ":")).encode("ascii")
    (meta / "metadata.json").write_bytes(b'%s,"provenance":%s}' % (text[:-1], provenance))
    written = {"furu": 1, "result": result, "files": files, "links": manifest.get("links", {})}
    if "omitted" in manifest:
        written["omitted"] = manifest["omitted"]
    write(meta / "manifest.json", written)
    if (folder / ".furu.log").exists():
        os.rename(folder / ".furu.log", meta / "furu.log")
    else:
        (meta / "furu.log").touch()
    (folder / ".furu.json").unlink()


def downgrade_attempt(folder: Path, store: Path) -> None:
    """Give an attempt that has ended, or was killed, the form of format 1."""
    match = ATTEMPT.fullmatch(folder.name)
    assert match is not None
    old = folder.parent / ".attempts" / match[1] / match[2]
    old.mkdir(parents=True)
    record = {"status": "running", "ended": None, **told(folder)}
    if (record["ended"] or {}).get("noticed"):  # which nobody took down
        record |= {"status": "running", "ended": None}
    written = {"version": 1, **attempt_record(record)}
    text = json.dumps(written, ensure_ascii=False, separators=(",", ":"))
    (old / "record.json").write_text(text, encoding="utf-8")
    times = (folder / ".furu.json").stat()
    os.utime(old / "record.json", (times.st_atime, times.st_mtime))
    log = folder / ".furu.log"
    if not log.exists() and "log" in record:
        log = store / record["log"]
    (old / "furu.log").write_bytes(log.read_bytes() if log.exists() else b"")
    checkpoint = folder.with_name(f"{folder.name}.checkpoint")
    if checkpoint.exists():
        checkpoint.rename(old / "checkpoint")
    if record["status"] == "running":
        (old / "files" / ".furu").mkdir(parents=True)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def attempt_record(record: dict[str, Any]) -> dict[str, Any]:
    """The record of an attempt as the first furu wrote it, which left out nothing."""
    return {
        "number": record["number"],
        "token": record["token"],
        "node": record["node"],
        "status": record["status"],
        "holder": record["holder"],
        "started": record["started"],
        "lease_secs": record["lease_secs"],
        "checkpoint": record.get("checkpoint", ""),
        "executor": record.get("executor", ""),
        "run_id": record.get("run_id", ""),
        "spec_key": record.get("spec_key", ""),
        "submission": record.get("submission"),
        "ended": record["ended"],
    }


def with_files_of_format_1(value: Any) -> Any:
    """A JSON value whose references to files have their keys in the first furu's order."""
    if isinstance(value, list):
        return [with_files_of_format_1(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$file" in value:
        return {"$file": {"codec": "", "version": 1, "file": ""} | value["$file"]}
    return {key: with_files_of_format_1(item) for key, item in value.items()}


def write(path: Path, value: Any) -> int:
    """Write JSON as the first furu did; how many bytes."""
    return path.write_bytes(json.dumps(value, separators=(",", ":")).encode("ascii"))
