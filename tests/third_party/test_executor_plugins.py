"""Executors by others: sound and broken ones in one environment, each installed as a real wheel."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from third_party import environments, zoo
from third_party.environments import Environment, With
from third_party.wheels import Distribution

pytestmark = pytest.mark.source_tree

NODE = """
from furu_core import Furu

class Sum(Furu[int]):
    upto: int
    def _create(self) -> int:
        return sum(range(self.upto))

ten = Sum(upto=10)
"""

AUTHORS = "report it to the authors of {}"
UPGRADE = "pip install --upgrade {}"

# What is said of each, and the next step; {} is the distribution.
SAID = {
    "crash": ("RuntimeError: the licence server is away", UPGRADE),
    "exits": ("SystemExit: use Python 2", UPGRADE),
    "function": ("no subclass of furu_core.executors.Executor", AUTHORS),
    "foreign": ("no subclass of furu_core.executors.Executor", AUTHORS),
    "instance": ("no subclass of furu_core.executors.Executor", AUTHORS),
    "unfinished": ("lacks the method submit", AUTHORS),
    "alias": ("a class whose `name` is 'another'", AUTHORS),
    "typo": ("no attribute 'InlineExecuter' (it has InlineExecutor)", AUTHORS),
    "lost": ("there is no module furu_lots", AUTHORS),
    "dashes": ("'furu-dashes:InlineExecutor', which is no module:attribute", AUTHORS),
    "old": (
        "it requires furu-core<0.1 and furu-plan<0.1, but furu-core 0.1.0 is installed",
        "pip install --upgrade furu-old furu-core furu-plan",
    ),
    "early": (
        "made for another furu: it requires furu-core>=99, but furu-core 0.1.0 is installed",
        "pip install --upgrade furu-early furu-core",
    ),
    "needy": ("ModuleNotFoundError: No module named 'no_such_queue'", UPGRADE),
}


@pytest.fixture
def health(crowded: Environment) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = crowded.json("executors")
    return found


def test_p8_each_broken_executor_is_listed_with_its_distribution_and_what_to_do(
    health: list[dict[str, Any]], crowded: Environment
) -> None:
    found = {entry["name"]: entry for entry in health}
    assert {*SAID, "twin", "sound", "local"} == found.keys()
    for name, (reason, hint) in SAID.items():
        entry = found[name]
        distribution = f"furu-{name}"
        assert (entry["distribution"], entry["version"]) == (distribution, "1.0")
        assert entry["problem"].startswith(f"the executor {name!r} of {distribution} 1.0 ")
        assert reason in entry["problem"]
        assert "and what follows is long" not in entry["problem"]
        assert hint.format(distribution) in entry["hint"]
        assert entry["folder"] == str(crowded.site_packages)


def test_sound_executors_are_listed_as_sound_among_broken_ones(
    health: list[dict[str, Any]],
) -> None:
    sound = {entry["name"]: entry for entry in health if not entry["problem"]}
    assert sound.keys() == {"sound", "local"}
    assert sound["sound"]["version"] == "1.2"
    assert sound["sound"]["target"] == "furu_sound:InlineExecutor"


def test_the_list_for_people_shows_version_origin_and_health(crowded: Environment) -> None:
    done = crowded.furu("executors")
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "sound furu-sound 1.2 ok furu_sound:InlineExecutor" in lines
    assert "local furu-local 0.1.0 ok furu_local:LocalExecutor" in lines
    assert "old furu-old 1.0 broken furu_old:InlineExecutor" in lines
    assert "hint: pip install --upgrade furu-crash" in done.stdout
    assert f"installed in {crowded.site_packages}" in lines


def test_p8_two_distributions_under_one_name_are_both_named(
    health: list[dict[str, Any]], crowded: Environment
) -> None:
    first, second = (entry for entry in health if entry["name"] == "twin")
    assert (first["distribution"], second["distribution"]) == ("furu-twin-a", "furu-twin-b")
    assert "furu-twin-a 1.0 has the same name as that of furu-twin-b 2.0" in first["problem"]
    assert "furu-twin-b 2.0 has the same name as that of furu-twin-a 1.0" in second["problem"]
    done = crowded.furu("run", "graph:ten", "--executor", "twin")
    assert done.returncode == 2
    assert "furu-twin-a 1.0" in done.stderr
    assert "furu-twin-b 2.0" in done.stderr
    assert "pip uninstall furu-twin-a or pip uninstall furu-twin-b" in done.stderr


@pytest.mark.parametrize("name", ["crash", "old"])
def test_p8_choosing_a_broken_executor_ends_with_a_clear_line_and_status_2(
    name: str, crowded: Environment
) -> None:
    (crowded.project / "graph.py").write_text(NODE)
    done = crowded.furu("run", "graph:ten", "--executor", name)
    assert done.returncode == 2
    assert done.stdout == ""
    error, hint = done.stderr.splitlines()
    assert error.startswith(f"error: the executor {name!r} of furu-{name} 1.0 ")
    assert hint.startswith("hint: ")
    assert not (crowded.project / "furu-data").exists()


def test_p8_no_broken_executor_ends_a_program_otherwise_than_with_its_own_error(
    crowded: Environment,
) -> None:
    program = f"""
import furu_core
from furu_core.errors import FuruExecutorError
for name in {[*SAID, "twin", "none-such"]!r}:
    try:
        furu_core.run([], executor=name)
    except FuruExecutorError as error:
        assert error.hint and repr(name) in error.message, error
        if name == "crash":
            assert isinstance(error.__cause__, RuntimeError)
    else:
        raise AssertionError(name)
