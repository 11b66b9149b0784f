"""Archives come from anybody: whatever is in one, nothing appears but results in the store, or nothing at all.

Each archive here differs from a good one in one thing. None of them may make, change or remove a file outside of
the store, nor anything inside it.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from moved_nodes import REPORT, Linking, export

from furu_core import Furu, use_settings
from furu_core._config._class_names import relpath_of
from furu_core._import_records import digest
from furu_core._moving import _archive, _importing
from furu_core._moving._archive import INDEX
from furu_core._store import _manifest, _record_file
from furu_core._store._layout import is_hash
from furu_core.errors import FuruArchiveError, FuruError

RECORD: Final = ".furu.json"
SECRET: Final = "not to be touched"


class Archive:
    """The parts of an archive, to be changed and put together again.

    Args:
        data: the archive.
    """

    def __init__(self, data: bytes) -> None:
        self.members: dict[str, bytes] = {}
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                self.members[member.name] = file.read()
        self.index: dict[str, Any] = json.loads(self.members.pop(INDEX))
        self.below = next(name for name in self.members if self.node["hash"] in name).rpartition(
            "/"
        )[0]
        self.called = self.below  # the folder that the node's members are given in the archive
        self.nodes = list(self.index["nodes"])
        self.chosen = self.node
        self.headers: list[Callable[[tarfile.TarInfo], None]] = []
        self.extra: list[tuple[tarfile.TarInfo, bytes]] = []

    @property
    def node(self) -> dict[str, Any]:
        """The index's entry of the node that has files and links."""
        found: dict[str, Any] = next(
            node for node in self.index["nodes"] if node["class_name"].endswith(":Linking")
        )
        return found

    @property
    def node_file(self) -> list[Any]:
        """The index's entry of a file of that node."""
        found: list[Any] = self.node["files"]["file"]
        return found

    def put(self, name: str, data: bytes) -> None:
        """Give the node a file, also in the index, with its size and digest."""
        self.members[f"{self.below}/{name}"] = data
        self.node["files"][name] = [len(data), digest(data)]

    def rewrite(
        self, change: Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], object]
    ) -> None:
        """Change claim, manifest and story of the node's record, and make all digests fit again."""
        parts = _record_file.parse(self.members[f"{self.below}/{RECORD}"])
        claim, manifest, story = map(json.loads, (parts.claim, parts.manifest, parts.story))
        change(claim, manifest, story)
        line = json.dumps(claim, separators=(",", ":")).encode()
        manifest = json.dumps(manifest, separators=(",", ":")).encode()
        fitting = json.loads(manifest)
        try:
            fitting["digest"] = _manifest.digest_again(manifest)
        except (ValueError, TypeError, AttributeError, KeyError):
            pass
        text = json.dumps(fitting, separators=(",", ":")).encode()
        story["claim"] = _record_file.digest(line).decode()
        told = json.dumps(story, separators=(",", ":")).encode()
        self.put(RECORD, _record_file.whole(line, text, told))

    def listed(self) -> list[str]:
        """The members, each node's together, in the order of the index where that changed nothing."""
        own = [name for name in self.members if name.startswith(f"{self.below}/")]
        others = [name for name in self.members if name not in own]
        place = next((at for at, name in enumerate(others) if name in self.index["shared"]), 0)
        before = self.nodes[: self.nodes.index(self.chosen)]
        hashes = [node["hash"] for node in before]
        first = [name for name in others[:place] if any(one in name for one in hashes)]
        rest = [name for name in others if name not in first]
        files = (
            [f"{self.below}/{name}" for name in self.chosen["files"]]
            if isinstance(self.chosen["files"], dict)
            else own
        )
        files = [name for name in files if name in own]
        return [*first, *files, *rest]

    def bytes(self) -> bytes:
        """The archive, as Python's tarfile writes it."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            self._add(tar, INDEX, json.dumps(self.index).encode())
            for name in self.listed():
                called = name.replace(self.below, self.called, 1)
                if "\0" not in called and "\ud800" not in called:  # no tar file holds these
                    self._add(tar, called, self.members[name])
            for info, data in self.extra:
                tar.addfile(info, io.BytesIO(data))
        return out.getvalue()

    def _add(self, tar: tarfile.TarFile, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        if name != INDEX:
            for change in self.headers:
                change(info)
        tar.addfile(info, io.BytesIO(data[: info.size]))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("good")
    with use_settings(path=folder / "store"):
        Linking().get()
        REPORT.get()
        export(folder / "x.tar", REPORT, Linking())
    return (folder / "x.tar").read_bytes()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder with files that nobody may touch, and in it a store with a result."""
    folder = tmp_path / "place"
    (folder / "beside").mkdir(parents=True)
    (folder / "secret").write_text(SECRET)
    with use_settings(path=folder / "store"):
        Kept().get()
        yield folder


