"""Runs as others see them, with real processes: one that is done, one that failed, one that runs, one that was killed."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from furu_testing import is_running, wait_until

WAIT_SECS: Final = 60.0
STUDY: Final = """
    import os, time
    from pathlib import Path
    from furu_core import Furu

    class Data(Furu[int]):
        seed: int
        def _create(self) -> int:
            return self.seed

    class Train(Furu[float]):
        data: Data
        lr: float
        gate: str = ""
        def _create(self) -> float:
            print("training", self.lr, flush=True)
            if self.lr > 5:
                raise ValueError(f"lr {self.lr} is too large")
            if self.lr < 0:
                os._exit(9)
            if self.lr == 0:
                raise MemoryError("no room")
            deadline = time.monotonic() + 60
            while self.gate and not Path(self.gate).exists():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            if self.lr == 0.5 and not Path("again").exists():
                Path("again").touch()
                Path("go").unlink()
                raise OSError("the first time")
            print("trained", self.lr, flush=True)
            return self.lr + self.data.get()

    class Report(Furu[float]):
        models: tuple[Train, ...]
        def _create(self) -> float:
            return sum(model.get() for model in self.models)

    good = Report(models=(Train(data=Data(seed=0), lr=0.1), Train(data=Data(seed=0), lr=0.2)))
    bad = [
        Report(models=(Train(data=Data(seed=0), lr=lr),)) for lr in (6.0, 7.0, 0.0, -1.0)
    ] + [Train(data=Data(seed=1), lr=8.0)]
    slow = [Report(models=tuple(Train(data=Data(seed=s), lr=0.3, gate="go") for s in range(3)))]
    again = Train(data=Data(seed=0), lr=0.5, gate="go")
    large = Train(data=Data(seed=0), lr=6.0)
    stops = Train(data=Data(seed=0), lr=0.25)
