"""`FURU_ALWAYS_RERUN`: nodes that are computed again although they are there, each once per run.

What depends on them is computed again as well, or it would keep what it made of the old results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from furu_core import _text
from furu_core._config import _class_names
from furu_core._config._dependencies import dependencies
from furu_core._context import _context
from furu_core._settings import _settings

if TYPE_CHECKING:
    from furu_core._config._objects import ConfigObject

_reran: set[str] = set()
_looked_up: set[str] = set()
# By the value of `FURU_ALWAYS_RERUN` and a node's hash: whether it, or what it depends on, is named.
_verdicts: dict[tuple[frozenset[str], str], bool] = {}


def is_due(obj: ConfigObject) -> bool:
    """Whether `FURU_ALWAYS_RERUN` names a class in the graph of `obj`, and it was not rerun here yet.

    Inside an executor nothing is due: there the plan decides what is computed again.
    """
    wanted = _settings.settings().always_rerun
    if not wanted or obj.furu_hash in _reran or _context.in_executor():
        return False
    known = _verdicts.get((wanted, obj.furu_hash))
    return _leads_to_rerun(obj, wanted) if known is None else known


def _leads_to_rerun(obj: ConfigObject, wanted: frozenset[str]) -> bool:
    """Whether a node, or what it depends on, is to be computed again; each node is looked at once in a process."""
    by_class: dict[type, bool] = {}
    above: dict[str, str | None] = {obj.furu_hash: None}
    pending = [obj]
    while pending:
        node = pending.pop()
        due = _verdicts.get((wanted, node.furu_hash))
        if due is None:
            cls = type(node)
            if cls not in by_class:
                by_class[cls] = matches_rerun(node, wanted)
            if not by_class[cls]:
                for below in dependencies(node):
                    if below.furu_hash not in above:
                        above[below.furu_hash] = node.furu_hash
                        pending.append(below)
                continue
            due = True
        if due:
            found: str | None = node.furu_hash
            while found is not None:
                _verdicts[wanted, found] = True
                found = above[found]
            return True
    _verdicts.update({(wanted, node_hash): False for node_hash in above})
    return False


def matches_rerun(obj: ConfigObject, wanted: frozenset[str]) -> bool:
    """Whether `FURU_ALWAYS_RERUN` names the class of `obj`, by its name with or without modules.

    A name that matches no class of this program gives one warning.
    """
    names = [name for name in wanted if name.casefold() != "all"]
    for name in names:
        _warn_of_unknown(name)
    if len(names) < len(wanted):
        return True
    called = _class_names.names_to_call(type(obj))
    return any(_is_meant(identity, name) for name in names for identity in called)


def note_rerun(node_hash: str) -> None:
    """Remember that a node was computed again, so that this happens once per run."""
    _reran.add(node_hash)


def _is_meant(identity: str, name: str) -> bool:
    if not _text.is_called(identity, name):
        return False
    return identity in _text.meant(name, {identity, *_class_names.known_identities()})


def _warn_of_unknown(name: str) -> None:
    if name in _looked_up:
        return
    _looked_up.add(name)
    known = _class_names.known_identities()
    if not _text.meant(name, known):
        from furu_core._output import _logging  # a correct name logs nothing

        _logging.log.getChild("rerun").warning(
            "FURU_ALWAYS_RERUN names %s, but this program has defined no such class%s",
            *(name, _text.did_you_mean_class(name, known)),
        )