"""
    done = crowded.run(program)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["sound", "local"])
def test_sound_executors_keep_working_beside_broken_ones(name: str, crowded: Environment) -> None:
    (crowded.project / "graph.py").write_text(NODE)
    done = crowded.furu("run", "graph:ten", "--executor", name)
    assert done.returncode == 0, done.stderr
    show = "from graph import ten; print(ten.exists(), ten.get())"
    assert crowded.run(show).stdout == "True 45\n"


def test_loading_one_executor_imports_no_other(crowded: Environment) -> None:
    modules = [distribution.module for distribution in zoo.ALL]
    program = f"""
import sys
from furu_core.executors import load_executor
print(load_executor("sound").name, sorted(sys.modules.keys() & {modules!r}))
try:
    load_executor("soundd")
except Exception as error:
    print(error)
print(sorted(sys.modules.keys() & {modules!r}))
"""
    done = crowded.run(program)
    first, error, after = done.stdout.splitlines()
    assert first == "sound ['furu_sound']", done.stderr
    assert after == "['furu_sound']"
    assert error.startswith("no executor is called 'soundd'; installed are: alias, crash, ")
    assert error.endswith("did you mean 'sound'?")


def test_an_executor_installed_meanwhile_is_found_without_a_restart(
    workstation_with: With,
) -> None:
    environment = workstation_with()
    wheel = Distribution(
        "furu-late", zoo.executor("late"), {zoo.EXECUTORS: {"late": "furu_late:InlineExecutor"}}
    ).write_wheel(environment.project)
    program = f"""
import zipfile
from furu_core.executors import load_executor
try:
    load_executor("late")
except Exception as error:
    print(type(error).__name__)
zipfile.ZipFile({str(wheel)!r}).extractall({str(environment.site_packages)!r})
print(load_executor("late"))
"""
    done = environment.run(program)
    assert done.stdout == "FuruExecutorError\n<class 'furu_late.InlineExecutor'>\n", done.stderr


def test_of_two_installations_of_one_distribution_the_first_on_the_path_counts(
    workstation_with: With,
) -> None:
    environment = workstation_with(zoo.SOUND)
    newer = Distribution(
        "Furu_Sound",
        zoo.executor("sound") + zoo.executor("sounder").replace("InlineEx", "Ex"),
        {zoo.EXECUTORS: {"sound": "furu_sound:InlineExecutor", "sounder": "furu_sound:Executor"}},
        version="2.0",
    )
    first = environment.project / "first"
    with zipfile.ZipFile(newer.write_wheel(environment.project)) as wheel:
        wheel.extractall(first)
    for path, version in ((str(first), "2.0"), ("", "1.2")):
        done = environment.furu("executors", "--json", PYTHONPATH=path)
        found = {entry["name"]: entry for entry in json.loads(done.stdout)}
        assert found["sound"]["version"] == version
        assert found["sound"]["problem"] == ""
        assert ("sounder" in found) == (version == "2.0")


def test_what_cannot_be_read_of_one_distribution_harms_no_other(
    workstation_with: With,
) -> None:
    """pip and uv install such files; the standard library's `entry_points()` fails at each of them."""
    environment = workstation_with(zoo.SOUND)
    site = environment.site_packages
    for name, text in (
        ("garbled", "[furu.executors]\nthis line names nothing\n"),
        ("elsewhere", "[console_scripts]\nthis line names nothing\n"),
        ("remains", "[furu.executors]\nremains = furu_remains:InlineExecutor\n"),
    ):
        info = site / f"furu_{name}-1.0.dist-info"
        info.mkdir()
        (info / "entry_points.txt").write_text(text)
        if name != "remains":  # as an upgrade that was interrupted leaves it
            (info / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: furu-{name}\nVersion: 1.0\n"
            )
    done = environment.furu("executors", "--json")
    assert done.returncode == 0, done.stderr
    found = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert found["sound"]["problem"] == found["local"]["problem"] == ""
    assert f"a nameless distribution in {site}" in found["remains"]["problem"]
    assert "furu-garbled 1.0" in done.stderr
    assert "furu-elsewhere" not in done.stderr


def test_without_any_executor_the_error_says_what_to_install(
    furu_wheels: Path, tmp_path: Path
) -> None:
    environment = environments.make(tmp_path / "bare")
    environment.install("furu-core", find_links=[furu_wheels])
    (environment.project / "graph.py").write_text(NODE)
    done = environment.furu("run", "graph:ten")
    assert done.returncode == 2
    assert "no executor is called 'local'; installed are: none" in done.stderr
    assert "furu-local" in done.stderr
    assert "furu-local" in environment.furu("executors").stderr


def test_a_hit_and_commands_that_need_no_plugin_look_for_none(
    crowded: Environment, tmp_path: Path
) -> None:
    (tmp_path / "graph.py").write_text(NODE)
    assert crowded.run("from graph import ten; ten.get()").returncode == 0
    hit = "from graph import ten; ten.get()"
    assert crowded.run(f"{hit}{LOOK}").stdout == "set()\n"
    ls = "from furu_core._cli._main import run_and_report; run_and_report(['ls'])"
    assert crowded.run(f"{ls}{LOOK}").stdout.splitlines()[-1] == "set()"


LOOK = "; import sys; print({'importlib.metadata'} & sys.modules.keys())"
