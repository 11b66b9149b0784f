"""Settings by others, sound and broken ones, each installed as a real wheel."""

from __future__ import annotations

import pytest

from third_party.environments import Environment

pytestmark = pytest.mark.source_tree

SHOW = "import furu_core; print(dict(furu_core.settings().extra))"


def test_p8_each_broken_setting_is_listed_with_its_distribution_and_what_to_do(
    crowded: Environment,
) -> None:
    entries = [one for one in crowded.json("plugins") if one["group"] == "furu.settings"]
    problems = {entry["name"]: entry["problem"] for entry in entries}
    assert all(entry["hint"] for entry in entries if entry["problem"])
    assert problems.pop("FURU_SOUND_QUEUE") == ""
    for name, said in {
        "FURU_OURS": "furu-ours-b 1.0 has the same name as that of furu-ours-a 1.0",
        "FURU_SPLIT": "furu-split 1.0 cannot be imported from furu_split:normalise: RuntimeError",
        "FURU_THREE": "furu-three 1.0 is furu_three:normalise, which cannot be called",
        "FURU_LEASE_SECS": "furu-lease-secs 1.0 has the name of one of furu's own settings",
        "lower": "furu-lower 1.0 needs a name in capitals that begins with FURU_",
    }.items():
        assert said in problems.pop(name)
    assert not problems


@pytest.mark.parametrize(
    ("name", "distributions"),
    [("FURU_SPLIT", ["furu-split 1.0"]), ("FURU_OURS", ["furu-ours-a 1.0", "furu-ours-b 1.0"])],
)
def test_a_setting_of_a_broken_plugin_is_ignored_with_a_warning(
    name: str, distributions: list[str], crowded: Environment
) -> None:
    done = crowded.run(SHOW, **{name: "q", "FURU_SOUND_QUEUE": "q"})
    assert done.stdout == f"{{'FURU_SOUND_QUEUE': '{crowded.project}/q'}}\n"
    (warning,) = done.stderr.splitlines()
    assert f"{name} is ignored: the setting {name!r} of " in warning
    assert all(distribution in warning for distribution in distributions)
    assert crowded.furu("ls", **{name: "q"}).returncode == 0


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "FURU_SOUND_QUEUE is '': expected a folder"),
        ("zero", "at which furu-sound 1.2 failed: ZeroDivisionError: division by zero"),
        ("three", "of which furu-sound 1.2 made a int instead of a str"),
    ],
)
def test_p8_a_value_that_a_plugin_cannot_read_is_an_error_with_status_2(
    value: str, said: str, crowded: Environment
) -> None:
    done = crowded.furu("ls", FURU_SOUND_QUEUE=value)
    assert done.returncode == 2
    assert said in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_that_is_nearly_that_of_a_plugins_setting_is_an_error(crowded: Environment) -> None:
    done = crowded.furu("ls", FURU_SOUND_QUEU="q")
    assert done.returncode == 2
    assert "did you mean FURU_SOUND_QUEUE?" in done.stderr
