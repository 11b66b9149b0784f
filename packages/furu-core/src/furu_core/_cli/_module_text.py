"""Names in the text of modules: what defines them, here or in a module that is imported; nothing is run to find out."""

from __future__ import annotations

import ast
import io
import os
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Final

import attrs

from furu_core._config import _module_names

_DEEP: Final = 10  # modules that import a name from one another


@attrs.frozen
class DefinedName:
    """A statement that defines a name, and its module."""

    module: ModuleText
    node: ast.stmt


class ModuleText:
    """The text of a module.

    Args:
        file: where it is.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no Python.

    Attributes:
        file: its file.
        defined: the statements that define its names, the last one of each.

    Example:
        >>> module = ModuleText(__file__)
        >>> definition = module.named("Sequence")  # of the standard library, which is not looked into
        >>> definition is None, module.imported_as("Sequence")
        (True, 'collections.abc.Sequence')
    """

    def __init__(self, file: str) -> None:
        self.file = os.path.abspath(file)
        with tokenize.open(file) as opened:
            self._source = opened.read()
        try:
            self._tree = ast.parse(self._source)
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise ValueError(f"{file} is no Python") from error
        self._stars: list[str] = []
        self._imported: dict[str, str] = {}
        self.defined: dict[str, ast.stmt] = {}
        for statement in _statements(self._tree.body):
            self._take(statement)

    def _take(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Import(names=names):
                for one in names:
                    top = one.name.partition(".")[0]
                    self._imported[one.asname or top] = one.name if one.asname else top
            case ast.ImportFrom(module=module, names=names, level=level):
                where = self._absolute(module or "", level)
                for one in names:
                    if one.name == "*":
                        self._stars.append(where)
                    else:
                        self._imported[one.asname or one.name] = f"{where}.{one.name}"
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                self.defined[name] = statement
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                self.defined[name] = statement
            case _:
                pass

    def _absolute(self, module: str, level: int) -> str:
        """A module's name, or for a relative import the path where it is, with slashes."""
        if not level:
            return module
        folder = os.path.dirname(self.file)
        for _ in range(level - 1):
            folder = os.path.dirname(folder)
        return "/".join([folder, *module.split(".")]) if module else folder

    # Names

    def named(self, path: str, deep: int = _DEEP) -> DefinedName | None:
        """The definition of a dotted name: in the module, in its classes, or imported; None where there is none."""
        first, *inner = path.split(".")
        if first in self.defined:
            found: DefinedName | None = DefinedName(self, self.defined[first])
            for name in inner:
                body = found.node.body if found and isinstance(found.node, ast.ClassDef) else []
                nodes = [s for s in body if isinstance(s, ast.ClassDef) and s.name == name]
                found = DefinedName(self, nodes[0]) if nodes else None
            return found
        full = self.imported_as(path)
        places = [full.rpartition(".")] if full else []
        places += [(star, ".", path) for star in self._stars]
        for module, _, name in places:
            other = _module_called(module, self.file)
            if other is not None and other.file != self.file and deep:
                found = other.named(name, deep - 1)
                if found is not None:
                    return found
        return None

    def imported_as(self, path: str) -> str:
        """The name of something imported, with its module; empty for what is not."""
        first, dot, rest = path.partition(".")
        return f"{self._imported[first]}{dot}{rest}" if first in self._imported else ""

    def has_all_of(self, module: str) -> bool:
        """Whether it imports ``*`` from a module."""
        return module in self._stars

    def at(self, expression: ast.expr) -> DefinedName | None:
        """The definition of the name that an expression is."""
        name = dotted(expression)
        return self.named(name) if name else None

    # Comments

    @cached_property
    def _comments(self) -> dict[int, str]:
        """The comments by their lines."""
        found = {}
        with suppress(tokenize.TokenError, SyntaxError):
            for token in tokenize.generate_tokens(io.StringIO(self._source).readline):
                if token.type == tokenize.COMMENT:
                    found[token.start[0]] = token.string.lstrip("#").lstrip(":").strip()
        return found

    def comment(self, statement: ast.stmt) -> str:
        """The comment at the end of a statement, or in the lines above it."""
        last = statement.end_lineno or statement.lineno
        if (said := self._comments.get(last)) and not _is_for_tools(said):
            return said
        lines = self._source.splitlines()
        above: list[str] = []
        number = statement.lineno - 1
        while number in self._comments and lines[number - 1].lstrip().startswith("#"):
            above.insert(0, self._comments[number])
            number -= 1
        said = " ".join(above)
        return "" if _is_for_tools(said) else said


def text_of(module: str) -> ModuleText | None:
    """The text of a module that is named as on the command line; None where there is none to read.

    Args:
        module: a module's name, or the path of a file that ends in ``.py``.
    """
    if module.endswith(".py") or os.sep in module:
        return _read(module)
    return _module_called(module, os.path.join(os.getcwd(), "_"))


def _module_called(name: str, importer: str) -> ModuleText | None:
    """The text of a module that a file imports, by its name or by the path that `_absolute` makes."""
    if not name:
        return None
    if name.startswith("/"):
        for file in (f"{name}.py", f"{name}/__init__.py"):
            if os.path.isfile(file):
                return _read(file)
        return None
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top == "furu_core":
        return None
    with suppress(Exception):  # finders of editable installs may do whatever they like
        root = _module_names.file_identity(importer)[2]
        file_found = _module_names.file_of(
            name, [os.getcwd(), os.path.join(os.getcwd(), "src"), root, *sys.path]
        )
        return None if file_found is None else _read(file_found)
    return None


_texts: Final[dict[str, ModuleText | None]] = {}


def _read(file: str) -> ModuleText | None:
    file = os.path.abspath(file)
    if file not in _texts:
        _texts[file] = None
        with suppress(OSError, ValueError):
            if file.endswith(".py"):
                _texts[file] = ModuleText(file)
    return _texts[file]


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, also those in `if` and `try`."""
    for statement in body:
        yield statement
        match statement:
            case ast.If(body=inner, orelse=other):
                yield from _statements([*inner, *other])
            case ast.Try(body=inner, orelse=other, handlers=handlers):
                yield from _statements([*inner, *other, *(s for h in handlers for s in h.body)])
            case _:
                pass


def dotted(expression: ast.expr) -> str:
    """The name that an expression is, without what stands in brackets; empty where it is none."""
    match expression:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            before = dotted(value)
            return f"{before}.{name}" if before else ""
        case ast.Subscript(value=value):
            return dotted(value)
        case ast.Constant(value=str(text)) if text.isidentifier():
            return text
        case _:
            return ""


def _is_for_tools(comment: str) -> bool:
    return re.match(r"(type:|noqa|ty:|pyright|mypy|pylint|pragma|fmt:)", comment) is not None
