"""A manifest notices what is not as it was published, and names it."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from furu_core._files import sync_tree
from furu_core._store import _manifest, _record_file
from furu_core._store._manifest import DamagedArtifact, ResultEntry
from furu_core.errors import FuruFormatError, FuruResultError

ENTRY = ResultEntry("json", "result.json")
CLAIM = b'{"furu":2,"token":"t"}'


def write(folder: Path, result: ResultEntry | None) -> _manifest.Manifest:
    """List the files of a folder in its record."""
    found = _manifest.contents(str(folder))
    data = _manifest.manifest_bytes(str(folder), found, result, "", digest_limit=1 << 20)
    (folder / ".furu.json").write_bytes(_record_file.whole(CLAIM, data, b"{}"))
    return _manifest.decode(data)


def sizes(manifest: _manifest.Manifest) -> dict[str, int]:
    return {name: size for name, (size, _) in manifest.files.items()}


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A staged artifact with its manifest."""
    folder = tmp_path / "node"
    folder.mkdir()
    (folder / ".furu.result.json").write_text("[1]")
    (folder / "model" / "deep").mkdir(parents=True)
    (folder / "model" / "deep" / "weights.bin").write_bytes(b"x" * 100)
    (folder / "empty").write_bytes(b"")
    (folder / "latest").symlink_to("model/deep")
    write(folder, ENTRY)
    return folder


def check(folder: Path) -> _manifest.Manifest:
    found = _manifest.check(str(folder))
    assert found is not None
    return found


def test_a_manifest_lists_files_and_links_but_no_log_and_no_record(artifact: Path) -> None:
    (artifact / ".furu.log").write_text("later")
    write(artifact, ENTRY)
    manifest = check(artifact)
    assert manifest.result == ENTRY
    assert sizes(manifest) == {".furu.result.json": 3, "model/deep/weights.bin": 100, "empty": 0}
    assert manifest.links == {"latest": "model/deep"}


def test_equal_files_have_equal_digests_and_large_ones_none(artifact: Path) -> None:
    first = check(artifact)
    again = write(artifact, ENTRY)
    assert (first.files, first.digest) == (again.files, again.digest)
    assert first.files["empty"][1] == hashlib.blake2b(b"", digest_size=16).hexdigest()
    (artifact / "model" / "deep" / "weights.bin").write_bytes(b"y" * 100)
    assert write(artifact, ENTRY).digest != first.digest
    (artifact / "large").write_bytes(bytes((1 << 20) + 1))
    large = write(artifact, ENTRY)
    assert large.files["large"] == ((1 << 20) + 1, "")
    assert large.digest == ""
    assert check(artifact).stand_in == "attempt t"


def test_no_artifact_is_no_damage(tmp_path: Path) -> None:
    assert _manifest.check(str(tmp_path / "absent")) is None
    assert _manifest.check(str(tmp_path / "absent" / "below")) is None


def _replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("model/deep/weights.bin", lambda path: os.truncate(path, 99)),
        ("model/deep/weights.bin", lambda path: path.write_bytes(b"x" * 101)),
        ("model/deep/weights.bin", os.unlink),
        ("model/deep/weights.bin", _replace_by_folder),
        ("empty", lambda path: path.write_bytes(b"x")),
        (".furu.result.json", lambda path: os.truncate(path, 0)),
        ("latest", os.unlink),
        ("latest", lambda path: (path.unlink(), path.symlink_to("elsewhere"))),
        ("latest", lambda path: (path.unlink(), path.write_text("a file"))),
        (".furu.json", os.unlink),
        (".furu.json", lambda path: path.write_bytes(b"")),
        (".furu.json", lambda path: path.write_bytes(path.read_bytes()[:-5])),
        (
            ".furu.json",
            lambda path: path.write_bytes(path.read_bytes().replace(b"empty", b"EMPTY")),
        ),
        (".furu.json", lambda path: path.write_bytes(CLAIM + b"\n")),
        (".furu.json", lambda path: path.write_text("[]")),
        (".furu.json", lambda path: path.write_text('{"furu": []')),
        (".furu.json", lambda path: path.write_bytes(_record_file.whole(CLAIM, b"[]", b"{}"))),
        (".furu.json", lambda path: path.write_bytes(b"\xff\xfe\x00")),
    ],
)
def test_p1_whatever_differs_from_what_was_published_is_noticed_and_named(
    name: str, harm: Callable[[Path], object], artifact: Path
) -> None:
    harm(artifact / name)
    with pytest.raises(DamagedArtifact) as caught:
        _manifest.check(str(artifact))
    assert caught.value.path == str(artifact / name)


