"""The hash of a config object, and what is learnt on the way: its nested objects.

A hash is BLAKE2b of the object's canonical bytes: its class's name and its fields, each value tagged
with its type and prefixed with its length, nested objects by their hashes. So equal configs have
equal hashes, and different ones do not.

What is found is kept in the object's ``__dict__`` under names that begin with ``_furu_``. Nothing
here recurses over nested objects: a chain of 10,000 is walked with a list.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from furu_core._class_names import is_of_script, name_of
from furu_core._config_class import ConfigClass, Rule, config_class
from furu_core._kinds import MAX_DEPTH, Refused, kind_of
from furu_core.errors import FuruValueError

FORMAT = b"furu1"

_NAN = b"d" + struct.pack(">d", float("nan"))
_pack_float = struct.Struct(">d").pack


class _Seen:
    """What the encoding of one object came across."""

    __slots__ = ("depth", "mutable", "nested", "of_script", "pending", "variant")

    def __init__(self) -> None:
        self.nested: list[Any] = []
        self.pending: list[Any] = []  # nested objects that have no hash yet
        self.mutable = False
        self.variant = False
        self.of_script = False  # a value's class is defined in ``__main__``
        self.depth = 0


Encoder = Callable[[Any, _Seen], bytes]


def furu_hash(obj: Any) -> str:
    """The hash of a Furu object: 32 hexadecimal digits.

    Raises:
        FuruValueError: a field holds a value that has no stable hash; says which and what to do.
        FuruImportNameError: the class has no name that holds in other processes.
    """
    found: str | None = obj.__dict__.get("_furu_hash")
    if found is None:
        _hash_all(obj)
        found = obj.__dict__["_furu_hash"]
    return found


def nested(obj: Any) -> tuple[Any, ...]:
    """The Furu objects in the fields of an object, distinct and in the order of the fields."""
    known = obj.__dict__
    if "_furu_hash" not in known:
        _hash_all(obj)
    found: tuple[Any, ...] = known.get("_furu_nested", ())
    return found


def occurrences(obj: Any) -> list[Any]:
    """Like `nested`, but each as often as it occurs."""
    if not nested(obj):
        return []
    seen = _Seen()
    encode(obj, seen)
    return seen.nested


def variant(obj: Any) -> str:
    """Tells apart objects of one hash whose excluded fields differ; empty where none has any."""
    if "_furu_hash" not in obj.__dict__:
        _hash_all(obj)
    found: str = obj.__dict__.get("_furu_variant", "")
    return found


def changed_since_hashing(obj: Any) -> Any | None:
    """The first object, of this one and those nested in it, that was mutated after it was hashed.

    Only objects that hold something mutable (a list, a dict, an array) are encoded again; subtrees
    that hold nothing mutable cost nothing.
    """
    todo = [obj]
    seen = {id(obj)}
    while todo:
        current = todo.pop()
        known = current.__dict__
        state = known.get("_furu_mutable")
        if state is None:
            continue  # never hashed, or nothing in it can change
        if state == "own" and _digest_now(current) != known["_furu_hash"]:
            return current
        for child in known.get("_furu_nested", ()):
            if id(child) not in seen:
                seen.add(id(child))
                todo.append(child)
    return None


def _digest_now(obj: Any) -> str | None:
    try:
        while True:
            seen = _Seen()
            data = encode(obj, seen)
            if not seen.pending:
                return blake2b(data, digest_size=16).hexdigest()
            for child in seen.pending:
                _hash_all(child)
    except (FuruValueError, Refused):
        return None  # it holds something now that it could not have been hashed with


def _hash_all(root: Any) -> None:
    """Hash an object and whatever is nested in it, innermost first."""
    stack = [root]
    open_: set[int] = set()
    while stack:
        obj = stack[-1]
        known = obj.__dict__
        if "_furu_hash" in known:
            stack.pop()
            continue
        seen = _Seen()
        try:
            data = encode(obj, seen)
        except Refused as refused:
            raise _explain(obj, refused) from None
        if seen.pending:
            open_.add(id(obj))
            for child in seen.pending:
                if id(child) in open_:
                    raise FuruValueError(
                        f"{type(child).__name__} contains itself, through a list or dict in a field",
                        hint="config objects nest, they do not loop",
                    )
            stack.extend(reversed(seen.pending))
            continue
        stack.pop()
        open_.discard(id(obj))
        _remember(obj, seen)
        known["_furu_hash"] = blake2b(data, digest_size=16).hexdigest()


def _remember(obj: Any, seen: _Seen) -> None:
    known = obj.__dict__
    children = seen.nested
    if children:
        known["_furu_nested"] = tuple({id(c): c for c in children}.values())
    if seen.mutable:
        known["_furu_mutable"] = "own"
    elif any("_furu_mutable" in child.__dict__ for child in children):
        known["_furu_mutable"] = "nested"
    if seen.of_script:
        known["_furu_of_script"] = True
    if seen.variant or any("_furu_variant" in child.__dict__ for child in children):
        known["_furu_variant"] = _variant_of(obj, children)


def _variant_of(obj: Any, children: list[Any]) -> str:
    seen = _Seen()
    parts = [
        _encode(obj.__dict__[field.name], seen)
        for field in config_class(obj).fields
        if field.rule is Rule.EXCLUDED
    ]
    parts += [_str(child.__dict__.get("_furu_variant", ""), seen) for child in children]
    return blake2b(b"".join(parts), digest_size=8).hexdigest()


# ---- one object ----


class _ClassEncoding:
    """The part of the encoding that all objects of a class share."""

    __slots__ = ("blank", "plan")

    def __init__(self, cls: ConfigClass) -> None:
        name = cls.identity_name.encode()
        hashed = sorted(field.name for field in cls.fields if field.rule is not Rule.EXCLUDED)
        place = {name: number for number, name in enumerate(hashed, start=1)}
        # Sorted by name, so that moving a line in the class body changes no hash.
        self.blank = [b"%s%d:%s" % (FORMAT, len(name), name), *[b""] * len(hashed)]
        self.plan = tuple(
            (
                field.name,
                place.get(field.name, 0),
                _str(field.name, _NOTHING_SEEN),
                field if field.rule is not Rule.ALWAYS else None,
            )
            for field in cls.fields
        )


def encode(obj: Any, seen: _Seen) -> bytes:
    """The canonical bytes of one object, in which nested ones stand by their hashes."""
    cls = obj.__furu_class__
    shared = cls.encoding
    if shared is None:
        shared = cls.encoding = _ClassEncoding(cls)
    known = obj.__dict__
    parts = shared.blank[:]
    for name, place, prefix, special in shared.plan:
        value = known[name]
        encoder = _ENCODERS.get(type(value)) or _find_encoder(type(value))
        if special is None:
            parts[place] = prefix + encoder(value, seen)
        elif special.rule is Rule.EXCLUDED:
            encoder(value, seen)  # it must be a value that can be written down all the same
            seen.variant = True
        else:
            data = encoder(value, seen)
            if data != _encoded_default(cls, special):
                parts[place] = prefix + data
    return b"".join(parts)


def _encoded_default(cls: ConfigClass, field: Any) -> bytes:
    key = (cls.cls, field.name)
    found = _defaults.get(key)
    if found is None:
        default = field.make_default()
        seen = _Seen()
        found = _encode(default, seen)
        if seen.pending:
            for child in seen.pending:
                _hash_all(child)
            found = _encode(default, _Seen())
        _defaults[key] = found
    return found


_defaults: dict[tuple[type, str], bytes] = {}


# ---- values ----


def _encode(value: Any, seen: _Seen) -> bytes:
    return (_ENCODERS.get(type(value)) or _find_encoder(type(value)))(value, seen)


def _none(_value: None, _: _Seen) -> bytes:
    return b"n"


def _bool(value: bool, _: _Seen) -> bytes:
    return b"t" if value else b"f"


def _int(value: int, _: _Seen) -> bytes:
    return b"i%x;" % value  # hexadecimal: decimal is quadratic and has a limit


def _float(value: float, _: _Seen) -> bytes:
    return b"d" + _pack_float(value) if value == value else _NAN


def _str(value: str, _: _Seen) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"s%d:%s" % (len(data), data)


def _bytes(value: bytes, _: _Seen) -> bytes:
    return b"b%d:%s" % (len(value), value)


def _items(opening: bytes, values: Any, seen: _Seen) -> bytes:
    seen.depth += 1
    if seen.depth > MAX_DEPTH:
        raise Refused(
            f"is nested more than {MAX_DEPTH} levels deep, or contains itself",
            "flatten it, or nest Furu objects, which may be as deep as you like",
        )
    find = _ENCODERS.get
    parts = [(find(type(v)) or _find_encoder(type(v)))(v, seen) for v in values]
    seen.depth -= 1
    return b"%s%d:%s" % (opening, len(parts), b"".join(parts))


def _tuple(value: tuple[Any, ...], seen: _Seen) -> bytes:
    return _items(b"(", value, seen)


def _list(value: list[Any], seen: _Seen) -> bytes:
    seen.mutable = True
    return _items(b"[", value, seen)


def _unordered(opening: bytes, values: Any, seen: _Seen) -> bytes:
    parts = sorted(_items(b"", (v,), seen) for v in values)
    return b"%s%d:%s" % (opening, len(parts), b"".join(parts))


def _frozenset(value: frozenset[Any], seen: _Seen) -> bytes:
    return _unordered(b"{", value, seen)


def _set(value: set[Any], seen: _Seen) -> bytes:
    seen.mutable = True
    return _unordered(b"}", value, seen)


def _pairs(opening: bytes, value: dict[Any, Any], seen: _Seen) -> bytes:
    parts = sorted(_items(b"", pair, seen) for pair in value.items())
    return b"%s%d:%s" % (opening, len(parts), b"".join(parts))


def _dict(value: dict[Any, Any], seen: _Seen) -> bytes:
    seen.mutable = True
    return _pairs(b"<", value, seen)


def _furu(value: Any, seen: _Seen) -> bytes:
    seen.nested.append(value)
    found = value.__dict__.get("_furu_hash")
    if found is None:
        seen.pending.append(value)
        return b""
    return b"@%s" % found.encode()


_ENCODERS: dict[type, Encoder] = {
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
_NOTHING_SEEN = _Seen()


def _find_encoder(t: type) -> Encoder:
    encoder = _furu if hasattr(t, "__furu_class__") else _kind_encoder(t)
    _ENCODERS[t] = encoder
    return encoder


def _kind_encoder(t: type) -> Encoder:
    kind = kind_of(t)
    head = b"k" + _str(kind.tag, _NOTHING_SEEN)
    if kind.cls is not None:
        head += _str(name_of(kind.cls).identity, _NOTHING_SEEN)
    apart, mutable = kind.hashed or kind.apart, kind.mutable
    of_script = kind.cls is not None and is_of_script(kind.cls)

    def encoder(value: Any, seen: _Seen) -> bytes:
        if mutable:
            seen.mutable = True
        if of_script or (isinstance(value, type) and is_of_script(value)):
            seen.of_script = True
        payload = apart(value)
        if type(payload) is list:
            return _items(head + b"[", payload, seen)
        if type(payload) is dict:
            return _pairs(head + b"<", payload, seen)
        return head + _encode(payload, seen)

    return encoder


# ---- what to say about a refused value ----


def _explain(obj: Any, refused: Refused) -> FuruValueError:
    for field in config_class(obj).fields:
        value = obj.__dict__[field.name]
        reason = _refusal(value)
        if reason is not None:
            place, reason = _locate(f"{type(obj).__name__}.{field.name}", value, reason)
            return FuruValueError(f"{place} {reason.reason}", hint=reason.hint)
    return FuruValueError(f"{type(obj).__name__} {refused.reason}", hint=refused.hint)


def _refusal(value: Any) -> Refused | None:
    try:
        _encode(value, _Seen())
    except Refused as refused:
        return refused
    return None


def _locate(place: str, value: Any, reason: Refused) -> tuple[str, Refused]:
    """Walk into the value as long as a part of it is refused by itself."""
    for _ in range(MAX_DEPTH):
        for step, part in _parts(value):
            inner = _refusal(part)
            if inner is not None:
                place, value, reason = place + step, part, inner
                break
        else:
            break
    return (place if len(place) < 200 else place[:200] + "..."), reason


def _parts(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, (list, tuple)):
        return [(f"[{i}]", part) for i, part in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return [("{...}", part) for part in value]
    if isinstance(value, dict):
        keys = [(f" key {key!r}"[:80], key) for key in value]
        return [*keys, *((f"[{key!r}]"[:80], part) for key, part in value.items())]
    try:
        payload = kind_of(type(value)).apart(value)
    except Refused:
        return []
    if isinstance(payload, dict):
        return [(f".{name}", part) for name, part in payload.items()]
    return []