class Kept(Furu[int]):
    """What is in the store before."""

    def _create(self) -> int:
        (self.furu_dir / "file").write_text(SECRET)
        return 1


def seen(folder: Path) -> dict[str, Any]:
    """All that is in a folder, links not followed; but not the empty folders of classes."""
    found: dict[str, Any] = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            status = path.lstat()
            if path.is_symlink():
                found[str(path)] = os.readlink(path)
            elif path.is_file():
                found[str(path)] = (path.read_bytes(), status.st_mode, status.st_nlink)
            elif any(path.iterdir()):
                found[str(path)] = None
            elif not path.is_relative_to(folder / "store"):
                found[str(path)] = "empty"
    return found


def refused(place: Path, data: bytes, why: str | None = None) -> str:
    """Import an archive that must be refused, and see that nothing has changed."""
    before = seen(place)
    with pytest.raises(FuruError, match=why) as caught:
        _importing.take_in(io.BytesIO(data), "x.tar")
    after = seen(place)
    for name in (*before, *after):
        inside = name.startswith(str(place / "store"))
        assert after.get(name) == before.get(name) or (inside and name.endswith("/imports")), name
    assert "Traceback" not in str(caught.value)
    assert caught.value.hint
    return caught.value.message


def test_the_good_archive_is_imported(place: Path, good: bytes) -> None:
    found = _importing.take_in(io.BytesIO(Archive(good).bytes()), "x.tar")
    assert len(found.new) == 5
    assert Linking().load_existing() == 5


def node_path(name: str) -> Callable[[Archive], None]:
    """Give the node a file with a name, in record and index."""

    def change(archive: Archive) -> None:
        archive.rewrite(
            lambda claim, manifest, story: manifest["files"].update({name: [1, digest(b"x")]})
        )
        archive.put(name, b"x")

    return change


def link(name: str, target: str) -> Callable[[Archive], None]:
    """Give the node a symbolic link."""
    return lambda archive: archive.rewrite(
        lambda claim, manifest, story: manifest["links"].update({name: target})
    )


def linked(**links: str) -> Callable[[Archive], None]:
    """Give the node several symbolic links; two lines stand for a slash in a name."""
    named = {name.replace("__", "/"): target for name, target in links.items()}
    return lambda archive: archive.rewrite(
        lambda claim, manifest, story: manifest["links"].update(named)
    )


def class_called(name: str) -> Callable[[Archive], None]:
    """Say that the node's class is another one, everywhere."""

    def change(archive: Archive) -> None:
        def named(claim: dict[str, Any], _manifest: Any, _story: Any) -> None:
            claim["class_name"] = claim["config"]["class"] = name

        archive.rewrite(named)
        archive.node["class_name"] = name
        archive.called = f"data/{relpath_of(name)}/{archive.below[-32:]}"

    return change


def hash_called(name: str) -> Callable[[Archive], None]:
    def change(archive: Archive) -> None:
        def named(claim: dict[str, Any], _manifest: Any, _story: Any) -> None:
            claim["hash"] = claim["config"]["hash"] = name

        archive.rewrite(named)
        archive.node["hash"] = name
        archive.called = archive.below[:-32] + name

    return change


def header(**changes: Any) -> Callable[[Archive], None]:
    """Change the header of the first file of the node in the archive."""

    def change(archive: Archive) -> None:
        def apply(info: tarfile.TarInfo) -> None:
            if info.name.endswith("/file"):
                for key, value in changes.items():
                    setattr(info, key, value)

        archive.headers.append(apply)

    return change


def claims(**changes: Any) -> Callable[[Archive], None]:
    return lambda archive: archive.rewrite(lambda claim, manifest, story: claim.update(changes))


def stories(**changes: Any) -> Callable[[Archive], None]:
    return lambda archive: archive.rewrite(lambda claim, manifest, story: story.update(changes))


def config(**changes: Any) -> Callable[[Archive], None]:
    return lambda archive: archive.rewrite(
        lambda claim, manifest, story: claim["config"].update(changes)
    )


def shared(name: str) -> Callable[[Archive], None]:
    def change(archive: Archive) -> None:
        archive.members[name] = b"x"
        archive.index["shared"][name] = [1, digest(b"x")]

    return change


