"""What workers know: the settings, the path of imports and the working directory of the program."""

from __future__ import annotations

import os
from importlib import import_module

import pytest

import furu_core
from furu_testing._conformance._kit import ConformanceKit
from furu_testing._conformance._promises import promise
from furu_testing._conformance._tags import depends_on
from furu_testing.nodes import Tells

_SETTINGS = "P7: workers have the settings of the program that runs the graph"

_OWN = """
from furu_core import Furu

class Own(Furu[int]):
    def _create(self):
        return 7
"""


@depends_on("worker")
class ConfigurationTests(ConformanceKit):
    """What workers know of the program that runs the graph."""

    def test_settings_made_in_code_reach_the_workers(self) -> None:
        changes = {"max_compute_retries": 7, "max_lost_retries": 8, "log_level": "ERROR"}
        with self.settings(**changes):
            expected = {
                name: str(getattr(furu_core.settings(), name)) for name in ("path", *changes)
            }
            told = self.completed(Tells(label="tells"), promised=_SETTINGS).results()
        promise(
            told["settings"] == expected,
            f"{_SETTINGS}; expected {expected}, got {told['settings']}",
        )

    def test_settings_of_the_environment_reach_the_workers_of_a_command(self) -> None:
        command = self.command(
            "Tells(label='tells')", FURU_MAX_LOST_RETRIES="9", FURU_LOG_LEVEL="WARNING"
        )
        said = self.ended(command)
        promise(said.status == 0, f"P5: nodes that do not fail are computed; {said}")
        told = Tells(label="tells").get()["settings"]
        got = (told["path"], told["max_lost_retries"], told["log_level"])
        promise(
            got == (str(self.store), "9", "WARNING"),
            f"{_SETTINGS}; FURU_MAX_LOST_RETRIES=9 and FURU_LOG_LEVEL=WARNING were set, got {got}",
        )

    def test_modules_that_the_program_can_import_workers_can(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # A name of its own, since a program knows a class by one file only.
        module = f"conformance_own_{os.urandom(4).hex()}"
        library = self.folder / "library"
        library.mkdir()
        (library / f"{module}.py").write_text(_OWN)
        monkeypatch.syspath_prepend(library)
        node = import_module(module).Own()
        run = self.completed(
            node,
            promised="P7: workers can import what the program can, though it changed sys.path",
        )
        promise(run.results() == 7, "P8: results() gives what nodes returned")

    def test_workers_begin_in_the_working_directory_of_the_program(self) -> None:
        self.needs("folder")
        told = self.completed(Tells(label="tells")).results()
        promise(
            told["folder"] == str(self.folder),
            "P7: relative paths mean the same to workers; the program's working directory is "
            f"{self.folder}, the worker's is {told['folder']}",
        )
