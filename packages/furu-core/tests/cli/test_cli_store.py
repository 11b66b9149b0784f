"""`furu ls`, `show`, `log`, `rm`, `executors`, plugins, and what all commands have in common."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from furu_core import use_settings
from furu_core._status import _stored_nodes
from furu_core._store import _record_file
from furu_core.errors import FuruStoreError
from furu_testing import wait_until

COMPUTE = "from exp.train import *\nprint(one.get(), one.furu_hash, one.data.furu_hash)"
FAIL = "from exp.train import *\ntry:\n    broken.get()\nexcept Exception: print(broken.furu_hash)"


@pytest.fixture(scope="session")
def computed(tmp_path_factory: pytest.TempPathFactory, make_project: Any) -> Any:
    """A project with a `Train`, the `Split` it needs, and a `Broken` that failed; computed once."""
    project = make_project(tmp_path_factory.mktemp("computed"))
    *_, project.train, project.split = project.python(COMPUTE).split()
    project.broken = project.python(FAIL).split()[-1]
    return project


@pytest.fixture
def filled(computed: Any, project: Any) -> Any:
    """A copy of the computed project."""
    shutil.copytree(computed.store, project.store)
    project.train, project.split, project.broken = computed.train, computed.split, computed.broken
    return project


def test_ls_lists_nodes_by_class_with_their_states(filled: Any) -> None:
    lines = [line.split() for line in filled.furu("ls").out.splitlines()]
    assert lines == [
        ["failed", filled.broken[:12], "exp.train:Broken"],
        ["done", filled.split[:12], "exp.train:Split"],
        ["done", filled.train[:12], "exp.train:Train"],
    ]


@pytest.mark.parametrize("name", ["Train", "train:Train", "exp.train:Train", "exp.train.Train"])
def test_ls_of_a_class_takes_as_much_of_its_module_as_one_gives(filled: Any, name: str) -> None:
    assert [line.split()[1] for line in filled.furu("ls", name).out.splitlines()] == [
        filled.train[:12]
    ]


@pytest.mark.parametrize("command", ["ls", "show", "log", "rm"])
def test_a_misspelt_class_is_an_error_that_names_the_likely_one(filled: Any, command: str) -> None:
    done = filled.furu(command, "trian")
    assert done.status == 2
    assert "'trian'; did you mean Train?" in done.err


def test_p8_a_node_whose_worker_was_killed_has_failed_in_every_listing_as_in_its_run(
    filled: Any,
) -> None:
    (folder,) = (filled.store / "data/exp/train/Broken").glob(".*.1")
    claim = (folder / ".furu.json").read_bytes().splitlines()[0]
    ended = {"time": 1.0, "kind": "lost", "error_type": "", "message": "was killed", "culprit": ""}
    story = json.dumps({"status": "lost", "ended": ended}).encode()
    (folder / ".furu.json").write_bytes(_record_file.whole(claim, b"", story))
    listed = filled.furu("ls", "Broken", "--state", "failed").out.split()
    assert listed == ["failed", filled.broken[:12], "exp.train:Broken"]
    assert filled.json("show", "Broken")["state"] == "failed"
    assert filled.json("ls", "Broken", "--count")[0]["state"] == "failed"
    assert filled.furu("ls", "--state", "lost").out == ""


def test_ls_filters_by_state_counts_and_prints_json_lines(filled: Any) -> None:
    failed = filled.furu("ls", "--state", "failed", "--json").out.splitlines()
    assert [json.loads(line)["hash"] for line in failed] == [filled.broken]
    record = json.loads(filled.furu("ls", "Train", "--json").out)
    assert record == {
        "hash": filled.train,
        "class": "exp.train:Train",
        "name": f"Train({filled.train[:6]})",
        "state": "done",
        "path": str(filled.store / "data/exp/train/Train" / filled.train),
    }
    counted = filled.json("ls", "--count")
    assert {(entry["class"], entry["state"], entry["nodes"]) for entry in counted} == {
        ("exp.train:Broken", "failed", 1),
        ("exp.train:Split", "done", 1),
        ("exp.train:Train", "done", 1),
    }


def test_ls_of_an_empty_store_is_empty(project: Any) -> None:
    done = project.furu("ls")
    assert (done.status, done.out) == (0, "")


def test_a_path_whose_bytes_are_no_text_ends_no_listing(project: Any) -> None:
    project.python("from exp.train import *\none.get()")
    store = os.path.join(project.folder, os.fsdecode(b"odd \xff"))
    os.rename(project.store, store)
    for command in ("ls --json", "ls --paths", "ls --csv", "show Train", "table", "du"):
        said = project.shell(
            f"export PYTHONIOENCODING=utf-8:strict FURU_PATH=$'odd \\xff'; furu {command}"
        )
        assert (said.status, "Traceback" in said.err) == (0, False), (command, said.err)
        if command == "ls --json":
            paths = [json.loads(line)["path"] for line in said.out.splitlines()]
            assert all(os.path.isdir(path) and path.startswith(store) for path in paths)


def test_a_reader_that_has_had_enough_ends_ls_quietly(filled: Any) -> None:
    fill(filled.store / "data/exp/train/Split", 4_000)  # far more than a pipe holds
    done = filled.shell("furu ls | head -1; exit ${PIPESTATUS[0]}")
    assert done.err == ""
    assert len(done.out.splitlines()) == 1
    assert done.status == 141  # as for any program that SIGPIPE ends


def test_a_closed_stdout_fails_no_command(filled: Any) -> None:
    done = filled.shell("furu ls >&-; furu show " + filled.train + " >&-")
    assert done.status == 0
    # What to type next, after each.
    assert [line.partition("`")[2][:5] for line in done.err.splitlines()] == ["furu ", "furu "]


def test_100000_artifacts_are_listed_without_a_stat_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "data/exp/train/Split", 2_000)
    looks: list[object] = []
    real = os.stat

    def counted(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        looks.append(path)
        return real(path, *args, **kwargs)

    with use_settings(path=tmp_path):
        monkeypatch.setattr(os, "stat", counted)
        found = list(_stored_nodes.nodes(_stored_nodes.classes()))
    assert len(found) == 2_000
    assert len(looks) < 20


def fill(folder: Path, count: int) -> None:
    """Folders that look like artifacts from outside."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        os.mkdir(folder / f"{number:032x}")


