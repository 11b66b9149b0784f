"""`furu doctor --slurm`, `furu status` and `furu failures`, on a real cluster."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from furu_testing import Program, wait_until
from furu_testing.slurm import SlurmTestCluster

WAIT_SECS = 300.0
STUDY = """
import time
from pathlib import Path
from furu_core import Furu

class Data(Furu[int]):
    seed: int
    def _create(self) -> int:
        return self.seed

class Train(Furu[float]):
    data: Data
    lr: float
    def _create(self) -> float:
        if self.lr > 5:
            raise ValueError(f"lr {self.lr} is too large")
        deadline = time.monotonic() + 600
        while not Path("go").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return self.lr + self.data.get()

class Held(Furu[float]):
    data: Data
    _executor_spec_key = "held"
    def _create(self) -> float:
        return self.data.get()

roots = [Train(data=Data(seed=0), lr=lr) for lr in (0.1, 6.0, 7.0)] + [Held(data=Data(seed=0))]
"""
SPECS = """
[tool.furu.slurm.specs.default]
cpus = 1
mem_gb = 0.2
time_min = 60
[tool.furu.slurm.specs.held]
cpus = 1
mem_gb = 0.2
time_min = 60
extra = { additional_parameters = { hold = true } }
"""


class Project:
    """A project on a cluster, in which commands are given.

    Args:
        folder: where.
        environment: of the commands.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        folder.mkdir()
        self.folder = folder
        self.store = folder / "furu-data"
        (folder / "study.py").write_text(STUDY)
        (folder / "pyproject.toml").write_text(SPECS)
        self._environment = {
            name: value for name, value in environment.items() if not name.startswith("FURU_")
        }
        self._started: list[Program] = []

    def start(self, *args: str, **variables: str) -> Program:
        """Begin a command."""
        environment = self._environment | {"FURU_MAX_COMPUTE_RETRIES": "0"} | variables
        program = Program(self.folder, "-m", "furu_core", *args, environment=environment)
        self._started.append(program)
        return program

    def furu(self, *args: str, status: int = 0, **variables: str) -> str:
        """What a command prints."""
        said = self.start(*args, **variables).finish(WAIT_SECS)
        assert said.status == status, said
        return said.out

    def status(self) -> Any:
        """How the run stands."""
        return json.loads(self.furu("status", "--json"))

    def end(self) -> None:
        """End all that was begun."""
        (self.folder / "go").touch()
        for program in self._started:
            program.end()


@pytest.fixture
def project(tmp_path: Path, slurm: SlurmTestCluster) -> Iterator[Project]:
    made = Project(tmp_path / "project", slurm.environment)
    yield made
    made.end()


def test_p8_a_doctor_tells_a_good_cluster_from_a_job_that_cannot_begin_its_work(
    project: Project, slurm: SlurmTestCluster
) -> None:
    told = json.loads(project.furu("doctor", "--slurm", "--json", "--wait", str(WAIT_SECS)))
    # Jobs of other tests may be held, or wait for nodes that are not there.
    bad = [one for one in told["results"] if one["level"] in ("warning", "problem")]
    assert [one for one in bad if one["check"] != "squeue"] == []
    of_node = {one["check"] for one in told["results"] if one["host"]}
    assert of_node == {"clock", "files", "locks", "packages", "python", "store"}
    assert {"job", "nodes", "sacct", "slurm", "squeue"} <= {one["check"] for one in told["results"]}
    assert not project.store.exists()
    setup = '\n[tool.furu.slurm.specs.default]\nsetup = ["echo no such module >&2; exit 3"]\n'
    (project.folder / "pyproject.toml").write_text(setup)
    said = project.furu("doctor", "--slurm", "--wait", str(WAIT_SECS), status=1)
    (line,) = re.findall("^problem  job .*", said, re.MULTILINE)
    assert "exit status 3), without an answer: no such module" in line
    assert [name for name in os.listdir(project.folder) if "doctor" in name] == []
    slurm.wait_idle()


@pytest.mark.parametrize(("executor", "word"), [("slurm-dag", "job"), ("slurm-pool", "worker")])
def test_status_and_failures_tell_a_run_on_a_real_cluster(
    project: Project, slurm: SlurmTestCluster, executor: str, word: str
) -> None:
    run = project.start("run", "study:roots", "--executor", executor, "--keep-going")
    pending = f"pending: 1 {word}, Slurm says JobHeldUser (1)  squeue --jobs="

    def as_expected() -> bool:
        if not (project.store / "runs").exists():
            return False
        told = project.status()
        lines = told["workers"]
        train = told["classes"]["study:Train"]
        return (train["running"], train["failed"]) == (1, 2) and any(
            line.startswith(pending) for line in lines
        )

    wait_until(
        "one that runs, two that failed, one that is held", as_expected, WAIT_SECS, pause_secs=0.5
    )
    text = project.furu("status")
    assert re.search(r"^  Held +0 +0 +1 +0 +0$", text, re.MULTILINE)
    assert re.search(
        r"^  2 x Train  ValueError: lr [67].0 is too large  study.py:16  furu log",
        text,
        re.MULTILINE,
    )
    assert re.search(r"^running: Train\(\w{6}\) .* on ", text, re.MULTILINE)
    assert re.search(rf"^  {word}s: [1-4] running, 1 pending$", text, re.MULTILINE)
    (job_id,) = re.findall(r"squeue --jobs=(\S+)$", text, re.MULTILINE)
    assert slurm.state(job_id) == "PENDING"
    failures = project.furu("failures")
    assert failures.startswith("2 x study:Train  ValueError: lr ")
    assert {"lr=6.0", "lr=7.0"} <= {*failures.split()}
    # What lives of it is told from what is gone, also when nobody waits for it any more.
    run.kill()
    states = {"slurm-dag": "running", "slurm-pool": "died"}
    assert project.status()["state"] == states[executor]
    slurm.cancel_all()
    wait_until(
        "Slurm to tell of it",
        lambda: project.status()["state"] == "died",
        WAIT_SECS,
        pause_secs=0.5,
    )
    told = json.loads(project.furu("doctor", "--json"))
    (died,) = [one for one in told["results"] if one["check"] == "runs"]
    assert (died["level"], " died: its controller, " in died["what"]) == ("note", True)
