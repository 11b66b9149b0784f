"""The digest of what a source says: of its syntax tree, without what changes nothing.

Left out are comments, docstrings and other texts that stand for themselves, blank lines, formatting, positions,
`pass`, and a block ``if __name__ == "__main__":``, which no import executes. The digest is the same under every
supported Python: fields that only some have count only where they hold something.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Final, cast

import attrs

from furu_core._code._project import ANY_MODULE
from furu_core._files import blake2b

# Functions of libraries that import what a text names.
FINDERS: Final = frozenset(
    {
        "entry_points",
        "import_string",
        "instantiate",
        "locate",
        "resolve_name",
        "run_module",
        "run_path",
    }
    | {"spec_from_file_location"}
)
MODULE: Final = "<module>"  # the name of the statements outside of functions and classes

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

_LEFT_OUT: Final = {"ctx", "kind", "type_comment", "type_ignores"}  # implied, or without a meaning
_BODIES: Final = {"body", "orelse", "finalbody"}
_IMPORTING: Final = {ast.Import, ast.ImportFrom, ast.Call}
_fields: dict[type, tuple[tuple[str, _Written], ...]] = {}


def read_syntax(source: bytes) -> tuple[str, tuple[str, ...]]:
    """The digest of what the source of a module says, and the modules that it may import.

    Relative names have leading dots. Some may be names of other things, since ``from a import b`` does not tell.
    One that is computed is told as `ANY_MODULE`.

    Raises:
        ValueError: it is no Python source, or nested too deeply for Python.

    Example:
        >>> first = read_syntax(b"def f():\\n    return 1  # one")
        >>> second = read_syntax(b"def f():\\n    '''One.'''\\n    return (1)")
        >>> first[0] == second[0]
        True
    """
    importing: list[ast.AST] = []
    text = "".join(_written(_parsed(source), importing))
    imports = dict.fromkeys(name for node in importing for name in _imported(node))
    return _hash(text), tuple(imports)


def definitions(source: bytes) -> dict[str, str]:
    """The digests of the functions and classes of a source, by qualified names.

    Those of a class are without its methods and inner classes, and that of ``<module>`` is of all that is
    outside of functions and classes. What is defined several times under a name has one digest.

    Raises:
        ValueError: it is no Python source, or nested too deeply for Python.

    Example:
        >>> list(definitions(b"x = 1\\nclass A:\\n    def f(self): ..."))
        ['<module>', 'A', 'A.f']
    """
    return {name: part.digest for name, part in parts(source).items()}


@attrs.frozen
class Part:
    """A function or class of a source, or what is outside of them.

    Attributes:
        digest: of its syntax tree.
        trees: its syntax trees, without those of inner parts; mostly one.
    """

    digest: str
    trees: tuple[ast.AST, ...]


def parts(source: bytes, *, placed: bool = True) -> dict[str, Part]:
    """The functions and classes of a source, by qualified names, each without its methods and inner classes.

    Args:
        source: the contents of a module's file.
        placed: whether it counts for a class, and for the module, which parts are in it and where.

    Raises:
        ValueError: it is no Python source, or nested too deeply for Python.
    """
    tree = _parsed(source)
    found: dict[str, list[ast.AST]] = {MODULE: [tree]}
    pending: list[tuple[str, Any]] = [("", tree)]
    while pending:
        prefix, owner = pending.pop(0)
        body: list[ast.stmt] = []
        for one in owner.body:
            if not isinstance(one, Definition):
                body.append(one)
                continue
            if placed:
                body.append(_Placed(one))
            found.setdefault(prefix + one.name, []).append(one)
            if isinstance(one, ast.ClassDef):
                pending.append((f"{prefix}{one.name}.", one))
        owner.body = body
    return {
        name: Part(_digest_of_all(trees), tuple(trees)) for name, trees in sorted(found.items())
    }


def changes(before: bytes, now: bytes) -> tuple[str, ...]:
    """The qualified names of what two sources of a module say differently, ``<module>`` for the rest of it.

    Raises:
        ValueError: one is no Python source, or nested too deeply for Python.

    Example:
        >>> changes(b"def f(): return 1", b"def f(): return 2")
        ('f',)
    """
    for placed in (False, True):  # where nothing else changed, it is the order of the parts
        old = {name: part.digest for name, part in parts(before, placed=placed).items()}
        new = {name: part.digest for name, part in parts(now, placed=placed).items()}
        if changed := [name for name in sorted(old | new) if old.get(name) != new.get(name)]:
            return tuple(changed)
    return ()


class _Placed(ast.stmt):
    """Stands in the body of a module or class for a definition, which has a digest of its own."""

    _fields = ("name",)

    def __init__(self, definition: Definition) -> None:
        super().__init__()
        self.name = definition.name


def _parsed(source: bytes) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, RecursionError, MemoryError) as error:
        failed = error
    if isinstance(failed, SyntaxError):
        import warnings

        # A warning, of "\\d" in a text for instance, that this program has made an error of. Only then, since
        # the filters are those of all threads.
        with warnings.catch_warnings(), suppress(SyntaxError, RecursionError, MemoryError):
            warnings.simplefilter("ignore")
            return ast.parse(source)
    raise ValueError(f"{type(failed).__name__}: {failed}") from None


def _digest_of_all(trees: Iterable[ast.AST]) -> str:
    digests = [_digest(tree) for tree in trees]
    return digests[0] if len(digests) == 1 else _hash("".join(digests))


def _digest(tree: ast.AST) -> str:
    return _hash("".join(_written(tree, [])))


def _hash(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _written(tree: ast.AST, importing: list[ast.AST]) -> list[str]:
    """A tree as text, in parts: equal texts are equal trees. What may import goes to `importing`.

    It is written with a list of what is left to do, since an expression of a thousand terms nests as deep.
    """
    out: list[str] = []
    write = out.append
    stack: list[Any] = [tree]
    pop, push = stack.pop, stack.append
    fields_of = _fields.get
    while stack:
        value = pop()
        kind = type(value)
        if kind is _Written:
            write(value)
        elif kind is ast.Name:  # half of all nodes are names, their attributes and constants
            write(f"Name {value.id} ")
        elif kind is ast.Constant:
            write(_constant(value.value))
        elif kind is ast.Attribute:
            write(f"Attribute {value.attr} ")
            push(value.value)
        elif isinstance(value, ast.AST):
            if kind in _IMPORTING:
                importing.append(value)
            write(f"{kind.__name__}(")
            push(_END)
            for name, opened in fields_of(kind) or _learn(kind):
                inner = getattr(value, name, None)
                if inner is None:
                    continue
                if type(inner) is list:
                    if name in _BODIES:
                        inner = [one for one in inner if not _is_idle(one)]
                    elif kind is ast.JoinedStr:
                        inner = _joined(inner)
                    if inner:
                        push(_END)
                        stack.extend(reversed(inner))
                        push(opened)
                elif not isinstance(inner, ast.AST):
                    push(_Written(_constant(inner)))
                    push(opened)
                elif name != "format_spec" or _joined(cast("ast.JoinedStr", inner).values):
                    push(inner)
                    push(opened)
        else:  # `None` for what is missing, and names
            write(f"({_constant(value)})")
    return out


class _Written(str):
    """Text that is written as it is."""

    __slots__ = ()


_END: Final = _Written(")")


def _learn(kind: type) -> tuple[tuple[str, _Written], ...]:
    names: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]
    # In an order of our own, and from the last one, which is written last.
    kept = sorted((name for name in names if name not in _LEFT_OUT), reverse=True)
    found = tuple((name, _Written(f"{name}=(")) for name in kept)
    _fields[kind] = found
    return found


def _constant(value: object) -> str:
    kind = type(value)
    # Which characters `repr` escapes depends on Python's version, and it refuses huge numbers.
    text = hex(value) if kind is int else ascii(value)  # type: ignore[arg-type]
    return f"{kind.__name__}:{text};"


def _is_idle(statement: object) -> bool:
    kind = type(statement)
    if kind is ast.Expr:
        value = statement.value  # type: ignore[attr-defined]
        return type(value) is ast.Constant and isinstance(value.value, str)
    return kind is ast.Pass or (kind is ast.If and _is_for_scripts(statement))  # type: ignore[arg-type]


def _is_for_scripts(statement: ast.If) -> bool:
    """Whether it is a block ``if __name__ == "__main__":``, which imports do not execute."""
    match statement.test:
        case ast.Compare(
            left=ast.Name(id="__name__"), ops=[ast.Eq()], comparators=[ast.Constant("__main__")]
        ):
            return not statement.orelse
        case _:
            return False


def _joined(values: list[Any]) -> list[Any]:
    """The parts of an f-string: how its texts are cut into parts differs between Pythons."""
    found: list[Any] = []
    for one in values:
        if type(one) is ast.Constant and one.value == "":
            continue
        if found and type(one) is ast.Constant and type(found[-1]) is ast.Constant:
            one = ast.Constant(found.pop().value + one.value)
        found.append(one)
    return found


def _imported(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=module, names=names, level=level):
            base = "." * level + (module or "")
            yield base
            joint = "" if base.endswith(".") else "."
            yield from (f"{base}{joint}{alias.name}" for alias in names)
        case ast.Call(
            func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            yield name
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if (
            name in FINDERS or name in ("import_module", "__import__")
        ):
            yield ANY_MODULE
        case _:
            pass
