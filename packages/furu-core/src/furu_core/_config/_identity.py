"""The hash of a config object, and what hashing finds on the way, such as its nested objects.

A hash is BLAKE2b of the object's canonical bytes: its class's name and its fields, each value
tagged with its type and prefixed with its length, nested objects by their hashes. So equal configs
have equal hashes, and different configs different ones.

What is found is cached in the object's ``__dict__`` under names that begin with ``_furu_``. Calls
within calls hash a few levels of nested objects; a chain of 10,000 is walked with a list.
"""

from __future__ import annotations

from functools import partial
from operator import is_
from typing import Any

from furu_core._config._class_record import Rule
from furu_core._config._encoding import (
    ENCODERS,
    MUTABLE,
    MUTABLE_BELOW,
    OMITTED,
    PACKED,
    SETTABLE,
    VARIANT,
    OmittedField,
    Seen,
    encode,
    encode_nested,
    encode_value,
    omitted_default,
)
from furu_core._config._objects import config_class
from furu_core._config._refused import MAX_DEPTH, Refused
from furu_core._files import blake2b
from furu_core._text import shown
from furu_core.errors import FuruValueError


def furu_hash(obj: Any) -> str:
    """The hash of a Furu object: 32 hexadecimal digits.

    Raises:
        FuruValueError: a field holds a value that has no stable hash; says which and what to do.
        FuruImportNameError: the class has no name that is valid in other processes.
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
    seen = Seen()
    encode(obj, seen)
    return seen.nested


def variant(obj: Any) -> str:
    """A text that tells apart objects of one hash by their excluded fields; empty without such."""
    if "_furu_hash" not in obj.__dict__:
        _hash_all(obj)
    found: str = obj.__dict__.get("_furu_variant", "")
    return found


def is_packed(obj: Any) -> bool:
    """Whether pickle would lose something of the values in a hashed object's own fields."""
    return bool(_traits(obj) & PACKED)


def _traits(obj: Any) -> int:
    found: int = obj.__dict__.get("_furu_traits", 0)
    return found


def omitted_defaults(obj: Any) -> dict[str, tuple[str, str]]:
    """The defaults of fields that are left out of the hash because they equal them.

    Those of the object and of all objects nested in it.

    Returns:
        By ``"<class>.<field>"``: a digest of the default, and the default as text to be read.
    """
    known = obj.__dict__
    if "_furu_hash" not in known:
        _hash_all(obj)
    fields: frozenset[OmittedField] | None = known.get("_furu_omitted")
    if fields is None:
        return {}
    found = _told.get(fields)
    if found is None:
        found = _told[fields] = {
            f"{cls.identity_name}.{field.key}": _tell(*omitted_default(cls, field))
            for cls, field in sorted(fields, key=lambda pair: (pair[0].identity_name, pair[1].key))
        }
    return found


_told: dict[frozenset[OmittedField], dict[str, tuple[str, str]]] = {}
_TOLD_CHARACTERS = 80


def _tell(value: Any, data: bytes) -> tuple[str, str]:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - whatever the value's own code raises; the digest tells it too
        text = f"a {type(value).__name__}"
    if len(text) > _TOLD_CHARACTERS:
        text = f"{text[: _TOLD_CHARACTERS - 3]}..."
    return blake2b(data, digest_size=8).hexdigest(), text


def are_same(first: Any, second: Any) -> bool:
    """Whether two values of a field are hashed alike; False if either cannot be hashed."""
    try:
        return _digest_of(first) == _digest_of(second)
    except (FuruValueError, Refused):
        return False


def _digest_of(value: Any) -> bytes:
    while True:
        seen = Seen()
        data = encode_value(value, seen)
        if not seen.pending:
            return data
        for child in seen.pending:
            _hash_all(child)


def watched(obj: Any) -> list[Any]:
    """The objects in which `changed_since_hashing` looks for mutations: this one, and nested ones.

    They are the object, the objects in its fields, and `_FURTHER` objects below those, since
    ``object.__setattr__`` can change any. Deeper objects are among them only if they hold a mutable
    value (a list, a dict, an array): each is watched when a node that holds it is computed.
    """
    holds_mutable = _traits(obj) & (MUTABLE | MUTABLE_BELOW)
    found: list[Any] = []
    level, depth, further = [obj], 0, _FURTHER
    seen = {id(obj)}
    while level:
        deep: list[Any] = []
        if depth > 1:
            if not further and not holds_mutable:
                break
            deep = [each for each in level[further:] if _traits(each) & (MUTABLE | MUTABLE_BELOW)]
            level = level[:further]
            further -= len(level)
        found += level
        found += [each for each in deep if _traits(each) & MUTABLE]
        below = {
            id(child): child
            for each in (*level, *deep)
            for child in each.__dict__.get("_furu_nested", ())
        }
        for place in seen & below.keys():
            del below[place]
        seen |= below.keys()
        level, depth = list(below.values()), depth + 1
    return found


_FURTHER = 100  # a limit, so that not each node of a chain of 10,000 checks all others


def changed_since_hashing(objects: list[Any]) -> Any | None:
    """The first of these objects that was mutated after it was hashed."""
    for obj in objects:
        known = obj.__dict__
        values = known.get("_furu_values")
        # Values that cannot change are not encoded again where the very same ones are still there.
        if values is None or not all(map(is_, values, known.values())):
            was = known.get("_furu_hash")
            if was is not None and _digest_now(obj) != was:
                return obj
    return None


