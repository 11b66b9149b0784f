"""Codecs of other distributions: asked first, recorded by name, missed by name."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
from kept_results import changed, load, store

from furu_core import use_settings
from furu_core._codecs import _installed, _registry
from furu_core._store._manifest import DamagedArtifact
from furu_core.errors import FuruFormatError, FuruResultError

Install = Callable[..., None]

CODEC = """
    from fractions import Fraction
    from furu_core.codecs import Codec, NotExact

    class FractionCodec(Codec):
        name = "fraction"
        suffix = ".frac"
        version = 2

        def accepts(self, value):
            return type(value) is Fraction

        def save(self, value, path):
            path.write_text(str(value))
            if value == 13:
                raise NotExact("thirteen does not come back")

        def load(self, path, version):
            return Fraction(path.read_text())
"""


# It leaves a file that the group may change, and opens it by the function that asks.
PICKLING = """
    import os, pickle
    from fractions import Fraction
    from furu_core.codecs import Codec, open_trusted

    class FractionCodec(Codec):
        name = "fraction"
        suffix = ".frac"

        def accepts(self, value):
            return type(value) is Fraction

        def save(self, value, path):
            path.write_bytes(pickle.dumps(value))
            path.chmod(0o664)

        def load(self, path, version):
            with open(open_trusted(path), "rb") as file:
                return pickle.load(file)