def test_show_tells_config_state_timings_files_and_provenance(filled: Any) -> None:
    text = filled.furu("show", filled.train[:8]).out
    for said in (
        f"exp.train:Train({filled.train})",
        "state      done",
        "lr         0.1",
        "weights.txt",
        "took",
        "user",
        "1 published",
    ):
        assert said in text
    facts = filled.json("show", filled.train)
    assert facts["config"]["fields"]["lr"] == 0.1
    assert facts["files"]["weights.txt"] == 1
    assert facts["costs"]["wall_secs"] > 0
    assert facts["provenance"]["python"] == sys.version.split()[0]
    assert facts["damage"] is None


def test_show_of_a_failed_node_tells_why(filled: Any) -> None:
    text = filled.furu("show", filled.broken[:8]).out
    assert "ZeroDivisionError: nothing to divide by" in text
    assert ".furu.log" in text
    facts = filled.json("show", filled.broken)
    assert (facts["state"], facts["failure"]["kind"]) == ("failed", "compute")
    assert len(facts["attempts"]) == 1


def test_show_of_a_damaged_artifact_says_so(filled: Any) -> None:
    artifact = filled.store / "data/exp/train/Train" / filled.train
    (artifact / "weights.txt").write_text("cut and longer")
    facts = filled.json("show", filled.train)
    assert "14 bytes where 1 were published" in facts["damage"]
    (artifact / ".furu.json").write_text("{")
    assert filled.furu("show", filled.train).status == 0