"""


class Project:
    """A project in a folder of its own, and the `furu` command in it."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.folder = folder
        (folder / "study.py").write_text(textwrap.dedent(STUDY))
        self.env = os.environ | {
            "FURU_PATH": str(store),
            "FURU_MAX_COMPUTE_RETRIES": "0",
            "FURU_MAX_LOST_RETRIES": "0",
            "TERM": "dumb",
            "COLUMNS": "200",
        }
        self.started: list[subprocess.Popen[Any]] = []

    def furu(self, *args: str, status: int = 0, typed: str = "", **env: str) -> str:
        """What a command prints; with what it prints to a terminal, where something is typed."""
        done = subprocess.run(
            [sys.executable, "-m", "furu_core", *args],
            cwd=self.folder,
            env=self.env | env,
            input=typed,
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_SECS,
        )
        assert done.returncode == status, done.stderr
        return done.stdout + (done.stderr if typed else "")

    def json(self, *args: str) -> Any:
        """What a command prints as JSON."""
        return json.loads(self.furu(*args, "--json"))

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        """A command that goes on."""
        process = subprocess.Popen(
            [sys.executable, "-m", "furu_core", *args],
            cwd=self.folder,
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Where the tests are a background job of a shell, they ignore Ctrl-C.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        self.started.append(process)
        return process

    def slow_run(self) -> tuple[subprocess.Popen[str], str]:
        """A run of which two nodes are being computed, and its id."""
        process = self.start("run", "study.py:slow", "-j", "2")

        def begun() -> str:
            found = [one for one in self.json("runs") if one["state"] == "running"]
            if not found:
                return ""
            stages = self.json("status", found[0]["run"])["classes"]
            both = stages.get("study:Train", {}).get("running") == 2
            return found[0]["run"] if both else ""

        wait_until("two nodes that run", begun, WAIT_SECS, pause_secs=0.2)
        return process, begun()

    def await_train(self) -> None:
        """Wait until a Train is being computed."""
        wait_until(
            "a node that runs",
            lambda: "Train" in self.furu("ls", "--state", "running"),
            pause_secs=0.2,
        )


@pytest.fixture
def project(tmp_path: Path, store: Path) -> Iterator[Project]:
    folder = tmp_path / "project"
    folder.mkdir()
    made = Project(folder, store)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def plain(text: str) -> list[str]:
    """Lines of output, with ids, hashes, times and durations as words."""
    for pattern, word in (
        (r"\d{8}-\d{6}-[0-9a-f]{6}", "RUN"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "WHEN"),
        (r"\b\d+(\.\d+)? (ms|s|min)\b", "TIME"),
        (r"\bprocess \d+\b", "process PID"),
        (rf" on {re.escape(os.uname().nodename)}", " on HOST"),
        (r"\b(log|debug) [0-9a-f]{6}\b", r"\1 HASH"),
        (r"\(([0-9a-f]{6})\)", "(HASH)"),
    ):
        text = re.sub(pattern, word, text)
    return [re.sub(r" {2,}", "  ", line.strip()) for line in text.splitlines()]


def test_a_run_that_is_done_and_one_with_three_kinds_of_failures_are_told_exactly(
    project: Project,
) -> None:
    project.furu("run", "study.py:good", "--tag", "sweep=lr", "--note", "the first")
    project.furu("run", "study.py:bad", "--keep-going", status=1)
    good = "furu run study.py:good --tag sweep=lr --note 'the first'"
    assert plain(project.furu("runs")) == [
        "run  executor  state  began  took  computed  loaded  failed  command",
        "RUN  local  failed  WHEN  TIME  1  1  5  furu run study.py:bad --keep-going",
        f"RUN  local  done  WHEN  TIME  4  0  0  {good}  [sweep=lr  the first]",
    ]
    failed, done = project.json("runs")
    assert (done["state"], done["tags"], done["note"]) == ("done", {"sweep": "lr"}, "the first")
    assert [one["run"] for one in project.json("runs", "--tag", "sweep=lr")] == [done["run"]]
    assert [one["run"] for one in project.json("runs", "--tag", "sweep")] == [done["run"]]
    assert [one["run"] for one in project.json("runs", "--where", "failed>0")] == [failed["run"]]
    assert [one["run"] for one in project.json("runs", "--state", "done")] == [done["run"]]
    assert project.json("runs", "--where", "tags.sweep=seed") == []
    short = done["run"].rpartition("-")[2]
    for condition in (f"run={short}", "took<1h", "began>1h"):
        told = project.json("runs", "--where", condition, "--state", "done")
        assert [one["run"] for one in told] == [done["run"]]
    assert project.json("runs", "--tag", "sweep", "--state", "failed") == []
    both = [failed["run"], done["run"]]
    for words, expected in (
        (("--sort", "failed"), both[::-1]),
        (("--sort", "-failed"), both),
        (("--sort", "furu.failed"), both[::-1]),
        (("--where", "furu.failed>0"), both[:1]),
        (("--sort", "executor", "--sort", "began", "--top", "1"), both[1:]),
        (("--top", "1"), both[:1]),
        (("--sort", "tags.sweep"), both[::-1]),
    ):
        assert [one["run"] for one in project.json("runs", *words)] == expected, words
    project.furu("runs", "--sort", "fail", status=2)
    project.furu("runs", "--prune", "--top", "1", status=2)
    project.furu("runs", "--tag", "swep", status=2)
    project.furu("runs", "--where", "failed>many", status=2)
    assert plain(project.furu("status")) == [
        "RUN  local  failed in TIME, at WHEN",
        "furu run study.py:bad --keep-going",
        "class  done  running  ready  waiting  failed  blocked",
        "Data  2  0  0  0  0  0",
        "Report  0  0  0  0  0  4",
        "Train  0  0  0  0  5  0",
        "failed, by error:",
        "3 x Train  ValueError: lr 6.0 is too large  study.py:18  furu log HASH",
        "1 x Train  MemoryError: no room  study.py:22  furu log HASH",
        "1 x Train  worker process PID ended with exit status 9 in the middle of the node  furu log HASH",
        "what failed, and with which parameters: furu failures RUN",
        "go on, computing only what is not there: furu run study.py:bad --keep-going",
    ]
    told = plain(project.furu("failures"))
    assert sorted(told[2:5]) == [
        "Train(HASH)  data.seed=0 lr=6.0",
        "Train(HASH)  data.seed=0 lr=7.0",
        "Train(HASH)  data.seed=1 lr=8.0",
    ]
    assert told[1] == f"at {project.folder}/study.py:18"
    assert told[5:7] == [
        "furu log HASH  what it printed",
        "furu debug HASH  run it here, under pdb",
    ]
    assert [line for line in told if " x " in line][1:] == [
        "1 x study:Train  MemoryError: no room",
        "1 x study:Train  worker process PID ended with exit status 9 in the middle of the node",
    ]
    (group,) = project.json("failures", failed["run"], "--where", "lr>6", "--class", "Train")
    assert {key: group[key] for key in ("class", "kind", "error_type", "count", "differing")} == {
        "class": "study:Train",
        "kind": "compute",
        "error_type": "ValueError",
        "count": 2,
        "differing": ["data.seed", "lr"],
    }
    assert project.json("failures", f"run:{done['run']}") == []
    day = failed["run"].partition("-")[0]
    project.furu("failures", f"{day}-x", status=2)
    of_day = project.json("failures", f"{day}-"), project.json("failures", f"run:{day}-")
    assert of_day[0] == of_day[1], "the beginning of an id, however short, means a run"


def test_runs_of_a_store_that_is_only_read_are_looked_at_there(
    project: Project, store: Path, tmp_path: Path
) -> None:
    project.furu("run", "study.py:good")
    project.furu("run", "study.py:bad", "--keep-going", status=1)
    failed, done = (one["run"] for one in project.json("runs"))
    here = plain(project.furu("status", failed))
    own = {"FURU_PATH": str(tmp_path / "mine"), "FURU_ALSO": str(store)}
    project.furu("run", "study.py:stops", **own)  # a run that is newer, in a store of its own

    there = f"FURU_PATH={store} furu"
    expected = [
        line.replace("  furu log", f"  {there} log").replace(
            ": furu failures", f": {there} failures"
        )
        for line in here
        if not line.startswith("go on")
    ]
    assert plain(project.furu("status", failed, **own)) == expected
    before = json.loads(project.furu("status", failed, "--json"))
    told = json.loads(project.furu("status", failed, "--json", **own))
    assert told == before | {"go_on": ""}
    # A folder tells in which store a run is, whatever the settings say.
    mine = {"FURU_PATH": own["FURU_PATH"], "FURU_ALSO": ""}
    assert plain(project.furu("status", str(store / "runs" / failed), **mine)) == expected
    assert f"{there} table run:{done}" in project.furu("status", done, **own)

    ids = [line.split()[0] for line in project.furu("runs", **own).splitlines()[1:]]
    assert len(ids) == 1
    assert ids[0] not in (failed, done)
    assert project.furu("status", **own).startswith(ids[0])
    empty = own | {"FURU_PATH": str(tmp_path / "empty")}
    said = project.furu("runs", typed="y", **empty)
    assert "has no run yet" in said
    assert "`furu runs --also` lists those in the stores of FURU_ALSO, too" in said
    listed = project.furu("runs", "--also", **own).splitlines()[1:]
    assert [line.split()[0] for line in listed] == [ids[0], failed, done]
    assert [line.endswith(f"[in {store}]") for line in listed] == [False, True, True]
    for command in (["failures"], ["pin"]):  # what one may change, or try again
        said = project.furu(*command, f"run:{failed}", status=2, typed="y", **own)
        assert f"not in {own['FURU_PATH']}, but in another store, which is only read" in said
        assert f"`furu status {failed}`" in said


def test_a_run_that_goes_on_is_watched_from_another_process_and_one_that_was_killed_says_so(
    project: Project,
) -> None:
    process, run = project.slow_run()
    report = project.json("status", run)
    assert report["state"] == "running"
    assert report["controller"].startswith(f"process {process.pid} ")
    assert report["classes"]["study:Report"]["waiting"] == 1
    assert report["classes"]["study:Train"] == {
        **dict.fromkeys(("done", "waiting", "failed", "blocked", "elsewhere"), 0),
        "running": 2,
        "ready": 1,
    }
    assert {node["class"] for node in report["slowest"]} == {"study:Train"}
    assert report["left_unknown"] == ["study:Report", "study:Train"]
    lines = plain(project.furu("status"))
    assert lines[0] == "RUN  local  running TIME  time left unknown: no Report, Train has ended yet"
    assert lines[-2:] == ["running: Train(HASH) TIME on HOST", "follow it: furu status -f RUN"]

    process.send_signal(signal.SIGKILL)
    process.wait()

    def died() -> bool:
        stages = project.json("status", run)["classes"]["study:Train"]
        return bool(stages["ready"] == 3)  # the workers end when they see that their parent is gone

    wait_until("the end of the workers", died, WAIT_SECS, pause_secs=0.2)
    assert plain(project.furu("status", run[:15])) == [
        "RUN  local  died and was last heard of at WHEN",
        "furu run study.py:slow -j 2",
        "class  done  running  ready  waiting  failed",
        "Data  3  0  0  0  0",
        "Report  0  0  0  1  0",
        "Train  0  0  3  0  0",
        "it died: its controller, process PID on HOST, is gone",
        "go on, computing only what is not there: furu run study.py:slow -j 2",
    ]
    (row,) = project.json("runs", "--state", "died")
    assert (row["run"], row["go_on"]) == (run, "furu run study.py:slow -j 2")
    assert project.furu("status", "-f", run, status=1).splitlines()[0].startswith(f"{run}  died")


def test_p7_of_a_pool_whose_controller_was_killed_one_is_told_what_its_workers_do_and_how_to_resume(
    project: Project,
) -> None:
    (project.folder / "pyproject.toml").write_text("[tool.furu.slurm.specs.default]\ncpus = 1\n")
    options = ("--executor", "slurm-pool", "-o", "cluster=local", "-j", "2", "--tag", "on=pool")
    process = project.start("run", "study.py:slow", *options)

    def running() -> bool:
        told = [project.json("status", one["run"]) for one in project.json("runs")]
        return bool(told) and told[0]["classes"].get("study:Train", {}).get("running") == 2

    wait_until("two workers that compute", running, WAIT_SECS, pause_secs=0.2)
    (row,) = project.json("runs")
    assert (row["state"], row["tags"]) == ("running", {"on": "pool"})
    assert project.json("status")["workers"][0] == "workers: 2 running, 0 pending"
    process.kill()
    process.wait()
    report = project.json("status")
    assert (report["state"], report["classes"]["study:Train"]["running"]) == ("died", 2)
    assert report["go_on"] == f"furu pool resume {row['run']}"
    (project.folder / "go").touch()
    project.furu("pool", "resume", row["run"])
    (row,) = project.json("runs")
    assert (row["state"], row["total"], row["failed"]) == ("done", 7, 0)


def test_p6_following_a_run_ends_with_it_and_with_its_exit_status(project: Project) -> None:
    process, run = project.slow_run()
    watching = project.start("status", "-f", "--every", "0.05")
    as_json = project.start("status", "-f", "--every", "0.05", "--json")
    assert watching.stdout is not None
    assert as_json.stdout is not None
    first = watching.stdout.readline().strip()
    assert first == f"{run}  running  3 done, 2 running, 1 ready, 1 waiting"
    assert json.loads(as_json.stdout.readline())["state"] == "running"
    (project.folder / "go").touch()
    out, _ = watching.communicate(timeout=WAIT_SECS)
    last, _ = as_json.communicate(timeout=WAIT_SECS)
    process.communicate(timeout=WAIT_SECS)
    assert (watching.returncode, as_json.returncode, process.returncode) == (0, 0, 0)
    assert f"{run}  done  7 done" in out
    assert plain(out)[-6:] == [
        "furu run study.py:slow -j 2",
        "class  done  running  ready  waiting  failed",
        "Data  3  0  0  0  0",
        "Report  1  0  0  0  0",
        "Train  3  0  0  0  0",
        "see the results beside each other: furu table run:RUN",
    ]
    assert json.loads(last.splitlines()[-1])["state"] == "done"


def test_on_a_terminal_a_run_is_drawn_anew_until_it_has_ended(project: Project) -> None:
    process, run = project.slow_run()
    here, there = os.openpty()
    watching = subprocess.Popen(
        [sys.executable, "-m", "furu_core", "status", "-f", "--every", "0.05"],
        cwd=project.folder,
        env=project.env | {"TERM": "xterm"},
        stdout=there,
    )
    project.started.append(watching)
    os.close(there)
    drawn = b""

    def shown() -> bytes:
        assert select.select([here], [], [], WAIT_SECS)[0], drawn
        return os.read(here, 4096)

    while drawn.count(b"local  running") < 2:
        drawn += shown()
    (project.folder / "go").touch()
    while b"done in" not in drawn:
        drawn += shown()
    process.communicate(timeout=WAIT_SECS)
    assert watching.wait(timeout=WAIT_SECS) == 0
    os.close(here)
    assert b"\x1b[2K" in drawn  # lines were erased, to be drawn anew
    assert run.encode() in drawn
    assert b"follow it" not in drawn, "that is what one does"


def test_following_a_log_shows_what_a_node_prints_over_its_attempts_and_ends_with_the_node(
    project: Project,
) -> None:
    run = project.start("run", "study.py:again", FURU_MAX_COMPUTE_RETRIES="1")
    project.await_train()
    follower = project.start("log", "-f", "Train")
    assert follower.stdout is not None
    assert follower.stdout.readline() == "training 0.5\n"
    (project.folder / "go").touch()
    lines = iter(follower.stdout.readline, "training 0.5\n")  # the second attempt waits then
    assert [line for line in lines if not line.startswith(" ")] == [
        "Traceback (most recent call last):\n",
        "OSError: the first time\n",
    ]
    (project.folder / "go").touch()
    out, said = follower.communicate(timeout=WAIT_SECS)
    run.communicate(timeout=WAIT_SECS)
    assert out == "trained 0.5\n"
    assert said == "--- attempt 2 ---\n"
    assert (follower.returncode, run.returncode) == (0, 0)
    assert project.furu("log", "-f", "Train") == "training 0.5\ntrained 0.5\n"


BAR: Final = """
    import sys, time
    from pathlib import Path
    from furu_core import Furu

    class Bar(Furu[int]):
        def _create(self) -> int:
            print("begins", flush=True)
            for step in range(100):
                print(f"\\r{step:3} of 200", end="", flush=True)
            deadline = time.monotonic() + 60
            while not Path("go").exists():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            for step in range(100, 201):
                print(f"\\r{step:3} of 200", end="", flush=True)
            print("\\nat the end", flush=True)
            raise ValueError("too large")
"""


def test_following_a_log_with_a_progress_bar_shows_all_that_comes_after_it(
    project: Project,
) -> None:
    (project.folder / "bar.py").write_text(textwrap.dedent(BAR))
    run = project.start("run", "bar.py:Bar")
    wait_until(
        "a node that runs",
        lambda: "Bar" in project.furu("ls", "--state", "running"),
        pause_secs=0.2,
    )
    follower = project.start("log", "-f", "Bar")
    assert follower.stdout is not None
    seen = follower.stdout.readline()
    while not seen.endswith(" 99 of 200"):
        seen += follower.stdout.read(1)
    (project.folder / "go").touch()
    out, _ = follower.communicate(timeout=WAIT_SECS)
    run.communicate(timeout=WAIT_SECS)
    lines = out.replace("\r", "\n").splitlines()
    assert lines[lines.index("200 of 200") + 1] == "at the end"
    assert out.count("at the end") == 1
    assert out.rstrip().endswith("ValueError: too large")


def test_following_the_log_of_a_node_that_fails_for_good_ends_with_status_1(
    project: Project,
) -> None:
    project.furu("run", "study.py:large", status=1)
    out = project.furu("log", "-f", "Train", status=1)
    assert out.splitlines()[0] == "training 6.0"
    assert out.splitlines()[-1] == "ValueError: lr 6.0 is too large"
    assert "exclude each other" in told(project, "log", "-f", "--path", "Train")


def told(project: Project, *args: str) -> str:
    """The error of a command that was called wrongly."""
    process = project.start(*args)
    _, error = process.communicate(timeout=WAIT_SECS)
    assert process.returncode == 2, error
    return error


def test_debugging_stops_where_the_node_fails_and_publishes_only_a_success(
    project: Project,
) -> None:
    project.furu("run", "study.py:large", status=1)
    out = project.furu("debug", "Train", status=1, typed="p 'lr is', self.lr\nq\n")
    assert "('lr is', 6.0)" in out
    out = project.furu("debug", "--pdb", "Train", status=1, typed="p 'at the start', self.lr\nq\n")
    assert "('at the start', 6.0)" in out
    assert not re.search("^(.Pdb. )*training", out, re.MULTILINE)
    (row,) = map(json.loads, project.furu("ls", "Train", "--json").splitlines())
    assert row["state"] == "cancelled"
    study = project.folder / "study.py"
    study.write_text(study.read_text().replace("self.lr > 5", "self.lr > 50"))
    assert "Train(" in project.furu("debug", "Train")
    (row,) = map(json.loads, project.furu("ls", "Train", "--json").splitlines())
    assert row["state"] == "done"
    assert "furu rm" in told(project, "debug", "Train")


def test_ctrl_c_while_a_node_is_debugged_ends_the_command_and_costs_the_node_nothing(
    project: Project,
) -> None:
    for command in (("run", "study.py:again"), ("debug", "Train")):
        process = project.start(*command)
        project.await_train()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=WAIT_SECS)
        assert process.returncode == 130
        assert "Traceback" not in err
    assert err.endswith("interrupted\n")
    (row,) = map(json.loads, project.furu("ls", "Train", "--json").splitlines())
    assert row["state"] == "cancelled"


