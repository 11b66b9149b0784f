"""What the modules of the workspace hold: their imports, circles of these, the types and functions they define."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
Function = (ast.FunctionDef, ast.AsyncFunctionDef)


class When(IntEnum):
    """When an import runs."""

    LOADED = 1
    TYPE_CHECKED = 2
    CALLED = 3


@dataclass(frozen=True)
class Import:
    """One module of ours imports another."""

    importer: str
    imported: str
    when: When


@dataclass(frozen=True)
class Module:
    """A module in the source of a package, parsed."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        """The package of its distribution, such as `furu_core`."""
        return self.name.partition(".")[0]

    @property
    def is_init(self) -> bool:
        return self.path.name == "__init__.py"

    @property
    def exports(self) -> bool:
        """Whether others take names from here: it is public, or the `__init__` of a package."""
        return self.is_init or not any(part.startswith("_") for part in self.name.split("."))


def read_modules(root: Path) -> list[Module]:
    """All modules of `packages/*/src` below a folder, by name."""
    found = []
    for source in root.glob("packages/*/src"):
        for path in source.rglob("*.py"):
            parts = path.relative_to(source).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            text = path.read_text(encoding="utf-8")
            found.append(Module(name, path, text, ast.parse(text, path)))
    return sorted(found, key=lambda module: module.name)


def imports(modules: Collection[Module]) -> set[Import]:
    """Which of the modules imports which, and when.

    A name taken from a package leads to the submodule of that name, else to the package's `__init__`. That
    Python loads a module's package before the module is no import here.
    """
    names = {module.name for module in modules}
    return {
        Import(module.name, target, when)
        for module in modules
        for node, when in _import_statements(module.tree, When.LOADED)
        for target in _imported_modules(node, module, names)
        if target != module.name
    }


def _import_statements(
    node: ast.AST, when: When
) -> Iterator[tuple[ast.Import | ast.ImportFrom, When]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, when
        elif isinstance(child, Function):
            yield from _import_statements(child, When.CALLED)
        elif isinstance(child, ast.If) and _is_type_checking(child.test):
            body, otherwise = (ast.Module(part, []) for part in (child.body, child.orelse))
            yield from _import_statements(body, max(when, When.TYPE_CHECKED))
            yield from _import_statements(otherwise, when)
        else:
            yield from _import_statements(child, when)


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test).rpartition(".")[2].lstrip("_") == "TYPE_CHECKING"


def _imported_modules(
    node: ast.Import | ast.ImportFrom, module: Module, names: Collection[str]
) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names if name.name in names)
        return
    source = _imported_from(node, module)
    for name in node.names:
        target = f"{source}.{name.name}"
        if target in names:
            yield target
        elif source in names:
            yield source


def _imported_from(node: ast.ImportFrom, module: Module) -> str:
    """The absolute name of the module that a `from` names."""
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    base = parts[: len(parts) - node.level + module.is_init]
    return ".".join([*base, *([node.module] if node.module else [])])


def circles(found: Iterable[Import], until: When) -> list[list[str]]:
    """The modules that import each other, by way of others or not, largest circle first.

    Of the imports, those up to `until` count: `TYPE_CHECKED` has those that run when a module is loaded as well.
    """
    graph: dict[str, set[str]] = defaultdict(set)
    for one in found:
        if one.when <= until:
            graph[one.importer].add(one.imported)
    reached: dict[str, set[str]] = {}
    for start in graph:
        reached[start] = set()
        todo = [start]
        while todo:
            new = graph.get(todo.pop(), set()) - reached[start]
            reached[start] |= new
            todo.extend(new)
    both_ways = {
        tuple(sorted(name for name in reached[start] if start in reached.get(name, ())))
        for start in graph
        if start in reached[start]
    }
    return sorted(map(list, both_ways), key=lambda circle: (-len(circle), circle))


def defined_types(module: Module) -> set[str]:
    """The classes and type aliases that a module defines at its top, private ones too."""
    found = set()
    for node in _top_statements(module.tree):
        match node:
            case ast.ClassDef(name=name):
                found.add(name)
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if _is_type(name, value):
                found.add(name)
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                if "TypeAlias" in ast.unparse(annotation):
                    found.add(name)
            case _:
                pass
    return found


def _is_type(name: str, value: ast.expr) -> bool:
    """Whether an assignment makes a type: its name is in CapWords, its value reads as an annotation."""
    if not name.lstrip("_")[:1].isupper() or name.isupper():
        return False
    match value:
        case ast.Call(func=made):  # a TypeVar is a placeholder, and means the same everywhere
            makers = {"NewType", "NamedTuple", "namedtuple", "TypedDict", "Enum", "make_class"}
            return ast.unparse(made).rpartition(".")[2] in makers
        case ast.Name(id=other) | ast.Attribute(attr=other):
            return name != other
        case _:
            return isinstance(value, ast.Subscript | ast.BinOp)


def defined_functions(module: Module) -> set[str]:
    """The functions without a leading underscore that a module defines at its top."""
    return {
        node.name
        for node in _top_statements(module.tree)
        if isinstance(node, Function) and not node.name.startswith("_")
    }


def _top_statements(node: ast.AST) -> Iterator[ast.stmt]:
    """The statements of a module outside functions and classes, also those under a condition."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        if not isinstance(child, (*Function, ast.ClassDef)):
            yield from _top_statements(child)


def names_of_several(defined: dict[str, set[str]]) -> dict[str, list[str]]:
    """The names that more than one module defines, each with these modules."""
    where = defaultdict(list)
    for module, names in sorted(defined.items()):
        for name in names:
            where[name].append(module)
    return {name: found for name, found in sorted(where.items()) if len(found) > 1}


def renamed_exports(modules: Collection[Module]) -> list[str]:
    """What a public module or an `__init__` gives under another name, as `module.name is other name`."""
    packages = {module.package for module in modules}
    found = {one for module in modules if module.exports for one in _renamed_in(module, packages)}
    return sorted(found)


def _renamed_in(module: Module, packages: Collection[str]) -> Iterator[str]:
    ours = defined_types(module) | defined_functions(module)
    for node in _top_statements(module.tree):
        match node:
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                source = (
                    f"{_imported_from(node, module)}." if isinstance(node, ast.ImportFrom) else ""
                )
                for name in names:
                    if f"{source}{name.name}".partition(".")[0] in packages:
                        new = name.asname or name.name.partition(".")[0]
                        ours.add(new)
                        if name.asname not in (None, name.name) and not new.startswith("_"):
                            yield f"{module.name}.{new} is {source}{name.name}"
            case ast.Assign(
                targets=[ast.Name(id=new)], value=(ast.Name() | ast.Attribute()) as value
            ):
                old = ast.unparse(value)
                same = old.rpartition(".")[2] == new
                if not same and not new.startswith("_") and old.partition(".")[0] in ours:
                    yield f"{module.name}.{new} is {old}"
            case _:
                pass
