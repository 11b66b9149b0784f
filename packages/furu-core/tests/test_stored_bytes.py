"""P2 and P9: what stands under `data` in a store is, byte for byte, what the first furu wrote there."""

from __future__ import annotations

import os
from pathlib import Path

import attrs
import pytest

from furu_core._attempts import _submissions
from furu_core._attempts._outcomes import FailureKind, Submission
from furu_core._attempts._records import RECORD, AttemptEnd, AttemptRecord, AttemptStatus
from furu_core._process_ids import ProcessId
from furu_core._provenance import PROVENANCE, Git, Provenance
from furu_core._store import _manifest
from furu_core._store._layout import NodePaths
from furu_core._store._manifest import ResultEntry

PROCESS = ProcessId("host", "boot-1", "pid:[4026531836]", 77, "12345")
RUNNING = AttemptRecord(
    2, "0123456789abcdef", "Train(3fa9c1)", AttemptStatus.RUNNING, PROCESS, 1700000000.25, 60.0
)
FAILED = AttemptRecord(
    3, "0123456789abcdef", "Tr\xe4in(3fa9c1)", AttemptStatus.FAILED, PROCESS, 1700000000.0, 60,
    "5f0b", "slurm-dag", "20260101-000000-abcdef", "gpu", Submission("slurm-dag", "run/token:3", 1),
    AttemptEnd(1700000001.5, FailureKind.COMPUTE, "ValueError", "na\xefve \udc80 \u2028", "00ff"),
)  # fmt: skip
ATTEMPTS = [
    (
        RUNNING,
        b'{"version":1,"number":2,"token":"0123456789abcdef","node":"Train(3fa9c1)","status":"running","holder":{"host":"host","boot":"boot-1","pid_namespace":"pid:[4026531836]","pid":77,"start":"12345"},"started":1700000000.25,"lease_secs":60.0,"checkpoint":"","executor":"","run_id":"","spec_key":"","submission":null,"ended":null}',
    ),
    (
        FAILED,
        b'{"version":1,"number":3,"token":"0123456789abcdef","node":"Tr\xc3\xa4in(3fa9c1)","status":"failed","holder":{"host":"host","boot":"boot-1","pid_namespace":"pid:[4026531836]","pid":77,"start":"12345"},"started":1700000000.0,"lease_secs":60,"checkpoint":"5f0b","executor":"slurm-dag","run_id":"20260101-000000-abcdef","spec_key":"gpu","submission":{"executor":"slurm-dag","id":"run/token:3","restarts":1},"ended":{"time":1700000001.5,"kind":"compute","error_type":"ValueError","message":"na\xc3\xafve \\\\udc80 \xe2\x80\xa8","culprit":"00ff"}}',
    ),
]
PLACED = Provenance(
    Git("/r", "abc", "main", True, "p\xe4ch \udc80", 5, ("a", "b"), "note"),
    "/p", "/c", ("python", "x.py"), "h", "u", "Linux", "3.11.7", "/py", {"attrs": "23.1"},
    "2026-01-01T00:00:00+00:00",
)  # fmt: skip
PROVENANCES = [
    (
        PLACED,
        b'{"version": 1, "git": {"root": "/r", "commit": "abc", "branch": "main", "dirty": true, "patch": "p\xc3\xa4ch \\udc80", "patch_chars": 5, "untracked": ["a", "b"], "note": "note"}, "project": "/p", "cwd": "/c", "command": ["python", "x.py"], "host": "h", "user": "u", "platform": "Linux", "python": "3.11.7", "executable": "/py", "packages": {"attrs": "23.1"}, "captured": "2026-01-01T00:00:00+00:00"}',
    ),
    (
        attrs.evolve(PLACED, git=None),
        b'{"version": 1, "git": null, "project": "/p", "cwd": "/c", "command": ["python", "x.py"], "host": "h", "user": "u", "platform": "Linux", "python": "3.11.7", "executable": "/py", "packages": {"attrs": "23.1"}, "captured": "2026-01-01T00:00:00+00:00"}',
    ),
]
MANIFESTS = [
    (
        ResultEntry("json", "result.json"),
        {},
        b'{"furu":1,"result":{"codec":"json","version":1,"file":"result.json"},"files":{"n\\u00e4me \\udc80":0},"links":{"link":"x"}}',
    ),
    (
        ResultEntry("mine", "r.x", version=2, distribution="furu-mine"),
        {"exp:T.m": ("5f0b", "0.0")},
        b'{"furu":1,"result":{"codec":"mine","version":2,"file":"r.x","distribution":"furu-mine"},"files":{"n\\u00e4me \\udc80":0},"links":{"link":"x"},"omitted":{"exp:T.m":["5f0b","0.0"]}}',
    ),
    (None, {}, b'{"furu":1,"result":null,"files":{"n\\u00e4me \\udc80":0},"links":{"link":"x"}}'),
]


@pytest.mark.parametrize(("record", "data"), ATTEMPTS, ids=["running", "failed"])
def test_the_record_of_an_attempt(record: AttemptRecord, data: bytes) -> None:
    assert RECORD.to_bytes(record) == data
    assert RECORD.from_bytes(data, "record.json") == record


@pytest.mark.parametrize(("provenance", "data"), PROVENANCES, ids=["git", "none"])
def test_the_provenance_in_the_metadata(provenance: Provenance, data: bytes) -> None:
    assert provenance.record_bytes == data
    assert PROVENANCE.from_bytes(data, "metadata.json") == provenance


def test_the_note_of_a_job(tmp_path: Path) -> None:
    paths = NodePaths(str(tmp_path), "hash")
    job = Submission("slurm-dag", "r\xfcn/token:3", -1)
    assert _submissions.note(paths, job)
    assert Path(paths.attempts, "submission.json").read_bytes() == (
        b'{"version": 1, "executor": "slurm-dag", "id": "r\\u00fcn/token:3", "restarts": -1}'
    )
    assert _submissions.queued(paths) == job


@pytest.mark.parametrize(("entry", "omitted", "data"), MANIFESTS, ids=["json", "mine", "none"])
def test_the_manifest(
    tmp_path: Path, entry: ResultEntry | None, omitted: _manifest.Omitted, data: bytes
) -> None:
    folder = tmp_path / "artifact"
    (folder / ".furu").mkdir(parents=True)
    (folder / "n\xe4me \udc80").touch()
    os.symlink("x", folder / "link")
    manifest = _manifest.write(str(folder), entry, omitted)
    assert (folder / ".furu" / "manifest.json").read_bytes() == data
    assert _manifest.check(str(folder)) == manifest
