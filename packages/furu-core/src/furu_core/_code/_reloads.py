"""Modules that were loaded several times in one process, from different sources.

What runs is the last one, unless something still holds functions, classes or values of an earlier one. That is
looked for where a program holds such things: in the globals of the project's modules and of the program.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from furu_core._code import _observer
from furu_core._code._proofs import LoadedModule

_SIMPLE: Final = (bool, int, float, complex, str, bytes, type(None), tuple, frozenset)
_MISSING: Final = object()
_HISTORY: Final = frozenset({"Out", "_oh"})  # what IPython printed, which nodes do not use
_DEPTH: Final = 3  # of containers in containers that are looked into
_MOST: Final = 10_000  # values in one of a module's globals


def held_from_before(
    modules: Sequence[LoadedModule], imported: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Which modules were loaded several times and may still be used as they were before, and why.

    Args:
        modules: the project's modules.
        imported: for each, the names that it may import.
    """
    changed = [one for one in modules if not one.unknown and _has_changed(one)]
    if not changed:
        return {}
    nows = {one.key: _Now(one) for one in changed}
    found = _held_functions(nows, modules) if _has_older_functions(nows.values()) else {}
    for module in changed:
        if module.key not in found:
            reason = _held_value(module, nows[module.key], modules, imported)
            if reason:
                found[module.key] = reason
    return found


def _has_changed(module: LoadedModule) -> bool:
    """Whether a module was loaded before from another source, or nobody knows from which."""
    noted = [one for one in _observer.notes.get(module.key, ()) if one.file == module.file]
    if module.note not in noted:
        return False
    if any(one.data != noted[-1].data for one in noted):
        return True
    return module.key in _observer.loaded_before and noted[0].code is None


def _has_older_functions(nows: Collection[_Now]) -> bool:
    """Whether a function lives that a module had before it was loaded again.

    Where none does nobody can hold one, and to ask Python for all objects takes a fraction of the time that it takes
    to look where one is held.
    """
    if gc.get_freeze_count():
        return True  # nobody tells which objects these are
    return any(
        not now.has(one.__code__)
        for one in gc.get_objects()
        if type(one) is FunctionType
        for now in nows
    )


def _held_functions(nows: Mapping[str, _Now], modules: Sequence[LoadedModule]) -> dict[str, str]:
    """Which modules have functions of before in somebody's globals, and where."""
    holders: list[tuple[str, Mapping[str, Any]]] = [(one.key, one.namespace) for one in modules]
    main = getattr(sys.modules.get("__main__"), "__dict__", None)
    if isinstance(main, dict) and not any(main is namespace for _, namespace in holders):
        holders.append(("the program", main))
    found: dict[str, str] = {}
    seen: dict[int, int] = {}
    for holder, namespace in holders:
        for name, value in list(namespace.items()):
            if name in _HISTORY:
                continue
            for function in _functions(value, tuple(nows), seen):
                for key, now in nows.items():
                    if key not in found and not now.has(function.__code__):
                        found[key] = (
                            f"it was loaded again after an edit, and {holder} still holds {name} of before"
                        )
    return found


def _held_value(
    module: LoadedModule,
    now: _Now,
    modules: Sequence[LoadedModule],
    imported: Mapping[str, Sequence[str]],
) -> str:
    """Why a module may still be used as it was before: another one imported a value of it; else empty."""
    for one in modules:
        if one.key == module.key or _is_later(one, module):
            continue
        for full in imported.get(one.key, ()):
            name = full.removeprefix(f"{module.key}.")
            if name == full or "." in name:
                continue
            names = [each for each in module.namespace if not each.startswith("_")]
            for each in names if name == "*" else [name]:
                held = one.namespace.get(each, _MISSING)
                if not now.is_same(held, module.namespace.get(each)):
                    return f"it was loaded again after an edit, and {one.key} still holds {each} of before"
    return ""


def _is_later(one: LoadedModule, module: LoadedModule) -> bool:
    """Whether a module was loaded after another one was loaded last."""
    assert module.note is not None
    return one.note is not None and one.note.order > module.note.order


