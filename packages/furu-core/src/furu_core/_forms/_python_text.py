"""Config objects as Python text: a short `repr`, and an expression that makes an equal object."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import attrs

from furu_core._config._class_names import name_of
from furu_core._config._identity import furu_hash, nested, occurrences
from furu_core._config._objects import config_class, is_furu
from furu_core._config._value_types import value_type_of
from furu_core._forms._pack import closure, node_key
from furu_core._forms._values import dumps
from furu_core._text import shown
from furu_core.errors import FuruError

LIMIT_CHARS = 4000

_DEEP = 20  # the parser takes about 100 nested calls
_SHORT = 60

_inside = threading.local()


def short_name(obj: Any) -> str:
    """``Train(3fa9c1)``: the class and the first digits of the hash."""
    try:
        digits = furu_hash(obj)[:6]
    except FuruError:
        digits = "..."  # it has no hash, and a repr must not fail
    return f"{type(obj).__name__}({digits})"


def short_repr(obj: Any) -> str:
    """``Train(data=Split(a41c07), lr=0.1)``: nested objects by their hashes, long values cut."""
    if getattr(_inside, "repr", False):
        return short_name(obj)
    _inside.repr = True  # objects nested in this one, in any container, are written short
    try:
        known = obj.__dict__
        fields = [
            f"{spec.alias}={shown(known[spec.name], 120)}"
            for spec in config_class(obj).fields
            if spec.in_repr and spec.name in known
        ]
    finally:
        _inside.repr = False
    return f"{type(obj).__name__}({', '.join(fields)})"


@attrs.frozen
class PythonText:
    """An expression, and the lines that import what it names.

    Attributes:
        expression: evaluates to an equal object, unless it is abbreviated.
        imports: lines to execute before, sorted.
        abbreviated: nested objects are written as ``<Split a41c07...>``, for people to read only.
    """

    expression: str
    imports: tuple[str, ...]
    abbreviated: bool = False


def python_text(obj: Any, *, limit_chars: int | None = None) -> PythonText:
    """A config object as a Python expression that makes an equal one.

    Objects that are shared or nested deeply are given names in the expression, so that its length
    is linear in the number of distinct objects.

    Args:
        obj: a Furu object.
        limit_chars: beyond this length nested objects are abbreviated, at a cost that does not grow
            with what is nested.
    """
    if limit_chars is None:
        return _exact(obj)
    text = _Text()
    if nested(obj):
        size = _size(obj)
        if size.depth <= _DEEP and size.chars <= min(limit_chars, LIMIT_CHARS):

            def inline(child: Any) -> str:
                return text.call(child, inline)

            return PythonText(inline(obj), text.imports())
    expression = text.call(obj, lambda child: f"<{type(child).__name__} {furu_hash(child)}>")
    if len(expression) > limit_chars:
        return PythonText(f"{expression[:limit_chars]}...", text.imports(), abbreviated=True)
    return PythonText(expression, text.imports(), abbreviated=bool(nested(obj)))


@attrs.frozen
class _Size:
    """The length and depth of an object's expression, with all that is nested in it."""

    chars: int
    depth: int


_TOO_LARGE = _Size(LIMIT_CHARS + 1, _DEEP + 1)


def _size(obj: Any) -> _Size:
    """The size of an object's expression, cached on the object, so that a graph is measured once."""
    stack = [obj]
    while stack:
        current = stack[-1]
        children = occurrences(current)
        unknown = [child for child in children if "_furu_text_size" not in child.__dict__]
        if unknown:
            stack.extend(unknown)
            continue
        stack.pop()
        sizes = [child.__dict__["_furu_text_size"] for child in children]
        chars, depth = (
            sum(size.chars for size in sizes),
            max((size.depth for size in sizes), default=0),
        )
        if chars > LIMIT_CHARS or depth >= _DEEP:
            found = _TOO_LARGE
        else:
            found = _Size(chars + len(_Text().call(current, lambda _: "")), depth + 1)
        current.__dict__["_furu_text_size"] = found
    size: _Size = obj.__dict__["_furu_text_size"]
    return size


def _exact(root: Any) -> PythonText:
    text = _Text()
    nodes = closure(root)
    used: dict[str, int] = {}
    for _, node in nodes:
        for child in occurrences(node):
            used[node_key(child)] = used.get(node_key(child), 0) + 1
    texts: dict[str, str] = {}
    depths: dict[str, int] = {}
    named: list[str] = []

    for key, node in nodes:
        call = text.call(node, lambda child: texts[node_key(child)])
        depth = 1 + max((depths[node_key(child)] for child in occurrences(node)), default=0)
        if node is not root and (depth > _DEEP or (used[key] > 1 and len(call) > _SHORT)):
            name = f"_{len(named)}"
            named.append(f"{name} := {call}")
            call, depth = name, 0
        texts[key], depths[key] = call, depth
    last = texts[node_key(root)]
    expression = f"[{', '.join([*named, last])}][-1]" if named else last
    return PythonText(expression, text.imports())