@pytest.mark.parametrize("first", ['{"furu":3}', '{"furu": 3, "x": 1}'])
def test_a_newer_record_is_refused_with_the_remedy(artifact: Path, first: str) -> None:
    (artifact / ".furu.json").write_text(f"{first}\nwhatever\n")
    with pytest.raises(FuruFormatError, match="upgrade furu-core"):
        _manifest.check(str(artifact))


def test_of_several_last_lines_the_first_whole_one_counts(artifact: Path) -> None:
    """A disk was full while the line was appended, and then it was appended again."""
    record = artifact / ".furu.json"
    first, whole = record.read_bytes().splitlines(keepends=True)
    for torn in (whole[:20], whole[:-9], b"\n"):
        record.write_bytes(first + torn.rstrip(b"\n") + b"\n" + whole)
        assert check(artifact).result == ENTRY
        assert _record_file.read(str(artifact)).claim == CLAIM


names = st.binary(min_size=1, max_size=20).map(
    lambda raw: os.fsdecode(raw.replace(b"/", b"_").replace(b"\0", b"0"))
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(found=st.sets(names, min_size=1, max_size=4))
def test_any_file_name_is_listed_as_it_is(
    found: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("odd")
    found -= {".", "..", ".furu.json", ".furu.log"}
    for name in found:
        (folder / name).write_text("x")
    write(folder, None)
    assert sizes(check(folder)) == dict.fromkeys(found, 1)


def test_ten_thousand_files_in_sub_folders_are_listed_and_checked(tmp_path: Path) -> None:
    for folder in range(10):
        (tmp_path / f"f{folder}").mkdir()
        for file in range(1000):
            (tmp_path / f"f{folder}" / f"{file}").touch()
    write(tmp_path, None)
    assert len(check(tmp_path).files) == 10_000
    (tmp_path / "f9" / "999").unlink()
    with pytest.raises(DamagedArtifact, match="f9/999"):
        _manifest.check(str(tmp_path))


def test_links_into_the_artifact_still_lead_there_after_publishing(tmp_path: Path) -> None:
    staged = tmp_path / "staged"
    (staged / "a" / "b").mkdir(parents=True)
    (staged / "a" / "file").write_text("found")
    (staged / "a" / "b" / "absolute").symlink_to(staged / "a" / "file")
    (staged / "whole").symlink_to(staged)
    (staged / "outside").symlink_to("/etc/hosts")
    (staged / "dangling").symlink_to("nowhere")
    write(staged, None)
    assert sorted(os.listdir(staged)) == [".furu.json", "a", "dangling", "outside", "whole"]
    published = tmp_path / "published"
    staged.rename(published)
    assert (published / "a" / "b" / "absolute").read_text() == "found"
    assert (published / "whole").resolve() == published.resolve()
    assert check(published).links == {
        "a/b/absolute": "../file",
        "whole": ".",
        "outside": "/etc/hosts",
        "dangling": "nowhere",
    }


def test_a_linked_folder_is_not_descended_into(tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "file").touch()
    staged = tmp_path / "staged"
    staged.mkdir()
    (staged / "loop").symlink_to(".")
    (staged / "big").symlink_to(tmp_path / "big")
    assert write(staged, None).files == {}


def test_a_named_pipe_is_refused_by_name(artifact: Path) -> None:
    os.mkfifo(artifact / "model" / "pipe")
    with pytest.raises(FuruResultError, match="model/pipe' is a named pipe"):
        write(artifact, ENTRY)


def test_a_socket_is_refused_by_name(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(artifact)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("plug")
        with pytest.raises(FuruResultError, match="plug' is a socket"):
            write(artifact, ENTRY)


def test_syncing_reaches_every_file_and_folder_and_follows_no_link(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    (artifact / "outside").symlink_to("/etc/hosts")
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    sync_tree(str(artifact))
    found = [str(path) for path in artifact.rglob("*") if not path.is_symlink()]
    assert sorted(synced) == sorted([*found, str(artifact)])
