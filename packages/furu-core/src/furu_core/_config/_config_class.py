"""The class statement: how a subclass of Furu becomes a frozen config class.

`define` checks what the class body says, and makes the class an attrs class in place. What encoding
and packing need to know of the class is compiled once into its `ConfigClass`.
"""

from __future__ import annotations

import inspect
import keyword
import sys
from collections.abc import Callable, Collection, Mapping
from functools import partial, wraps
from types import MemberDescriptorType
from typing import Any, TypeVar, overload

import attrs

from furu_core import _text
from furu_core._config import _class_names
from furu_core._config._annotations import Annotations
from furu_core._config._class_record import ConfigClass, Field, Rule, decorated
from furu_core._config._encoding import is_plain
from furu_core._config._fit import field_fitter
from furu_core._config._objects import config_class
from furu_core.errors import FuruDefinitionError, FuruFrozen

T = TypeVar("T")

_EXCLUDE = "furu.exclude_from_hash"
_OMIT_DEFAULT = "furu.omit_default_from_hash"
_FORMERLY = "furu.formerly"
_FIT = "furu.fit"
_SHAPE = "furu.shape"

_OVERRIDABLE = frozenset({"_create", "_load", "_validate", "_dependencies", "_executor_spec_key"})
_RESERVED_METHODS = {
    "__init__": "declare fields, with `converter=` or `__attrs_post_init__` for what is special",
    "__post_init__": "call it `__attrs_post_init__`",
    "__attrs_pre_init__": "declare fields, and derive from them in `__attrs_post_init__`",
    "__eq__": "objects compare by `furu_hash`; leave a field out with `exclude_from_hash=True`",
    "__hash__": "objects hash by `furu_hash`; leave a field out with `exclude_from_hash=True`",
    "__setattr__": "config objects are frozen",
    "__delattr__": "config objects are frozen",
    "__reduce__": "furu pickles config objects by their fields",
    "__reduce_ex__": "furu pickles config objects by their fields",
    "__getstate__": "furu pickles config objects by their fields",
    "__setstate__": "furu pickles config objects by their fields",
    "__copy__": "furu copies config objects by their fields",
    "__deepcopy__": "furu copies config objects by their fields",
}


@overload
def field(
    *,
    default: T,
    converter: Callable[[Any], Any] | None = None,
    validator: Callable[[Any, attrs.Attribute[Any], Any], Any] | None = None,
    exclude_from_hash: bool = False,
    omit_default_from_hash: bool = False,
    formerly: str | None = None,
    repr: bool = True,
    alias: str | None = None,
    metadata: Mapping[Any, Any] | None = None,
) -> T: ...
@overload
def field(
    *,
    factory: Callable[[], T],
    converter: Callable[[Any], Any] | None = None,
    validator: Callable[[Any, attrs.Attribute[Any], Any], Any] | None = None,
    exclude_from_hash: bool = False,
    omit_default_from_hash: bool = False,
    formerly: str | None = None,
    repr: bool = True,
    alias: str | None = None,
    metadata: Mapping[Any, Any] | None = None,
) -> T: ...
@overload
def field(
    *,
    converter: Callable[[Any], Any] | None = None,
    validator: Callable[[Any, attrs.Attribute[Any], Any], Any] | None = None,
    exclude_from_hash: bool = False,
    formerly: str | None = None,
    repr: bool = True,
    alias: str | None = None,
    metadata: Mapping[Any, Any] | None = None,
) -> Any: ...
def field(
    *given: Any,
    default: Any = attrs.NOTHING,
    factory: Callable[[], Any] | None = None,
    converter: Any = None,
    validator: Any = None,
    exclude_from_hash: bool = False,
    omit_default_from_hash: bool = False,
    formerly: str | None = None,
    repr: bool = True,
    alias: str | None = None,
    metadata: Mapping[Any, Any] | None = None,
    **unknown: Any,
) -> Any:
    """State more about a field than its type and default.

    Args:
        default: the value when none is given. Not a list, dict or set: those need a `factory`.
        factory: makes the value when none is given.
        converter: turns the given value into the kept one. A value that it returned must come back
            unchanged, since `to_python` gives it the kept value.
        validator: called with the object, the attribute and the value; raises if it is bad.
        exclude_from_hash: objects that differ only in this field have one hash and one result.
        omit_default_from_hash: the field is left out of the hash while it equals its default, so
            that adding it to a class keeps the results that are there.
        formerly: the name that the field had before it was renamed, which stays its name in hashes
            and records, so that results are found again.
        repr: whether `repr` shows it.
        alias: the name of the constructor's parameter.
        metadata: passed on to attrs.

    Raises:
        FuruDefinitionError: options exclude each other, or do not exist.

    Example:
        >>> from furu_core import Furu, field
        >>> class Train(Furu[float]):
        ...     lr: float = 1e-3
        ...     workers: int = field(default=2, exclude_from_hash=True)
        >>> Train(workers=8) == Train()
        True
    """
    if given:
        raise FuruDefinitionError(
            f"field() was given {_text.shown(given[0])} without a name",
            hint=f"write field(default={_text.shown(given[0])})",
        )
    for option, value in unknown.items():
        raise FuruDefinitionError(
            f"field() has no option {option}=", hint=_instead_of(option, value)
        )
    if default is not attrs.NOTHING and factory is not None:
        raise FuruDefinitionError(
            "field() was given both default= and factory=", hint="keep one of them"
        )
    if exclude_from_hash and omit_default_from_hash:
        raise FuruDefinitionError(
            "field() was given both exclude_from_hash= and omit_default_from_hash=",
            hint="an excluded field is never in the hash, so keep that one or the other",
        )
    if omit_default_from_hash and default is attrs.NOTHING and factory is None:
        raise FuruDefinitionError(
            "field(omit_default_from_hash=True) has no default to omit",
            hint="give it default= or factory=",
        )
    if formerly is not None and not _is_name(formerly):
        raise FuruDefinitionError(
            f"field(formerly={_text.shown(formerly)}) is no name that a field can have had",
            hint="write the old name of the attribute: field(formerly='learning_rate')",
        )
    marks = {
        _EXCLUDE: exclude_from_hash,
        _OMIT_DEFAULT: omit_default_from_hash,
        _FORMERLY: formerly,
    }
    return attrs.field(
        default=default,
        factory=factory,
        converter=converter,
        validator=validator,
        repr=repr,
        alias=alias,
        metadata={**(metadata or {}), **{key: mark for key, mark in marks.items() if mark}},
    )


