"""Annotations read into shapes, for the fields of classes and the arguments of functions.

An annotation may be text, and may name what does not exist yet or only for type checkers. A name
that cannot be resolved is no error: its shape is of `Form.UNKNOWN`.
"""

from __future__ import annotations

import builtins
import collections
import collections.abc
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import attrs

from furu_core._config import _class_names


class Form(Enum):
    """The form of a shape: how it says which values an annotation takes."""

    ANYTHING = "anything"  # also type variables and protocols
    UNKNOWN = "unknown"  # a name that cannot be resolved
    INSTANCE = "instance"  # `cls`, `type(None)` for None
    CHOICE = "choice"  # one of `options`
    UNION = "union"  # one of `inner`
    ITEMS = "items"  # a `cls` whose items are all `inner[0]`
    PLACES = "places"  # a tuple of `inner`, each in its place
    PAIRS = "pairs"  # a `cls` from `inner[0]` to `inner[1]`
    KEYS = "keys"  # a TypedDict: `options` are its keys, `inner` their values
    CLASS = "class"  # `cls` or a subclass of it, as a value
    ARRAY = "array"  # a NumPy array; `options` holds the class of its items, where that is said
    NAMED = "named"  # a recursive alias: `target` returns what it stands for


@attrs.frozen(eq=False)
class Shape:
    """The values that an annotation asks for.

    Attributes:
        form: says how the other attributes are meant.
        text: the annotation as error messages write it.
        cls: the class that is asked for.
        inner: the shapes of the parts.
        options: the values of a Literal, the keys of a TypedDict.
        optional: the keys of a TypedDict that may be missing.
        target: returns what a recursive alias stands for.
    """

    form: Form
    text: str
    cls: type = object
    inner: tuple[Shape, ...] = ()
    options: tuple[Any, ...] = ()
    optional: frozenset[str] = frozenset()
    target: Callable[[], Shape] | None = None


ANYTHING = Shape(Form.ANYTHING, "anything")

ITEMS = (
    list,
    tuple,
    set,
    frozenset,
    collections.abc.Sequence,
    collections.abc.MutableSequence,
    collections.abc.Collection,
    collections.abc.Iterable,
    collections.abc.Container,
    collections.abc.Reversible,
    collections.abc.Set,
    collections.abc.MutableSet,
)
PAIRS = (
    dict,
    collections.OrderedDict,
    collections.abc.Mapping,
    collections.abc.MutableMapping,
)
_WRAPPERS = tuple(
    getattr(typing, name)
    for name in ("Annotated", "Final", "Required", "NotRequired", "ReadOnly")
    if hasattr(typing, name)
)


class _Unknown:
    """Stands for a name that cannot be resolved; supports all that annotations do with names."""

    __iter__ = None  # else ``tuple[*names]`` would take items from `__getitem__` without end

    def __getattr__(self, name: str) -> _Unknown:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, item: object) -> _Unknown:
        return self

    def __call__(self, *_args: object, **_kwargs: object) -> _Unknown:
        return self

    def __or__(self, other: Any) -> Any:
        return typing.Union[_Unknown, other]  # noqa: UP007 - `other` may be a string or None

    __ror__ = __or__


class _Names(dict[str, Any]):
    """The names an annotation can use, looked up when needed, as a module may define more later."""

    def __init__(self, owner: Any, namespace: Mapping[str, Any]) -> None:
        super().__init__()
        self.unresolved = False
        self._namespace = namespace
        for parameter in getattr(owner, "__type_params__", ()):
            self[parameter.__name__] = parameter
        if not isinstance(owner, type):
            return
        # Only classes from the body: a method may have the name of a type, such as `list`.
        self.update((k, v) for k, v in list(vars(owner).items()) if isinstance(v, type))
        if owner.__qualname__ == owner.__name__ or "<locals>" in owner.__qualname__:
            self[owner.__name__] = owner

    def __missing__(self, name: str) -> Any:
        if name in self._namespace:
            return self._namespace[name]
        if hasattr(builtins, name):
            return getattr(builtins, name)
        self.unresolved = True
        return _Unknown()


