"""Failed nodes, grouped by error, so that what has one cause is told once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from furu_core._attempts import _attempts
from furu_core._status._states import NodeState
from furu_core._tables._columns import BUILTIN, cell_text
from furu_core._tables._facts import NodeFacts
from furu_core.errors import FuruStoreError

_NUMBER: Final = re.compile(r"0x[0-9a-fA-F]+|[0-9a-fA-F]{12,}|\d+(?:\.\d+)?(?:e[+-]?\d+)?")
_SHOWN: Final = 4  # columns of a config
_FEW: Final = 6  # nodes that a command names one by one
_WIDE: Final = 60  # characters of a cell


@attrs.frozen
class FailedNode:
    """A node that failed, and why.

    Attributes:
        hash: its hash.
        class_name: the name of its class in hashes, or the short one where only that is known.
        kind: `compute`, `lost`, `protocol` or `cancelled`.
        error_type: the name of the exception's class; empty where there was none.
        message: its last line.
        at: file and line of the user's code that raised, where they are known.
        log: the file with its output, where there is one.
        host: where it was computed.
        ended: when it failed, in seconds since 1970.
        columns: the columns of its config.
        run: the id of the run that computed it; empty where there was none, or it is not told.
    """

    hash: str
    class_name: str
    kind: str
    error_type: str = ""
    message: str = ""
    at: str = ""
    log: str = ""
    host: str = ""
    ended: float | None = None
    columns: Mapping[str, Any] = attrs.field(factory=dict)
    run: str = ""

    @property
    def short_class(self) -> str:
        """The name of its class without the module."""
        return self.class_name.rpartition(":")[2]

    @property
    def error(self) -> str:
        """The error in a line."""
        said = f"{self.error_type}: {self.message}" if self.error_type else self.message
        return said or self.kind

    @classmethod
    def of(cls, facts: NodeFacts, columns: Mapping[str, Any]) -> FailedNode:
        """The failed node with these facts.

        Args:
            facts: its facts.
            columns: its row.
        """
        node = facts.node
        fields = {name: value for name, value in columns.items() if name not in BUILTIN}
        log = _attempts.kept_log(node.folder)
        return cls(
            node.hash,
            node.cls.name,
            facts.kind or facts.state.value,
            facts.error_type,
            facts.message or _death(facts),
            facts.at,
            "" if log is None else str(log),
            facts.host,
            facts.ended,
            fields,
            facts.run_id or "",
        )

    def row(self) -> dict[str, Any]:
        """It as a row of a file: what happened, then the parameters."""
        told = self.to_json()
        del told["config"]
        error = {"kind": self.kind, "error_type": self.error_type, "at": self.at, "run": self.run}
        return {**told, **error, **self.columns}

    def to_json(self) -> dict[str, Any]:
        """It as JSON."""
        return {
            "hash": self.hash,
            "class": self.class_name,
            "config": dict(self.columns),
            "message": self.message,
            "log": self.log or None,
            "host": self.host,
            "ended": self.ended,
        }


def _death(facts: NodeFacts) -> str:
    """Why a node counts as lost whose process did not come to write anything down."""
    if facts.state is not NodeState.LOST:
        return ""
    reason = facts.node.info().reason
    return f"lost: {reason}" if reason else ""


@attrs.frozen
class FailureGroup:
    """Nodes of one class that failed with the same error, but for numbers in its text.

    Attributes:
        nodes: the nodes, in the order in which they were told.
    """

    nodes: tuple[FailedNode, ...]

    @property
    def first(self) -> FailedNode:
        """The node that stands for all."""
        return self.nodes[0]

    @property
    def differing(self) -> list[str]:
        """The columns in which its nodes differ; of a single node all."""
        first, *others = [node.columns for node in self.nodes]
        if not others:
            return list(first)
        names = dict.fromkeys(name for node in self.nodes for name in node.columns)
        return [name for name in names if any(one.get(name) != first.get(name) for one in others)]

    @property
    def next_command(self) -> str:
        """What to type next: the log where there is one, else all that is known, if that could be written."""
        short = self.first.hash[:6]
        if self.first.error_type == FuruStoreError.__name__ and not self.first.log:
            return "furu doctor"
        return f"furu log {short}" if self.first.log else f"furu show {short}"

    @property
    def runs(self) -> list[str]:
        """The ids of the runs that computed its nodes, the newest first."""
        return sorted({node.run for node in self.nodes if node.run}, reverse=True)

    def to_json(self) -> dict[str, Any]:
        """It as JSON."""
        first = self.first
        return {
            "class": first.class_name,
            "kind": first.kind,
            "error_type": first.error_type,
            "message": first.message,
            "at": first.at,
            "count": len(self.nodes),
            "differing": self.differing,
            "nodes": [node.to_json() for node in self.nodes],
            "next": self.next_command,
            "runs": self.runs,
            "forget": forget_command(self.nodes),
        }


def grouped(failed: Iterable[FailedNode]) -> list[FailureGroup]:
    """Failed nodes, grouped by class and error; the largest group first."""
    groups: dict[tuple[str, ...], list[FailedNode]] = {}
    for node in failed:
        # A batch size or a path in the text makes no other error.
        pattern = _NUMBER.sub("#", node.message)
        key = (node.class_name, node.kind, node.error_type, pattern, node.at)
        groups.setdefault(key, []).append(node)
    made = [FailureGroup(tuple(nodes)) for nodes in groups.values()]
    return sorted(made, key=lambda group: -len(group.nodes))


def forget_command(nodes: Sequence[FailedNode]) -> str:
    """What moves what failed attempts at some nodes left to the trash; of many nodes, of all of their classes."""
    names = [node.hash[:12] for node in nodes]
    if len(names) > _FEW:
        names = list(dict.fromkeys(node.class_name for node in nodes))
    return f"furu rm --failed {' '.join(names)}"


def config_text(node: FailedNode, names: Iterable[str]) -> str:
    """Some columns of a node's config, as `lr=0.1 seed=3`."""
    parts = []
    for name in names:
        if name in node.columns:
            value = cell_text(node.columns[name]) or json.dumps(node.columns[name])
            parts.append(f"{name}={value if len(value) <= _WIDE else value[: _WIDE - 3] + '...'}")
    if len(parts) > _SHOWN:
        parts = [*parts[:_SHOWN], f"and {len(parts) - _SHOWN} more"]
    return " ".join(parts)


def place_text(at: str) -> str:
    """A place in code, with no more of its path than its name, as `train.py:41`."""
    return Path(at).name
