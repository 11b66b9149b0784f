"""What it costs to record the code that ran: a project of 1,000 modules, in a process of its own each time.

Cold is the first process that ever meets these sources, which parses all of them; one that meets sources that
another one has parsed, as each worker of a run but the first one does, parses none.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.row import Row

MODULES = 1000
ROUNDS = 5
MODULE = '''"""Module {number}."""

from furu_core import Furu

RATE_{number} = {number}


class Step{number}:
    """One step."""

    def __init__(self, size: int = {number}) -> None:
        self.size = size

    def forward(self, values: list[float]) -> list[float]:
        """Scale the values."""
        return [value * RATE_{number} + self.size for value in values if value > 0]


def total(steps: list[Step{number}]) -> int:
    return sum(step.size for step in steps)
'''
CAPTURE = """
import time
import big
from big.node import Node
from furu_core._code import _loaded

node = Node()
node.furu_hash
begin = time.perf_counter()
assert _loaded.code_of(node)
took = time.perf_counter() - begin
begin = time.perf_counter()
for _ in range(1000):
    _loaded.code_of(node)
print(took, (time.perf_counter() - begin) / 1000)
"""
IMPORT = (
    "import time; begin = time.perf_counter(); import big; print(time.perf_counter() - begin, 0)"
)


def rows() -> Iterator[Row]:
    """The rows of the table."""
    with tempfile.TemporaryDirectory() as folder:
        write_project(Path(folder))
        cold, _ = run(folder, "import furu_core;" + CAPTURE)
        warm = [run(folder, "import furu_core;" + CAPTURE) for _ in range(ROUNDS)]
        yield Row(f"capture of {MODULES:,} modules, cold", cold)
        yield Row("the same, warm", min(took for took, _ in warm), limit=0.3)
        yield Row("the same, each further node", min(again for _, again in warm), limit=5e-6)
        observed = min(run(folder, "import furu_core;" + IMPORT)[0] for _ in range(ROUNDS))
        bare = min(run(folder, BARE + IMPORT)[0] for _ in range(ROUNDS))
        yield Row("import of them, above that without the observer", observed - bare, limit=0.3)


BARE = "import sys, furu_core; sys.meta_path.pop(0);"


def write_project(folder: Path) -> None:
    """A package of many modules, which it imports."""
    package = folder / "big"
    package.mkdir()
    for number in range(MODULES - 2):
        (package / f"m{number}.py").write_text(MODULE.format(number=number))
    (package / "node.py").write_text(
        "from furu_core import Furu\n\nclass Node(Furu[int]):\n    x: int = 1\n"
    )
    imports = "\n".join(f"from big import m{number}" for number in range(MODULES - 2))
    (package / "__init__.py").write_text(imports)


def run(folder: str, code: str) -> tuple[float, float]:
    """What a program prints: two times."""
    env = os.environ | {"FURU_PATH": f"{folder}/store"}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    told = subprocess.check_output([sys.executable, "-c", code], cwd=folder, env=env, text=True)
    took, again = map(float, told.split())
    return took, again
