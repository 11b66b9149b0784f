"""What the text of modules says of targets and their fields; no module is imported to find out.

For completion in a shell, which must run nothing of the user's, and for what is said of fields beside their values:
metadata, docstrings and comments. What only running a module would tell is left out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import attrs

from furu_core._cli._module_text import DefinedName, ModuleText, dotted

_DEEP: Final = 20  # classes that are derived from one another
_FURU: Final = "furu_core.Furu"
_ENUMS: Final = frozenset({"Enum", "IntEnum", "StrEnum", "Flag", "IntFlag"})
_WITH_FIELDS: Final = frozenset({"dataclass", "frozen", "define", "mutable", "s", "attrs"})
_FIELD: Final = frozenset({"field", "ib", "attrib"})
_SECTION: Final = re.compile(r"^(Args|Arguments|Attributes|Fields|Parameters):\s*$")
_ENTRY: Final = re.compile(r"^(\w+)(?:\s*\([^)]*\))?:\s*(.*)$")
_METADATA: Final = ("help", "description", "doc")


@attrs.frozen
class TextField:
    """A field of a class, or an argument of a function, as the text of its module has it.

    Attributes:
        name: what the constructor calls it.
        annotation: its annotation as it is written; empty where there is none.
        default: its default as it is written; None where it must be given.
        said: what its metadata, docstring or comment says of it, in one line; mostly empty.
        module: where the names in the annotation are looked up.
    """

    name: str
    annotation: str
    default: str | None
    said: str
    module: ModuleText


@attrs.frozen
class TextTarget:
    """What a module may give to `furu run`.

    Attributes:
        name: its name in the module.
        kind: `class`, `object` or `function`.
        said: the first line of its docstring.
    """

    name: str
    kind: str
    said: str


def targets_in(module: ModuleText) -> list[TextTarget]:
    """The config classes, objects and functions of a module that `furu run` may take, in that order."""
    found: dict[str, list[TextTarget]] = {"class": [], "object": [], "function": []}
    for name, node in module.defined.items():
        if name.startswith("_"):
            continue
        match node:
            case ast.ClassDef():
                kind = "class" if _is_config_class(DefinedName(module, node)) else ""
            case ast.FunctionDef():
                kind = "function"
            case ast.Assign(value=value) | ast.AnnAssign(value=value):
                kind = "object" if value is not None and _may_be_roots(module, value) else ""
            case _:
                kind = ""
        if kind:
            found[kind].append(TextTarget(name, kind, _first_line(node)))
    return [*found["class"], *found["object"], *found["function"]]


def fields_in(module: ModuleText, path: str) -> list[TextField]:
    """What can be given to a target: fields of a class or of an object's class, arguments of a function."""
    found = module.named(path)
    if found is None:
        return []
    node = found.node
    if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
        found = found.module.at(node.value.func)
        if found is None:
            return []
    if isinstance(found.node, ast.ClassDef):
        return list(_fields_of(found, _DEEP).values())
    if isinstance(found.node, ast.FunctionDef):
        return _arguments_of(found.module, found.node)
    return []


def nested_fields(field: TextField) -> list[TextField]:
    """The fields of the class with fields that a field's annotation names; empty where it names none."""
    for one in _alternatives(field.annotation):
        found = field.module.at(one)
        if found is not None and (_is_config_class(found) or _has_fields(found)):
            return list(_fields_of(found, _DEEP).values())
    return []


def options_of(field: TextField) -> list[str]:
    """What to type for a field that leaves a choice: enums, literals, truth values."""
    options: list[str] = []
    for one in _alternatives(field.annotation):
        match one:
            case ast.Name(id="bool"):
                options += ["true", "false"]
            case ast.Constant(value=None):
                options.append("none")
            case ast.Subscript(value=value, slice=inner) if _last(value) == "Literal":
                given = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                options += [str(item.value) for item in given if isinstance(item, ast.Constant)]
            case _:
                found = field.module.at(one)
                options += [] if found is None else _members(found.node)
    return options if options != ["none"] else []


# Classes


def _is_config_class(found: DefinedName, deep: int = _DEEP) -> bool:
    if not isinstance(found.node, ast.ClassDef) or not deep:
        return False
    module = found.module
    for base in found.node.bases:
        name = dotted(base)
        if not name:
            continue
        if module.imported_as(name) == _FURU:
            return True
        if name == "Furu" and name not in module.defined and module.has_all_of("furu_core"):
            return True
        at = module.named(name)
        if at is not None and _is_config_class(at, deep - 1):
            return True
    return False


def _has_fields(found: DefinedName) -> bool:
    node = found.node
    if not isinstance(node, ast.ClassDef):
        return False
    decorators = [one.func if isinstance(one, ast.Call) else one for one in node.decorator_list]
    return any(_last(one) in _WITH_FIELDS for one in decorators) or any(
        _last(base) == "NamedTuple" for base in node.bases
    )


def _members(node: ast.stmt) -> list[str]:
    """The names of an enum's members; empty for what is none."""
    if not isinstance(node, ast.ClassDef) or not any(_last(base) in _ENUMS for base in node.bases):
        return []
    return [
        target.id
        for statement in node.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name) and not target.id.startswith("_")
    ]