class Annotations:
    """The own annotations of one class or function, evaluated as far as they can be.

    Example:
        >>> from furu_core._config._annotations import Annotations, Form
        >>> def train(rates: list[float], opt: Missing = None) -> None: ...
        >>> shapes = Annotations(train)
        >>> shapes.shape("rates").text, shapes.shape("rates").inner[0].cls
        ('list[float]', <class 'float'>)
        >>> shapes.shape("opt").form is Form.UNKNOWN
        True
    """

    def __init__(self, owner: Any) -> None:
        self._owner = owner
        if isinstance(owner, type):
            self.namespace: Mapping[str, Any] = _class_names.namespace_of(owner)
        else:
            self.namespace = getattr(inspect.unwrap(owner), "__globals__", {})
        try:
            self.raw: dict[str, Any] = dict(inspect.get_annotations(owner))
        except TypeError:  # a callable that is not a function
            self.raw = {}

    def is_class_variable(self, name: str) -> bool:
        """Whether the annotation is a ClassVar."""
        annotation = self.raw[name]
        if isinstance(annotation, str) and "ClassVar" not in annotation:
            return False
        value = self.evaluated(name)
        return value is typing.ClassVar or typing.get_origin(value) is typing.ClassVar

    def evaluated(self, name: str) -> Any:
        """The annotation of `name`, with text evaluated."""
        return _Reader(self._owner, self.namespace).evaluated(self.raw[name])

    def shape(self, name: str) -> Shape:
        """The shape of the annotation of `name`; `ANYTHING` where there is none."""
        return self.shape_so_far(name)[0]

    def shape_so_far(self, name: str) -> tuple[Shape, bool]:
        """`shape`, and whether all its names could be resolved."""
        if name not in self.raw:
            return ANYTHING, True
        reader = _Reader(self._owner, self.namespace)
        shape = reader.read(self.raw[name])
        return shape, not reader.unresolved


def shape_of_field(cls: type, name: str) -> Shape:
    """The shape of a field, from the class or from the base class that declares it."""
    for base in cls.__mro__:
        annotations = Annotations(base)
        if name in annotations.raw:
            return annotations.shape(name)
    return ANYTHING