def follows(name: str, data: bytes = b"x", **changes: Any) -> Callable[[Archive], None]:
    """Append a member that the index does not tell."""

    def change(archive: Archive) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        for key, value in changes.items():
            setattr(info, key, value)
        archive.extra.append((info, data))

    return change


def twice(archive: Archive) -> None:
    archive.index["nodes"].append(archive.node)


def other_bytes(archive: Archive) -> None:
    name = f"{archive.below}/file"
    archive.members[name] = archive.members[name][::-1]


def larger(archive: Archive) -> None:
    archive.node["files"]["file"][0] = 1 << 40


def too_large(archive: Archive) -> None:
    archive.node["files"]["file"][0] = 1 << 70


def without_record(archive: Archive) -> None:
    del archive.node["files"][RECORD]


def record_of_another(archive: Archive) -> None:
    other = next(node for node in archive.index["nodes"] if node is not archive.node)
    name = next(name for name in archive.members if other["hash"] in name and name.endswith(RECORD))
    archive.put(RECORD, archive.members[name])


def newer(archive: Archive) -> None:
    archive.put(
        RECORD, archive.members[f"{archive.below}/{RECORD}"].replace(b'"furu":2', b'"furu":9')
    )


def newer_index(archive: Archive) -> None:
    archive.index["furu_export"] = 99


def listing(archive: Archive) -> None:
    text = b'{"furu":1,"modules":7}'
    archive.members[f"code/{digest(text)}.json"] = text
    archive.index["shared"][f"code/{digest(text)}.json"] = [len(text), digest(text)]


def provenance(text: bytes) -> Callable[[Archive], None]:
    def change(archive: Archive) -> None:
        archive.members[f"provenance/{digest(text)}.json"] = text
        archive.index["shared"][f"provenance/{digest(text)}.json"] = [len(text), digest(text)]

    return change


