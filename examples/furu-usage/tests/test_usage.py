"""`furu usage` in a store of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from furu_core import Furu, use_settings
from furu_core.errors import FuruComputeError


class Small(Furu[int]):
    x: int

    def _create(self) -> int:
        return self.x


class Large(Furu[None]):
    def _create(self) -> None:
        (self.furu_dir / "zeros").write_bytes(b"\0" * 300_000)
        (self.furu_dir / "link").symlink_to("zeros")


class Fails(Furu[None]):
    def _create(self) -> None:
        (self.checkpoint_dir / "state").write_bytes(b"\0" * 50_000)
        raise ValueError("as told")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    with use_settings(path=path):
        Large().get()
        for x in range(3):
            Small(x=x).get()
        with pytest.raises(FuruComputeError):
            Fails().get()
    (path / "raw").mkdir()
    (path / "raw" / "download").write_bytes(b"\0" * 100_000)
    return path


def said(store: Path, *args: str, expected: int = 0) -> subprocess.CompletedProcess[str]:
    furu = Path(sys.executable).with_name("furu")
    done = subprocess.run(
        [furu, "usage", *args],
        env={**os.environ, "FURU_PATH": str(store)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done


FURUS = ("provenance/", "code/", "output/")  # what furu itself keeps for all nodes


def test_the_largest_come_first_and_the_sum_last(store: Path) -> None:
    lines = [line for line in said(store).stdout.splitlines() if not line.endswith(FURUS)]
    for line, name in zip(lines, ["Large", "raw/", "Fails", "Small", "in all"], strict=True):
        assert name in line
    assert "KiB in attempts" in lines[2]
    large, small = lines[0].split(), lines[3].split()
    assert (large[1], large[2]) == ("KiB", "1")
    assert 293 <= float(large[0]) <= 310
    assert small[2] == "3"


def test_scripts_get_bytes(store: Path) -> None:
    found = {
        usage["name"].rpartition(":")[2]: usage
        for usage in json.loads(said(store, "--json").stdout)
    }
    assert {name for name in found if name not in FURUS} == {"Large", "Small", "Fails", "raw/"}
    assert found["raw/"]["results"] == 100_000
    assert found["Fails"]["nodes"] == found["Fails"]["results"] == 0
    assert 50_000 <= found["Fails"]["attempts"] < 60_000
    assert found["Large"]["attempts"] == 0
    on_disk = sum(
        path.lstat().st_size
        for path in store.rglob("*")
        if path.parent != store and (path.is_symlink() or path.is_file())
    )
    assert sum(usage["results"] + usage["attempts"] for usage in found.values()) == on_disk


def test_one_class_alone(store: Path) -> None:
    (usage,) = json.loads(said(store, "Small", "--json").stdout)
    assert (usage["nodes"], usage["attempts"]) == (3, 0)


def test_a_class_that_is_not_there_is_an_error_of_furu(store: Path) -> None:
    done = said(store, "Smal", expected=2)
    assert "has no class 'Smal'; did you mean" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_store_takes_nothing(tmp_path: Path) -> None:
    assert said(tmp_path / "none").stdout.split() == ["0", "B", "in", "all"]


def test_the_command_stands_in_the_help(tmp_path: Path) -> None:
    furu = Path(sys.executable).with_name("furu")
    text = subprocess.run([furu, "--help"], capture_output=True, text=True, check=True).stdout
    assert "du " in text
    assert "Show the space that results take" in text
