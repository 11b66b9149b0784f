"""P1 to P8 as the conformance suite of furu-core tests them, in each kind of worker."""

from __future__ import annotations

from typing import ClassVar

from furu_testing import ExecutorConformance

_ONE_PROCESS = "the workers are the program itself, which would die with them"


class TestProcesses(ExecutorConformance):
    executor = "local"
    options: ClassVar = {"max_workers": 2, "progress": False}
    command_options = ("-j", "2")


class TestThreads(ExecutorConformance):
    executor = "local"
    options: ClassVar = {"worker": "thread", "max_workers": 2, "progress": False}
    own_code = ("strict", "worker", "cluster")
    command_options = ("-j", "2", "-o", "worker=thread")
    lacks: ClassVar = {
        "killing": _ONE_PROCESS,
        "attribution": "nodes share a process, so a thread of one cannot be told from another's",
    }


class TestInline(ExecutorConformance):
    executor = "local"
    options: ClassVar = {"worker": "inline", "progress": False}
    own_code = ("strict", "worker", "cluster")
    command_options = ("-o", "worker=inline")
    at_once = 1
    lacks: ClassVar = {
        "killing": _ONE_PROCESS,
        "background": "the caller itself computes, in `submit`",
    }
