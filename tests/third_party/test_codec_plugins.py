"""Codecs by others, sound and broken ones, each installed as a real wheel."""

from __future__ import annotations

from typing import Any

import pytest

from third_party import zoo
from third_party.environments import Environment, With
from third_party.wheels import Distribution

pytestmark = pytest.mark.source_tree

NODE = """
from fractions import Fraction
from furu_core import Furu

class Third(Furu[Fraction]):
    def _create(self) -> Fraction:
        return Fraction(1, 3)

class Plain(Furu[dict]):
    def _create(self) -> dict:
        return {"a": [1, 2]}
"""

AUTHORS = "report it to the authors of {}"

SAID = {
    "quarrel": ("RuntimeError: the licence server is away", "pip install --upgrade {}"),
    "nocodec": ("no subclass of furu_core.codecs.Codec", AUTHORS),
    "nickname": ("a class whose `name` is 'fraction'", AUTHORS),
    "nosuffix": ("needs a `suffix` that starts with a dot, got 'fraction'", AUTHORS),
    "noload": ("lacks the method load", AUTHORS),
    "needs-more": ("cannot be made: TypeError: ", AUTHORS),
    "json": ("has the name of one of furu's own codecs", AUTHORS),
    "oldcodec": (
        "made for another furu: it requires furu-core==0.0.9, but furu-core 0.1.0 is installed",
        "pip install --upgrade furu-oldcodec furu-core",
    ),
}


def codecs(environment: Environment) -> list[dict[str, Any]]:
    return [entry for entry in environment.json("plugins") if entry["group"] == "furu.codecs"]


def test_p8_each_broken_codec_is_listed_with_its_distribution_and_what_to_do(
    crowded: Environment,
) -> None:
    found = {entry["name"]: entry for entry in codecs(crowded)}
    assert {*SAID, "pair", "fraction"} == found.keys()
    assert (found["fraction"]["distribution"], found["fraction"]["problem"]) == ("furu-sound", "")
    for name, (reason, hint) in SAID.items():
        distribution = f"furu-{name}"
        problem = found[name]["problem"]
        assert problem.startswith(f"the codec {name!r} of {distribution} 1.0 ")
        assert reason in problem
        assert hint.format(distribution) in found[name]["hint"]
    assert "same name as that of furu-pair-" in found["pair"]["problem"]


def test_a_sound_codec_keeps_working_and_each_broken_one_is_warned_of_once(
    crowded: Environment,
) -> None:
    (crowded.project / "graph.py").write_text(NODE)
    done = crowded.run("from graph import *; print(repr(Third().get()), Plain().get())")
    assert done.stdout == "Fraction(1, 3) {'a': [1, 2]}\n", done.stderr
    (stored,) = crowded.project.rglob(".furu.result.fraction")
    assert stored.read_text() == "1/3"
    for name, (reason, hint) in SAID.items():
        assert done.stderr.count(f"the codec {name!r} of furu-{name} 1.0 ") == 1
        assert reason in done.stderr
        assert hint.format(f"furu-{name}") in done.stderr


def test_loading_a_result_imports_and_warns_of_no_codec_but_its_own(crowded: Environment) -> None:
    (crowded.project / "graph.py").write_text(NODE)
    assert crowded.run("from graph import *; Third().get(), Plain().get()").returncode == 0
    modules = [distribution.module for distribution in zoo.ALL]
    look = f"; import sys; print(sorted(sys.modules.keys() & {modules!r}))"
    plain = crowded.run(f"from graph import *; Plain().get(){look}")
    third = crowded.run(f"from graph import *; Third().get(){look}")
    assert (plain.stdout, plain.stderr) == ("[]\n", "")
    assert (third.stdout, third.stderr) == ("['furu_sound']\n", "")


def test_a_run_whose_workers_store_by_a_codec_of_a_third_party(crowded: Environment) -> None:
    (crowded.project / "graph.py").write_text(NODE)
    done = crowded.furu("run", "graph:Third", "--executor", "local", "-j", "1")
    assert done.returncode == 0, done.stderr
    assert len(list(crowded.project.rglob(".furu.result.fraction"))) == 1


def test_of_two_distributions_with_one_codec_neither_stores_until_one_is_gone(
    workstation_with: With,
) -> None:
    first, second = (
        Distribution(
            f"furu-{name}",
            zoo.FRACTION,
            {zoo.CODECS: {"fraction": f"furu_{name}:FractionCodec"}},
        )
        for name in ("first", "second")
    )
    environment = workstation_with(first)
    (environment.project / "graph.py").write_text(NODE)
    store = "from graph import *; Third().get()"
    assert environment.run(store).stderr.count("codec") == 0
    environment.install_wheels([second])
    loaded = environment.run("from graph import *; print(Third().get())")
    assert (loaded.stdout, loaded.stderr) == ("1/3\n", "")  # by the one that stored it

    other = environment.run(store, FURU_PATH="other")
    assert other.returncode == 0
    assert "furu-first 1.0 has the same name as that of furu-second 1.0" in other.stderr
    assert "pip uninstall furu-first or pip uninstall furu-second" in other.stderr
    assert not list((environment.project / "other").rglob(".furu.result.fraction"))
