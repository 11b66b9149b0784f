"""Upgrading a store from format 1: each artifact and ended attempt gets the record of format 2.

It happens in place and one node after the other, while other processes read the store and compute
in it. The record of an artifact appears by one step, after all that it names; what format 1 kept is
removed only then. So a reader finds either the old form or the new one, and after a kill at any
moment the next upgrade goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import attrs

from furu_core import _files, _process_ids, _provenance
from furu_core._attempts import _liveness
from furu_core._process_ids import ProcessId
from furu_core._record_format import from_json
from furu_core._settings import _settings
from furu_core._status import _stored_nodes
from furu_core._status._stored_nodes import StoredClass
from furu_core._store import _format, _format1, _manifest, _record_file
from furu_core._store._format1 import Manifest1
from furu_core._store._layout import (
    CHECKPOINT,
    LOG_FILE,
    RECORD_FILE,
    RESULT_PREFIX,
    NodeRef,
    is_hash,
)
from furu_core._store._manifest import Contents, ResultEntry
from furu_core.errors import FuruDamagedRecord, FuruFormatError

_SMALL_BYTES: Final = 16 << 10
_compact: Final = json.JSONEncoder(separators=(",", ":")).encode


@attrs.define
class Upgraded:
    """What an upgrade did.

    Attributes:
        artifacts: how many artifacts it brought to format 2.
        attempts: how many ended attempts.
        new: how many artifacts had format 2 already.
        damaged: artifacts that stay as they are, and why.
        alive: folders of attempts that an older furu is still making.
    """

    artifacts: int = 0
    attempts: int = 0
    new: int = 0
    damaged: dict[str, str] = attrs.field(factory=dict)
    alive: list[str] = attrs.field(factory=list)


def upgrade(progress: Callable[[Upgraded], object] | None = None) -> Upgraded:
    """Bring the current store to format 2; where there is none, none is made.

    Args:
        progress: called after each class with what was done so far.

    Returns:
        What was done.

    Raises:
        FuruFormatError: a newer furu made the store.
        FuruStoreError: it cannot be read or written.
    """
    store = str(_settings.settings().path)
    done = Upgraded()
    if not os.path.lexists(store):
        return done
    with _files.store_errors(store):
        _format.enter()
        for cls in _stored_nodes.classes():
            for name in _hashes(cls.folder):
                _upgrade_artifact(cls, NodeRef(cls.folder, name), done)
            _upgrade_attempts(cls, done)
            if progress is not None:
                progress(done)
    return done


def _hashes(folder: str) -> list[str]:
    return sorted(name for name in _files.list_folder(folder) if is_hash(name))


# Artifacts


def _upgrade_artifact(cls: StoredClass, ref: NodeRef, done: Upgraded) -> None:
    folder = ref.artifact
    if os.path.exists(f"{folder}/{RECORD_FILE}"):
        done.new += 1
        _remove_old(folder)  # where an upgrade was killed between its last two steps
        return
    try:
        if _manifest.check(folder) is None:
            return  # removed in this moment
        old = _format1.read_manifest(folder)
    except (_manifest.DamagedArtifact, FuruDamagedRecord, FuruFormatError) as damage:
        done.damaged[folder] = str(damage)
        return
    if old is None:
        return
    entry, value = _moved_result(folder, old)
    with suppress(FileExistsError, FileNotFoundError):
        if os.path.getsize(f"{folder}/{_format1.LOG_FILE}"):
            os.link(f"{folder}/{_format1.LOG_FILE}", f"{folder}/{LOG_FILE}")
    claim, story = _record_of(cls, ref)
    found = _contents_after(folder)
    limit = _settings.settings().digest_limit
    manifest = _manifest.manifest_bytes(
        folder, found, entry, value, old.omitted, digest_limit=limit
    )
    # Written beside the artifact: a process that is killed would leave half of it among the user's files.
    made = _passing_name(cls, ref)
    _files.write_file(
        made, _record_file.whole(claim, manifest, story), sync=_settings.settings().durable
    )
    _files.link_file(made, f"{folder}/{RECORD_FILE}")
    os.unlink(made)
    done.artifacts += 1
    _remove_old(folder)


def _passing_name(cls: StoredClass, ref: NodeRef) -> str:
    """A name for what is not yet whole; what has one for a day is removed."""
    return f"{cls.folder}/{_files.HIDDEN}upgrade-{ref.hash}-{os.urandom(4).hex()}"


def _moved_result(folder: str, old: Manifest1) -> tuple[ResultEntry | None, str]:
    """How the result is stored in format 2, and its text if it is small; its files get their names."""
    if old.result is None:
        return None, ""
    entry = ResultEntry(**attrs.asdict(old.result))
    value = ""
    main = f"{_format1.RESULT_PREFIX}{old.result.file}"
    if entry.codec == "json" and entry.version == 1 and old.files[main] <= _SMALL_BYTES:
        value = _compact(json.loads(_files.read_file(f"{folder}/{main}")))
        entry = ResultEntry("json", tagged='"$' in value)
    for name in old.files:
        if name.startswith(f"{_format1.RESULT_PREFIX}result") and not (value and name == main):
            with suppress(FileExistsError):
                os.link(
                    f"{folder}/{name}",
                    f"{folder}/{RESULT_PREFIX}{name[len(_format1.RESULT_PREFIX) :]}",
                )
    return entry, value


def _contents_after(folder: str) -> Contents:
    """What will be in the artifact's folder when what format 1 kept is gone."""
    found = _manifest.contents(folder)
    found.files = {
        name: size
        for name, size in found.files.items()
        if not name.startswith(_format1.RESULT_PREFIX)
    }
    return found


