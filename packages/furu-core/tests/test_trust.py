"""Whose files that run code are loaded: results and graphs; as root, those of other users too."""

from __future__ import annotations

import os
import pickle
import pwd
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import furu_core
from furu_core import Furu, use_settings
from furu_core._codecs import _load, _pickles
from furu_core._compute import _hit
from furu_core._forms import _graph_file
from furu_core._settings._settings import trust_in
from furu_core._store._layout import ref_of
from furu_core._store._manifest import ResultEntry
from furu_core.codecs import open_trusted
from furu_core.errors import FuruComputeError, FuruResultError, FuruSettingsError, FuruUntrustedFile
from furu_core.workers import GraphReader, GraphWriter

OTHER, THIRD = 54321, 54322  # ids that no user has
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
mine = pwd.getpwuid(os.geteuid()).pw_name


class Mark:
    """Tells when it is unpickled."""

    unpickled = 0

    def __eq__(self, other: object) -> bool:
        return type(other) is Mark

    def __hash__(self) -> int:
        return 1

    def __setstate__(self, state: object) -> None:
        Mark.unpickled += 1

    def __getstate__(self) -> object:
        return {"some": "state"}


class Marked(Furu[Any]):
    number: int = 0

    def _create(self) -> Mark:
        created.append(self.number)
        return Mark()


class Checked(Marked):
    """Looks at its own result, and takes whatever goes wrong with that for a bad one."""

    def _validate(self) -> bool:
        try:
            return bool(self.get() == Mark())
        except Exception as error:  # as users write it
            if self.number:
                raise ValueError("it is bad") from error
            return False


class Sum(Furu[int]):
    part: Marked

    def _create(self) -> int:
        self.part.get()
        return 1


created: list[int] = []


@pytest.fixture(autouse=True)
def _a_store(tmp_path: Path) -> Iterator[None]:
    created.clear()
    with use_settings(path=tmp_path / "store"):
        yield


@contextmanager
def trusting(users: str, *, unpickled: bool = True) -> Iterator[None]:
    """Change the setting; whether anything is unpickled meanwhile is checked."""
    before = Mark.unpickled
    with pytest.MonkeyPatch.context() as patch, use_settings(trust_pickles=users):
        if not unpickled:
            patch.setattr(_pickles, "_Unpickler", Mark)  # takes no arguments
        yield
    assert (Mark.unpickled > before) is unpickled


def published(number: int = 0) -> tuple[Marked, Path]:
    """A node with a pickled result, and the file of that."""
    node = Marked(number=number)
    node.get()
    created.clear()
    Mark.unpickled = 0
    return node, node.furu_dir / ".furu.result.pickle"


def inventory(folder: Path) -> dict[str, tuple[object, ...]]:
    return {
        str(path.relative_to(folder)): (path.lstat().st_mtime_ns, path.lstat().st_uid, path.lstat().st_mode)
        for path in sorted([folder, *folder.rglob("*")])
    }  # fmt: skip


def give(path: Path, uid: int = OTHER) -> None:
    os.chown(path, uid, -1, follow_symlinks=False)


# Results


@pytest.mark.parametrize("trusted", ["all", "own", f"{mine}"])
def test_ones_own_results_are_loaded_whatever_the_setting(trusted: str) -> None:
    node, _ = published()
    with trusting(trusted):
        assert node.get() == Mark()
    assert not created


@needs_root
@pytest.mark.parametrize("what", ["file", "folder", "both"])
def test_p1_a_result_of_somebody_else_is_refused_untouched_and_loaded_later(
    what: str,
) -> None:
    node, file = published()
    if what != "folder":
        give(file)
    if what != "file":
        give(file.parent)
    data = furu_core.settings().path
    before = inventory(data)
    with trusting("own", unpickled=False):
        for load in (node.get, node.load_existing, node.get):
            with pytest.raises(FuruResultError) as caught:
                load()
    message = str(caught.value)
    assert str(file) in message
    assert str(OTHER) in message
    assert "FURU_TRUST_PICKLES is own" in message
    assert message.endswith(
        f"if you trust {OTHER} to run code as you, set FURU_TRUST_PICKLES={OTHER}"
    )
    assert isinstance(caught.value.__cause__, FuruUntrustedFile)
    assert caught.value.__cause__.path == file
    assert caught.value.hash == node.furu_hash
    assert inventory(data) == before
    for trusted in (str(OTHER), f"{mine},{OTHER}", "all"):
        with trusting(trusted):
            assert node.get() == Mark()
    assert not created


