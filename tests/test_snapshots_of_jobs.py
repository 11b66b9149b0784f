"""Jobs run the code that was there when they were submitted, whatever happens to the project meanwhile."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from furu_core import use_settings
from furu_core._code._checkout import checkout
from furu_testing import Program, Scripts, wait_until

WAIT_SECS: Final = 400.0  # jobs may wait for those of other tests, and the machine may be busy
BEFORE: Final = "at submission"
STUDY: Final = """
    import os, time
    from pathlib import Path

    import lab, near
    from furu_core import Furu

    VALUE = "{text}"

    def wait_for(name):
        Path(f"begun-{{name}}-{{time.time_ns()}}").touch()
        deadline = time.monotonic() + 300
        while not Path(f"go-{{name}}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    class First(Furu[list]):
        name: str = "first"

        def _create(self) -> list:
            wait_for(self.name)
            from deep import late  # no module of this process has imported it
            return [VALUE, near.VALUE, lab.VALUE, late.VALUE, __file__]

    class Second(Furu[list]):
        first: First

        def _create(self) -> list:
            return self.first.get()[:4] + [VALUE, near.VALUE]
"""
DAG: Final = """
    from furu_slurm import SlurmSpec
    from furu_slurm_dag import submit_slurm_dag
    from study import First, Second

    if __name__ == "__main__":
        spec = SlurmSpec(partition="cpu", cpus=1, mem_gb=0.5, time_min=60)
        run = submit_slurm_dag(
            Second(first=First()), specs={"default": spec}, poll_interval_sec=0.3, progress=False
        )
        print(*run.job_id_by_hash.values(), flush=True)
        print(run.wait().results())
"""
POOL: Final = """
    from furu_slurm import SlurmSpec
    from furu_slurm_pool import run_slurm_pool
    from study import First, Second

    if __name__ == "__main__":
        spec = SlurmSpec(cpus=1, mem_gb=0.5, time_min=60)
        run = run_slurm_pool(
            {roots}, specs={{"default": spec}}, max_workers_total=1,
            poll_interval_sec=0.3, progress=False, cluster="{cluster}",
        )
        print(run.results())
"""


class Study:
    """A project, and a package that it finds through PYTHONPATH."""

    def __init__(self, program: Scripts) -> None:
        self._program = program
        self.folder = program.folder
        self.lab = program.folder.parent / "lab"
        (self.folder / "deep").mkdir()
        (self.lab / "lab").mkdir(parents=True)
        self.edit(BEFORE)

    def edit(self, text: str) -> None:
        """Change the code everywhere."""
        (self.folder / "study.py").write_text(textwrap.dedent(STUDY.format(text=text)))
        for file in (
            self.folder / "near.py",
            self.folder / "deep/late.py",
            self.lab / "lab/__init__.py",
        ):
            file.write_text(f"VALUE = '{text}'\n")

    def start(self, code: str, **variables: str) -> Program:
        """Start the script."""
        path = os.pathsep.join([str(self.lab), os.environ["PYTHONPATH"]])
        return self._program(code, PYTHONPATH=path, **{"FURU_CODE": "snapshot", **variables})

    def await_begun(self, times: int = 1, name: str = "first") -> None:
        wait_until(
            f"{times} begins of {name}",
            lambda: len(list(self.folder.glob(f"begun-{name}-*"))) >= times,
            WAIT_SECS,
        )

    def go(self, name: str = "first") -> None:
        (self.folder / f"go-{name}").touch()


@pytest.fixture
def study(program: Scripts) -> Study:
    return Study(program)


def results(program: Program) -> Any:
    """What it printed last."""
    said = program.finish(WAIT_SECS)
    assert said.status == 0, said
    return eval(said.out.splitlines()[-1])


def assert_recorded(store: Path, text: str, where: Path) -> None:
    """Check that the records of all results name code that holds a text, as its checkout shows."""
    with use_settings(path=store):
        for number, record in enumerate((store / "data").rglob(".furu.json")):
            (listing,) = set(re.findall(r'"code":"(\w+)"', record.read_text()))
            made = checkout(listing, str(where / str(number)))
            assert not made.missing
            sources = {path.name: path.read_text() for path in Path(made.roots[0]).rglob("*.py")}
            assert {"study.py", "near.py"} <= sources.keys()
            assert "late.py" in sources or "/First/" not in str(record)
            for name, source in sources.items():
                assert "VALUE" not in source or repr(text) in source.replace('"', "'"), name
            if "/First/" in str(record):
                assert_computed_again(made.roots, text)


def assert_computed_again(roots: Sequence[str], text: str) -> None:
    """Check that the code of a checkout gives the result of `First` once more."""
    Path(roots[0], "go-first").touch()
    paths = os.pathsep.join([*roots, os.environ["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from study import First; print(First().get()[:4])"],
        cwd=roots[0],
        env={**os.environ, "PYTHONPATH": paths, "FURU_PATH": f"{roots[0]}/fresh"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == [str([text] * 4)], done.stderr


def test_p9_the_jobs_of_a_graph_run_the_code_at_submission_edited_removed_and_requeued(
    study: Study, slurm: Any, store: Path, tmp_path: Path
) -> None:
    program = study.start(DAG)
    study.await_begun()  # the first job runs, the second one waits for it
    first = program.output.split()[0]
    study.edit("edited while it runs")
    assert first in {row["id"] for row in slurm.squeue()}
    slurm.run("scontrol", "requeue", first)
    slurm.run("scontrol", "update", f"job={first}", "StartTime=now")
    study.await_begun(times=2)
    for path in (study.folder / "near.py", study.folder / "deep", study.lab):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    study.go()
    assert results(program) == [BEFORE] * 6
    (snapshot,) = (store / "code/snapshots").glob("[!.]*")
    (record,) = (store / "data").rglob("First/*/.furu.json")
    assert f"{snapshot}/project/study.py" in record.read_text()
    (log,) = (store / "submitit/nodes").rglob(f"{first}*.out")
    assert f"{study.folder} ({snapshot}/project)" in log.read_text()
    assert_recorded(store, BEFORE, tmp_path / "checkouts")
    slurm.wait_idle()


def test_p9_workers_that_a_living_controller_starts_later_run_the_code_at_submission(
    study: Study, slurm: Any, store: Path, tmp_path: Path
) -> None:
    program = study.start(POOL.format(roots="Second(first=First())", cluster="slurm"))
    study.await_begun()
    study.edit("edited while it runs")
    (row,) = [row for row in slurm.squeue() if run_of(store) in row["name"]]
    slurm.run("scancel", row["id"])
    study.await_begun(times=2)  # in another worker
    study.edit("edited once more")
    study.go()
    assert results(program) == [BEFORE] * 6
    assert_recorded(store, BEFORE, tmp_path / "checkouts")
    slurm.wait_idle()


def run_of(store: Path) -> str:
    """The only run."""
    (folder,) = (store / "runs").glob("[!.]*")
    return folder.name


def test_p9_a_run_that_is_gone_on_with_by_the_same_command_has_the_new_code_and_says_so(
    study: Study, store: Path, nothing_left: Callable[[], None]
) -> None:
    """What its workers have they end by the code that they began with; they take nothing more."""
    roots = "[First(name='a'), First(name='b'), Second(first=First(name='a'))]"
    program = study.start(POOL.format(roots=roots, cluster="local"))
    study.await_begun(name="a")
    program.kill()
    study.edit("after the edit")
    program = study.start("")
    wait_until(
        "the new controller", lambda: "goes on with the code that is there now" in program.output
    )
    study.go("a")
    study.go("b")
    first, other, second = results(program)
    assert first[:4] == [BEFORE] * 4  # the worker had begun with it
    assert other[:4] == ["after the edit"] * 4
    assert second == [BEFORE] * 4 + ["after the edit"] * 2
    nothing_left()


def test_p9_a_resumed_run_has_the_code_with_which_it_was_begun(
    study: Study, store: Path, nothing_left: Callable[[], None]
) -> None:
    program = study.start(POOL.format(roots="Second(first=First())", cluster="local"))
    study.await_begun()
    program.kill()
    study.edit("after the edit")
    (study.folder / "study.py").unlink()
    command = ("-P", "-m", "furu_core", "pool", "resume", run_of(store))
    resumed = Program(study.folder, *command, environment={**os.environ, "FURU_CODE": "snapshot"})
    study.go()
    said = resumed.finish(WAIT_SECS)
    assert said.status == 0, said
    (record,) = (store / "data").rglob("Second/*/.furu.json")
    assert "after the edit" not in record.read_text()
    assert record.read_text().count(BEFORE) == 6
    nothing_left()


def test_p9_jobs_that_were_submitted_before_with_other_code_are_told(
    study: Study, slurm: Any
) -> None:
    program = study.start(DAG)
    study.await_begun()
    program.kill()
    study.edit("after the edit")
    program = study.start("")
    wait_until("the jobs to be told", lambda: "compute by the code of that time" in program.output)
    study.go()
    assert results(program) == [BEFORE] * 6
    said = program.output
    assert "1 job of run" in said  # the last one; what it waits for is its own business
    assert "scancel" in said
    slurm.wait_idle()


def test_live_jobs_import_what_is_there_when_they_begin(study: Study, slurm: Any) -> None:
    program = study.start(DAG, FURU_CODE="live")
    study.await_begun()
    study.edit("edited while it runs")
    study.go()
    found = results(program)
    assert found[:2] == [BEFORE] * 2
    assert found[4] == "edited while it runs"
    slurm.wait_idle()


def test_p9_the_code_in_a_record_is_the_same_from_a_snapshot_and_live(
    study: Study, store: Path, nothing_left: Callable[[], None]
) -> None:
    study.go()
    found = set()
    for number, code in enumerate(("snapshot", "live")):
        where = store.parent / f"store-{number}"
        program = study.start(
            POOL.format(roots="First()", cluster="local"), FURU_CODE=code, FURU_PATH=str(where)
        )
        file = results(program)[-1]
        assert ("/code/snapshots/" in file) == (code == "snapshot")
        assert "edited" not in program.output
        (record,) = (where / "data").rglob("First/*/.furu.json")
        found.add(re.search(r'"code":"(\w+)"', record.read_text())[1])  # type: ignore[index]
        (listing,) = (where / "code").glob(f"{next(iter(found))}.json")
        assert "deep.late" in listing.read_text()
    assert len(found) == 1
    nothing_left()