"""


def forget() -> None:
    """Have the codecs looked up anew."""
    _registry.installed.cache_clear()
    _registry._named.cache_clear()
    _registry._codec_of.cache_clear()
    _installed._warn.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a distribution with one codec on the import path."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)

    def make(
        distribution: str, code: str, target: str = "FractionCodec", name: str = "fraction"
    ) -> None:
        module = distribution.replace("-", "_")
        (site / f"{module}.py").write_text(dedent(code))
        info = site / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(f"[furu.codecs]\n{name} = {module}:{target}\n")
        forget()

    yield make
    forget()
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(site) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "node" / ".furu"
    path.mkdir(parents=True)
    return path


class Holder:
    def __init__(self, value: Any) -> None:
        self.value = value


def test_a_codec_of_another_distribution_is_asked_first(install: Install, folder: Path) -> None:
    install("fraction-codec", CODEC)
    stored = store(Fraction(1, 3), folder, folder.parent)
    assert (stored.entry.codec, stored.entry.version, stored.entry.file) == (
        "fraction",
        2,
        "result.frac",
    )
    assert stored.entry.distribution == "fraction-codec"
    assert load(stored, folder, folder.parent) == Fraction(1, 3)


@pytest.mark.parametrize("holds", [lambda one: one, lambda one: [one, 1], Holder])
def test_a_codec_that_pickles_asks_whose_file_it_is(
    holds: Callable[[Fraction], Any], install: Install, folder: Path
) -> None:
    install("fraction-codec", PICKLING)
    with use_settings(trust_pickles="own"):
        stored = store(holds(Fraction(1, 3)), folder, folder.parent)
        (file,) = folder.glob("*.frac")
        assert file.stat().st_mode & 0o777 == 0o644
        load(stored, folder, folder.parent)
        file.chmod(0o664)
        with pytest.raises(FuruResultError, match="can be changed by others") as caught:
            load(stored, folder, folder.parent)
    assert str(file) in str(caught.value)
    load(stored, folder, folder.parent)


def test_parts_of_a_result_go_to_the_codec_too(install: Install, folder: Path) -> None:
    install("fraction-codec", CODEC)
    value = {"x": [Fraction(1, 3)], "y": np.arange(2), "z": 1}
    stored = store(value, folder, folder.parent)
    assert stored.entry.codec == "json"
    assert (folder / "result.0.frac").read_text() == "1/3"
    assert load(stored, folder, folder.parent)["x"] == [Fraction(1, 3)]


def test_parts_of_pickled_objects_go_to_the_codec_and_stay_shared(
    install: Install, folder: Path
) -> None:
    install("fraction-codec", CODEC)
    third = Fraction(1, 3)
    stored = store(Holder([third, third]), folder, folder.parent)
    assert stored.entry.codec == "pickle"
    assert (folder / "result.0.frac").exists()
    back = load(stored, folder, folder.parent).value
    assert back == [third, third]
    assert back[0] is back[1]


def test_a_value_the_codec_gives_up_on_is_stored_otherwise(install: Install, folder: Path) -> None:
    install("fraction-codec", CODEC)
    stored = store(Fraction(13), folder, folder.parent)
    assert stored.entry.codec == "json"
    assert not (folder / "result.frac").exists()
    assert load(stored, folder, folder.parent) == Fraction(13)


def test_a_codec_that_is_gone_is_named_with_its_distribution(
    install: Install, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("fraction-codec", CODEC)
    stored = store(Fraction(1, 3), folder, folder.parent)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not p.endswith("/site")])
    forget()
    with pytest.raises(
        FuruResultError, match=r"'fraction' of fraction-codec.*pip install fraction"
    ):
        load(stored, folder, folder.parent)


def test_an_older_codec_refuses_files_of_a_newer_one(install: Install, folder: Path) -> None:
    install("fraction-codec", CODEC)
    stored = store(Fraction(1, 3), folder, folder.parent)
    _registry.installed().codecs[0].codec.__class__.version = 1
    with pytest.raises(FuruFormatError, match="upgrade fraction-codec"):
        load(stored, folder, folder.parent)


def test_a_codec_of_a_newer_furu_asks_for_an_upgrade(folder: Path) -> None:
    stored = store(np.arange(3), folder, folder.parent)
    with pytest.raises(FuruResultError, match=r"'zarr'.*upgrade furu-core"):
        load(changed(stored, codec="zarr"), folder, folder.parent)


def test_a_codec_that_calls_its_file_damaged_is_believed(install: Install, folder: Path) -> None:
    install("fraction-codec", CODEC)
    stored = store(Fraction(1, 3), folder, folder.parent)
    (folder / "result.frac").write_text("no fraction")
    with pytest.raises(DamagedArtifact, match="Invalid literal"):
        load(stored, folder, folder.parent)


@pytest.mark.parametrize(
    ("code", "name", "reason"),
    [
        ("import absent_module", "fraction", "absent_module"),
        ("class FractionCodec: pass", "fraction", "no subclass of furu_core.codecs.Codec"),
        (CODEC.replace('"fraction"', '"json"'), "json", "one of furu's own"),
        (CODEC.replace('".frac"', '"frac"'), "fraction", "starts with a dot"),
        (CODEC.replace("version = 2", 'version = "2"'), "fraction", "a whole number"),
        (CODEC, "frac", "a class whose `name` is 'fraction'"),
        (CODEC.replace("def load", "def read"), "fraction", "lacks the method load"),
    ],
)
def test_a_broken_codec_harms_only_what_needs_it(
    code: str,
    name: str,
    reason: str,
    install: Install,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    install("broken-codec", code, name=name)
    stored = store((1, Fraction(1, 3)), folder, folder.parent)
    assert load(stored, folder, folder.parent) == (1, Fraction(1, 3))
    (warning,) = caplog.messages
    assert f"the codec {name!r} of broken-codec 1.0" in warning
    assert reason in warning
    with pytest.raises(FuruResultError, match=reason) as caught:
        store((1, lambda: 0), folder, folder.parent)
    assert "broken-codec" in str(caught.value)
    assert len(caplog.messages) == 1


def test_a_result_of_a_codec_that_is_broken_now_names_the_distribution_and_the_next_step(
    install: Install, folder: Path
) -> None:
    install("fraction-codec", CODEC)
    stored = store(Fraction(1, 3), folder, folder.parent)
    del sys.modules["fraction_codec"]
    site = next(path for path in sys.path if path.endswith("/site"))
    Path(site, "fraction_codec.py").write_text("raise OSError('no licence')")
    forget()
    with pytest.raises(FuruResultError, match="OSError: no licence") as caught:
        load(stored, folder, folder.parent)
    assert "the codec 'fraction' of fraction-codec 1.0 cannot be imported" in caught.value.message
    assert "pip install --upgrade fraction-codec" in caught.value.hint


def test_of_two_distributions_with_one_codec_name_neither_stores_and_both_load_their_own(
    install: Install, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install("first-codec", CODEC)
    stored = store(Fraction(1, 3), folder, folder.parent)
    assert stored.entry.distribution == "first-codec"
    install("second-codec", CODEC)
    assert not _registry.installed().codecs
    assert len(_registry.installed().broken) == len(caplog.messages) == 2
    for message in caplog.messages:
        assert "first-codec 1.0" in message
        assert "second-codec 1.0" in message
        assert "pip uninstall" in message
    assert load(stored, folder, folder.parent) == Fraction(1, 3)
    assert "second_codec" not in sys.modules
    elsewhere = changed(stored, distribution="third-codec")
    with pytest.raises(FuruResultError, match="same name as that of second-codec"):
        load(elsewhere, folder, folder.parent)


def test_loading_a_result_imports_the_one_codec_it_needs(install: Install, folder: Path) -> None:
    install("fraction-codec", CODEC)
    stored = store(Fraction(1, 3), folder, folder.parent)
    install("other-codec", CODEC.replace('"fraction"', '"other"'), name="other")
    assert load(stored, folder, folder.parent) == Fraction(1, 3)
    assert "other_codec" not in sys.modules


def test_a_codec_that_fails_when_it_is_asked_costs_no_result(
    install: Install, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install("fraction-codec", CODEC.replace("return type(value) is Fraction", "return 1 / 0"))
    for number in range(3):
        stored = store((number, Fraction(1, 3)), folder, folder.parent)
        assert load(stored, folder, folder.parent) == (number, Fraction(1, 3))
    said = [message for message in caplog.messages if "Fraction" in message]
    assert len(said) == 1
    assert "'fraction' of fraction-codec" in said[0]
    assert "ZeroDivisionError" in said[0]


def test_a_codec_that_fails_is_named(install: Install, folder: Path) -> None:
    install("fraction-codec", CODEC.replace("path.write_text(str(value))", "1 / 0"))
    with pytest.raises(FuruResultError, match="'fraction' of fraction-codec failed"):
        store(Fraction(1, 3), folder, folder.parent)


def test_an_archive_on_the_import_path_is_looked_into_as_well(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "packed.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("packed_codec.py", dedent(CODEC))
        info = "packed_codec-1.0.dist-info"
        packed.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: packed\nVersion: 1.0\n")
        packed.writestr(
            f"{info}/entry_points.txt", "[furu.codecs]\nfraction = packed_codec:FractionCodec\n"
        )
    forget()
    assert [one.codec.name for one in _registry.installed().codecs] == []
    monkeypatch.syspath_prepend(str(archive))
    forget()
    assert [one.codec.name for one in _registry.installed().codecs] == ["fraction"]