_INSTEAD = {
    "init": "all fields are given to the constructor: compute what is not in a property",
    "kw_only": "leave it out: all fields are given by name",
    "eq": "objects compare by `furu_hash`: exclude_from_hash=True leaves a field out",
    "order": "leave it out: config objects have no order",
    "on_setattr": "leave it out: config objects are frozen",
    "type": "annotate the field",
    "doc": "write it in a comment",
}
_INSTEAD.update(compare=_INSTEAD["eq"], hash=_INSTEAD["eq"])


def _instead_of(option: str, value: Any) -> str:
    if option in _INSTEAD:
        return _INSTEAD[option]
    if option == "default_factory":
        return f"write factory={getattr(value, '__name__', '...')}"
    known = [
        name for name, p in inspect.signature(field).parameters.items() if p.kind is p.KEYWORD_ONLY
    ]
    likely = _text.nearest(option, known)
    return f"write {likely[0]}=" if likely else f"it has {', '.join(known)}"


class AttrsSeal:
    """Refuses the decorators of attrs; only they read this attribute of a class.

    They would make the class once more, without its defaults and with another `==`.
    """

    def __get__(self, obj: object, owner: type) -> _Sealed:
        return _Sealed(owner)


class _Sealed:
    def __init__(self, owner: type) -> None:
        self._owner = owner

    def __bool__(self) -> bool:
        raise decorated(self._owner, "attrs")


class DataclassSeal:
    """Refuses `@dataclass`, which stores its parameters in a class before it reads this."""

    def __get__(self, obj: object, owner: type) -> Any:
        if "__dataclass_params__" in vars(owner):
            raise decorated(owner, "dataclass")
        raise AttributeError("__post_init__")


def frozen(obj: Any, name: str) -> FuruFrozen:
    """The error for setting or deleting an attribute of a config object."""
    aliases = {field.name: field.alias for field in config_class(obj).fields}
    if name in aliases:
        hint = f"make another object: attrs.evolve(obj, {aliases[name]}=...)"
    else:
        hint = "keep it in a variable, or compute it in a functools.cached_property"
    return FuruFrozen(
        f"{type(obj).__name__}.{name} cannot be set or deleted: config objects are frozen",
        hint=hint,
    )


