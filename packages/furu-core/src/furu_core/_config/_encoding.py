"""The canonical bytes of one config object, and of the values in its fields.

Every value is tagged with its type and states its own length, so that no two different values, and
no two different sequences of values, have the same bytes. Dicts and sets are sorted by the bytes of
their items. Nested config objects are represented by their hashes; those without one are hashed
first, or reported.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

import attrs

from furu_core._config._class_names import is_of_script, name_of
from furu_core._config._class_record import ConfigClass, Field, Rule
from furu_core._config._refused import MAX_DEPTH, Refused

FORMAT = b"furu1"

_NAN = b"d" + struct.pack(">d", float("nan"))
_pack_float = struct.Struct(">d").pack


OmittedField = tuple[ConfigClass, Field]  # a field that is left out, since it equals its default


# Traits of an object, of which most have none.
MUTABLE: Final = 1  # a value can change
MUTABLE_BELOW: Final = 2  # a value of an object nested in it can
SETTABLE: Final = 4  # a value is frozen, yet ``object.__setattr__`` can change it
VARIANT: Final = 8  # a field is excluded from the hash, here or in an object nested in it
OMITTED: Final = 16  # a field is left out since it equals its default, here or in a nested object
PACKED: Final = 32  # pickle would lose something: a value's class is the script's, for instance


class Seen:
    """What the encoding of one object found in it.

    Attributes:
        traits: the traits that its own fields show.
        nested: the config objects in its fields, each as often as it occurs.
        pending: those of them that have no hash yet.
        omitted: the fields that are left out of the hash.
        depth: so many containers are open.
        hash_nested: hashes a nested object that has no hash yet; without it, that is pending.
    """

    __slots__ = ("depth", "hash_nested", "nested", "omitted", "pending", "traits")

    def __init__(self, hash_nested: HashNested | None = None) -> None:
        self.hash_nested = hash_nested
        self.nested: list[Any] = []
        self.pending: list[Any] = []
        self.omitted: tuple[OmittedField, ...] = ()
        self.traits = self.depth = 0


HashNested = Callable[[Any], str]
Encoder = Callable[[Any, Seen], bytes]


# ---- one object ----


class ClassEncoding:
    """The part of the encoding that all objects of a class share.

    Attributes:
        parts: the bytes of an object whose fields hold their defaults: the head, then a part for
            each field that is hashed, by its key, so that moving a line in the class body changes no
            hash. It is empty where the default is not plain, or there is none.
        plan: for each field its name, the number of its part, what its part begins with, the
            default that its part is of, and the field itself if its rule is not `ALWAYS`.
    """

    __slots__ = ("parts", "plan")

    def __init__(self, cls: ConfigClass) -> None:
        name = cls.identity_name.encode()
        hashed = {field.key for field in cls.fields if field.rule is not Rule.EXCLUDED}
        keys = sorted(hashed | cls.removed.keys())
        place = {key: number for number, key in enumerate(keys, start=1)}
        self.parts = [b"%s%d:%s" % (FORMAT, len(name), name), *[b""] * len(keys)]
        for key, value in cls.removed.items():
            self.parts[place[key]] = _str(key, _NOTHING_SEEN) + encode_value(value, Seen())
        plan = []
        for attribute, field in zip(attrs.fields(cls.cls), cls.fields, strict=True):
            number = place.get(field.key, 0)
            prefix = _str(field.key, _NOTHING_SEEN)
            default, special = attribute.default, None if field.rule is Rule.ALWAYS else field
            if special is None and is_plain(default):
                self.parts[number] = prefix + encode_value(default, Seen())
            else:
                default = _NO_DEFAULT
            plan.append((field.name, number, prefix, default, special))
        self.plan = tuple(plan)


_NO_DEFAULT = object()


def is_plain(value: Any) -> bool:
    """Whether values of this type cannot change, and are encoded without a look at anything else."""
    if type(value) is tuple:
        return _ATOMS.issuperset(map(type, value))
    return type(value) in _ATOMS


_ATOMS = frozenset({type(None), bool, int, float, str, bytes})


def encode(obj: Any, seen: Seen) -> bytes:
    """The canonical bytes of one object, in which hashes represent nested ones."""
    cls = obj.__furu_class__
    shared = cls.encoding
    if shared is None:
        shared = cls.encoding = ClassEncoding(cls)
    known = obj.__dict__
    parts = shared.parts[:]
    for name, number, prefix, default, special in shared.plan:
        value = known[name]
        if value is default:  # the very same: an equal one could be encoded otherwise
            continue
        encoder = ENCODERS[type(value)]
        if special is None:
            parts[number] = prefix + encoder(value, seen)
        elif special.rule is Rule.EXCLUDED:
            encoder(value, seen)  # not hashed, yet it must be a value that can be encoded
            seen.traits |= VARIANT
        else:
            data = encoder(value, seen)
            if data != _encoded_default(cls, special, seen):
                parts[number] = prefix + data
            else:
                seen.traits |= OMITTED
                seen.omitted = (*seen.omitted, (cls, special))
    return b"".join(parts)


def _encoded_default(cls: ConfigClass, field: Field, seen: Seen) -> bytes:
    key = (cls.cls, field.name)
    found = _default_bytes.get(key)
    if found is not None:
        return found
    assert field.make_default is not None  # `field` refuses omit_default_from_hash without one
    if key not in _defaults:
        _defaults[key] = field.make_default()
    inner = Seen()
    found = encode_value(_defaults[key], inner)
    if inner.pending:
        seen.pending += inner.pending  # once these have hashes, the object is encoded again
    else:
        _default_bytes[key] = found
    return found


def omitted_default(cls: ConfigClass, field: Field) -> tuple[Any, bytes]:
    """The default of a field that was left out of a hash, and its canonical bytes."""
    return _defaults[cls.cls, field.name], _encoded_default(cls, field, Seen())


_defaults: dict[tuple[type, str], Any] = {}
_default_bytes: dict[tuple[type, str], bytes] = {}


# ---- values ----


def encode_value(value: Any, seen: Seen) -> bytes:
    """The canonical bytes of one value."""
    return ENCODERS[type(value)](value, seen)


def _none(_value: None, _: Seen) -> bytes:
    return b"n"


def _bool(value: bool, _: Seen) -> bytes:
    return b"t" if value else b"f"


def _int(value: int, _: Seen) -> bytes:
    return b"i%x;" % value  # hexadecimal: decimal takes quadratic time and has a length limit


def _float(value: float, _: Seen) -> bytes:
    return b"d" + _pack_float(value) if value == value else _NAN


def _str(value: str, _: Seen) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"s%d:%s" % (len(data), data)


def _bytes(value: bytes, _: Seen) -> bytes:
    return b"b%d:%s" % (len(value), value)


def _items(opening: bytes, values: Any, seen: Seen) -> bytes:
    depth = seen.depth
    if depth >= MAX_DEPTH:
        raise Refused(
            f"is nested more than {MAX_DEPTH} levels deep, or contains itself",
            "flatten it, or nest Furu objects, which may be as deep as you like",
        )
    seen.depth = depth + 1
    parts = [ENCODERS[type(v)](v, seen) for v in values]
    seen.depth = depth
    return b"%s%d:%s" % (opening, len(parts), b"".join(parts))


def _tuple(value: tuple[Any, ...], seen: Seen) -> bytes:
    return _items(b"(", value, seen)


def _list(value: list[Any], seen: Seen) -> bytes:
    seen.traits |= MUTABLE
    return _items(b"[", value, seen)


def _unordered(opening: bytes, values: Any, seen: Seen) -> bytes:
    parts = sorted(_items(b"", (v,), seen) for v in values)
    return b"%s%d:%s" % (opening, len(parts), b"".join(parts))


def _frozenset(value: frozenset[Any], seen: Seen) -> bytes:
    return _unordered(b"{", value, seen)


def _set(value: set[Any], seen: Seen) -> bytes:
    seen.traits |= MUTABLE
    return _unordered(b"}", value, seen)


def _pairs(opening: bytes, value: dict[Any, Any], seen: Seen) -> bytes:
    parts = sorted(_items(b"", pair, seen) for pair in value.items())
    return b"%s%d:%s" % (opening, len(parts), b"".join(parts))


def _dict(value: dict[Any, Any], seen: Seen) -> bytes:
    seen.traits |= MUTABLE
    return _pairs(b"<", value, seen)


def encode_nested(value: Any, seen: Seen) -> bytes:
    """The bytes of a nested config object: its hash, if it has one already."""
    seen.nested.append(value)
    found = value.__dict__.get("_furu_hash")
    if found is None and seen.hash_nested is not None:
        found = seen.hash_nested(value)
    if found is None:
        seen.pending.append(value)
        return b""
    return b"@%s" % found.encode()


class _Encoders(dict[type, Encoder]):
    """The encoders by the types of values; those of other types are found when one is met."""

    def __missing__(self, t: type) -> Encoder:
        encoder = encode_nested if hasattr(t, "__furu_class__") else _kind_encoder(t)
        self[t] = encoder
        return encoder


ENCODERS = _Encoders(
    {
        type(None): _none,
        bool: _bool,
        int: _int,
        float: _float,
        str: _str,
        bytes: _bytes,
        tuple: _tuple,
        list: _list,
        frozenset: _frozenset,
        set: _set,
        dict: _dict,
    }
)
_NOTHING_SEEN = Seen()


def _kind_encoder(t: type) -> Encoder:
    from furu_core._config._value_types import (
        value_type_of,
    )  # most configs hold nothing but plain values

    kind = value_type_of(t)
    head = b"k" + _str(kind.tag, _NOTHING_SEEN)
    if kind.cls is not None:
        head += _str(name_of(kind.cls).identity, _NOTHING_SEEN)
    apart, pickles = kind.hashed or kind.apart, kind.pickles
    traits = (MUTABLE if kind.mutable else 0) | (SETTABLE if kind.settable else 0)
    of_script = kind.cls is not None and is_of_script(kind.cls)

    def encoder(value: Any, seen: Seen) -> bytes:
        seen.traits |= traits
        if of_script or (isinstance(value, type) and is_of_script(value)):
            seen.traits |= PACKED
        if pickles is not None and not pickles(value):
            seen.traits |= PACKED
        payload = apart(value)
        if type(payload) is list:
            return _items(head + b"[", payload, seen)
        if type(payload) is dict:
            return _pairs(head + b"<", payload, seen)
        return head + encode_value(payload, seen)

    return encoder
