"""The file operations of furu without furu: what bare references read and write.

It is format 2 of the store at the least: no lease, no look at other attempts, no provenance of its own.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from hashlib import blake2b
from typing import Any

RECORD = ".furu.json"
CREATE = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
# What records say beside the node itself, about as long as in real ones.
CLAIM = b'{"furu":2,"number":1,"token":"%s","holder":"' + b"x" * 400 + b'","config":%s}\n'
BODY = b'{"result":%s,"digest":"%s"}\t{"status":"published","costs":"' + b"x" * 200 + b'"}'


def digest(values: Any) -> str:
    """A hash of values over canonical JSON."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=16).hexdigest()


def make_node(folder: str, values: Any, result: Any) -> None:
    """Write what a node leaves: a folder, a record of two lines, and one rename when it is complete."""
    publish(folder, digest(values), values, result)


def publish(folder: str, name: str, values: Any, result: Any) -> None:
    """The same for a node whose hash is known."""
    attempt = f"{folder}/.{name}.1"
    os.mkdir(attempt)
    record = os.open(f"{attempt}/{RECORD}", CREATE, 0o666)
    os.write(record, CLAIM % (name.encode(), json.dumps(values).encode()))
    # Here furu computes: the first line must be there before, the second one tells how it ended.
    stored = json.dumps({"codec": "json", "value": result}).encode()
    body = BODY % (stored, digest_of(stored))
    os.write(record, b"%s %s\n" % (digest_of(body), body))
    os.close(record)
    os.rename(attempt, f"{folder}/{name}")


def load_node(folder: str, values: Any) -> Any:
    """Read what a hit reads: one small file."""
    return manifest(f"{folder}/{digest(values)}")["result"]["value"]


def manifest(artifact: str) -> dict[str, Any]:
    """What the record of an artifact tells about its files and its result."""
    _, line, _ = read(f"{artifact}/{RECORD}").split(b"\n")
    if digest_of(line[33:]) != line[:32]:
        raise ValueError(artifact)
    found: dict[str, Any] = json.loads(line[33:].partition(b"\t")[0])
    return found


def digest_of(body: bytes) -> bytes:
    """A digest as records have them."""
    return blake2b(body, digest_size=16).hexdigest().encode()


def read(path: str) -> bytes:
    """The contents of a small file."""
    file = os.open(path, os.O_RDONLY)
    try:
        return os.read(file, 1 << 20)
    finally:
        os.close(file)


def pool(folder: str, count: int) -> float:
    """Seconds of a pool of two processes that makes so many trivial nodes, in any order."""
    os.makedirs(folder)
    began = time.perf_counter()
    with multiprocessing.get_context("fork").Pool(2) as workers:
        workers.starmap(make_node, [(folder, {"index": index}, index) for index in range(count)], 1)
        workers.close()
        workers.join()
    return time.perf_counter() - began
