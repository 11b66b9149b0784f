"""Turns artifacts of format 2 into those that the first furu wrote, to test what reads and upgrades them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

TOLD = (
    "number",
    "token",
    "node",
    "holder",
    "started",
    "lease_secs",
    "executor",
    "run_id",
    "spec_key",
)


def downgrade(folder: Path) -> None:
    """Give an artifact the form of format 1."""
    record = folder / ".furu.json"
    first, second = record.read_bytes().splitlines()
    claim = json.loads(first)
    manifest, story = (json.loads(part) for part in second.partition(b" ")[2].split(b"\t"))
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
        result.pop("tagged", None)
        if "value" in result:
            text = json.dumps(result.pop("value"), separators=(",", ":"))
            (meta / "result.json").write_text(text)
            files[".furu/result.json"] = len(text)
            result["file"] = "result.json"
    write(meta / "config.json", claim["config"])
    files[".furu/config.json"] = (meta / "config.json").stat().st_size
    attempt = {key: claim[key] for key in TOLD if key in claim} | {
        "status": "running",
        "ended": None,
    }
    metadata = {
        "version": 1,
        "node": claim["node"],
        "class": claim["class_name"],
        "hash": claim["hash"],
        "to_python": story["to_python"],
        "attempt": attempt,
        "earlier_attempts": story.get("earlier", []),
        "started": claim["started"],
        "ended": story["ended"]["time"],
        "wall_secs": story["costs"]["wall_secs"],
        "cpu_secs": story["costs"]["cpu_secs"],
        "process_peak_bytes": 1 << 20,
        "provenance": {"version": 1, "host": "elsewhere", "command": ["python"], "packages": {}},
    }
    write(meta / "metadata.json", metadata)
    written = {"furu": 1, "result": result, "files": files, "links": manifest.get("links", {})}
    if "omitted" in manifest:
        written["omitted"] = manifest["omitted"]
    write(meta / "manifest.json", written)
    if (folder / ".furu.log").exists():
        os.rename(folder / ".furu.log", meta / "furu.log")
    record.unlink()


def write(path: Path, value: Any) -> None:
    """Write JSON as the first furu did."""
    path.write_text(json.dumps(value, separators=(",", ":")))


def store_of_format_1(store: Path) -> int:
    """Turn a whole store into one of format 1; how many artifacts it has."""
    records = [path for path in store.rglob(".furu.json") if not path.parent.name.startswith(".")]
    for record in records:
        downgrade(record.parent)
    (store / "furu.json").unlink()
    return len(records)
