"""What the code of a class can reach, by the names that it mentions: which changes of its modules matter to it.

A change of a function that a class's code never names changes nothing for its results: the `_create` of another class
in the same file, say. What is reached is found out generously: by names alone, whatever they are of; where the code
can reach what it does not name, with `eval` or a computed `getattr`, everything counts.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final

import attrs

from furu_core._code import _syntax
from furu_core._code._syntax import MODULE

# Builtins that reach things which they do not name. Methods may be called so as well, `model.eval` for instance.
_OPAQUE: Final = frozenset({"eval", "exec", "globals", "locals", "vars", "compile", "__import__"})
# The same of attributes and functions of modules, whatever they are of.
_OPAQUE_ANYWHERE: Final = _syntax.FINDERS | {
    *("__dict__", "__globals__", "__import__", "__subclasses__", "builtins"),
    *("getmembers", "getmembers_static", "getattr_static"),
}
# What reaches things by a name, and which of the arguments that is; it counts where the name is computed.
_BY_NAME: Final = {
    **dict.fromkeys(("getattr", "setattr", "hasattr", "delattr", "__getattribute__"), 1),
    **dict.fromkeys(("attrgetter", "methodcaller", "import_module"), 0),
}
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
    }
)
_OF_MODULES: Final = frozenset(
    {
        "abc",
        "attr",
        "attrs",
        "contextlib",
        "dataclasses",
        "functools",
        "typing",
        "typing_extensions",
    }
)
# Methods that furu calls of a class other than the one that is computed.
_CALLED: Final = frozenset({"_load", "_validate"})
_CREATE: Final = "_create"
_OWN_KEYWORDS: Final = frozenset({"formerly", "removed"})  # of a class statement, which furu reads
_IDENTIFIER: Final = re.compile(r"[^\W\d]\w*")


@attrs.frozen
class _Mentions:
    """What a part of a module names.

    Attributes:
        names: all names, attributes, and texts that could be names.
        bases: of a class: the names of the classes that it is derived from.
        gives: of a class: the names that its body assigns.
        same: other names that it gives to something, and the names in what that is.
        is_class: whether it is one.
        is_opaque: whether it can reach what it does not name.
        is_registered: whether a decorator, or what its class is made with, may hand it to others.
    """

    names: frozenset[str]
    bases: frozenset[str] = frozenset()
    gives: frozenset[str] = frozenset()
    same: Mapping[str, frozenset[str]] = attrs.field(factory=dict)
    is_class: bool = False
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
    reach = Reach.over(before, now)
    return None if reach is None else reach.of(class_name)


class Reach:
    """What the classes of some modules reach: a walk over parts by the names in them."""

    def __init__(self, parts: Mapping[tuple[str, str], list[_Mentions]]) -> None:
        self._parts = parts
        self._waiting: dict[str, list[tuple[str, str]]] = {}  # by a name that would reach them
        self._above: dict[str, set[str]] = {}  # by the simple name of a class, those of its bases
        self._inner: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for key, versions in parts.items():
            module, qualname = key
            owner, _, name = qualname.rpartition(".")
            if owner:
                self._inner.setdefault((module, owner), []).append(key)
            for one in versions:
                if one.is_class:
                    self._above.setdefault(name, set()).update(one.bases)
                for other, meant in one.same.items():
                    self._above.setdefault(other, set()).update(meant - {other})
        self._families: dict[str, frozenset[str]] = {}
        simple = {qualname.rpartition(".")[2] for _, qualname in parts}
        with_create = _owners_of(_CREATE, parts)
        makers = _owners_of("__init_subclass__", parts) | {
            qualname.rpartition(".")[2]
            for (_, qualname), versions in parts.items()
            if any(one.is_class and one.is_registered for one in versions)
        }
        self._registered: list[tuple[str, str]] = []
        for key, versions in parts.items():
            name = key[1].rpartition(".")[2]
            for given in {name}.union(*(one.gives for one in versions)):
                self._waiting.setdefault(given, []).append(key)
            if not any(one.is_class for one in versions):
                continue
            family = self._family(name)
            # What calls the methods of a class may be a library: those of a config are called by code
            # that names them, since others use its result.
            inner = self._inner.get(key, [])
            is_computed = any(one[1].endswith(f".{_CREATE}") for one in inner)
            is_computed |= not with_create.isdisjoint(family - {name})
            whole = [key] if is_computed else [key, *inner]
            self._waiting[name] += whole[1:]
            for base in (family & simple) - {
                name
            }:  # what is derived from a class is used where that is
                self._waiting.setdefault(base, []).extend(whole)
            if not is_computed and family & makers:
                self._registered += whole

    @classmethod
    def over(cls, before: Mapping[str, bytes], now: Mapping[str, bytes]) -> Reach | None:
        """That of some modules; None where one is no Python.

        Args:
            before: the sources of the modules that ran, by their names.
            now: those of the modules that changed.
        """
        parts: dict[tuple[str, str], list[_Mentions]] = {}
        for sources in (before, now):
            for module, source in sources.items():
                mentioned = _mentions_in(source)
                if mentioned is None:
                    return None
                for name, part in mentioned.items():
                    parts.setdefault((module, name), []).append(part)
        return cls(parts)

    def of(self, class_name: str) -> frozenset[tuple[str, str]] | None:
        """All parts that a class may use, by its name in hashes; None for everything."""
        module, _, qualname = class_name.partition(":")
        if (module, qualname) not in self._parts:
            return None  # it had another name then, or is made by a call
        family = self._family(qualname.rpartition(".")[2])
        pending = [key for key in self._parts if self._is_start(key, family)] + self._registered
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

    def _family(self, name: str) -> frozenset[str]:
        """The simple names of a class and of all that it may be derived from."""
        known = self._families.get(name)
        if known is None:
            found = {name}
            pending = [name]
            while pending:
                further = self._above.get(pending.pop(), set()) - found
                found |= further
                pending += further
            known = self._families[name] = frozenset(found)
        return known

    def _is_start(self, key: tuple[str, str], family: frozenset[str]) -> bool:
        owner, _, name = key[1].rpartition(".")
        if key[1] == MODULE or name in family or name in _CALLED:
            return True
        if owner.rpartition(".")[2] in family or (name[:2] == "__" == name[-2:]):
            return True
        return any(one.is_registered and not one.is_class for one in self._parts[key])


def _owners_of(method: str, parts: Iterable[tuple[str, str]]) -> set[str]:
    """The simple names of the classes that define a method."""
    return {qualname.split(".")[-2] for _, qualname in parts if qualname.endswith(f".{method}")}


@lru_cache(maxsize=20_000)
def _mentions_in(source: bytes) -> dict[str, _Mentions] | None:
    """What the parts of a source name; None where it is no Python, or nested too deeply."""
    try:
        found = _syntax.parts(source, placed=False)
        return {name: _mentions(part.trees) for name, part in found.items()}
    except (ValueError, RecursionError):
        return None


def _mentions(trees: Iterable[ast.AST]) -> _Mentions:
    names: set[str] = set()
    bases: set[str] = set()
    gives: set[str] = set()
    same: dict[str, frozenset[str]] = {}
    is_class = opaque = registered = False
    for tree in trees:
        if isinstance(tree, _syntax.Definition):
            registered |= not all(map(_is_harmless, tree.decorator_list))
        if isinstance(tree, ast.ClassDef):
            is_class = True
            bases |= {name for one in tree.bases for name in _class_names(one)}
            gives |= {name for one in tree.body for name in _assigned(one)}
            registered |= any(one.arg not in _OWN_KEYWORDS for one in tree.keywords)
        handed_on = 0  # names of functions like `getattr` that are not called at once
        for node in ast.walk(tree):
            match node:
                case ast.Name(id=name):
                    names.add(name)
                    opaque |= name in _OPAQUE or name in _OPAQUE_ANYWHERE
                    handed_on += name in _BY_NAME
                case ast.Attribute(attr=name, value=value):
                    names.add(name)
                    opaque |= name in _OPAQUE_ANYWHERE
                    opaque |= (
                        name == "modules" and isinstance(value, ast.Name) and value.id == "sys"
                    )
                case ast.Constant(value=str(text)):
                    if not any(map(str.isspace, text)):
                        names.update(_IDENTIFIER.findall(text))
                case ast.alias(name=name, asname=other):
                    names.update(name.split("."))
                    opaque |= name in _OPAQUE_ANYWHERE
                    if other is not None:
                        same[other] = frozenset((name.rpartition(".")[2],)) | same.get(
                            other, frozenset()
                        )
                        opaque |= name in _BY_NAME
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    same[name] = frozenset(_class_names(value)) | same.get(name, frozenset())
                case ast.MatchClass(kwd_attrs=attributes):
                    names.update(attributes)
                case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=args) if (
                    name in _BY_NAME
                ):
                    handed_on -= isinstance(node.func, ast.Name)
                    opaque |= not _names_it(name, args)
                case _:
                    pass
        opaque |= handed_on > 0
    return _Mentions(
        frozenset(names), frozenset(bases), frozenset(gives), same, is_class, opaque, registered
    )


def _names_it(function: str, arguments: list[ast.expr]) -> bool:
    """Whether a call of `getattr` or its like has the name in it as a text."""
    place = _BY_NAME[function]
    named = arguments[place:] if function == "attrgetter" else arguments[place : place + 1]
    return bool(named) and all(
        isinstance(one, ast.Constant) and isinstance(one.value, str) for one in named
    )


def _is_harmless(decorator: ast.expr) -> bool:
    match decorator:
        case ast.Call(func=func):
            return _is_harmless(func)
        case ast.Name(id=name):
            return name in _HARMLESS
        case ast.Attribute(attr="setter"):
            return True
        case ast.Attribute(attr=name, value=ast.Name(id=module)):
            return name in _HARMLESS and module in _OF_MODULES
        case _:
            return False


def _class_names(expression: ast.expr) -> Iterator[str]:
    """The names of the classes that an expression may be, or be made of: not those in brackets."""
    match expression:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            yield name
        case ast.Subscript(value=value) | ast.Starred(value=value):
            yield from _class_names(value)
        case ast.Call(func=func, args=arguments, keywords=keywords):
            for one in (func, *arguments, *(keyword.value for keyword in keywords)):
                yield from _class_names(one)
        case ast.IfExp(body=first, orelse=second):
            yield from _class_names(first)
            yield from _class_names(second)
        case ast.BoolOp(values=values) | ast.Tuple(elts=values) | ast.List(elts=values):
            for one in values:
                yield from _class_names(one)
        case _:
            pass


def _assigned(statement: ast.stmt) -> Iterator[str]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