class _Text:
    """Writes values as expressions, and collects the imports that they need."""

    def __init__(self) -> None:
        self.depth = 0
        self._modules: set[str] = set()
        self._names: dict[str, str] = {}  # a bare name -> the module it comes from

    def imports(self) -> tuple[str, ...]:
        """The import lines that the expressions need."""
        lines = [f"import {module}" for module in self._modules]
        lines += [f"from {module} import {name}" for name, module in self._names.items()]
        return tuple(sorted(lines))

    def call(self, obj: Any, nested: Callable[[Any], str]) -> str:
        """A call of the object's class."""
        known = obj.__dict__
        given = {spec.alias: known[spec.name] for spec in config_class(obj).fields}
        return self._call(type(obj), given, nested)

    def _call(self, cls: type, given: dict[str, Any], nested: Callable[[Any], str]) -> str:
        arguments = [f"{name}={self.value(item, nested)}" for name, item in given.items()]
        return f"{self.reference(cls)}({', '.join(arguments)})"

    def reference(self, cls: type) -> str:
        """The expression that names a class."""
        module, _, qualname = name_of(cls).importable.partition(":")
        if module == "builtins":
            return qualname
        if not all(part.isidentifier() for part in module.split(".")):
            return self._from("importlib", f"importlib.import_module({module!r}).{qualname}")
        first = qualname.partition(".")[0]
        if self._names.setdefault(first, module) == module:
            return qualname
        self._modules.add(module)
        return f"{module}.{qualname}"

    def _from(self, module: str, expression: str) -> str:
        self._modules.add(module)
        return expression

    def value(self, value: Any, nested: Callable[[Any], str]) -> str:
        """The expression of a field's value; `nested` writes the Furu objects in it."""
        if is_furu(value):
            return nested(value)
        t = type(value)
        if t in _REPR:
            return repr(value)
        if t is int:
            return repr(value) if value.bit_length() < 1000 else hex(value)
        if t is float:
            return repr(value) if math.isfinite(value) else f"float({str(value)!r})"
        if t in (list, tuple, set, frozenset):
            return self._collection(t, [self.value(item, nested) for item in value])
        if t is dict:
            pairs = [f"{self.value(k, nested)}: {self.value(v, nested)}" for k, v in value.items()]
            return f"{{{', '.join(pairs)}}}"
        found = self._of_kind(value, nested)
        return self._from("furu_core._forms._values", _loads(value)) if found is None else found

    def _collection(self, t: type, items: list[str]) -> str:
        if t is list:
            return f"[{', '.join(items)}]"
        if t is tuple:
            return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
        inner = f"{{{', '.join(sorted(items))}}}" if items else ""
        return inner if t is set and items else f"{t.__name__}({inner})"

    def _of_kind(self, value: Any, nested: Callable[[Any], str]) -> str | None:
        kind = value_type_of(type(value))
        if kind.tag in _CALLS:
            module = _CALLS[kind.tag].rpartition(".")[0]
            payload = kind.apart(value)
            items = payload if isinstance(payload, list) else [payload]
            if type(value) is OrderedDict:
                items = [items]
            call = f"{_CALLS[kind.tag]}({', '.join(self.value(item, nested) for item in items)})"
            return self._from(module, call) if module else call
        match kind.tag:
            case "ellipsis":
                return "..."
            case "class":
                return self.reference(value)
            case "date" | "datetime" | "time" | "timedelta" | "timezone":
                if "zoneinfo" in repr(value):
                    self._modules.add("zoneinfo")
                return self._from("datetime", repr(value))
            case "enum":
                return f"{self.reference(type(value))}[{value.name!r}]"
            case "flag":
                return f"{self.reference(type(value))}({value.value})"
            case "namedtuple":
                return self._call(type(value), kind.apart(value), nested)
            case "dataclass" | "attrs" if _takes_its_fields(type(value)):
                return self._call(type(value), kind.apart(value), nested)
            case "ndarray" if value.dtype.kind in "biu" and value.size:
                call = f"numpy.array({value.tolist()!r}, dtype={value.dtype.str!r})"
                return self._from("numpy", call)
            case _:
                return None


_REPR = frozenset({type(None), bool, str, bytes})

_CALLS = {
    "path": "pathlib.Path",
    "purepath": "pathlib.PurePosixPath",
    "windowspath": "pathlib.PureWindowsPath",
    "complex": "complex",
    "bytearray": "bytearray",
    "range": "range",
    "slice": "slice",
    "ordereddict": "collections.OrderedDict",
    "decimal": "decimal.Decimal",
    "fraction": "fractions.Fraction",
    "uuid": "uuid.UUID",
    "zoneinfo": "zoneinfo.ZoneInfo",
}


def _takes_its_fields(cls: type) -> bool:
    """Whether calling the class with its fields makes the same object."""
    if dataclasses.is_dataclass(cls):
        plain = all(f.init for f in dataclasses.fields(cls))
        generated = "__init__" in vars(cls) and vars(cls)["__dataclass_params__"].init
        return plain and generated and not hasattr(cls, "__post_init__")
    code = getattr(vars(cls).get("__init__"), "__code__", None)
    return (
        all(a.init and a.alias == a.name and a.converter is None for a in attrs.fields(cls))
        and not hasattr(cls, "__attrs_post_init__")
        and code is not None
        and code.co_filename.startswith("<attrs generated")
    )


def _loads(value: Any) -> str:
    return f"furu_core._forms._values.loads({dumps(value)!r})"