class _Reader:
    """Reads one annotation."""

    def __init__(
        self,
        owner: Any,
        namespace: Mapping[str, Any],
        typed_dicts: dict[type, Shape | None] | None = None,
    ) -> None:
        self._owner = owner
        self._names = _Names(owner, namespace)
        self._failed = False
        self._read: dict[Any, Shape] = {}
        self._open: set[Any] = set()
        # Shared by nested readers; None while a TypedDict is read, since it may contain itself.
        self._typed_dicts = {} if typed_dicts is None else typed_dicts

    @property
    def unresolved(self) -> bool:
        return self._failed or self._names.unresolved

    def evaluated(self, annotation: Any) -> Any:
        """An annotation that may be text."""
        if isinstance(annotation, typing.ForwardRef):
            annotation = annotation.__forward_arg__
        if not isinstance(annotation, str):
            return annotation
        if annotation.isidentifier():  # most are; compiling would take as long as all the rest
            return self._names[annotation]
        try:
            # From Python 3.12 on, subscripting a class may import, which needs the builtins here.
            return eval(annotation, {"__builtins__": vars(builtins)}, self._names)
        except Exception:  # noqa: BLE001 - an annotation that makes no sense is not ours to judge
            self._failed = True
            return _Unknown

    def read(self, annotation: Any) -> Shape:
        """The shape of an annotation."""
        if isinstance(annotation, (str, typing.ForwardRef)):
            text = annotation if isinstance(annotation, str) else annotation.__forward_arg__
            shape = self._named(text, lambda: self.evaluated(text))
            return shape if shape.text == text else attrs.evolve(shape, text=text)
        alias = typing.get_origin(annotation) or annotation
        try:
            if type(alias).__name__ == "TypeAliasType":
                key = (alias, typing.get_args(annotation))
                return self._named(key, lambda: _value_of_alias(annotation, alias))
            return self._shape(annotation)
        except NameError:  # Python evaluates a type variable's bound only on access
            self._failed = True
            return Shape(Form.UNKNOWN, shown(annotation))
        except (TypeError, AttributeError):  # a library's own kind of annotation
            return attrs.evolve(ANYTHING, text=shown(annotation))

    def _named(self, key: Any, find: Callable[[], Any]) -> Shape:
        if key in self._read:
            return self._read[key]
        if key in self._open:
            return Shape(Form.NAMED, str(key), target=lambda: self._read[key])
        self._open.add(key)
        try:
            found = find()
        except NameError:
            self._failed = True
            found = _Unknown
        shape = self._read[key] = self.read(found)
        self._open.discard(key)
        return shape

    def _shape(self, annotation: Any) -> Shape:
        text = shown(annotation)
        if annotation is None:
            annotation = types.NoneType
        if annotation is Any or annotation is object:
            return ANYTHING
        if annotation is _Unknown or isinstance(annotation, _Unknown):
            return Shape(Form.UNKNOWN, text)
        if annotation is typing.Self and isinstance(self._owner, type):
            annotation = self._owner
        if annotation is typing.LiteralString:
            annotation = str
        if isinstance(annotation, typing.NewType):
            return self.read(annotation.__supertype__)
        if isinstance(annotation, typing.TypeVar):
            if annotation.__bound__ is not None:
                return self.read(annotation.__bound__)
            return self._union(annotation.__constraints__, text)
        origin, args = typing.get_origin(annotation), typing.get_args(annotation)
        if origin in _WRAPPERS:
            return self.read(args[0])
        if origin is typing.Union or origin is types.UnionType:
            return self._union(args, text)
        if origin is typing.Literal:
            if any(isinstance(option, _Unknown) for option in args):
                return Shape(Form.UNKNOWN, text)
            return Shape(Form.CHOICE, text, options=args)
        if origin is type and args:
            return self._class(args[0], text)
        cls = annotation if isinstance(annotation, type) else origin
        return self._of_class(cls, args, text) if isinstance(cls, type) else ANYTHING

    def _union(self, args: tuple[Any, ...], text: str) -> Shape:
        if not args:
            return ANYTHING
        return Shape(Form.UNION, text, inner=tuple(map(self.read, args)))

    def _class(self, annotation: Any, text: str) -> Shape:
        bound = self.read(annotation)
        if bound.form is Form.UNION:
            return self._union(tuple(type[arg] for arg in typing.get_args(annotation)), text)
        if bound.form is Form.INSTANCE:
            return Shape(Form.CLASS, text, cls=bound.cls)
        return Shape(Form.INSTANCE, "type", cls=type)

    def _of_class(self, cls: type, args: tuple[Any, ...], text: str) -> Shape:
        if typing.is_typeddict(cls):
            return self._typed_dict(cls, text)
        if getattr(cls, "_is_protocol", False):
            return ANYTHING
        if cls in ITEMS:
            if cls is tuple and args[1:] != (...,):
                if not args and text in ("tuple", "Tuple"):
                    return Shape(Form.ITEMS, text, cls, (ANYTHING,))
                if any(map(_is_unpacked, args)):
                    return Shape(Form.ITEMS, text, cls, (ANYTHING,))
                return Shape(Form.PLACES, text, cls, tuple(map(self.read, args)))
            return Shape(Form.ITEMS, text, cls, (self.read(args[0]) if args else ANYTHING,))
        if cls in PAIRS:
            inner = tuple(map(self.read, args)) if len(args) == 2 else (ANYTHING, ANYTHING)
            return Shape(Form.PAIRS, text, cls, inner)
        if cls.__module__ == "numpy" and cls.__name__ == "ndarray":
            items = typing.get_args(args[1]) if len(args) == 2 else ()
            return Shape(Form.ARRAY, text, cls, (), tuple(i for i in items if isinstance(i, type)))
        return Shape(Form.INSTANCE, text, cls)

    def _typed_dict(self, cls: type, text: str) -> Shape:
        if cls in self._typed_dicts:
            known = self._typed_dicts[cls]
            return known or Shape(
                Form.NAMED, text, target=lambda: self._typed_dicts[cls] or ANYTHING
            )
        self._typed_dicts[cls] = None
        annotations = Annotations(cls)
        reader = _Reader(cls, annotations.namespace, self._typed_dicts)
        inner = tuple(map(reader.read, annotations.raw.values()))
        optional = set(getattr(cls, "__optional_keys__", ()))
        for key in annotations.raw:  # Python does not look into annotations that are text
            marker = typing.get_origin(annotations.evaluated(key))
            if marker is typing.NotRequired:
                optional.add(key)
            elif marker is typing.Required:
                optional.discard(key)
        self._failed = self._failed or reader.unresolved
        keys = tuple(annotations.raw)
        shape = Shape(Form.KEYS, text, dict, inner, keys, frozenset(optional))
        self._typed_dicts[cls] = shape
        return shape


def _is_unpacked(annotation: Any) -> bool:
    """Whether an annotation stands for any number of items, as ``*tuple[str, ...]`` does."""
    unpacked: bool = getattr(annotation, "__unpacked__", False)
    return unpacked or typing.get_origin(annotation) is typing.Unpack


def _value_of_alias(annotation: Any, alias: Any) -> Any:
    """The value of a generic alias: with ``type Pair[T] = tuple[T, T]``, that of ``Pair[int]``."""
    args = typing.get_args(annotation)
    if not args:
        return alias.__value__
    try:
        return alias.__value__[args]
    except TypeError:
        return alias.__value__


def shown(annotation: Any) -> str:
    """An annotation as error messages write it."""
    if annotation is None or annotation is types.NoneType:
        return "None"
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    return str(annotation).replace("typing.", "").replace("collections.abc.", "")