def test_a_hash_may_be_written_short_and_as_logs_write_it(filled: Any) -> None:
    names = [filled.train, filled.train[:7], f"Train({filled.train[:6]})"]
    names += [f"exp.train:Train({filled.train[:1]})"]
    for name in names:
        assert filled.json("show", name)["hash"] == filled.train


def test_an_ambiguous_hash_names_the_candidates(project: Any) -> None:
    for cls in ("A", "B"):
        (project.store / f"data/m/{cls}/{'ab12' + '0' * 27}{cls.lower()}").mkdir(parents=True)
    done = project.furu("show", "ab1")
    assert done.status == 2
    assert "'ab1' means 2 nodes: m:A(ab12000), m:B(ab12000)" in done.err
    assert project.json("show", "B(ab1)")["class"] == "m:B"


@pytest.mark.parametrize("command", ["show", "log", "rm"])
def test_an_unknown_hash_names_similar_ones(filled: Any, command: str) -> None:
    wrong = filled.train[:5] + "zzz".replace("z", "0" if filled.train[5] != "0" else "1")
    done = filled.furu(command, wrong)
    assert done.status == 2
    assert f"has no node '{wrong}'; similar are exp.train:Train({filled.train[:12]})" in done.err
    assert "has no node 'xyz'" in filled.furu(command, "xyz").err


def test_a_class_name_means_its_only_node(filled: Any, project: Any) -> None:
    assert filled.furu("log", "Train").out.startswith("training\n")
    for digit in "ab":
        (project.store / f"data/m/Several/{digit * 32}").mkdir(parents=True)
    done = project.furu("show", "Several")
    assert done.status == 2
    assert "'Several' means 2 nodes: m:Several(aaaaaa), m:Several(bbbbbb)" in done.err


@pytest.mark.parametrize("command", ["show", "log", "rm"])
def test_a_class_name_comes_before_a_hash_that_begins_like_it(project: Any, command: str) -> None:
    add, other = "1" * 32, "add514" + "0" * 26
    for cls, node in (("m:Add", add), ("m:Model", other)):
        fill_one(project.store, cls, node)
    options = ["--yes"] if command == "rm" else ["--path"] if command == "log" else []
    done = project.furu(command, *options, "Add")
    assert done.status == 0, done.err
    assert "add514" not in done.out
    assert (project.store / "data/m/Model" / other).is_dir()
    assert (project.store / "data/m/Add" / add).is_dir() == (command != "rm")


def test_a_class_that_is_gone_gives_its_name_to_no_other_node(project: Any) -> None:
    fill_one(project.store, "m:Model", "add514" + "0" * 26)
    done = project.furu("rm", "--yes", "Add")
    assert done.status == 2
    assert "has no node 'Add'; similar are m:Model(add514000000)" in done.err
    assert project.json("show", "add")["class"] == "m:Model"


def test_what_is_a_class_name_and_the_beginning_of_a_hash_alike_is_ambiguous(project: Any) -> None:
    fill_one(project.store, "m:add", "1" * 32)
    fill_one(project.store, "m:Model", "add514" + "0" * 26)
    done = project.furu("rm", "--yes", "add")
    assert done.status == 2
    assert "'add' means 2 nodes: m:add(1111111), m:Model(add5140)" in done.err
    assert project.json("show", "m:add")["class"] == "m:add"
    assert project.json("show", "add5")["class"] == "m:Model"


def test_a_whole_class_name_means_no_class_whose_name_only_ends_so(project: Any) -> None:
    for cls, node in (("b:T", "1" * 32), ("a.b:T", "2" * 32)):
        fill_one(project.store, cls, node)
    assert project.json("show", "b:T")["class"] == "b:T"
    assert project.json("show", "b:T(1)")["class"] == "b:T"
    assert len(project.furu("ls", "b:T").out.splitlines()) == 1
    assert len(project.furu("ls", "T").out.splitlines()) == 2