def test_leaving_a_debugger_at_a_breakpoint_is_no_failure_of_the_node(project: Project) -> None:
    project.furu("run", "study.py:large", status=1)
    study = project.folder / "study.py"
    study.write_text(
        study.read_text().replace("if self.lr > 5", "breakpoint()\n        if self.lr > 5")
    )
    out = project.furu("debug", "Train", status=1, typed="p 'here', self.lr\nq\n")
    assert "('here', 6.0)" in out
    assert "BdbQuit" not in out
    (row,) = map(json.loads, project.furu("ls", "Train", "--json").splitlines())
    assert row["state"] == "cancelled"
    study.write_text(study.read_text().replace("self.lr > 5", "self.lr > 50"))
    assert "has its result now" in project.furu("debug", "Train", typed="c\n")


def test_debugging_a_node_whose_output_cannot_be_written_is_no_failure_of_its_code(
    project: Project, store: Path
) -> None:
    project.furu("run", "study.py:large", status=1)
    shutil.rmtree(store / "output")
    (store / "output").touch()
    out = project.furu("debug", "Train", status=1, typed="q\n")
    assert "error: cannot write to the store at" in out
    assert "(Pdb)" not in out, "there is no code to look at"


def test_a_breakpoint_in_a_run_of_inline_workers_has_the_terminal(project: Project) -> None:
    study = project.folder / "study.py"
    text = study.read_text().replace(
        "            return self.seed", "            breakpoint()\n            return self.seed"
    )
    study.write_text(
        text.replace("        return self.seed", "        breakpoint()\n        return self.seed")
    )
    out = project.furu(
        "run", "study.py:stops", "-o", "worker=inline", typed="p 'here', self.seed + 41\nc\n"
    )
    assert "('here', 41)" in out
    assert "2 nodes: 2 computed" in out


