"""The digits experiment under each executor, on a real Slurm cluster: ``make demo-slurm``.

Nothing of the experiment changes from one executor to the next but the name on the command line. Each
gets a store of its own, so each computes everything.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
from rich.console import Console
from rich.table import Table

from furu_testing.slurm import missing_programs, running

DIGITS: Final = Path(__file__).parents[1] / "examples" / "digits"
EXECUTORS: Final = {
    "local": ("-j", "2"),
    "slurm-dag": (),
    "slurm-pool": ("-j", "3"),
}
DEADLINE_SECS: Final = 1500


@attrs.frozen
class Outcome:
    """What one executor made of an experiment.

    Attributes:
        executor: its name.
        hash: of the report's node.
        artifact: the report's folder.
        computed: how many nodes it computed.
        seconds: how long that took.
    """

    executor: str
    hash: str
    artifact: Path
    computed: int
    seconds: float

    @property
    def report(self) -> str:
        """The report's text."""
        return (self.artifact / "report.md").read_text("utf-8")


def run_report(
    executor: str, store: Path, environ: Mapping[str, str], target: str = "digits:report"
) -> Outcome:
    """Run an experiment that is made of the classes of `digits`.

    Args:
        executor: one of `EXECUTORS`.
        store: the folder of results.
        environ: with the cluster in it.
        target: its report; in a module that `environ` finds.
    """
    began = time.monotonic()
    path = [str(DIGITS), *filter(None, [environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("furu"), "run", target),
            *("--executor", executor, *EXECUTORS[executor], "--json"),
        ],
        cwd=DIGITS,
        env={**environ, "FURU_PATH": str(store), "PYTHONPATH": os.pathsep.join(path)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=DEADLINE_SECS,
    )
    assert done.returncode == 0, f"{executor} ended with {done.returncode}: {done.stdout}"
    said: dict[str, Any] = json.loads(done.stdout)
    (root,) = said["roots"]
    return Outcome(
        executor=executor,
        hash=root["hash"],
        artifact=Path(root["path"]),
        computed=said["nodes"]["computed"],
        seconds=time.monotonic() - began,
    )


@contextlib.contextmanager
def stores() -> Iterator[Path]:
    """A folder for the stores, which the nodes see as well."""
    with tempfile.TemporaryDirectory(prefix="furu-demo-") as name:
        yield Path(name)


def main() -> int:
    """Run the experiment under each executor, and show that all found the same."""
    if reason := missing_programs():
        print(reason, file=sys.stderr)
        return 1
    table = Table("executor", "report", "sha256", "computed", "seconds", "again")
    outcomes = []
    with stores() as folder, running(cpus=4) as slurm:
        for executor in EXECUTORS:
            outcome = run_report(executor, folder / executor, slurm.environment)
            again = run_report(executor, folder / executor, slurm.environment)
            assert again.computed == 0, again
            outcomes.append(outcome)
            digest = hashlib.sha256(outcome.report.encode()).hexdigest()[:12]
            table.add_row(
                executor,
                outcome.hash[:12],
                digest,
                str(outcome.computed),
                f"{outcome.seconds:.0f}",
                f"{again.seconds:.1f}",
            )
        reports = {outcome.report for outcome in outcomes}
        best = next(line for line in outcomes[0].report.splitlines() if "test images" in line)
    Console().print(table)
    print(best)
    return 0 if len(reports) == 1 and len({outcome.hash for outcome in outcomes}) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
