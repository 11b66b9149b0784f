"""The retries that nodes have used up, on disk, so that the run's next controller continues the count.

::

    runs/<run id>/controllers/<n>/spent.jsonl    the counts after each failure in the n-th term
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import attrs

from furu_core import Settings
from furu_core.executors import FailureKind, LineFile, read_lines
from furu_plan import Decision, RetryLedger, Spent
from furu_slurm_pool._controller._terms import Term, numbers

_FILE: Final = "spent.jsonl"


class StoredLedger(RetryLedger):
    """A retry ledger that also writes the counts to disk, for when the run is resumed.

    Args:
        term: the term whose folder it writes to.
        task_of: the name of a node's latest task, by its hash.
        settings, keep_going, spent: as for `RetryLedger`.
    """

    def __init__(
        self,
        term: Term,
        task_of: Callable[[str], str],
        settings: Settings,
        *,
        keep_going: bool,
        spent: Mapping[str, Spent],
    ) -> None:
        super().__init__(settings, keep_going=keep_going, spent=spent)
        self._task_of = task_of
        self._file = LineFile(f"{term.folder}/{_FILE}")
        for node_hash, used in spent.items():
            self._write(node_hash, "", used)

    def decide(self, node_hash: str, kind: FailureKind, *, progress: bool = False) -> Decision:
        decision = super().decide(node_hash, kind, progress=progress)
        self._write(node_hash, self._task_of(node_hash), decision.spent)
        return decision

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, node_hash: str, task: str, spent: Spent) -> None:
        line = json.dumps([node_hash, task, *attrs.astuple(spent)])
        # A full disk must not end a run; at worst, more retries are made than the limit allows.
        with suppress(OSError):
            self._file.append(line.encode())


def spent_before(run_folder: str) -> tuple[dict[str, Spent], set[str]]:
    """The counts of nodes under all controllers so far, and the tasks that are counted in them."""
    spent: dict[str, Spent] = {}
    counted: set[str] = set()
    for number in sorted(numbers(run_folder)):
        try:
            lines = read_lines(f"{run_folder}/controllers/{number}/{_FILE}")
        except OSError:
            continue  # this controller counted no failure
        for line in lines:
            with suppress(ValueError, TypeError):
                node_hash, task, *used = json.loads(line)
                spent[str(node_hash)] = Spent(*map(int, used))
                counted.add(str(task))
    return spent, counted