def fill_one(store: Path, cls: str, node: str) -> None:
    """A folder that looks like the artifact of a class's node, with a log."""
    folder = store / "data" / cls.replace(".", "/").replace(":", "/") / node
    folder.mkdir(parents=True)
    (folder / ".furu.log").write_text("")


def test_a_record_of_a_newer_furu_ends_no_listing_and_its_node_can_be_shown_and_removed(
    filled: Any,
) -> None:
    (folder,) = (filled.store / "data/exp/train/Broken").glob(".*.1")
    for record in (folder, filled.store / "data/exp/train/Train" / filled.train):
        path = record / ".furu.json"
        path.write_bytes(path.read_bytes().replace(b'{"furu":2,', b'{"furu":99,', 1))
        os.utime(path, (1e9, 1e9))  # whoever made it shows no sign of life
    listed = filled.furu("ls")
    assert listed.status == 0, listed.err
    assert [line.split()[0] for line in listed.out.splitlines()] == ["unreadable", "done", "done"]
    assert len(filled.furu("ls", "--state", "unreadable").out.splitlines()) == 1
    assert "has format version 99" in filled.furu("show", "Broken").out
    shown = filled.json("show", "Train")
    assert "has format version 99" in shown["reason"]
    assert shown["damage"] is None  # nobody computes it anew
    assert "about to fail" in filled.furu("log", "Broken").out
    assert filled.furu("rm", "--yes", "Broken", "Train").status == 0
    assert len(filled.furu("ls").out.splitlines()) == 1


