"""`furu verify`: what it prints, its exit status, and its JSON."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COMPUTE = "from exp.train import *\nprint(one.get(), one.furu_hash, one.data.furu_hash)"


@pytest.fixture
def filled(project: Any) -> Any:
    """A project with a `Train`, and the `Split` it needs."""
    *_, project.train, project.split = project.python(COMPUTE).split()
    project.weights = project.store / "data/exp/train/Train" / project.train / "weights.txt"
    return project


def bytes_read(*files: Path) -> int:
    return sum(file.stat().st_size for file in files)


def test_a_good_store_is_one_line_and_status_0(filled: Any) -> None:
    done = filled.furu("verify")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("checked 2 results, ")
    assert done.out.endswith(" read: nothing damaged; contents are compared with --deep\n")
    deep = filled.furu("verify", "--deep")
    assert (deep.status, deep.err) == (0, "")
    assert deep.out.endswith(" read: nothing damaged\n")


def test_an_empty_store_is_good(project: Any) -> None:
    assert project.furu("verify").out.startswith("checked 0 results, 0 B read: nothing damaged")


def test_p8_damage_is_a_line_with_hash_class_and_what_and_the_next_step_helps(filled: Any) -> None:
    filled.weights.write_text("v")
    (filled.weights.parent / "more").touch()
    assert filled.furu("verify").status == 1
    done = filled.furu("verify", "--deep")
    assert done.status == 1
    more, contents, summary = done.out.splitlines()
    begin = f"damaged  {filled.train[:12]}  exp.train:Train  "
    assert more == f"{begin}more: it was not published"
    assert contents == f"{begin}weights.txt: its contents are not those that were published"
    assert summary.startswith("checked 2 results, ")
    assert summary.endswith(" read: 1 damaged")
    assert done.err == (
        f"`furu rm {filled.train[:12]}` removes what is damaged; then get(), or the run that needs it, "
        "computes it again\n"
    )
    command = done.err.split("`")[1].split()[1:]
    assert filled.furu(*command, "--yes").status == 0
    filled.python(COMPUTE)
    assert filled.furu("verify", "--deep").status == 0


def test_of_much_damage_to_one_artifact_ten_lines_are_printed_and_all_is_in_the_json(
    filled: Any,
) -> None:
    for number in range(25):
        (filled.weights.parent / f"more{number}").touch()
    lines = filled.furu("verify").out.splitlines()
    assert len([line for line in lines if "it was not published" in line]) == 10
    assert f"damaged  {filled.train[:12]}  and 15 more (see --json)" in lines
    assert len(filled.json("verify")["damage"]) == 25


def test_names_choose_classes_and_nodes(filled: Any) -> None:
    filled.weights.unlink()
    for names, artifacts, status in (
        (["Split"], 1, 0),
        (["exp.train:Train"], 1, 1),
        ([filled.split[:10], f"Train({filled.train[:6]})"], 2, 1),
    ):
        done = filled.furu("verify", *names)
        assert (done.status, done.out.count("damaged  ")) == (status, status)
        assert f"checked {artifacts} result" in done.out


@pytest.mark.parametrize("name", ["trian", "0" * 32])
def test_a_name_that_means_nothing_is_wrong_usage(filled: Any, name: str) -> None:
    done = filled.furu("verify", name)
    assert done.status == 2
    assert f"{name!r}" in done.err


def test_the_code_that_made_the_results_is_not_imported(filled: Any) -> None:
    filled.write("exp/__init__.py", "raise SystemExit('imported')")
    assert filled.furu("verify", "--deep").status == 0
    shutil.rmtree(filled.folder / "exp")
    assert filled.furu("verify", "--deep", "Train").status == 0


def test_json_tells_all_of_it(filled: Any) -> None:
    (provenance,) = (filled.store / "provenance").iterdir()
    code = [
        *(filled.store / "code").glob("?" * 32 + ".json"),
        *(filled.store / "code/sources").iterdir(),
    ]
    records = list(filled.store.rglob(".furu.json"))
    assert filled.json("verify", "--deep") == {
        "deep": True,
        "artifacts": 2,
        "damaged_artifacts": 0,
        "bytes_read": bytes_read(filled.weights, provenance, *code, *records),
        "not_compared": 0,
        "without_digest": 0,
        "damage": [],
        "unreadable": [],
        "notes": [],
    }
    filled.weights.unlink()
    provenance.unlink()
    record = records[0].parent.parent.parent / "Split" / filled.split / ".furu.json"
    record.write_bytes(record.read_bytes().replace(b'{"furu":2', b'{"furu":9'))
    told = filled.json("verify")
    assert told["damaged_artifacts"] == 1
    assert told["damage"] == [
        {
            "hash": filled.train,
            "class": "exp.train:Train",
            "path": str(filled.weights),
            "what": "the file is missing",
            "next": f"furu rm {filled.train[:12]}",
        },
        {
            "hash": None,
            "class": None,
            "path": str(provenance),
            "what": "the file is missing; it is the provenance of 1 of these artifacts",
            "next": "put a copy of the file there; the results themselves do not need it",
        },
    ]
    (unread,) = told["unreadable"]
    assert (unread["hash"], unread["path"]) == (filled.split, str(record))
    assert told["not_compared"] == 1
    assert filled.furu("verify", "--json").status == 1


def test_what_is_not_compared_is_counted_and_is_no_damage(filled: Any) -> None:
    filled.python(
        "from exp.train import *\nimport furu_core\n"
        "with furu_core.use_settings(digest_limit=0): Train(lr=5).get()"
    )
    record = filled.store / "data/exp/train/Split" / filled.split / ".furu.json"
    record.write_bytes(record.read_bytes().replace(b'{"furu":2', b'{"furu":9'))
    done = filled.furu("verify")
    assert done.status == 0
    line, summary = done.out.splitlines()
    assert line.startswith(f"unread   {filled.split[:12]}  exp.train:Split  .furu.json: ")
    assert ": nothing damaged, 1 file not compared; " in summary
    *_, deep = filled.furu("verify", "--deep").out.splitlines()
    assert deep.endswith(": nothing damaged, 2 files not compared (1 without a digest)")


def test_a_leftover_and_damage_to_no_node_have_their_next_steps_in_their_lines(filled: Any) -> None:
    (provenance,) = (filled.store / "provenance").iterdir()
    provenance.unlink()
    left = filled.weights.parent.parent / ".removed-x"
    left.mkdir()
    os.utime(left, (1e9, 1e9))
    done = filled.furu("verify")
    assert done.status == 1
    damage, note, summary = done.out.splitlines()
    assert note == (
        "note     -             exp.train:Train  data/exp/train/Train/.removed-x: a process that died more "
        "than a day ago left it (next: the next computation of a node of this class removes it)"
    )
    assert damage.startswith(
        f"damaged  -             -  provenance/{provenance.name}: the file is missing; "
    )
    assert "read: 1 file of provenance or code damaged; " in summary


def test_people_see_how_far_it_is_and_pipes_do_not(filled: Any) -> None:
    """The console is a terminal, and every look takes longer than the time between two lines."""
    code = (
        "from furu_core._cli import _verify, _main\n"
        "_verify._REFRESH_SECS = -1.0\n"
        "_main.main(['verify'])"
    )
    shown, console = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=filled.folder, env=filled.env, stdout=subprocess.PIPE, stderr=console, text=True, check=True,
        )  # fmt: skip
        said = os.read(shown, 10_000).decode()
    finally:
        os.close(shown)
        os.close(console)
    assert "\r\x1b[K1 result, " in said
    assert said.endswith("\r\x1b[K")
    assert done.stdout.startswith("checked 2 results, ")
    assert "\x1b" not in done.stdout