@needs_root
def test_what_depends_on_a_refused_result_fails_and_neither_is_computed_again() -> None:
    node, file = published()
    give(file)
    with use_settings(trust_pickles="own"):
        for _ in range(2):
            with pytest.raises(FuruComputeError, match="FURU_TRUST_PICKLES") as caught:
                Sum(part=node).get()
            assert isinstance(caught.value.__cause__, FuruResultError)
    assert file.exists()
    assert Sum(part=node).get() == 1
    assert not created


@needs_root
@pytest.mark.parametrize("number", [0, 1])
def test_p1_a_refusal_within_validate_is_no_verdict(number: int) -> None:
    node = Checked(number=number)
    node.get()
    created.clear()
    give(node.furu_dir / ".furu.result.pickle")
    before = inventory(furu_core.settings().path)
    with trusting("own", unpickled=False):
        with pytest.raises(FuruResultError, match="FURU_TRUST_PICKLES") as caught:
            node.get()
        assert caught.value.hash == node.furu_hash
        assert _hit.bad_reason(node, ref_of(node), by_loading=True) is None
    assert inventory(furu_core.settings().path) == before
    assert node.get() == Mark()
    assert not created


@needs_root
def test_a_small_result_is_no_pickle_and_is_loaded_from_anybody() -> None:
    node, _ = published()
    obj = Sum(part=node)
    obj.get()
    for path in (obj.furu_dir, *obj.furu_dir.iterdir()):
        give(path)
    with use_settings(trust_pickles="own"):
        assert obj.get() == 1


@needs_root
def test_a_result_of_root_is_loaded_by_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    node, _ = published()
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    with trusting("own"):
        assert node.get() == Mark()


def test_a_file_that_others_may_change_is_refused_with_what_mends_it() -> None:
    node, file = published()
    file.chmod(0o664)
    with trusting("own", unpickled=False), pytest.raises(FuruResultError) as caught:
        node.get()
    assert "can be changed by others (mode 664)" in str(caught.value)
    assert str(caught.value).endswith(f"chmod go-w {file}")


def test_a_pickle_is_writable_for_its_owner_alone_whatever_the_umask() -> None:
    before = os.umask(0o002)
    try:
        node, file = published()
        with GraphWriter(file.parent.parent / "graph") as writer:
            writer.add(node)
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o644
    assert (file.parent.parent / "graph").stat().st_mode & 0o777 == 0o644
    assert (file.parent / ".furu.json").stat().st_mode & 0o777 == 0o664
    with use_settings(trust_pickles="own"):
        assert node.get() == Mark()


def test_a_link_to_a_file_of_ones_own_is_refused() -> None:
    _, file = published()
    aside = file.with_name("aside")
    file.rename(aside)
    file.symlink_to(aside)
    with use_settings(trust_pickles="own"), pytest.raises(FuruUntrustedFile, match="symbolic link"):
        open_trusted(file)
    os.close(open_trusted(file))


@needs_root
def test_a_second_name_of_ones_own_file_counts_by_the_folder_it_is_in(tmp_path: Path) -> None:
    _, file = published()
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.link(file, folder / file.name)
    with use_settings(trust_pickles="own"):
        os.close(open_trusted(folder / file.name))  # as after a backup by hard links
        give(folder)
        with pytest.raises(FuruUntrustedFile, match=f"in a folder of {OTHER}"):
            open_trusted(folder / file.name)
        os.close(open_trusted(file))


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with use_settings(trust_pickles="own"):
        for name in ("pipe", "folder"):
            with pytest.raises(FuruUntrustedFile, match="is no plain file"):
                open_trusted(tmp_path / name)
        with pytest.raises(FileNotFoundError) as caught:
            open_trusted(tmp_path / "missing")
    assert caught.value.filename == str(tmp_path / "missing")


