"""The file operations of furu without furu: what bare references read and write."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

METADATA = json.dumps({"provenance": "x" * 4000})  # about as long as a real one


def digest(values: Any) -> str:
    """A hash of values over canonical JSON."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def make_node(folder: str, values: Any, result: Any) -> None:
    """Write what a node leaves, with as many files, folders and renames."""
    name = digest(values)
    attempts = f"{folder}/.attempts/{name}"
    new = f"{folder}/.attempts/.new-{name}"
    staged = f"{new}/files/.furu"
    for path in (attempts, new, f"{new}/files", staged):
        os.mkdir(path)
    config, value = json.dumps(values), json.dumps(result)
    write(f"{new}/record.json", "x" * 400)
    os.rename(new, f"{attempts}/1")
    staged = f"{attempts}/1/files/.furu"
    write(f"{attempts}/1/furu.log", "")
    write(f"{staged}/result.json", value)
    write(f"{staged}/config.json", config)
    write(f"{staged}/metadata.json", METADATA)
    files = {".furu/result.json": len(value), ".furu/config.json": len(config)}
    write(f"{staged}/manifest.json", json.dumps({"files": files}))
    os.rename(f"{attempts}/1/furu.log", f"{staged}/furu.log")
    os.rename(f"{attempts}/1/files", f"{folder}/{name}")
    hidden = f"{folder}/.attempts/.trash-{name}"
    os.rename(attempts, hidden)
    os.unlink(f"{hidden}/1/record.json")
    os.rmdir(f"{hidden}/1")
    os.rmdir(hidden)


def load_node(folder: str, values: Any) -> Any:
    """Read what a hit reads: the manifest, the sizes of the files, the result."""
    artifact = f"{folder}/{digest(values)}"
    check(artifact)
    return json.loads(read(f"{artifact}/.furu/result.json"))


def check(artifact: str) -> None:
    """Compare the files of an artifact with its manifest."""
    for name, size in json.loads(read(f"{artifact}/.furu/manifest.json"))["files"].items():
        if os.stat(f"{artifact}/{name}").st_size != size:
            raise ValueError(name)


def write(path: str, text: str) -> None:
    """Write a new file."""
    with open(path, "x", encoding="utf-8") as file:
        file.write(text)


def read(path: str) -> bytes:
    """Read a whole file."""
    with open(path, "rb", buffering=0) as file:
        return file.read()