def define(
    cls: type, *, formerly: str | None = None, removed: Mapping[str, Any] | None = None
) -> None:
    """Make a subclass of Furu, which was just defined, a config class.

    Args:
        cls: the class.
        formerly: the name in hashes that it had before it was renamed or moved.
        removed: the values that fields had which it has no more.

    Raises:
        FuruDefinitionError: the class body holds something that would not do what it seems to;
            the message says what to write instead.
    """
    annotations = Annotations(cls)
    names = [name for name in annotations.raw if not annotations.is_class_variable(name)]
    _check_body(cls, names, annotations.raw)
    own = {name: _own_field(cls, name, annotations) for name in names}
    own = {**_mixed_in(cls, own), **own}
    for name in own:
        if name in cls.__dict__:
            delattr(cls, name)
    _check_aliases(cls, own)
    _check_keys(cls, own)
    pre_init = getattr(cls, "__attrs_pre_init__", None)
    if not isinstance(pre_init, _Sealed):
        hint = _RESERVED_METHODS["__attrs_pre_init__"]
        raise FuruDefinitionError(f"{cls.__name__} has an __attrs_pre_init__", hint=hint)
    cls.__attrs_pre_init__ = None  # type: ignore[attr-defined] # unsealed, for this one time
    attrs.define(
        cls, these=own, slots=False, frozen=True, kw_only=True, eq=False, order=False, repr=False,
        auto_detect=False, match_args=False,
    )  # fmt: skip
    del cls.__attrs_pre_init__  # type: ignore[attr-defined]
    del cls.__setattr__, cls.__delattr__  # the errors of Furu's own say more
    fields = tuple(_compile(attribute) for attribute in attrs.fields(cls))
    gone = _removed(cls, fields, {} if removed is None else removed)
    compiled = cls.__furu_class__ = ConfigClass(cls, fields, gone)  # type: ignore[attr-defined]
    if formerly is not None:
        cls.__furu_formerly__ = formerly  # type: ignore[attr-defined]
    if hasattr(cls, "__attrs_post_init__"):
        cls.__init__ = _refitting(cls.__init__, compiled)  # type: ignore[misc]
    _class_names.announce(cls)


def _refitting(make: Any, compiled: ConfigClass) -> Any:
    """A constructor that fits the fields again, since `__attrs_post_init__` may set them."""

    @wraps(make)
    def refitting(self: Any, *args: Any, **given: Any) -> None:
        make(self, *args, **given)
        compiled.refit(self)

    return refitting


def _compile(attribute: attrs.Attribute[Any]) -> Field:
    rule = Rule.ALWAYS
    if attribute.metadata.get(_EXCLUDE):
        rule = Rule.EXCLUDED
    elif attribute.metadata.get(_OMIT_DEFAULT):
        rule = Rule.UNLESS_DEFAULT
    make_default = None
    if attribute.default is not attrs.NOTHING:
        make_default = _default_maker(attribute.default, attribute.converter)
    return Field(
        name=attribute.name,
        key=attribute.metadata.get(_FORMERLY, attribute.name),
        alias=attribute.alias or attribute.name,
        rule=rule,
        make_default=make_default,
        in_repr=bool(attribute.repr),
        fit=attribute.metadata[_FIT],
        shape=attribute.metadata[_SHAPE],
    )


def _default_maker(default: Any, converter: Any) -> Callable[[], Any]:
    def make() -> Any:
        value = default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]
        return value if converter is None else converter(value)

    return make


def _mixed_in(cls: type, own: Collection[str]) -> dict[str, Any]:
    """The fields of base classes that are attrs but no config classes, as fields of this one."""
    found: dict[str, Any] = {}
    nearer = set(own)
    for base in cls.__mro__[1:]:
        for field in base.__dict__.get("__attrs_attrs__", ()):
            if field.inherited or field.name in nearer:
                continue
            nearer.add(field.name)
            if isinstance(base.__dict__.get(field.name), MemberDescriptorType):
                raise FuruDefinitionError(
                    f"{cls.__name__} inherits the field {field.name!r} from {base.__name__}, which has slots",
                    hint=f"write @attrs.define(slots=False) above {base.__name__}",
                )
            if _FIT not in field.metadata:
                same = attrs.field(
                    default=field.default,
                    validator=field.validator,
                    repr=field.repr,
                    converter=field.converter,
                    metadata=field.metadata,
                    alias=field.alias,
                )
                found[field.name] = _fitted(base, field.name, Annotations(base), same)
    return found


