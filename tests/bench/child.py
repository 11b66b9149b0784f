"""Measuring in a fresh process, so that nothing of one measurement weighs on the next."""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs

TESTS = Path(__file__).parent.parent


@attrs.frozen
class Measured:
    """What a child process measured.

    Attributes:
        seconds: as the function returned them.
        peak_mib: peak memory of the process, interpreter and imports included.
        processor: seconds of the processor that it spent from its start on, with its own children.
    """

    seconds: float
    peak_mib: float
    processor: float


def measure(function: str, *arguments: Any, env: dict[str, str] | None = None) -> Measured:
    """Call ``module:function`` in a new process; it returns the seconds it measured.

    Args:
        function: for instance ``bench.bench_plan:ours``.
        arguments: JSON values.
        env: changes of the environment.
    """
    output = subprocess.run(
        [sys.executable, "-m", "bench.child", function, json.dumps(arguments)],
        env={**os.environ, **(env or {})},
        cwd=TESTS,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    return Measured(**json.loads(output.splitlines()[-1]))


def main(function: str, arguments: str) -> None:
    """The child's side of `measure`."""
    module, _, name = function.partition(":")
    seconds = getattr(importlib.import_module(module), name)(*json.loads(arguments))
    own, children = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    spent = sum(usage.ru_utime + usage.ru_stime for usage in (own, children))
    measured = {"seconds": seconds, "peak_mib": own.ru_maxrss / 1024, "processor": spent}
    print(json.dumps(measured))


if __name__ == "__main__":
    main(*sys.argv[1:])
