"""P2 and P9: what stands in a store is, byte for byte, what furu wrote there when format 2 was made."""

from __future__ import annotations

import os
from pathlib import Path

import attrs
import pytest

from furu_core._attempts import _submissions
from furu_core._attempts._outcomes import FailureKind, Submission
from furu_core._attempts._records import (
    RECORD,
    AttemptEnd,
    AttemptRecord,
    AttemptStatus,
    claim_bytes,
    read,
    story_bytes,
)
from furu_core._process_ids import ProcessId
from furu_core._provenance import PROVENANCE, Git, Provenance
from furu_core._store import _manifest, _record_file
from furu_core._store._layout import NodeRef
from furu_core._store._manifest import ResultEntry

PROCESS = ProcessId("host", "boot-1", "pid:[4026531836]", 77, "12345")
RUNNING = AttemptRecord(2, "0123456789abcdef-7", "Train(3fa9c1)", PROCESS, 1700000000.25, 60.0)
FAILED = AttemptRecord(
    3, "0123456789abcdef-8", "Tr\xe4in(3fa9c1)", PROCESS, 1700000000.0, 60, "exp:Tr\xe4in", "3fa9c1",
    "output/h-1-ab.log", "5f0b", "slurm-dag", "20260101-000000-abcdef", "gpu",
    Submission("slurm-dag", "run/token:3", 1),
)  # fmt: skip
END = AttemptEnd(1700000001.5, FailureKind.COMPUTE, "ValueError", "na\xefve \udc80 \u2028", "00ff")
STORY = b'{"status":"failed","ended":{"time":1700000001.5,"kind":"compute","error_type":"ValueError","message":"na\\u00efve \\\\udc80 \\u2028","culprit":"00ff"},"costs":{"wall_secs":1.5}}'
CLAIMS = [
    (
        RUNNING,
        b'{"furu":2,"number":2,"token":"0123456789abcdef-7","node":"Train(3fa9c1)","class_name":"","hash":"","started":1700000000.25,"holder":{"host":"host","boot":"boot-1","pid_namespace":"pid:[4026531836]","pid":77,"start":"12345"},"lease_secs":60.0,"config":null}',
    ),
    (
        FAILED,
        b'{"furu":2,"number":3,"token":"0123456789abcdef-8","node":"Tr\\u00e4in(3fa9c1)","class_name":"exp:Tr\\u00e4in","hash":"3fa9c1","started":1700000000.0,"checkpoint":"5f0b","holder":{"host":"host","boot":"boot-1","pid_namespace":"pid:[4026531836]","pid":77,"start":"12345"},"lease_secs":60,"log":"output/h-1-ab.log","executor":"slurm-dag","run_id":"20260101-000000-abcdef","spec_key":"gpu","submission":{"executor":"slurm-dag","id":"run/token:3","restarts":1},"config":null}',
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
DIGESTS = (
    "9e78840e9464dab3cb5a1c2cf4fa06c7",
    "64a1b03b91f5b1645b2f1d9c1b57e121",
    "4b654c07223c634aa62e4d68cbced227",
)
DIGEST = b"e2c3f6b4187ef66a98e4c48b7e014ff8"
EMPTY = "cae66941d9efbd404e4d88758ea67670"  # BLAKE2b of nothing, 16 bytes
FILES = f'"files":{{"n\\u00e4me \\udc80":[0,"{EMPTY}"]}},"links":{{"link":"x"}}'
MANIFESTS = [
    (
        ResultEntry("json"),
        "[1,2]",
        {},
        f'{{"result":{{"codec":"json","value":[1,2]}},{FILES},"digest":"DIGEST"}}',
    ),
    (
        ResultEntry("mine", "r.x", version=2, distribution="furu-mine"),
        "",
        {"exp:T.m": ("5f0b", "0.0")},
        (
            '{"result":{"codec":"mine","file":"r.x","version":2,"distribution":"furu-mine"},'
            f'{FILES},"omitted":{{"exp:T.m":["5f0b","0.0"]}},"digest":"DIGEST"}}'
        ),
    ),
    (None, "", {}, f'{{{FILES},"digest":"DIGEST"}}'),
]
# What the first furu wrote.
MANIFESTS_OF_FORMAT_1 = [
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


@pytest.mark.parametrize(("record", "data"), CLAIMS, ids=["running", "failed"])
def test_the_first_line_of_a_record(record: AttemptRecord, data: bytes) -> None:
    assert claim_bytes(record, "null") == data
    assert RECORD.from_bytes(data, ".furu.json") == record


def test_the_second_line_of_a_record(tmp_path: Path) -> None:
    story = story_bytes(AttemptStatus.FAILED, END, {"costs": {"wall_secs": 1.5}})
    assert story == STORY
    whole = _record_file.whole(CLAIMS[1][1], b"", story)
    assert whole == CLAIMS[1][1] + b"\nDIGEST \t".replace(b"DIGEST", DIGEST) + STORY + b"\n"
    (tmp_path / ".furu.json").write_bytes(whole)
    expected = attrs.evolve(FAILED, status=AttemptStatus.FAILED, ended=END)
    assert read(str(tmp_path)) == expected


@pytest.mark.parametrize(("provenance", "data"), PROVENANCES, ids=["git", "none"])
def test_the_provenance_in_the_metadata(provenance: Provenance, data: bytes) -> None:
    assert provenance.record_bytes == data
    assert PROVENANCE.from_bytes(data, "metadata.json") == provenance


def test_the_note_of_a_job(tmp_path: Path) -> None:
    paths = NodeRef(str(tmp_path), "hash")
    job = Submission("slurm-dag", "r\xfcn/token:3", -1)
    assert _submissions.note(paths, job)
    assert (tmp_path / ".hash.job").read_bytes() == (
        b'{"version": 1, "executor": "slurm-dag", "id": "r\\u00fcn/token:3", "restarts": -1}'
    )
    assert _submissions.queued(paths) == job


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "artifact"
    path.mkdir()
    (path / "n\xe4me \udc80").touch()
    os.symlink("x", path / "link")
    return path


@pytest.mark.parametrize(
    ("entry", "value", "omitted", "text", "digest"),
    [(*one, digest) for one, digest in zip(MANIFESTS, DIGESTS, strict=True)],
    ids=["json", "mine", "none"],
)
def test_the_manifest(
    folder: Path,
    entry: ResultEntry | None,
    value: str,
    omitted: _manifest.Omitted,
    text: str,
    digest: str,
) -> None:
    found = _manifest.contents(str(folder))
    data = _manifest.manifest_bytes(str(folder), found, entry, value, omitted, digest_limit=0)
    assert data.decode() == text.replace("DIGEST", digest)
    (folder / ".furu.json").write_bytes(_record_file.whole(CLAIMS[0][1], data, b"{}"))
    assert _manifest.check(str(folder)) == _manifest.decode(data)


@pytest.mark.parametrize(
    ("entry", "omitted", "data"), MANIFESTS_OF_FORMAT_1, ids=["json", "mine", "none"]
)
def test_the_manifest_of_format_1_is_still_read(
    folder: Path, entry: ResultEntry | None, omitted: _manifest.Omitted, data: bytes
) -> None:
    (folder / ".furu").mkdir()
    (folder / ".furu" / "manifest.json").write_bytes(data)
    manifest = _manifest.check(str(folder))
    assert manifest is not None
    assert manifest.result == entry
    assert manifest.files == {"n\xe4me \udc80": (0, "")}
    assert manifest.links == {"link": "x"}
    assert {key: tuple(kept) for key, kept in manifest.omitted.items()} == omitted
    assert manifest.prefix == ".furu/"