def _own_field(cls: type, name: str, annotations: Annotations) -> Any:
    where = f"{cls.__name__}.{name}"
    value = cls.__dict__.get(name, attrs.NOTHING)
    _check_default(where, value, annotations.raw[name])
    if not hasattr(value, "_default") or not hasattr(value, "metadata"):
        value = attrs.field(default=value)
    _check_default(where, value._default, annotations.raw[name])  # noqa: SLF001 - attrs has no public way
    if not value.init:
        raise FuruDefinitionError(
            f"{where} is not given to the constructor (init=False), so it is no part of the config",
            hint="compute it in a property or a functools.cached_property",
        )
    return _fitted(cls, name, annotations, value)


def _fitted(cls: type, name: str, annotations: Annotations, value: Any) -> Any:
    """A field whose values are fitted to the annotation of `name` in `cls`."""
    fit = field_fitter(cls, name, annotations)
    value.converter = (
        fit if value.converter is None else attrs.converters.pipe(value.converter, fit)
    )
    # In the field's metadata, so that subclasses inherit it.
    read = partial(annotations.shape, name)
    value.metadata = {**value.metadata, _FIT: fit, _SHAPE: read}
    return value


def _check_aliases(cls: type, own: Mapping[str, Any]) -> None:
    """Refuse aliases that cannot be parameters of one constructor."""
    aliases = {
        field.name: field.alias
        for base in reversed(cls.__mro__)
        if "__furu_class__" in base.__dict__
        for field in config_class(base).fields
    }
    for name, value in own.items():
        alias = aliases[name] = value.alias or name.lstrip("_")
        # The constructor uses the names in `_TAKEN` itself.
        usable = alias.isidentifier() and not keyword.iskeyword(alias) and alias not in _TAKEN
        if not usable or alias.startswith("_"):
            raise FuruDefinitionError(
                f"{cls.__name__}.{name} would be the parameter {alias!r} of the constructor, which "
                "cannot be one",
                hint="rename the field, or give it an alias: field(alias='...')",
            )
    for name in own:
        for other, alias in aliases.items():
            if other != name and alias == aliases[name]:
                raise FuruDefinitionError(
                    f"{cls.__name__}.{name} and {cls.__name__}.{other} would both be the parameter "
                    f"{alias!r} of the constructor, which leaves out leading underscores",
                    hint="rename one of the fields, or give it an alias: field(alias='...')",
                )


_TAKEN = frozenset({"self", "NOTHING"})


def _check_keys(cls: type, own: Mapping[str, Any]) -> None:
    """Give fields that are stated anew their former names, and refuse one name for two fields."""
    keys = {
        field.name: field.key
        for base in reversed(cls.__mro__)
        if "__furu_class__" in base.__dict__
        for field in config_class(base).fields
    }
    for name, value in own.items():
        if _FORMERLY not in value.metadata and keys.get(name, name) != name:
            value.metadata = {**value.metadata, _FORMERLY: keys[name]}
        keys[name] = value.metadata.get(_FORMERLY, name)
        if value.metadata.get(_FORMERLY) == name:
            raise FuruDefinitionError(
                f"{cls.__name__}.{name} says that it was formerly called {name!r}, which it still is",
                hint="leave formerly= out, or write the name that the field had before",
            )
    if len(set(keys.values())) == len(keys):
        return
    for name in own:
        for other, key in keys.items():
            if other != name and key == keys[name]:
                raise FuruDefinitionError(
                    f"{cls.__name__}.{name} and {cls.__name__}.{other} would both be {key!r} in the "
                    "hash and in records",
                    hint=f"say formerly= of the one field that was called {key!r}; a new field needs "
                    "another name",
                )


def _removed(cls: type, fields: tuple[Field, ...], own: Any) -> dict[str, Any]:
    """The removed fields of a class and of its bases, without those that it has again."""
    keys = {field.key: field.name for field in fields}
    if own and not (isinstance(own, Mapping) and all(map(_is_name, own))):
        raise FuruDefinitionError(
            f"{cls.__name__} has removed={_text.shown(own)}, which does not say which fields had "
            "which values",
            hint="write removed={'momentum': 0.9}",
        )
    for key, value in own.items():
        if key in keys:
            raise FuruDefinitionError(
                f"{cls.__name__} says that the field {key!r} was removed, and "
                + ("has it" if keys[key] == key else f"{keys[key]!r} was formerly called so"),
                hint="leave it out of removed=, or the field out of the class",
            )
        if not is_plain(value):
            raise FuruDefinitionError(
                f"{cls.__name__} says removed={{{key!r}: {_text.shown(value)}}}, which is no plain value",
                hint="a number, a text, None, a bool, or a tuple of these; keep the field where it had "
                "another value",
            )
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__[1:]):
        if "__furu_class__" in base.__dict__:
            found |= config_class(base).removed
    found |= own
    return {key: value for key, value in found.items() if key not in keys} if found else {}


