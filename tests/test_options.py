"""The options of each executor: its class declares them, and the front door and the reference say the same."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from furu_core._executors._options import options_of
from furu_core.errors import FuruExecutorError
from furu_core.executors import Executor
from furu_local import LocalExecutor, run_local
from furu_slurm_dag import SlurmDagExecutor, submit_slurm_dag
from furu_slurm_pool import SlurmPoolExecutor, run_slurm_pool

PAGE = (Path(__file__).parents[1] / "docs" / "reference.md").read_text(encoding="utf-8")


@pytest.fixture(
    params=[
        (run_local, LocalExecutor),
        (submit_slurm_dag, SlurmDagExecutor),
        (run_slurm_pool, SlurmPoolExecutor),
    ],
    ids=["local", "slurm-dag", "slurm-pool"],
)
def door(request: pytest.FixtureRequest) -> Callable[..., Any]:
    door: Callable[..., Any] = request.param[0]
    return door


@pytest.fixture
def executor(request: pytest.FixtureRequest) -> type[Executor]:
    executor: type[Executor] = request.node.callspec.params["door"][1]
    return executor


def plain(text: str) -> str:
    """The words of a text, without their marks and breaks."""
    return " ".join(text.replace("`", "").split()).lower()


def test_the_signature_of_a_front_door_is_what_the_class_declares(
    door: Callable[..., Any], executor: type[Executor]
) -> None:
    parameters = dict(inspect.signature(door).parameters)
    del parameters["roots"]
    fields = {name: attrs.fields_dict(executor)[name] for name in options_of(executor)}
    assert parameters.keys() == fields.keys()
    for name, parameter in parameters.items():
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert parameter.default == fields[name].default, name
        assert parameter.annotation == fields[name].type, name


def test_the_docstring_of_a_front_door_says_what_the_class_declares(
    door: Callable[..., Any], executor: type[Executor]
) -> None:
    args = inspect.cleandoc(door.__doc__ or "").partition("Args:\n")[2].partition("\n\n")[0]
    said = dict(re.findall(r"^    (\w+): (.*(?:\n     .*)*)", args, re.MULTILINE))
    for name, option in options_of(executor).items():
        assert plain(said[name]).startswith(plain(option.help)), name


def test_the_reference_says_what_the_class_declares(
    door: Callable[..., Any], executor: type[Executor]
) -> None:
    section = PAGE.partition(f"\n## `{door.__name__}`\n")[2].partition("\n## ")[0]
    said = dict(re.findall(r"^\| `(\w+)` \| [^|]* \| (.*) \|$", section, re.MULTILINE))
    for name, option in options_of(executor).items():
        assert plain(said[name]).startswith(plain(option.help)), name


def test_the_front_door_gives_the_executor_each_option(
    door: Callable[..., Any], executor: type[Executor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own name: two of one type that were exchanged would be noticed by nobody else."""
    given = {name: object() for name in options_of(executor)}
    got: dict[str, Any] = {}

    class Noted(Exception):
        """Instead of an executor."""

    def note(**options: Any) -> None:
        got.update(options)
        raise Noted

    # A front door that imports the class when it is called finds it where it is defined.
    for names in (door.__globals__, vars(sys.modules[executor.__module__])):
        if executor.__name__ in names:
            monkeypatch.setitem(names, executor.__name__, note)
    with pytest.raises(Noted):
        door([], **given)
    assert got == given


@pytest.mark.usefixtures("door")
def test_an_option_that_is_not_known_or_cannot_be_read_is_an_error_that_says_what_is(
    executor: type[Executor],
) -> None:
    with pytest.raises(FuruExecutorError, match="did you mean 'keep_going'"):
        executor.from_options({"keep_goin": "1"})
    with pytest.raises(FuruExecutorError, match=r"expected 1 or 0 \(when a node fails for good"):
        executor.from_options({"keep_going": "maybe"})


def test_the_pool_takes_max_workers_as_furu_run_calls_it() -> None:
    assert SlurmPoolExecutor.from_options({"max_workers": "8"}).max_workers_total == 8


@pytest.mark.parametrize("executor", [SlurmDagExecutor, SlurmPoolExecutor])
def test_specs_given_as_json_come_as_they_were_given(
    executor: type[SlurmDagExecutor | SlurmPoolExecutor],
) -> None:
    extra = {"exclusive": True, "additional_parameters": {"nice": 100, "comment": "a:b=c, ä \\ d"}}
    default = {"partition": "cpu", "mem_gb": None, "time_min": 1.5, "extra": extra}
    specs = {"default": default, "gpu:big": {"setup": ["module load cuda", 'echo "it\'s, [fine"']}}
    assert executor.from_options({"specs": json.dumps(specs, indent=1)}).specs == specs