def _digest_now(obj: Any) -> str | None:
    try:
        while True:
            seen = Seen()
            data = encode(obj, seen)
            if not seen.pending:
                return blake2b(data, digest_size=16).hexdigest()
            for child in seen.pending:
                _hash_all(child)
    except (FuruValueError, Refused):
        return None  # it now holds a value that cannot be hashed, so it was changed


def _hash_all(root: Any) -> None:
    """Hash an object and all objects nested in it, innermost first."""
    try:
        _hash_with_nested(_LEVELS, root)
    except (_TooDeep, RecursionError):  # the levels may not fit on the caller's stack
        _hash_deep(root)


_LEVELS = 30  # of calls within calls, which are quicker than a list; few configs nest deeper


class _TooDeep(Exception):
    """An object nests deeper than `_LEVELS`."""


def _hash_with_nested(levels: int, obj: Any) -> str:
    seen = Seen(_HASH_NESTED[levels])
    try:
        data = encode(obj, seen)
    except Refused as refused:
        raise _explain(obj, refused) from None
    if seen.pending:
        raise _TooDeep  # at once: what is shared below would be tried once for each way to it
    return _keep_hash(obj, seen, data)


_HASH_NESTED = [None, *(partial(_hash_with_nested, levels) for levels in range(_LEVELS))]


def _hash_deep(root: Any) -> None:
    """Hash an object and those nested in it with a list of those that are begun, however deep."""
    stack = [root]
    open_: set[int] = set()
    while stack:
        obj = stack[-1]
        if "_furu_hash" in obj.__dict__:
            stack.pop()
            continue
        pending = [] if id(obj) in open_ else _obviously_pending(obj)
        if not pending:
            seen = Seen()
            try:
                data = encode(obj, seen)
            except Refused as refused:
                raise _explain(obj, refused) from None
            pending = seen.pending
        if pending:
            open_.add(id(obj))
            for child in pending:
                if id(child) in open_:
                    raise FuruValueError(
                        f"{type(child).__name__} contains itself, through a list or dict in a field",
                        hint="config objects nest, they do not loop",
                    )
            stack.extend(reversed(pending))
            continue
        stack.pop()
        open_.discard(id(obj))
        _keep_hash(obj, seen, data)


def _keep_hash(obj: Any, seen: Seen, data: bytes) -> str:
    known = obj.__dict__
    traits = seen.traits
    if not traits & (MUTABLE | SETTABLE):
        known["_furu_values"] = tuple(known.values())  # for `changed_since_hashing`
    if traits or seen.nested:
        _remember(obj, seen)
    digest = _no_data.copy()  # quicker than making one, which reads fourteen options
    digest.update(data)
    found = known["_furu_hash"] = digest.hexdigest()
    return found


_no_data = blake2b(digest_size=16)


def _obviously_pending(obj: Any) -> list[Any]:
    """Nested objects without a hash, as far as a quick look shows; saves encoding `obj` twice."""
    found = []
    # A copy: another thread that hashes the same object may add to its __dict__ meanwhile.
    for value in list(obj.__dict__.values()):
        t = type(value)
        if t is tuple or t is list:
            for item in value:
                if ENCODERS.get(type(item)) is encode_nested and "_furu_hash" not in item.__dict__:
                    found.append(item)  # noqa: PERF401 - this is where the time goes
        elif ENCODERS.get(t) is encode_nested and "_furu_hash" not in value.__dict__:
            found.append(value)
    return found


def _remember(obj: Any, seen: Seen) -> None:
    known = obj.__dict__
    traits = seen.traits
    children = seen.nested
    if children:
        distinct = len(children) == 1 or len(set(map(id, children))) == len(children)
        known["_furu_nested"] = tuple(
            children if distinct else {id(child): child for child in children}.values()
        )
        for child in children:
            if below := child.__dict__.get("_furu_traits", 0):
                traits |= below & (VARIANT | OMITTED)
                if below & (MUTABLE | MUTABLE_BELOW):
                    traits |= MUTABLE_BELOW
    if not traits:
        return
    if traits & OMITTED:
        known["_furu_omitted"] = _omitted_below(seen)
    if traits & VARIANT:
        known["_furu_variant"] = _variant_of(obj, children)
    known["_furu_traits"] = traits


def _omitted_below(seen: Seen) -> frozenset[OmittedField]:
    # Objects that omit the same fields share one set, or a chain would need quadratic memory.
    omitted = {frozenset(seen.omitted)} if seen.omitted else set()
    for child in seen.nested:
        if "_furu_omitted" in child.__dict__:
            omitted.add(child.__dict__["_furu_omitted"])
    fields = omitted.pop() if len(omitted) == 1 else frozenset().union(*omitted)
    return _omitted_sets.setdefault(fields, fields)


_omitted_sets: dict[frozenset[OmittedField], frozenset[OmittedField]] = {}


def _variant_of(obj: Any, children: list[Any]) -> str:
    seen = Seen()
    parts = [
        encode_value(obj.__dict__[field.name], seen)
        for field in config_class(obj).fields
        if field.rule is Rule.EXCLUDED
    ]
    parts += [encode_value(child.__dict__.get("_furu_variant", ""), seen) for child in children]
    return blake2b(b"".join(parts), digest_size=8).hexdigest()


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
        encode_value(value, Seen())
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
        keys = [(f" key {shown(key)}", key) for key in value]
        return [*keys, *((f"[{shown(key)}]", part) for key, part in value.items())]
    from furu_core._config._value_types import value_type_of  # only to explain what is wrong

    try:
        payload = value_type_of(type(value)).apart(value)
    except Refused:
        return []
    if isinstance(payload, dict):
        return [(f".{name}", part) for name, part in payload.items()]
    return []