HOSTILE: Final[dict[str, Callable[[Archive], None]]] = {
    "absolute": node_path("/tmp/furu-hostile"),
    "parent": node_path("../../../../../beside/new"),
    "parent inside": node_path("deep/../../x"),
    "dot": node_path("./x"),
    "empty part": node_path("deep//x"),
    "only a slash": node_path("x/"),
    "no name": node_path(""),
    "nul": node_path("a\0b"),
    "long name": node_path("x" * 256),
    "long path": node_path("/".join(["x" * 100] * 60)),
    "lone surrogate": node_path("x\ud800"),
    "file and folder": node_path("file/x"),
    "folder of the record": node_path(f"{RECORD}/x"),
    "violations": node_path(".furu.violations"),
    "format 1": node_path(".furu/manifest.json"),
    "link out": link("out", "../x"),
    "link far out": link("out", "../../../../../secret"),
    "absolute link": link("out", "/etc/passwd"),
    "link by a link": linked(deep__a="../deep", b="deep/a/../../.."),
    "link with dots behind": link("out", "deep/.."),
    "link to nothing": link("out", ""),
    "link with nul": link("out", "a\0b"),
    "link in place of a file": link("file", "deep"),
    "link above a file": link("deep", "."),
    "link in place of the record": link(RECORD, "file"),
    "link called so": link("../x", "file"),
    "file by a link": lambda archive: (link("by", "deep")(archive), node_path("by/x")(archive))[0],
    "class with a slash": class_called("a/../../../beside:X"),
    "class with dots": class_called("..:X"),
    "class above": class_called("a..b:X"),
    "no module": class_called(":X"),
    "no class": class_called("x:"),
    "no name at all": class_called(""),
    "class with nul": class_called("a:\0"),
    "class with percent": class_called("a:%2F%2E%2E"),
    "long class": class_called("a:" + "x" * 300),
    "deep class": class_called(".".join(["x" * 200] * 30) + ":X"),
    "surrogate class": class_called("a:\ud800"),
    "hash with dots": hash_called("../" + "a" * 29),
    "hash in capitals": hash_called("A" * 32),
    "no hash": hash_called(""),
    "short hash": hash_called("a" * 31),
    "other hash": lambda archive: archive.node.update(hash="a" * 32),
    "symbolic link": header(type=tarfile.SYMTYPE, linkname="../../secret", size=0),
    "hard link": header(type=tarfile.LNKTYPE, linkname="/etc/passwd", size=0),
    "device": header(type=tarfile.CHRTYPE, size=0),
    "block device": header(type=tarfile.BLKTYPE, size=0),
    "pipe": header(type=tarfile.FIFOTYPE, size=0),
    "folder": header(type=tarfile.DIRTYPE, size=0),
    "sparse": header(type=tarfile.GNUTYPE_SPARSE),
    "contiguous": header(type=tarfile.CONTTYPE),
    "unknown kind": header(type=b"Z"),
    "global header": header(type=tarfile.XGLTYPE),
    "long name of GNU": header(type=tarfile.GNUTYPE_LONGNAME),
    "sparse by keywords": header(pax_headers={"GNU.sparse.size": "99", "GNU.sparse.map": "0,1"}),
    "owner by keywords": header(pax_headers={"uid": "0"}),
    "link by keywords": header(pax_headers={"linkpath": "/etc"}),
    "another name by keywords": header(pax_headers={"path": "../../../beside/new"}),
    "long keywords": header(pax_headers={"path": "x" * 100_000}),
    "renamed": header(name="data/other"),
    "absolute name": header(name="/tmp/furu-hostile"),
    "name with dots": header(name="../../beside/new"),
    "other case": header(name="DATA/x"),
    "cut short": header(size=1),
    "other bytes": other_bytes,
    "size that the disk lacks": larger,
    "size that no file has": too_large,
    "without record": without_record,
    "record of another": record_of_another,
    "newer record": newer,
    "newer index": newer_index,
    "twice": twice,
    "record of another class": claims(class_name="a:X"),
    "record of another hash": claims(hash="a" * 32),
    "config of another class": config(**{"class": "a:X"}),
    "config of another hash": config(hash="a" * 32),
    "config without fields": config(fields=7),
    "no config": claims(config=None),
    "failed": stories(status="failed"),
    "no status": stories(status=7),
    "costs": stories(costs=[1]),
    "dependencies": stories(dependencies={"declared": 7}),
    "provenance": stories(provenance=["../../x"]),
    "provenance elsewhere": stories(provenance="../../../secret"),
    "code elsewhere": stories(code="../../../secret"),
    "nested config elsewhere": config(fields={"a": {"$ref": "../../x", "class": "a:X"}}),
    "what a terminal obeys": stories(to_python="\x1b[2J"),
    "name that a terminal obeys": claims(node="\x1b[2J"),
    "file that the record lacks": lambda archive: archive.put("more", b"x"),
    "file that the index lacks": lambda archive: archive.node["files"].pop("file"),
    "file of the result": lambda archive: archive.rewrite(
        lambda claim, manifest, story: manifest["result"].update(file="result.gone")
    ),
    "result elsewhere": lambda archive: archive.rewrite(
        lambda claim, manifest, story: manifest["result"].update(file="../../secret")
    ),
    "shared elsewhere": shared("provenance/../../x"),
    "shared by another digest": shared(f"provenance/{'a' * 32}.json"),
    "shared of another kind": shared(f"runs/{digest(b'x')}.json"),
    "accepted": shared(f"accepted/{digest(b'x')}.json"),
    "listing": listing,
    "provenance of another form": provenance(b'{"command":7}'),
    "no provenance": provenance(b"[1]"),
    "more": follows("data/more"),
    "more outside": follows("../../beside/new"),
    "the record again": follows(RECORD),
    "a link after it": follows("link", b"", type=tarfile.SYMTYPE, linkname="/etc"),
    "roots": lambda archive: archive.index.update(roots=["../x"]),
    "nodes": lambda archive: archive.index.update(nodes=7),
    "files": lambda archive: archive.node.update(files=[["a", 1]]),
    "negative": lambda archive: archive.node_file.__setitem__(0, -1),
    "digest": lambda archive: archive.node_file.__setitem__(1, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_changes_nothing(place: Path, good: bytes, name: str) -> None:
    archive = Archive(good)
    HOSTILE[name](archive)
    refused(place, archive.bytes())


def test_a_class_below_a_result_does_not_get_into_it(place: Path, good: bytes) -> None:
    """A class's name may lead to a folder inside a result that is there, which nothing may change."""
    kept = Kept().furu_dir.relative_to(place / "store" / "data")
    archive = Archive(good)
    class_called(f"{str(kept).replace('/', '.')}:X")(archive)
    assert "is no name of a class" in refused(place, archive.bytes())


@pytest.mark.parametrize("end", [0, 3, 100, 511, 512, 513, 1500, -1, -1025, -10241])
def test_an_archive_that_was_cut_off_is_refused(place: Path, good: bytes, end: int) -> None:
    refused(place, good[:end])


@pytest.mark.parametrize(
    "more", [b"x", b"\0", b"\0" * 512, b"\0" * 20480, b"x" * 512, b"\0" * 10240 + b"x"]
)
def test_what_follows_after_an_archive_is_refused(place: Path, good: bytes, more: bytes) -> None:
    refused(place, good + more)


@pytest.mark.parametrize("module", [gzip, bz2, lzma])
def test_what_is_wrong_with_a_compressed_archive_is_refused(
    place: Path, good: bytes, module: Any
) -> None:
    packed = module.compress(good)
    for wrong in (
        packed[:-1], packed[: len(packed) // 2], packed + b"x", packed + packed, packed + bytes(512),
        packed[:50] + bytes(50) + packed[100:], module.compress(good + b"x"), module.compress(b""),
        module.compress(packed), packed[:6],
    ):  # fmt: skip
        refused(place, wrong)
    assert len(_importing.take_in(io.BytesIO(packed), "x.tar.gz").new) == 5


def test_a_compressed_archive_cannot_be_larger_than_its_index_says(place: Path) -> None:
    """A hundred megabytes of nothing are a hundred kilobytes: they are not read to their end."""
    bomb = io.BytesIO(gzip.compress(bytes(100 << 20)))
    with pytest.raises(FuruArchiveError):
        _importing.take_in(bomb, "x.tar.gz")
    header = tarfile.TarInfo(INDEX)
    header.size = 1 << 33
    refused(
        place,
        gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)),
        "no tar file",
    )
    header.size = _archive.INDEX_LIMIT + 1
    refused(place, header.tobuf(tarfile.PAX_FORMAT) + b"{}", "its index has")
    header.size = 20
    refused(
        place,
        header.tobuf(tarfile.PAX_FORMAT) + b"[" * 20 + bytes(2000),
        "its index cannot be read",
    )
    deep = b"[" * 200_000
    header.size = len(deep)
    refused(
        place, header.tobuf(tarfile.PAX_FORMAT) + deep + bytes(2000), "its index cannot be read"
    )


@pytest.mark.parametrize(
    "text", [b"", b"x", b"\0" * 2048, b"PK\x03\x04" + bytes(2000), b"{}" * 600]
)
def test_what_is_no_archive_at_all_is_refused(place: Path, text: bytes) -> None:
    refused(place, text)


def test_nothing_is_unpickled_and_no_code_is_imported(
    place: Path, good: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pickle

    def never(*_args: Any, **_options: Any) -> None:
        raise AssertionError("it was unpickled")

    monkeypatch.setattr(pickle, "Unpickler", never)
    monkeypatch.setattr(pickle, "loads", never)
    archive = Archive(good)
    class_called("no_such_module_at_all:Linking")(archive)
    assert len(_importing.take_in(io.BytesIO(archive.bytes()), "x.tar").new) == 5


def test_links_within_a_result_are_allowed() -> None:
    for name, target in [
        ("a", "b"), ("a", "."), ("d/a", ".."), ("d/a", "../b/c"), ("d/e/a", "../../x"), ("a", "b/./c"),
        ("a", "..."),
    ]:  # fmt: skip
        assert _archive.stays_inside(name, target), (name, target)


NAMES = st.text(st.sampled_from("ab./\\\0%: \n\ud800ü" + "A"), max_size=8)


@hypothesis_settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(names=st.lists(st.tuples(NAMES, NAMES), max_size=4))
def test_links_that_are_allowed_lead_nowhere_else(
    tmp_path_factory: pytest.TempPathFactory, names: list[tuple[str, str]]
) -> None:
    """What the check lets pass is made for real, and the system asked where it leads."""
    links = dict(names)
    try:
        _archive.check_links(links, {}, "it")
    except FuruArchiveError:
        return
    folder = tmp_path_factory.mktemp("made") / "result"
    folder.mkdir()
    for name, target in links.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.symlink(target, folder / name)
    for name in links:
        try:
            real = os.path.realpath(folder / name, strict=True)
        except OSError:
            continue
        assert real == str(folder) or real.startswith(f"{folder}/")


@hypothesis_settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=3)
)
def test_an_archive_with_any_bytes_changed_is_refused_or_the_same(
    place: Path, good: bytes, changes: list[tuple[int, int]]
) -> None:
    """Bytes that no digest covers tell nothing that is used: owners, times, and what fills up blocks."""
    changed = bytearray(good)
    for where, byte in changes:
        changed[where % len(changed)] = byte
    before = seen(place)
    with use_settings(path=place / "another"):
        try:
            found = _importing.look(io.BytesIO(bytes(changed)))
            _importing.take_in(io.BytesIO(bytes(changed)), "x.tar")
        except FuruError:
            assert not [one for one in (place / "another").rglob("*") if is_hash(one.name)]
        else:
            assert len(found.index.nodes) == 5
    shutil.rmtree(place / "another", ignore_errors=True)
    assert seen(place) == before