def test_a_folder_that_cannot_be_read_ends_no_listing_and_an_unreadable_store_is_one_error(
    filled: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, hidden = os.listdir, ["Train"]

    def listdir(path: str) -> Any:  # the tests may run as root, who may read everything
        if path.rstrip("/").endswith(tuple(hidden)):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    with use_settings(path=filled.store):
        assert [cls.short for cls in _stored_nodes.classes()] == ["Broken", "Split"]
        assert f"cannot read the store at {filled.store}/data/exp/train/Train" in caplog.text
        hidden[:] = ["data"]
        with pytest.raises(FuruStoreError, match="Permission denied"):
            list(_stored_nodes.classes())


def test_output_that_cannot_be_written_is_one_line_and_status_1(filled: Any) -> None:
    done = filled.shell("furu ls > /dev/full")
    assert done.status == 1
    assert (
        done.err.splitlines()[0] == "error: the output cannot be written: No space left on device"
    )
    assert "Traceback" not in done.err


def test_entry_points_that_cannot_be_decoded_harm_no_command(project: Any) -> None:
    info = project.folder.parent / "site/broken_tests-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_bytes(b"Name: caf\xe9\n")
    (info / "entry_points.txt").write_bytes(b"[furu.commands]\nhallo = caf\xe9:x\n")
    done = project.furu("hello")
    assert (done.status, done.out) == (0, "hello\n")
    assert done.err.count("broken_tests-1.0.dist-info cannot be read (UnicodeDecodeError") == 1


def test_log_prints_what_the_node_printed(filled: Any) -> None:
    assert filled.furu("log", filled.split).out == "splitting 0\n"
    assert filled.furu("log", filled.train).out.startswith("training\n")
    path = filled.furu("log", filled.split, "--path").out.strip()
    assert Path(path).read_text() == "splitting 0\n"


def test_log_follows_a_result_whose_log_is_where_format_1_had_it(filled: Any) -> None:
    log = Path(filled.furu("log", filled.split, "--path").out.strip())
    (log.parent / ".furu").mkdir()
    log.rename(log.parent / ".furu" / "furu.log")
    assert filled.furu("log", filled.split).out == "splitting 0\n"
    assert filled.furu("log", "-f", filled.split).out == "splitting 0\n"


def test_log_of_a_failed_node_is_that_of_its_newest_attempt(filled: Any) -> None:
    filled.python(FAIL)
    log = filled.furu("log", filled.broken).out
    assert log.startswith("about to fail\n")
    assert "ZeroDivisionError: nothing to divide by" in log
    first = filled.furu("log", filled.broken, "--attempt", "1", "--path").out
    newest = filled.furu("log", filled.broken, "--path").out
    assert (".1/.furu.log" in first, ".2/.furu.log" in newest) == (True, True)
    missing = filled.furu("log", filled.broken, "--attempt", "7")
    assert missing.status == 2
    assert "has no log of attempt 7; attempts on disk: 1, 2" in missing.err


def test_rm_asks_and_deletes(filled: Any) -> None:
    artifact = filled.store / "data/exp/train/Train" / filled.train
    refused = filled.furu("rm", filled.train[:8], stdin="n\n")
    assert refused.status == 1
    assert "nothing was removed" in refused.err
    assert artifact.is_dir()
    agreed = filled.furu("rm", filled.train[:8], stdin="y\n")
    assert agreed.status == 0, agreed.err
    assert not artifact.exists()


def test_rm_deletes_several_without_asking_when_told(filled: Any) -> None:
    done = filled.furu("rm", "--yes", filled.train, filled.broken)
    assert done.status == 0, done.err
    assert [line.split()[1] for line in filled.furu("ls").out.splitlines()] == [filled.split[:12]]


def test_rm_undo_puts_the_last_removal_back_or_the_nodes_named(filled: Any) -> None:
    before = filled.furu("ls").out
    done = filled.furu("rm", "--yes", filled.train, filled.broken)
    assert "for 7 days `furu rm --undo` puts them back" in done.err
    assert json.loads(filled.furu("rm", "--yes", "--json", filled.split).out) == [
        {"hash": filled.split, "name": f"Split({filled.split[:6]})"}
    ]
    assert filled.furu("ls").out == ""
    listed = filled.furu("rm", "--trash").out
    assert [line.split()[3:] for line in listed.splitlines()] == [
        [filled.split[:12], "exp.train:Split"],
        [filled.train[:12], "exp.train:Train"],
        [filled.broken[:12], "exp.train:Broken"],
    ]
    assert filled.furu("rm", "--undo").out == f"put back Split({filled.split[:6]})\n"
    assert json.loads(filled.furu("rm", "--undo", "--json", "Train").out) == {
        "put_back": [{"hash": filled.train, "name": f"Train({filled.train[:6]})"}],
        "refused": [],
    }
    assert filled.furu("rm", "--undo", filled.broken[:8]).status == 0
    assert filled.furu("ls").out == before
    nothing = filled.furu("rm", "--undo")
    assert nothing.status == 2
    assert "the trash has nothing that you removed" in nothing.err
    unknown = filled.furu("rm", "--undo", "Train")
    assert unknown.status == 2
    assert "the trash has no node 'Train'" in unknown.err


def test_rm_and_its_undo_take_the_name_of_a_class_for_all_of_its_nodes(filled: Any) -> None:
    filled.python("from exp.train import *\nfor seed in range(1, 25): Split(seed=seed).get()")
    before = filled.furu("ls").out
    asked = filled.furu("rm", "Split", stdin="y\n")
    assert "and 5 more nodes" in asked.err
    assert "Remove these 25 nodes?" in asked.err
    assert "removed 5 more nodes" in asked.out
    assert "Split" not in filled.furu("ls").out
    assert "put back 5 more nodes" in filled.furu("rm", "--undo", "Split").out
    assert filled.furu("ls").out == before


def test_rm_takes_what_ls_would_list(filled: Any) -> None:
    filled.python("from exp.train import *\nfor lr in (0.5, 0.6): Train(lr=lr).get()")
    before = filled.furu("ls").out
    for options in (
        ("Train", "--where", "lr>0.4"),
        ("--class", "Train", "--since", "1h", "--where", "lr=0.1"),
        ("--state", "failed"),
        ("--failed", "--where", "needed=1"),
        ("Train", "Broken", "--state", "done"),
    ):
        plain = [one for one in options if one != "--failed"]
        listed = [
            json.loads(line)["hash"]
            for line in filled.furu("ls", *plain, "--json").out.splitlines()
        ]
        assert listed
        removed = filled.json("rm", "--yes", *options)
        assert sorted(one["hash"] for one in removed) == sorted(listed)
        assert filled.furu("rm", "--undo").status == 0
        assert filled.furu("ls").out == before
    for options, said in (
        (("--where", "no=1"), "no node has a column 'no'"),
        (("run:2020",), "has no run '2020'"),
        (("--class", "Trian"), "did you mean Train?"),
        (("--undo", "--where", "lr=0.5"), "--undo takes no --where"),
        (("--empty", "run:2020"), "--empty takes no run:ID"),
    ):
        refused = filled.furu("rm", "--yes", *options)
        assert (refused.status, said in refused.err) == (2, True), refused.err
    assert filled.furu("ls").out == before


def test_a_question_that_nobody_answers_is_told_from_ctrl_c(filled: Any) -> None:
    refused = filled.furu("rm", "Train", stdin="")
    assert refused.status == 2
    assert refused.err.endswith(
        "error: there was no answer, so nothing was removed\nhint: a script gives --yes\n"
    )
    assert filled.furu("ls", "Train").out


def test_rm_undo_leaves_what_came_since_and_says_so(filled: Any) -> None:
    filled.furu("rm", "--yes", filled.split)
    filled.python("from exp.train import *\nSplit().get()")
    undone = filled.furu("rm", "--undo")
    assert undone.status == 1
    assert "left in the trash: Split(" in undone.out
    assert "another result is there by now" in undone.out
    command = f"furu rm --undo {filled.split[:12]}"
    assert f"`furu rm --forever {filled.split[:12]}` and `{command}`" in undone.err
    assert filled.furu("rm", "--yes", "--forever", filled.split[:12]).status == 0
    assert filled.furu("rm", "--undo", filled.split[:12]).status == 0


def test_rm_empty_and_forever_leave_nothing_to_put_back(filled: Any) -> None:
    filled.furu("rm", "--yes", filled.split)
    assert filled.furu("rm", "--empty", stdin="n\n").status == 1
    assert "Split" in filled.furu("rm", "--trash").out
    assert filled.furu("rm", "--empty", "--yes").out == "removed 1 removal for good\n"
    assert filled.furu("rm", "--empty").out == "the trash has nothing that you removed\n"
    assert filled.furu("rm", "--yes", "--forever", filled.train).out.splitlines() == [
        f"removed Train({filled.train[:6]})"
    ]
    assert filled.furu("rm", "--trash").out == "the trash is empty\n"
    assert json.loads(filled.furu("rm", "--trash", "--json").out) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the nodes to remove, or --undo"),
        (["--undo", "--empty"], "--undo and --empty exclude each other"),
        (["--empty", "Train"], "--empty takes no names"),
    ],
)
def test_rm_tells_what_it_cannot_do(filled: Any, arguments: list[str], said: str) -> None:
    refused = filled.furu("rm", *arguments)
    assert refused.status == 2
    assert said in refused.err