@needs_root
def test_what_was_examined_is_what_is_read(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(b"good")
    bad.write_bytes(b"bad")
    good.chmod(0o644)
    give(bad)
    with use_settings(trust_pickles="own"):
        descriptor = open_trusted(good)
    bad.replace(good)
    assert os.read(descriptor, 9) == b"good"
    os.close(descriptor)


@needs_root
def test_a_missing_pickle_is_still_a_damaged_artifact_that_is_computed_again() -> None:
    node, file = published()
    file.unlink()
    with use_settings(trust_pickles="own"):
        assert node.get() == Mark()
    assert created == [0]


# Graph files


@needs_root
def test_a_graph_of_somebody_else_is_refused_before_any_class_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "graph"
    with GraphWriter(path) as writer:
        place = writer.add(Marked())
    give(path)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(_graph_file, "resolve", lambda *names: pytest.fail(f"{names} was imported"))
        with use_settings(trust_pickles="own"), pytest.raises(FuruUntrustedFile) as caught:
            GraphReader(path).read(place)
    assert caught.value.owner == str(OTHER)
    assert path.read_bytes() == before
    assert GraphReader(path).read(place) == Marked()


# The setting


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("all", {"all"}),
        ("ALL", {"all"}),
        (" Own ", {"own"}),
        (f"{mine}, 12345", {mine, "12345"}),
        (f"own,{mine}", {"own", mine}),
    ],
)
def test_the_setting_takes_words_names_and_ids(text: str, value: set[str]) -> None:
    with use_settings(trust_pickles=text) as now:
        assert now.trust_pickles == value
        again = furu_core.workers.settings_to_env(now)["FURU_TRUST_PICKLES"]
        assert trust_in({"FURU_TRUST_PICKLES": again}) == value
    assert trust_in({}) == {"local"}


@pytest.mark.parametrize("text", ["", "all,own", f"all {mine}"])
def test_a_setting_that_could_mean_two_things_is_refused(text: str) -> None:
    with pytest.raises(FuruSettingsError, match="expected local, all, own, or names of users"):
        furu_core.configure(trust_pickles=text)


def test_an_unknown_user_is_an_error_that_says_where_and_what_to_do() -> None:
    with pytest.raises(FuruSettingsError) as caught:
        furu_core.configure(trust_pickles="own,no-such-user")
    assert f"{socket.gethostname()} knows no user 'no-such-user'" in str(caught.value)
    assert "getent passwd no-such-user" in str(caught.value)


def test_other_kinds_of_results_need_no_trust() -> None:
    with use_settings(trust_pickles="own"):
        assert Halves().get() == Halves().get() == [Fraction(1, 2)]


class Halves(Furu[list[Fraction]]):
    def _create(self) -> list[Fraction]:
        return [Fraction(1, 2)]


# All cases


@needs_root
@given(
    owner=st.sampled_from([os.geteuid(), OTHER, THIRD]),
    folder_of=st.sampled_from([os.geteuid(), OTHER, THIRD]),
    mode=st.sampled_from([0o600, 0o644, 0o664, 0o646, 0o444, 0o466]),
    linked=st.sampled_from(["", "hard", "symbolic"]),
    trust=st.sampled_from(
        ["all", "own", f"{OTHER}", f"{mine},{THIRD}", f"{OTHER},{THIRD}", "own,0"]
    ),
)
def test_nothing_is_unpickled_unless_all_who_could_have_written_it_are_trusted(
    owner: int, folder_of: int, mode: int, linked: str, trust: str
) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder, aside = Path(made, "folder"), Path(made, "aside")
        folder.mkdir()
        path = folder / "result.pickle"
        target = aside if linked else path
        target.write_bytes(pickle.dumps(Mark()))
        if linked == "hard":
            os.link(aside, path)
        elif linked:
            path.symlink_to(aside)
        give(target, owner)
        target.chmod(mode)
        give(folder, folder_of)
        before = inventory(Path(made))
        named = {os.geteuid(), *(int(name) for name in trust.split(",") if name.isdigit())}
        expected = trust == "all" or (
            {owner, folder_of} <= named and not mode & 0o022 and linked != "symbolic"
        )
        entry = ResultEntry("pickle", path.name)
        if expected:
            with trusting(trust):
                assert _load.load(entry, f"{folder}/", str(folder)) == Mark()
        else:
            with trusting(trust, unpickled=False), pytest.raises(FuruResultError) as caught:
                _load.load(entry, f"{folder}/", str(folder))
            assert str(path) in str(caught.value)
            assert trust.split(",", maxsplit=1)[0] in str(caught.value)
        assert inventory(Path(made)) == before
