"""The reference names everything there is, and nothing that is not."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import click
import pytest

import furu_local
import furu_slurm_dag
import furu_slurm_pool
from furu_core import Furu, Settings, checks, command, errors
from furu_core._cli._main import furu as group

PAGE = (Path(__file__).parents[1] / "docs" / "reference.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return re.split(r"^## ", PAGE.partition(f"## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(text: str) -> set[str]:
    return {row.split("|")[1].strip(" `") for row in text.splitlines() if row.startswith("| `")}


def test_every_setting_has_a_row() -> None:
    known = {f"FURU_{field.name.upper()}" for field in attrs.fields(Settings)} - {"FURU_EXTRA"}
    assert first_cells(section("Settings")) == known


def test_every_error_is_explained() -> None:
    named = set(re.findall(r"`(Furu\w+|Node(?:Cancelled|Lost))`", section("Errors")))
    assert named == set(errors.__all__)


def test_every_command_and_every_option_of_run_is_named() -> None:
    context = click.Context(group)
    commands = {row.split()[1] for row in first_cells(section("Commands"))}
    assert commands == set(group.list_commands(context))
    run = group.get_command(context, "run")
    assert run is not None
    options = {name for option in run.params for name in option.opts if name.startswith("-")}
    missing = {name for name in options if f"{name}" not in section("Commands")}
    assert not missing


@pytest.mark.parametrize(
    "door", [furu_local.run_local, furu_slurm_dag.submit_slurm_dag, furu_slurm_pool.run_slurm_pool]
)
def test_every_parameter_of_a_front_door_has_a_row(door: Callable[..., Any]) -> None:
    parameters = set(inspect.signature(door).parameters) - {"roots"}
    assert first_cells(section(f"`{door.__name__}`")) == parameters


def test_everything_public_on_an_object_is_named() -> None:
    text = section("What an object has")
    public = {name for name in vars(Furu) if not name.startswith("_")}
    assert {name for name in public if f"`{name}" not in text} == set()


def test_everything_that_commands_and_checks_of_others_build_on_is_named() -> None:
    page = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")
    table = page.partition("## A command\n")[2].partition("## ")[0]
    assert {name for name in command.__all__ if f"`{name}`" not in table} == set()
    section = page.partition("## A check\n")[2].partition("\n## ")[0]
    assert {name for name in checks.__all__ if f"`{name}`" not in section} == set()


def test_no_line_of_the_list_of_commands_is_cut_off() -> None:
    shown = group.get_help(click.Context(group, info_name="furu", max_content_width=80))
    cut = [line for line in shown.splitlines()[1:] if line.endswith("...")]
    assert not cut, "give these commands a short_help"
