"""What stands in the records of artifacts and attempts, read as docs/store-format.md says."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any


def attempts_of(store: Path, node: Any) -> list[Path]:
    """The folders of a node's attempts on disk, by their numbers."""
    found = [
        path
        for path in store.rglob(f".{node.furu_hash}.*")
        if re.fullmatch(r"\d+", path.name.rpartition(".")[2])
    ]
    return sorted(found, key=lambda path: int(path.name.rpartition(".")[2]))


def told(folder: Path) -> dict[str, Any]:
    """All that the record in the folder of an attempt or artifact tells; `manifest` has its own."""
    first, *ends = (folder / ".furu.json").read_bytes().split(b"\n")
    found: dict[str, Any] = json.loads(first)
    for line in ends:
        digest, _, body = line.partition(b" ")
        if body and hashlib.blake2b(body, digest_size=16).hexdigest().encode() == digest:
            manifest, story = body.split(b"\t")
            return found | json.loads(story) | {"manifest": json.loads(manifest or b"{}")}
    return found