def _record_of(cls: StoredClass, ref: NodeRef) -> tuple[bytes, bytes]:
    told = _format1.read_record(ref.artifact)
    config = told.get("config") or None
    began = _began(cls, ref, told) | {"config": config}
    story: dict[str, Any] = {"status": "published", "ended": told.get("ended") or {"time": 0.0}}
    story["costs"] = told.get("costs", {})
    declared = sorted(_referred(config))
    if declared:
        story["dependencies"] = {"declared": declared, "used": {}}
    for key in ("to_python", "earlier"):
        if told.get(key):
            story[key] = told[key]
    if isinstance(told.get("provenance"), dict):
        text = json.dumps(told["provenance"], ensure_ascii=False).encode("utf-8", "replace")
        story["provenance"] = _provenance.FOLDER.store(text)
    story["upgraded_from"] = 1
    claim = _line(began)
    story["claim"] = _record_file.digest(claim).decode()
    return claim, _compact(story).encode("ascii")


def _began(cls: StoredClass, ref: NodeRef, told: dict[str, Any]) -> dict[str, Any]:
    names = ("holder", "started", "lease_secs", "checkpoint", "executor", "run_id", "spec_key")
    return {
        "number": told.get("number", 1),
        "token": told.get("token") or f"format1-{ref.hash}",
        "node": told.get("node") or f"{cls.short}({ref.hash[:6]})",
        "class_name": told.get("class_name") or cls.name,
        "hash": ref.hash,
        "holder": {"host": "", "boot": "", "pid_namespace": "", "pid": 0, "start": ""},
        "started": 0.0,
        "lease_secs": 0.0,
        **{name: told[name] for name in (*names, "submission") if told.get(name)},
    }


def _line(began: dict[str, Any]) -> bytes:
    return _compact({"furu": _record_file.VERSION, **began}).encode("ascii")


def _referred(config: Any) -> set[str]:
    """The hashes of the configs that a config names."""
    if isinstance(config, list):
        return set().union(*map(_referred, config))
    if not isinstance(config, dict):
        return set()
    if "$ref" in config:
        return {config["$ref"]}
    return set().union(*map(_referred, config.values()))


def _remove_old(folder: str) -> None:
    # Renamed out of the artifact first: a reader must not find a part of it.
    _files.discard(f"{folder}/{_format1.OLD}", os.path.dirname(folder))


# Attempts


def _upgrade_attempts(cls: StoredClass, done: Upgraded) -> None:
    old = f"{cls.folder}/{_format1.ATTEMPTS}"
    for name in _hashes(old):
        ref = NodeRef(cls.folder, name)
        folder = f"{old}/{name}"
        known = sorted(int(n) for n in _files.list_folder(folder) if n.isdecimal())
        if known and _is_alive(f"{folder}/{known[-1]}"):
            done.alive.append(f"{folder}/{known[-1]}")
            continue
        if not os.path.isdir(ref.artifact):
            for number in known:
                done.attempts += _upgrade_attempt(cls, ref, number, f"{folder}/{number}")
            with suppress(FileNotFoundError):
                _files.link_file(f"{folder}/submission.json", ref.submission)
        _files.discard(folder, cls.folder)
    with suppress(OSError):
        for name in os.listdir(old):
            if name.startswith((".new-", _files.HIDDEN, _files.PROBE)):
                _files.discard(f"{old}/{name}")
        os.rmdir(old)


def _upgrade_attempt(cls: StoredClass, ref: NodeRef, number: int, old: str) -> bool:
    """Give an ended attempt its folder of format 2, unless there is one; whether it did."""
    target = ref.attempt(number)
    if os.path.lexists(target):
        return False
    told = _attempt_record(old)
    ended = told.get("ended") or {"time": 0.0, "kind": "lost", "message": "its process died"}
    status = told.get("status")
    status = "lost" if status in (None, "running", "published") else status
    made = _passing_name(cls, ref)
    os.mkdir(made)
    story = _compact({"status": status, "ended": ended, "upgraded_from": 1}).encode("ascii")
    began = _began(cls, ref, told | {"number": number}) | {"config": None}
    whole = _record_file.whole(_line(began), b"", story)
    _files.write_file(f"{made}/{RECORD_FILE}", whole)
    with suppress(OSError):
        os.link(f"{old}/furu.log", f"{made}/{LOG_FILE}")
    checkpoint = f"{old}/{CHECKPOINT}"
    if os.path.isdir(checkpoint) and not os.path.lexists(ref.beside(number, CHECKPOINT)):
        os.rename(checkpoint, ref.beside(number, CHECKPOINT))
    try:
        os.rename(made, target)
    except OSError:  # another upgrade, or an attempt of this furu, was faster
        _files.discard(made)
        return False
    return True


def _attempt_record(old: str) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        told = json.loads(_files.read_file(f"{old}/record.json"))
        if isinstance(told, dict):
            return told
    return {}


def _is_alive(old: str) -> bool:
    """Whether a furu of format 1 may still make an attempt."""
    told = _attempt_record(old)
    if told.get("status", "running") != "running":
        return False
    try:
        if _process_ids.process_is_gone(from_json(ProcessId, told["holder"])):
            return False
        lease_secs = float(told["lease_secs"])
    except (KeyError, TypeError, ValueError):
        lease_secs = _settings.settings().lease_secs
    return _liveness.is_fresh(f"{old}/lease", f"{old}/record.json", lease_secs=lease_secs)