def _fields_of(found: DefinedName, deep: int) -> dict[str, TextField]:
    module, node = found.module, found.node
    fields: dict[str, TextField] = {}
    if not isinstance(node, ast.ClassDef):
        return fields
    for base in reversed(node.bases if deep else []):
        at = module.at(base)
        if at is not None:
            fields |= _fields_of(at, deep - 1)
    described = _described(ast.get_docstring(node))
    for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        annotation = ast.unparse(statement.annotation)
        options = _field_options(statement.value)
        if "ClassVar" in annotation or _is_false(options.get("init")):
            continue
        attribute = statement.target.id
        name = _text_of(options.get("alias")) or attribute.lstrip("_")
        said = (
            _of_metadata(options.get("metadata"))
            or _docstring_after(after)
            or module.comment(statement)
            or described.get(attribute, "")
        )
        fields[name] = TextField(name, _unquoted(annotation), _default(statement), said, module)
    return fields


def _arguments_of(module: ModuleText, node: ast.FunctionDef) -> list[TextField]:
    described = _described(ast.get_docstring(node))
    positional = [*node.args.posonlyargs, *node.args.args]
    without = len(positional) - len(node.args.defaults)
    pairs = list(zip(positional, [*[None] * without, *node.args.defaults], strict=True))
    pairs = pairs[len(node.args.posonlyargs) :]
    pairs += zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    return [
        TextField(
            one.arg,
            "" if one.annotation is None else _unquoted(ast.unparse(one.annotation)),
            None if default is None else ast.unparse(default),
            described.get(one.arg, ""),
            module,
        )
        for one, default in pairs
    ]


def _may_be_roots(module: ModuleText, value: ast.expr) -> bool:
    """Whether an expression may be objects: made by a class or function of the project, or a collection."""

    def any_of(parts: list[ast.expr]) -> bool:
        return any(_may_be_roots(module, part) for part in parts)

    match value:
        case ast.Call(func=func):
            name = dotted(func)
            if name in ("list", "dict", "tuple") or name.rpartition(".")[2] == "grid":
                return True
            found = module.named(name) if name else None
            if found is None:
                return False
            return isinstance(found.node, ast.FunctionDef) or _is_config_class(found)
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Dict(values=items):
            return any_of(items)
        case ast.ListComp(elt=item) | ast.DictComp(value=item) | ast.Starred(value=item):
            return any_of([item])
        case ast.BinOp(left=left, right=right):
            return any_of([left, right])
        case _:
            return False


def _last(expression: ast.expr) -> str:
    return dotted(expression).rpartition(".")[2]


def _alternatives(annotation: str) -> Iterator[ast.expr]:
    """The parts of a union, or an annotation that is none."""
    try:
        pending = [ast.parse(annotation, mode="eval").body]
    except (SyntaxError, ValueError, RecursionError):
        return
    while pending:
        one = pending.pop(0)
        match one:
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                pending[:0] = [left, right]
            case ast.Subscript(value=value, slice=inner) if _last(value) == "Optional":
                pending[:0] = [inner, ast.Constant(value=None)]
            case ast.Subscript(value=value, slice=ast.Tuple(elts=items)) if _last(value) in (
                "Union",
                "Annotated",
            ):
                pending[:0] = items[:1] if _last(value) == "Annotated" else items
            case _:
                yield one


def _field_options(value: ast.expr | None) -> dict[str, ast.expr]:
    """The options of a call of `field` and its like; empty where a value is none."""
    if isinstance(value, ast.Call) and _last(value.func) in _FIELD:
        return {one.arg: one.value for one in value.keywords if one.arg}
    return {}


def _default(statement: ast.AnnAssign) -> str | None:
    value = statement.value
    if value is None:
        return None
    if isinstance(value, ast.Call) and _last(value.func) in _FIELD:
        options = _field_options(value)
        for name in ("default", "factory", "default_factory"):
            if name in options:
                made = ast.unparse(options[name])
                return made if name == "default" else f"{made}()"
        return None
    return ast.unparse(value)


def _unquoted(annotation: str) -> str:
    """An annotation that is text as what it says."""
    with suppress(ValueError, SyntaxError):
        value = ast.literal_eval(annotation)
        if isinstance(value, str):
            return value
    return annotation


def _is_false(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def _text_of(value: ast.expr | None) -> str:
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def _of_metadata(value: ast.expr | None) -> str:
    if isinstance(value, ast.Dict):
        for key, said in zip(value.keys, value.values, strict=True):
            if _text_of(key) in _METADATA:
                return _one_line(_text_of(said))
    return ""


def _docstring_after(statement: ast.stmt | None) -> str:
    return _one_line(_text_of(statement.value)) if isinstance(statement, ast.Expr) else ""


def _one_line(text: str) -> str:
    """The first paragraph of a text in one line."""
    return " ".join(text.strip().partition("\n\n")[0].split())


def _first_line(node: ast.stmt) -> str:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return (ast.get_docstring(node) or "").partition("\n")[0].strip()
    return ""


def _described(docstring: str | None) -> dict[str, str]:
    """What the sections `Attributes:` and `Args:` of a docstring say, by name."""
    found: dict[str, str] = {}
    is_inside, name, margin = False, "", 0
    for line in (docstring or "").splitlines():
        indent = len(line) - len(line.lstrip())
        if _SECTION.match(line):
            is_inside, name, margin = True, "", 0
        elif is_inside and line.strip() and not indent:
            is_inside = False
        elif is_inside and line.strip():
            entry = _ENTRY.match(line.strip())
            if entry and (not margin or indent <= margin):
                name, margin = entry[1], indent
                found[name] = entry[2]
            elif name:
                found[name] = f"{found[name]} {line.strip()}"
    return found