def _is_name(key: object) -> bool:
    return isinstance(key, str) and key.isidentifier()


def _check_default(where: str, default: Any, annotation: Any) -> None:
    dataclasses = sys.modules.get("dataclasses")  # imported already if the default uses it
    if dataclasses is not None and isinstance(default, dataclasses.Field):
        raise FuruDefinitionError(
            f"{where} uses dataclasses.field, which furu does not know",
            hint="write `from furu_core import field` instead",
        )
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        if default.takes_self:
            raise FuruDefinitionError(
                f"{where} has a default that depends on the other fields",
                hint="compute it in a property, or in the code that makes the object",
            )
        return
    if default is attrs.NOTHING or hasattr(default, "_default"):
        return
    if type(default).__hash__ is None:  # list, dict, set, arrays, unfrozen dataclasses
        shown = annotation if isinstance(annotation, str) else _shown(annotation)
        kind = type(default).__name__
        empty = kind in ("list", "dict", "set", "bytearray") and not default
        factory = kind if empty else f"lambda: {_short(default)}"
        raise FuruDefinitionError(
            f"{where} has a {kind} as default, which all objects would share and could change",
            hint=f"write `{where.partition('.')[2]}: {shown} = field(factory={factory})`",
        )


def _shown(annotation: Any) -> str:
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return annotation.__name__
    return str(annotation)


def _short(value: object) -> str:
    text = _text.shown(value, 61)
    return text if len(text) <= 60 else "..."


def _check_body(cls: type, names: list[str], annotated: Collection[str]) -> None:
    root = next(base for base in reversed(cls.__mro__) if "furu_hash" in base.__dict__)
    taken = {name for name in vars(root) if not name.startswith("__")}
    inherited = {
        field.name
        for base in cls.__mro__[1:]
        if "__furu_class__" in base.__dict__
        for field in config_class(base).fields
    }
    for name in names:
        where = f"{cls.__name__}.{name}"
        if name == "_executor_spec_key":
            raise FuruDefinitionError(
                f"{where} is annotated, which would make it a field and part of the hash",
                hint=f"write `{name} = ...` without an annotation, or a property",
            )
        if name in taken or name.startswith(("_furu_", "__")):
            raise FuruDefinitionError(
                f"the field {where} would shadow furu's own `{name}`",
                hint=f"give the field another name, say `{name.strip('_')}_`",
            )
    for base in cls.__mro__[1 : cls.__mro__.index(root)]:
        for name in _RESERVED_METHODS.keys() & base.__dict__.keys() - {"__init__"}:
            if "__furu_class__" not in base.__dict__:
                raise FuruDefinitionError(
                    f"{cls.__name__} would have the {name} of {base.__name__}",
                    hint=f"{_RESERVED_METHODS[name]}; name {base.__name__} behind the Furu class, "
                    f"as in class {cls.__name__}(Furu[...], {base.__name__})",
                )
    for name, value in cls.__dict__.items():
        if name in names:
            continue
        where = f"{cls.__name__}.{name}"
        if name in _RESERVED_METHODS and not (name == "__hash__" and value is None):
            raise FuruDefinitionError(
                f"{where} cannot be defined in a config class", hint=_RESERVED_METHODS[name]
            )
        if name in taken and name not in _OVERRIDABLE:
            raise FuruDefinitionError(
                f"{where} would shadow furu's own `{name}`", hint="give it another name"
            )
        if name in inherited:
            raise FuruDefinitionError(
                f"{where} hides the inherited field `{name}`",
                hint=f"to change its default write `{name}: <type> = ...`, else rename it",
            )
        if name.startswith("__") or name in _OVERRIDABLE or name in annotated:
            continue
        if any(name in base.__dict__ for base in cls.__mro__[1:]):
            continue  # a new value for an attribute of a base class that is no field there
        _check_unannotated(where, name, value)


def _check_unannotated(where: str, name: str, value: Any) -> None:
    if isinstance(value, type) or hasattr(type(value), "__get__"):
        return  # nested classes, methods, properties and other descriptors
    if hasattr(value, "_default") and hasattr(value, "metadata"):
        shown, kind = "field(...)", "<type>"
    else:
        shown, kind = _short(value), type(value).__name__
    meant = f"`{name}: {kind} = {shown}` if it is a field"
    if shown != "field(...)":
        meant += f", `{name}: ClassVar[{kind}] = {shown}` if it is not"
    raise FuruDefinitionError(f"{where} has no annotation", hint=f"write {meant}")