class _Now:
    """What a module that was loaded again says now, to tell functions of it from those of before."""

    def __init__(self, module: LoadedModule) -> None:
        assert module.note is not None
        assert module.note.data is not None
        self._file = module.file
        self._codes: set[object] = set()
        self._here: dict[str, bool] = {}  # for the name of a file, whether it is the module's
        try:
            pending = [compile(module.note.data, module.file, "exec", dont_inherit=True)]
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            pending = []  # then all functions count as those of before
        while pending:
            code = pending.pop()
            self._codes.add(_essence(code))
            pending += [one for one in code.co_consts if isinstance(one, CodeType)]

    def has(self, code: CodeType) -> bool:
        """Whether a function's code is of another file, or of what the file says now."""
        name = code.co_filename
        here = self._here.get(name)
        if here is None:
            here = self._here[name] = os.path.abspath(name) == self._file
        return not here or _essence(code) in self._codes

    def is_same(self, held: object, now: object) -> bool:
        """Whether a value that somebody holds is as good as the one that is there now."""
        if held is now:
            return True
        if type(held) is not type(now):
            return False
        if isinstance(held, _SIMPLE):
            return held == now
        if isinstance(held, FunctionType):
            return self.has(held.__code__)
        if isinstance(held, type):
            own = {key for key in vars(held) if not key.startswith("__")}
            theirs = {key for key in vars(now) if not key.startswith("__")}
            return own == theirs and all(
                self.is_same(vars(held)[key], vars(now)[key]) for key in own
            )
        return False


def _essence(code: CodeType) -> object:
    """A function's code without where it stands."""
    constants = tuple(
        _essence(one) if isinstance(one, CodeType) else (type(one), repr(one))
        for one in code.co_consts
    )
    return (
        code.co_qualname,
        code.co_code,
        constants,
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        code.co_flags,
    )


def _functions(
    value: object, modules: tuple[str, ...], seen: dict[int, int]
) -> Iterator[FunctionType]:
    """The functions that a value is, has or holds; of an object those of its class, if a module defines it.

    Args:
        value: the value.
        modules: the names of the modules whose classes are looked into.
        seen: what was looked into before, for another value, and to which depth; it is left out.
    """
    pending = [(value, _DEPTH)]
    here: dict[int, int] = {}
    while pending and len(here) < _MOST:
        one, depth = pending.pop()
        if max(seen.get(id(one), -1), here.get(id(one), -1)) >= depth:
            continue
        here[id(one)] = depth
        if isinstance(one, FunctionType):
            yield one
        if depth:
            pending += ((inner, depth - 1) for inner in islice(_held_in(one), _MOST))
        cls = one if isinstance(one, type) else type(one)
        if getattr(cls, "__module__", None) in modules or isinstance(one, type):
            for base in cls.__mro__:
                if base.__module__ in modules:
                    for inner in list(vars(base).values()):
                        for found in (inner, *_wrapped(inner)):
                            if isinstance(found, FunctionType):
                                yield found
    if not pending:
        seen |= here  # else what was left out may be within reach of another value


def _held_in(value: object) -> Iterator[object]:
    """What a container, an object, a partial call or a function holds."""
    if isinstance(value, dict):
        yield from list(dict.values(value))
    elif isinstance(value, list | tuple | set | frozenset):
        yield from list(value)
    elif isinstance(value, FunctionType):
        yield getattr(value, "__wrapped__", None)
        yield from value.__defaults__ or ()
        yield from (value.__kwdefaults__ or {}).values()
        for cell in value.__closure__ or ():
            with suppress(ValueError):  # it is empty
                yield cell.cell_contents
    elif isinstance(value, partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, MethodType):
        yield from (value.__func__, value.__self__)
    elif not isinstance(value, type | ModuleType):
        with suppress(AttributeError):
            found = object.__getattribute__(value, "__dict__")
            if type(found) is dict:
                yield from list(found.values())


def _wrapped(value: object) -> Iterator[object]:
    for name in ("__func__", "__wrapped__", "fget", "fset", "fdel", "func"):
        yield getattr(value, name, None)