def test_rm_refuses_a_node_that_is_being_computed(project: Any) -> None:
    os.mkfifo(project.folder / "go")
    project.write(
        "slow.py",
        """
        from furu_core import Furu
        class Slow(Furu[int]):
            def _create(self) -> int:
                with open("go") as go: go.read()
                return 1
        slow = Slow()
        """,
    )
    command = [sys.executable, "-c", "from slow import slow\nslow.get()"]
    with subprocess.Popen(command, cwd=project.folder, env=project.env) as process:
        try:
            wait_until(
                "the node to be listed as running", lambda: "running" in project.furu("ls").out
            )
            name = project.furu("ls").out.split()[1]
            done = project.furu("rm", "--yes", name)
            assert done.status == 2
            assert f"is being computed by process {process.pid} on " in done.err
            assert "holder" in project.furu("show", name).out
            (project.folder / "go").write_text("on")
            assert process.wait(120) == 0
        finally:
            process.kill()
    assert "done" in project.furu("ls").out


def test_executors_lists_what_is_installed_and_what_is_broken(project: Any) -> None:
    done = project.furu("executors")
    assert done.status == 0
    lines = [line.split() for line in done.out.splitlines()]
    assert ["inline", "some-tests", "1.0", "ok", "inline_for_tests:InlineExecutor"] in lines
    found = {entry["name"]: entry for entry in project.json("executors")}
    assert found["inline"]["problem"] == ""
    assert "there is no module no_such_module_for_tests" in found["gone"]["problem"]
    assert found["gone"]["distribution"] == "some-tests"


