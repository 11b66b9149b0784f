"""Commands by others, sound and broken ones, each installed as a real wheel."""

from __future__ import annotations

import pytest

from third_party.environments import Environment

pytestmark = pytest.mark.source_tree

AUTHORS = "report it to the authors of {}"

SAID = {
    "cracked": ("RuntimeError: the licence server is away", "pip install --upgrade {}"),
    "leaves": ("SystemExit: 0", "pip install --upgrade {}"),
    "number": ("furu_number:number, which is no click command", AUTHORS),
    "missing": ("no attribute 'helo' (it has hello)", AUTHORS),
    "ls": ("has the name of one of furu's own, so it cannot be called", AUTHORS),
    "oldone": (
        "made for another furu: it requires furu-core~=0.0.1, but furu-core 0.1.0 is installed",
        "pip install --upgrade furu-oldone furu-core",
    ),
}


def test_p8_each_broken_command_is_listed_with_its_distribution_and_what_to_do(
    crowded: Environment,
) -> None:
    entries = [one for one in crowded.json("plugins") if one["group"] == "furu.commands"]
    found = {entry["name"]: entry for entry in entries}
    assert {*SAID, "both", "hello", "fails", "plan"} == found.keys()
    assert {name for name in found if not found[name]["problem"]} == {"hello", "fails", "plan"}
    for name, (reason, hint) in SAID.items():
        problem = found[name]["problem"]
        assert problem.startswith(f"the command {name!r} of furu-{name} 1.0 ")
        assert reason in problem
        assert hint.format(f"furu-{name}") in found[name]["hint"]


@pytest.mark.parametrize("name", ["cracked", "leaves", "oldone"])
def test_p8_calling_a_broken_command_ends_with_a_clear_line_and_status_2(
    name: str, crowded: Environment
) -> None:
    reason, hint = SAID[name]
    done = crowded.furu(name, "anything", "--whatever", "--help")
    assert done.returncode == 2
    error, next_step = done.stderr.splitlines()
    assert error.startswith(f"error: the command {name!r} of furu-{name} 1.0 ")
    assert reason in error
    assert next_step.startswith("hint: ")
    assert hint.format(f"furu-{name}") in next_step


def test_p8_two_distributions_with_one_command_are_both_named(crowded: Environment) -> None:
    done = crowded.furu("both")
    assert done.returncode == 2
    assert "furu-both-a 1.0 has the same name as that of furu-both-b 1.0" in done.stderr
    assert "pip uninstall furu-both-a or pip uninstall furu-both-b" in done.stderr


def test_the_help_shows_sound_and_broken_commands_and_where_to_read_on(
    crowded: Environment,
) -> None:
    done = crowded.furu("--help")
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "hello Say hello." in lines
    assert "cracked (broken: furu-cracked 1.0)" in lines
    assert "both (broken: furu-both-a 1.0 and furu-both-b 1.0)" in lines
    assert "Some plugins are broken; `furu plugins` says why and what to do." in lines
    (listing,) = (line for line in lines if line.startswith("ls "))
    assert listing.startswith("ls List nodes")


def test_sound_commands_and_furus_own_keep_working_beside_broken_ones(
    crowded: Environment,
) -> None:
    assert crowded.furu("hello", "--whom", "all").stdout == "hello all\n"
    listing = crowded.furu("ls")  # which a plugin would like to be, too
    assert (listing.returncode, listing.stdout) == (0, "")
    assert "has no node yet" in listing.stderr


def test_an_error_in_a_command_names_the_distribution_that_brings_it(crowded: Environment) -> None:
    done = crowded.furu("fails")
    assert done.returncode == 1
    assert "ZeroDivisionError: nothing to divide by" in done.stderr
    assert done.stderr.endswith("The command `furu fails` is brought by furu-sound 1.2.\n")


def test_the_list_of_all_plugins_is_json_alone_whatever_a_plugin_prints(
    crowded: Environment,
) -> None:
    groups = [entry["group"] for entry in crowded.json("plugins")]
    assert groups == sorted(groups, key=groups.index)
    assert set(groups) == {"furu.executors", "furu.codecs", "furu.commands", "furu.settings"}
    text = crowded.furu("plugins")
    assert text.returncode == 0
    assert "a script" not in text.stdout
    assert "a script" in text.stderr
