"""`furu doctor`: what it prints, its exit status, and its JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from furu_core import _plugins
from furu_core._cli._main import run_and_report

METADATA = "Metadata-Version: 2.1\nName: furu-mine\nVersion: 2.0\nRequires-Dist: furu-core>=2\n"
FURTHER = """
from furu_core.checks import CheckLevel, CheckResult

def checks(wait_secs):
    yield CheckResult("cluster", CheckLevel.WARNING, f"waited {wait_secs:g} s", "wait longer", "n1")
"""


@pytest.fixture
def sound(project: Any) -> Any:
    """A project beside which no broken plugin is installed."""
    (info,) = (project.folder.parent / "site").glob("some_tests*")
    (info / "entry_points.txt").write_text("[furu.checks]\ncluster = further_for_tests:checks\n")
    (info.parent / "further_for_tests.py").write_text(FURTHER)
    return project


def test_each_result_is_a_line_with_its_next_step_below_it_and_the_status_is_0(sound: Any) -> None:
    done = sound.furu("doctor")
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    place = lines.index(
        f"note     store      there is no {sound.store} yet; the first result makes it"
    )
    assert lines[place + 1] == f"{'':20}next: furu run MODULE:TARGET"
    assert lines[-1].endswith(" ok, 1 note, 0 warnings, 0 problems: furu can work here")
    assert not sound.store.exists()


def test_the_json_has_all_results_and_settings_with_where_they_come_from(sound: Any) -> None:
    sound.write("pyproject.toml", "[tool.furu]\nlease_secs = 60\n")
    told = sound.json("doctor", FURU_TRASH_DAYS="3")
    assert set(told) == {"store", "host", "levels", "results", "settings"}
    assert told["store"] == str(sound.store)
    assert told["levels"] == {
        "ok": len(told["results"]) - 1, "note": 1, "warning": 0, "problem": 0
    }  # fmt: skip
    assert {tuple(one) for one in told["results"]} == {("check", "level", "what", "next", "host")}
    settings = {one["name"]: (one["value"], one["origin"]) for one in told["settings"]}
    assert settings["FURU_TRASH_DAYS"] == ("3.0", "the environment")
    origin = f"lease_secs in [tool.furu] of {sound.folder}/pyproject.toml"
    assert settings["FURU_LEASE_SECS"] == ("60.0", origin)
    assert settings["FURU_DURABLE"] == ("0", "default")


def test_a_problem_ends_in_status_1_and_all_else_is_told_as_well(sound: Any) -> None:
    info = sound.folder.parent / "site" / "furu_mine-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    done = sound.furu("doctor")
    assert done.status == 1
    assert "furu-mine 2.0 requires furu-core>=2, but furu-core " in done.out
    assert f"{'':20}next: pip install --upgrade furu-core furu-mine\n" in done.out
    assert "\nok       trash      it is empty\n" in done.out
    done = sound.furu("doctor", FURU_LEASE_SECS="long")
    assert done.status == 1
    assert "problem  settings   FURU_LEASE_SECS is 'long', expected a number of seconds" in done.out


def test_a_broken_plugin_is_a_problem_with_what_to_do(project: Any) -> None:
    done = project.furu("doctor")
    assert done.status == 1
    assert "there is no module no_such_module_for_tests\n" in done.out


def test_checks_of_other_distributions_are_options(sound: Any) -> None:
    assert "--cluster" in sound.furu("doctor", "--help").out
    done = sound.furu("doctor", "--cluster", "--wait", "7")
    assert (done.status, done.err) == (0, "")
    assert "\nwarning  cluster    on n1: waited 7 s\n" in done.out


def test_an_option_that_nothing_brings_says_what_to_install(
    furu_store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_plugins, "registered", lambda _: [])
    assert run_and_report(["doctor", "--slurm"]) == 2
    said = capsys.readouterr().err
    assert "nothing that is installed in this Python brings one" in said
    assert "pip install furu-slurm" in said
    assert run_and_report(["doctor", "--jsn"]) == 2
    assert "Did you mean '--json'?" in capsys.readouterr().err