def test_a_plugin_adds_a_command(project: Any) -> None:
    assert project.furu("hello").out == "hello\n"
    assert "Say hello." in project.furu("--help").out


def test_a_broken_plugin_breaks_no_other_command(project: Any) -> None:
    shown = project.furu("--help")
    assert shown.status == 0
    assert "(broken: some-tests 1.0)" in shown.out
    called = project.furu("broken-one", "--anything", "x")
    assert called.status == 2
    assert "the command 'broken-one' of some-tests 1.0 is registered as" in called.err
    assert "there is no module no_such_module_for_tests" in called.err
    assert "which is no click command" in project.furu("no-command").err


def test_an_unknown_command_names_the_likely_one(project: Any) -> None:
    done = project.furu("shwo")
    assert done.status == 2
    assert "Did you mean 'show'?" in done.err


def test_the_version_is_that_of_the_distribution(project: Any) -> None:
    assert project.furu("--version").out.startswith("furu ")


def test_a_misspelt_setting_is_an_error_without_a_traceback(project: Any) -> None:
    done = project.furu("ls", FURU_PTH="x")
    assert done.status == 2
    assert done.err.startswith("error: FURU_PTH is no setting of furu; did you mean FURU_PATH?")
    assert "hint: " in done.err


def test_an_unknown_variable_is_one_line_of_warning(project: Any) -> None:
    done = project.furu("ls", FURU_BANANAS="x")
    assert done.status == 0
    assert done.err.count("FURU_BANANAS") == 1
    assert "warning: FURU_BANANAS is no setting" in done.err


def test_debugging_shows_where_an_error_came_from(project: Any) -> None:
    done = project.furu("show", "abc", FURU_LOG_LEVEL="DEBUG")
    assert "Traceback" in done.err
    assert "Traceback" not in project.furu("show", "abc").err


def test_the_store_can_be_read_without_the_code_that_made_it(filled: Any) -> None:
    shutil.rmtree(filled.folder / "exp")
    assert filled.json("show", filled.train)["config"]["fields"]["lr"] == 0.1
    assert filled.furu("rm", "--yes", filled.train).status == 0


def test_help_and_ls_import_nothing_heavy(project: Any) -> None:
    heavy = "numpy pandas rich cattrs"
    code = (
        "import sys\nfrom furu_core._cli._main import run_and_report\n"
        "run_and_report(['ls'])\n"
        f"print([name for name in '{heavy}'.split() if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project.folder, env=project.env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


def test_upgrade_says_what_it_did(filled: Any) -> None:
    said = filled.furu("upgrade")
    assert said.out == "upgraded 0 results and 0 ended attempts; 2 had the newest format\n"
    assert filled.json("upgrade")["new"] == 2
    nowhere = filled.folder / "nowhere"
    assert filled.furu("upgrade", FURU_PATH=str(nowhere)).status == 0
    assert not nowhere.exists(), "where there is no store, none is made"