ENDS: Final[list[tuple[str, int, str, int]]] = [
    ("good", 0, "done", 4),
    ("large", 1, "failed", 1),
]


@pytest.mark.parametrize(("target", "status", "state", "computed"), ENDS)
def test_the_command_of_the_user_gets_the_run_as_json_when_it_has_ended(
    project: Project, target: str, status: int, state: str, computed: int
) -> None:
    command = "cat > end.json; echo on standard error; echo $FURU_RUN_ID > id; exit 3"
    out = project.furu("run", f"study.py:{target}", status=status, FURU_ON_RUN_END=command)
    assert "on standard error" not in out
    told = json.loads((project.folder / "end.json").read_text())
    assert told["run"] == (project.folder / "id").read_text().strip()
    assert (told["state"], told["computed"]) == (state, computed)
    shown = project.json("status", told["run"])
    assert {**told, "took_secs": 0} == {**shown, "took_secs": 0}


def test_a_command_at_the_end_of_a_run_that_was_cancelled_is_called_as_well(
    project: Project,
) -> None:
    process = project.start("run", "study.py:slow", "-j", "2", FURU_ON_RUN_END="cat > end.json")
    project.await_train()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=WAIT_SECS)
    assert json.loads((project.folder / "end.json").read_text())["state"] == "cancelled"
    assert project.furu("status", "-f", status=130).partition("  ")[2].startswith("cancelled")


def test_p6_a_command_at_the_end_that_hangs_is_killed_with_its_children(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import furu_core
    from furu_core._runs import _run_end
    from furu_core.executors import named_roots, new_run_folder

    _, folder = new_run_folder("local", named_roots([]))
    pid = tmp_path / "pid"
    with furu_core.use_settings(on_run_end=f"sleep 600 & echo $! > {pid}; wait"):
        _run_end.tell_run_end(folder, limit_secs=1.0)
    wait_until("the end of its child", lambda: not is_running(int(pid.read_text())))
    assert "took longer than 1.0 s" in caplog.text
