"""What the code of a class can reach, by the names that it mentions: which changes of its modules matter to it.

A change of a function that a class's code never names changes nothing for its results: the `_create` of another class
in the same file, say. What is reached is found out generously: by names alone, whatever they are of; where the code
can reach what it does not name, with `eval` or a computed `getattr`, everything counts.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final

import attrs

from furu_core._code import _syntax
from furu_core._code._syntax import MODULE

# What reaches things that it does not name; of `getattr` and its like only where the name is computed.
_OPAQUE: Final = frozenset(
    {
        "eval",
        "exec",
        "globals",
        "locals",
        "vars",
        "compile",
        "__dict__",
        "__subclasses__",
        "__import__",
    }
)
_BY_NAME: Final = frozenset(
    {"getattr", "setattr", "hasattr", "delattr", "attrgetter", "methodcaller", "import_module"}
)
# Decorators that hand what they decorate to nobody else.
_HARMLESS: Final = frozenset(
    {
        "staticmethod",
        "classmethod",
        "property",
        "cached_property",
        "cache",
        "lru_cache",
        "wraps",
        "override",
    }
    | {
        "contextmanager",
        "abstractmethod",
        "overload",
        "final",
        "dataclass",
        "define",
        "frozen",
        "setter",
    }
)
# Methods that furu calls of a class other than the one that is computed.
_CALLED: Final = frozenset({"_load", "_validate"})


@attrs.frozen
class _Mentions:
    """What a part of a module names.

    Attributes:
        names: all names, attributes, and texts that could be names.
        bases: of a class: the names of the classes that it is derived from.
        gives: of a class: the names that its body assigns.
        is_opaque: whether it can reach what it does not name.
        is_registered: whether a decorator may hand it to others.
    """

    names: frozenset[str]
    bases: frozenset[str] = frozenset()
    gives: frozenset[str] = frozenset()
    is_opaque: bool = False
    is_registered: bool = False


def reached(
    class_name: str, before: Mapping[str, bytes], now: Mapping[str, bytes]
) -> frozenset[tuple[str, str]] | None:
    """What the results of a class may depend on, as pairs of a module and a qualified name; None for everything.

    Args:
        class_name: the class, by its name in hashes: ``"exp.train:Train"``.
        before: the sources of the modules that ran, by their names.
        now: those of the modules that changed.

    Example:
        >>> source = b"class A:\\n def _create(self): return f()\\nclass B:\\n def _create(self): ...\\ndef f(): ..."
        >>> sorted(name for _, name in reached("m:A", {"m": source}, {}))
        ['<module>', 'A', 'A._create', 'f']
    """
    parts: dict[tuple[str, str], list[_Mentions]] = {}
    for sources in (before, now):
        for module, source in sources.items():
            mentioned = _mentions_in(source)
            if mentioned is None:
                return None
            for name, part in mentioned.items():
                parts.setdefault((module, name), []).append(part)
    return _Reach(parts).of(class_name.partition(":")[2])


class _Reach:
    """A walk over parts by the names in them."""

    def __init__(self, parts: Mapping[tuple[str, str], list[_Mentions]]) -> None:
        self._parts = parts
        self._waiting: dict[str, list[tuple[str, str]]] = {}  # by a name that would reach them
        own = {qualname.rpartition(".")[2] for _, qualname in parts}
        for key, versions in parts.items():
            name = key[1].rpartition(".")[2]
            for wanted in {name}.union(*(one.gives for one in versions)):
                self._waiting.setdefault(wanted, []).append(key)
            for one in versions:
                for base in one.bases & own:  # what is derived from a class is used where that is
                    self._waiting.setdefault(base, []).append(key)

    def of(self, qualname: str) -> frozenset[tuple[str, str]] | None:
        """All parts that the class with a qualified name may use; None for everything."""
        own = qualname.rpartition(".")[2]
        if not any(name.rpartition(".")[2] == own for _, name in self._parts):
            return None  # it had another name then, or is made by a call
        family = self._family(own)
        pending = [key for key in self._parts if self._is_start(key, family)]
        found = set(pending)
        named: set[str] = set()
        while pending:
            for one in self._parts[pending.pop()]:
                if one.is_opaque:
                    return None
                for name in one.names - named:
                    named.add(name)
                    further = [key for key in self._waiting.get(name, ()) if key not in found]
                    found.update(further)
                    pending += further
        return frozenset(found)

    def _family(self, name: str) -> set[str]:
        """The simple names of a class and of all that it may be derived from."""
        found = {name}
        grew = True
        while grew:
            bases = {
                base
                for (_, qualname), versions in self._parts.items()
                if qualname.rpartition(".")[2] in found
                for one in versions
                for base in one.bases
            }
            grew = not bases <= found
            found |= bases
        return found

    def _is_start(self, key: tuple[str, str], family: set[str]) -> bool:
        owner, _, name = key[1].rpartition(".")
        if key[1] == MODULE or name in family or name in _CALLED:
            return True
        if owner.rpartition(".")[2] in family or (name[:2] == "__" == name[-2:]):
            return True
        return any(one.is_registered for one in self._parts[key])


@lru_cache(maxsize=20_000)
def _mentions_in(source: bytes) -> dict[str, _Mentions] | None:
    """What the parts of a source name; None where it is no Python."""
    try:
        found = _syntax.parts(source, placed=False)
    except ValueError:
        return None
    return {name: _mentions(part.trees) for name, part in found.items()}


def _mentions(trees: Iterable[ast.AST]) -> _Mentions:
    names: set[str] = set()
    bases: set[str] = set()
    gives: set[str] = set()
    opaque = registered = False
    for tree in trees:
        if isinstance(tree, _syntax.Definition):
            decorators = {name for one in tree.decorator_list for name in _last_names(one)}
            registered |= not decorators <= _HARMLESS
        if isinstance(tree, ast.ClassDef):
            bases |= {name for one in tree.bases for name in _last_names(one)}
            gives |= {name for one in tree.body for name in _assigned(one)}
        for node in ast.walk(tree):
            match node:
                case ast.Name(id=name) | ast.Attribute(attr=name):
                    names.add(name)
                    opaque |= name in _OPAQUE
                case ast.Constant(value=str(text)):
                    names.update(part for part in text.split(".") if part.isidentifier())
                case ast.alias(name=name):
                    names.update(name.split("."))
                case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=args) if (
                    name in _BY_NAME
                ):
                    opaque |= not _names_it(args)
                case _:
                    pass
    return _Mentions(frozenset(names), frozenset(bases), frozenset(gives), opaque, registered)


def _names_it(arguments: list[ast.expr]) -> bool:
    """Whether a call of `getattr` or its like has the name in it as a text."""
    return any(isinstance(one, ast.Constant) and isinstance(one.value, str) for one in arguments)


def _last_names(expression: ast.expr) -> set[str]:
    """The name of what an expression is: ``cache`` of ``functools.cache`` and ``lru_cache`` of ``lru_cache(1)``."""
    match expression:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return {name}
        case ast.Call(func=func):
            return _last_names(func)
        case ast.Subscript(value=value):
            return _last_names(value)
        case _:
            return {"?"}


def _assigned(statement: ast.stmt) -> Iterator[str]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
