"""`furu export` and `furu import`: what they print, and what they say of a command line that they cannot do."""

from __future__ import annotations

import json
from typing import Any

import pytest


@pytest.fixture
def project(project: Any) -> Any:
    project.python("from exp import train; train.Train().get(); train.Train(lr=0.5).get()")
    return project


def test_results_go_to_another_store_and_are_told_there(project: Any) -> None:
    said = project.furu("export", "Train", "-o", "x.tar")
    assert said.status == 0, said
    assert said.out.startswith("exported 3 results (2 chosen, 1 that they depend on), ")
    assert "`furu import x.tar`" in said.err
    other = str(project.folder / "other")
    listed = project.furu("import", "--list", "x.tar", FURU_PATH=other)
    assert "exp.train:Train    2      0" in listed.out
    assert not (project.folder / "other").exists()
    done = project.furu("import", "x.tar", FURU_PATH=other)
    assert done.out.startswith("imported 3 results, ")
    assert "furu ls" in done.err
    shown = project.furu("show", "Split", FURU_PATH=other).out
    assert f"imported   from {project.folder / 'x.tar'} on " in shown
    again = project.furu("import", "x.tar", FURU_PATH=other)
    assert again.out.startswith("imported 0 results, 0 B; 3 were there\n")
    assert project.furu("import", "--list", "x.tar", FURU_PATH=other).out.endswith(
        "all of it is there\n"
    )


def test_json_tells_what_went_and_what_came(project: Any) -> None:
    project.furu("rm", "-y", "Split")
    went = project.json("export", "--where", "lr=0.5", "-o", "x.tgz")
    assert [node["class"] for node in went["nodes"]] == ["exp.train:Train"]
    assert went["roots"] == [went["nodes"][0]["hash"]]
    assert (len(went["missing"]), went["left_out"], went["file"]) == (1, {}, "x.tgz")
    came = project.json("import", "x.tgz", FURU_PATH="other")
    assert came["new"] == went["nodes"]
    assert (came["imported"], came["trusted"], came["there"]) == (True, False, [])
    assert came["missing"] == went["missing"]
    assert project.json("show", "Train", FURU_PATH="other")["imported"]["trusted"] is False


def test_a_pipe_carries_an_archive(project: Any) -> None:
    said = project.shell("furu export Train -o - | FURU_PATH=other furu import -")
    assert said.out.startswith("imported 3 results")
    assert "exported 3 results" in said.err
    said = project.shell(
        "furu export exp.train:several -o - | head -c 2000 | FURU_PATH=cut furu import -"
    )
    assert (said.status, said.out) == (1, "")
    assert "the file was cut off" in said.err
    assert not list((project.folder / "cut").rglob(".furu.json"))


def test_a_target_of_code_means_its_results_and_must_have_them(project: Any) -> None:
    assert project.json("export", "exp.train:one", "-o", "x.tar")["roots"]
    said = project.furu("export", "exp.train:sweep", "-o", "y.tar")
    assert said.status == 2
    assert "1 of 2 roots of exp.train:sweep has no result" in said.err
    assert "furu run exp.train:sweep" in said.err
    assert project.furu("export", "no_such_module:x", "-o", "y.tar").status == 2
    assert not (project.folder / "y.tar").exists()


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("export", "-o", "x.tar"), "Missing argument"),
        (("export", "Train"), "Missing option '-o'"),
        (("export", "Nothing", "-o", "x.tar"), "has no class 'Nothing'"),
        (("export", "--state", "failed", "-o", "x.tar"), "there is nothing to export"),
        (("export", "Train", "-o", "no/folder/x.tar"), "cannot be written: No such file"),
        (("export", "Train", "-o", "-", "--json"), "exclude each other"),
        (("export", "Train", "-o", "x.tar.zip"), "x.tar.zip would be no zip file"),
        (("import",), "Missing argument 'FILE'"),
        (("import", "gone.tar"), "gone.tar cannot be read: No such file"),
        (("import", "exp"), "exp cannot be read: Is a directory"),
        (("import", "pyproject.toml"), "the file was cut off"),
        (("import", "exp/train.py"), "it is no tar file"),
        (("import", "--list", "--trust", "x.tar"), "exclude each other"),
    ],
)
def test_what_cannot_be_done_is_said(project: Any, args: tuple[str, ...], told: str) -> None:
    said = project.furu(*args)
    assert said.status in (1, 2), said
    assert told in said.err
    assert "Traceback" not in said.err
    assert not list(project.folder.glob("*x.tar*"))


def test_a_file_that_is_there_is_replaced_by_force_alone(project: Any) -> None:
    project.write("x.tar", "mine")
    said = project.furu("export", "Train", "-o", "x.tar")
    assert (said.status, "give --force" in said.err) == (2, True)
    assert (project.folder / "x.tar").read_text() == "mine"
    assert project.furu("export", "Train", "-o", "x.tar", "--force").status == 0
    assert json.loads(project.furu("import", "--list", "x.tar", "--json").out)["there"]


def test_a_store_that_is_only_read_is_listed_when_asked_and_searched_by_hash(project: Any) -> None:
    mine = {"FURU_PATH": "mine", "FURU_ALSO": "furu-data"}
    (node,) = project.json("export", "--where", "lr=0.5", "-o", "x.tar")["roots"]
    assert project.furu("ls", **mine).out == ""
    assert project.furu("ls", "--also", "--count", **mine).out.split() == [
        "1", "done", "exp.train:Split", "2", "done", "exp.train:Train"
    ]  # fmt: skip
    assert project.furu("ls", "Split", "--also", "--paths", **mine).out.count("furu-data") == 1
    assert "\n2 done, " in project.furu("table", "Train", "--also", **mine).out
    refused = project.furu("table", "Train", **mine)
    assert (refused.status, "`furu ls --also`" in refused.err) == (2, True)
    refused = project.furu("table", "Trian", "--also", **mine)
    assert (refused.status, "--also" in refused.err) == (2, False), "it was given"
    assert "--also" not in project.furu("ls", "--also", "--state", "lost", **mine).err
    shown = project.furu("show", node[:8], **mine)
    assert f"{project.store}/data/exp/train/Train/{node}" in shown.out
    assert project.furu("why", node[:8], **mine).status == 0
    assert project.furu("log", node[:8], **mine).status == 0
    assert "1 result, by the code that is there now" in project.furu("code", node[:8], **mine).out
    for command in (("rm", "-y"), ("pin",), ("verify",)):
        said = project.furu(*command, node[:8], **mine)
        assert (said.status, "which is only read" in said.err) == (2, True), said
    said = project.furu("ls", "--also", FURU_PATH="mine", FURU_ALSO="mistyped")
    assert "which is no store" in said.err
    assert not (project.folder / "mine").exists()
