"""The layout of the store: where everything is on disk. `docs/store-format.md` describes it whole.

::

    <store>/data/<module path>/<Class>/<hash>/         the artifact
    <store>/data/<module path>/<Class>/.<hash>.<n>/    attempt n, which becomes the artifact
    <store>/data/<module path>/<Class>/.<hash>.job     the scheduler's job that is to compute it
    <store>/output/                                    what running nodes print
    <store>/provenance/<digest>.json                   what many nodes have in common
    <store>/code/<digest>.json                         the modules that made a result
    <store>/code/sources/<digest>.py                   the source of one of them
    <store>/code/parsed.json                           what their sources say, to read few of them again
    <store>/runs/<run id>/                             one folder per executor run
    <store>/trash/<removal>/<module path>/<Class>/     what was removed, to be put back
    <store>/raw/                                       files shared by all nodes

In the folder of an attempt or artifact, names that begin with ``.furu`` are furu's own.

Paths are plain strings: in a cache hit, a `pathlib.Path` would cost more than reading the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from furu_core._config._objects import config_class, short_name_of
from furu_core._context._context import USED as USED
from furu_core._settings import _settings

if TYPE_CHECKING:
    from furu_core._config._objects import ConfigObject

OWN: Final = ".furu"  # with which all of furu's names in a node's folder begin
RECORD_FILE: Final = ".furu.json"
LOG_FILE: Final = ".furu.log"
VIOLATIONS: Final = ".furu.violations"
RESULT_PREFIX: Final = ".furu."  # begins the names of a result's files
CHECKPOINT: Final = "checkpoint"
INVALID: Final = "invalid"
REPLACED: Final = "replaced"
_JOB: Final = "job"
_HASH: Final = re.compile(r"[0-9a-f]{32}")
_KEPT: Final = re.compile(rf"\.([0-9a-f]{{32}})\.(\d+)\.({CHECKPOINT}|{INVALID}|{REPLACED})")
_ATTEMPT: Final = re.compile(r"\.([0-9a-f]{32})\.(\d+)")
_HALF_A_NOTE: Final = re.compile(rf"\.[0-9a-f]{{32}}\.{_JOB}\..*")
_BESIDE: Final = re.compile(r"\.([0-9a-f]{32})\.")


@attrs.frozen(slots=True)
class NodeRef:
    """A node without its object: where it is in a store, and what messages call it.

    A scheduler's job has a small process that watches over the one with the user's code, and
    imports none of that code. It finds out and records what happened to a node by such a reference.

    Attributes:
        class_dir: the folder of the node's class.
        hash: the node's hash.
        class_name: the class's name in messages, without its module.

    Example:
        >>> from furu_core.planning import ref_of
        >>> from furu_testing.nodes import Leaf
        >>> ref_of(Leaf()).name == f"Leaf({Leaf().furu_hash[:6]})"
        True
    """

    class_dir: str
    hash: str
    class_name: str = attrs.field(default="", eq=False)

    @property
    def name(self) -> str:
        """The short name, such as ``Train(3fa9c1)``."""
        return short_name_of(self.class_name, self.hash)

    @property
    def artifact(self) -> str:
        """The folder that exists if and only if the result is complete."""
        return f"{self.class_dir}/{self.hash}"

    @property
    def submission(self) -> str:
        """The note of the scheduler's job that is to compute the node."""
        return f"{self.class_dir}/.{self.hash}.{_JOB}"

    def attempt(self, number: int) -> str:
        """The folder of an attempt, which becomes the artifact."""
        return f"{self.class_dir}/.{self.hash}.{number}"

    def beside(self, number: int, kind: str) -> str:
        """A folder that belongs to an attempt, and does not become part of the artifact.

        Args:
            number: the attempt's number.
            kind: `CHECKPOINT`, `INVALID` or `REPLACED`.
        """
        return f"{self.class_dir}/.{self.hash}.{number}.{kind}"


Node: TypeAlias = "ConfigObject | NodeRef"


def ref_of(node: Node) -> NodeRef:
    """The reference to an object's node in the current store."""
    if isinstance(node, NodeRef):
        return node
    folder = f"{_settings.settings().path}/data/{node.__furu_class__.relpath}"
    return NodeRef(folder, node.furu_hash, type(node).__qualname__)


def portable(ref: NodeRef) -> tuple[str, str, str]:
    """A reference in a form that is the same in any store: class's folder below `data`, hash, class's name."""
    data = f"{_settings.settings().path}/data/"
    return ref.class_dir.removeprefix(data), ref.hash, ref.class_name


def from_portable(folder: str, node_hash: str, class_name: str) -> NodeRef:
    """The reference of which `portable` made these, in the current store."""
    return NodeRef(f"{_settings.settings().path}/data/{folder}", node_hash, class_name)


def class_dir(cls: type) -> str:
    """The folder of a config class in the current store."""
    relpath = config_class(cls).relpath
    return f"{_settings.settings().path}/data/{relpath}"


def runs_dir() -> str:
    """The folder of all runs in the current store."""
    return f"{_settings.settings().path}/runs"


def is_hash(name: str) -> bool:
    """Whether a name in a class's folder is that of an artifact."""
    return _HASH.fullmatch(name) is not None


def without_hashes(names: list[str]) -> list[str]:
    """The names in a class's folder that are no artifacts'; of 100,000 names in 20 ms."""
    match = _HASH.fullmatch
    return [name for name in names if match(name) is None]


def attempted_in(names: Iterable[str]) -> frozenset[str]:
    """The hashes of the nodes that have attempts or a job, by the names in their class's folder."""
    return frozenset(found[1] for name in names if (found := _BESIDE.match(name)))


def is_half_a_note(name: str) -> bool:
    """Whether a name in a class's folder is that of a job's note while it is written or replaced."""
    return _HALF_A_NOTE.fullmatch(name) is not None


def beside_of(name: str) -> tuple[str, str, str]:
    """The hash, number and kind of what belongs to an attempt, by its name; empty for other names."""
    found = _KEPT.fullmatch(name)
    return ("", "", "") if found is None else (found[1], found[2], found[3])


def attempt_of(name: str) -> tuple[str, str]:
    """The hash and number of an attempt, by the name of its folder; empty for other names."""
    found = _ATTEMPT.fullmatch(name)
    return ("", "") if found is None else (found[1], found[2])
