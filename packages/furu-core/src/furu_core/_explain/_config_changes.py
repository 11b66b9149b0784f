"""How two configs differ, leaf by leaf, as their records have them; no class is imported for it.

A config here is its class's name and its fields as tagged JSON, in which a nested config is a reference:
``{"$ref": hash, "class": name}``. Where both hold a nested config that differs, the two are a pair to be
compared in turn, so that what many configs nest is compared once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, Final, Protocol

import attrs

from furu_core._config._objects import short_name_of

ABSENT_TEXT: Final = "absent"  # the text of a value that is not there
_LONG: Final = 80  # characters of a value's text
_PATHS: Final = {"path": "PosixPath", "purepath": "PurePosixPath", "windowspath": "PureWindowsPath"}
_OF_CLASS: Final = frozenset(
    {"enum", "flag", "dataclass", "attrs", "namedtuple", "subclass", "class"}
)
_MISSING: Final = object()


@attrs.frozen
class RecordedConfig:
    """A config as a record has it.

    Attributes:
        class_name: the name of its class in hashes.
        fields: its fields, as tagged JSON.
        unhashed: of these, as far as that is known, those that are no part of the hash.
        omitted: those that are left out of the hash, because they have their default.
    """

    class_name: str
    fields: Mapping[str, Any]
    unhashed: frozenset[str] = frozenset()
    omitted: frozenset[str] = frozenset()


@attrs.frozen
class ConfigReference:
    """A nested config, by its hash and the name of its class."""

    hash: str
    class_name: str

    @property
    def name(self) -> str:
        """The short name, such as ``Split(3fa9c1)``."""
        return short_name_of(self.class_name.rpartition(":")[2], self.hash)


@attrs.frozen
class FieldChange:
    """A leaf in which two configs differ.

    Attributes:
        path: dotted names, relative to the config: ``lr``, ``models[7]``.
        before: the value in the first config, in Python's words; `ABSENT_TEXT` where it has none.
        after: the value in the second one.
        type_differs: whether both have a value, and these are of different types.
        added: the configs in the second one's value that the first one lacks there.
    """

    path: str
    before: str
    after: str
    type_differs: bool = False
    added: tuple[ConfigReference, ...] = ()


@attrs.frozen
class ConfigPair:
    """Two nested configs in the same place, which differ.

    Attributes:
        path: where, relative to the config around them.
        before: that of the first config.
        after: that of the second one.
    """

    path: str
    before: ConfigReference
    after: ConfigReference


class ConfigFinder(Protocol):
    """Knows configs and classes beside the two that are compared."""

    def find(self, reference: ConfigReference) -> RecordedConfig | None:
        """The config of a reference; None where it is not known."""

    def is_gone(self, class_name: str) -> bool:
        """Whether no module has a class of this name any more."""


def changes(
    before: RecordedConfig,
    after: RecordedConfig,
    configs: ConfigFinder,
) -> Iterator[FieldChange | ConfigPair]:
    """How two configs differ in their own fields; nested ones that differ are pairs.

    Args:
        before: the first config.
        after: the second one.
        configs: finds nested configs, for the text of those that only one of the two has.
    """
    comparison = _FieldComparison(configs)
    for name in dict.fromkeys([*before.fields, *after.fields]):
        if name in before.unhashed | after.unhashed:
            continue
        if name in (before.omitted - after.fields.keys()) | (after.omitted - before.fields.keys()):
            continue  # what lacks the field has its default
        yield from comparison.compare(
            before.fields.get(name, _MISSING), after.fields.get(name, _MISSING), name
        )


@attrs.frozen
class _FieldComparison:
    configs: ConfigFinder

    def compare(self, before: Any, after: Any, path: str) -> Iterator[FieldChange | ConfigPair]:
        if is_same(before, after):
            return
        first, second = reference_of(before), reference_of(after)
        if first is not None and second is not None:
            if self._are_alike(first, second):
                yield ConfigPair(path, first, second)
            else:
                yield self._change(before, after, path)
            return
        pairs = self._parts_of(before, after) if kind_of(before) == kind_of(after) else None
        if pairs is None:
            yield self._change(before, after, path)
            return
        for name, old, new in pairs:
            yield from self.compare(old, new, f"{path}{name}")

    def _parts_of(self, before: Any, after: Any) -> list[tuple[str, Any, Any]] | None:
        """The parts of two values of one type, by their names; None for values that are compared whole."""
        old, new = _items(before), _items(after)
        if old is not None and new is not None:
            if not _holds_config(old) and not _holds_config(new):
                return None
            return [(f"[{index}]", *pair) for index, *pair in _aligned(old, new)]
        one, other = _parts(before), _parts(after)
        if not one or not other:
            return None
        names = dict.fromkeys([*one, *other])
        return [(f".{name}", one.get(name, _MISSING), other.get(name, _MISSING)) for name in names]

    def _change(self, before: Any, after: Any, path: str) -> FieldChange:
        known = before is not _MISSING and after is not _MISSING
        differs = known and None not in (before, after) and kind_of(before) != kind_of(after)
        texts = (value_text(before, self.configs.find), value_text(after, self.configs.find))
        return FieldChange(path, *texts, differs, tuple(references_in(after)))

    def _are_alike(self, first: ConfigReference, second: ConfigReference) -> bool:
        """Whether two configs are of one class, or of classes with the same fields."""
        if first.class_name == second.class_name:
            return True
        one, other = self.configs.find(first), self.configs.find(second)
        return one is not None and other is not None and are_of_one_shape(one, other, self.configs)


def are_of_one_shape(before: RecordedConfig, after: RecordedConfig, configs: ConfigFinder) -> bool:
    """Whether configs of two classes look like those of one: moved to another module, or renamed and gone."""
    if before.fields.keys() != after.fields.keys():
        return False
    if before.class_name.rpartition(":")[2] == after.class_name.rpartition(":")[2]:
        return True
    return bool(before.fields) and configs.is_gone(before.class_name)


def is_same(before: Any, after: Any) -> bool:
    """Whether two values are equal, types included: 1, 1.0 and true are not."""
    if type(before) is not type(after):
        return False
    if isinstance(before, dict):
        return before.keys() == after.keys() and all(
            is_same(value, after[key]) for key, value in before.items()
        )
    if isinstance(before, list):
        return len(before) == len(after) and all(map(is_same, before, after))
    return before is after or bool(before == after)


def reference_of(value: Any) -> ConfigReference | None:
    """The nested config that a value is, if it is one."""
    if isinstance(value, dict) and isinstance(value.get("$ref"), str):
        return ConfigReference(value["$ref"], str(value.get("class", "")))
    return None


def references_in(value: Any) -> Iterator[ConfigReference]:
    """The nested configs in a value, those within these not included."""
    found = reference_of(value)
    if found is not None:
        yield found
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from references_in(item)


def _holds_config(value: Any) -> bool:
    return next(references_in(value), None) is not None


def _tag_of(value: Any) -> tuple[str, Any] | None:
    """The tag and the payload of a tagged value; None for plain ones."""
    if isinstance(value, dict) and len(value) == 1:
        ((tag, payload),) = value.items()
        if tag.startswith("$") and tag != "$ref":
            return tag[1:], payload
    return None


def kind_of(value: Any) -> str:
    """The type of a value, in words."""
    tagged = _tag_of(value)
    if tagged is None:
        found = reference_of(value)
        return type(value).__name__ if found is None else found.class_name
    tag, payload = tagged
    if tag in _OF_CLASS and isinstance(payload, list) and len(payload) == 2:
        return str(payload[0])
    return tag


def _items(value: Any) -> list[Any] | None:
    """The items of a list or tuple."""
    if isinstance(value, list):
        return value
    tagged = _tag_of(value)
    if tagged is not None and tagged[0] == "tuple" and isinstance(tagged[1], list):
        return tagged[1]
    return None


def _parts(value: Any) -> dict[str, Any]:
    """The items of a dict, or the fields of an object, by their names."""
    tagged = _tag_of(value)
    if tagged is None:
        return value if isinstance(value, dict) and "$ref" not in value else {}
    tag, payload = tagged
    if tag in _OF_CLASS and isinstance(payload, list) and len(payload) == 2:
        return payload[1] if isinstance(payload[1], dict) else {}
    if tag == "dict" and isinstance(payload, list):
        return {value_text(key): item for key, item in payload}
    return {}


def _aligned(before: Sequence[Any], after: Sequence[Any]) -> Iterator[tuple[int, Any, Any]]:
    """The items of two lists in pairs, with their places in the second; equal ones belong together."""
    if len(before) == len(after):
        yield from ((index, *pair) for index, pair in enumerate(zip(before, after, strict=True)))
        return
    first, second = ([json.dumps(item, sort_keys=True) for item in one] for one in (before, after))
    for what, i, i_end, j, j_end in SequenceMatcher(None, first, second, False).get_opcodes():
        if what == "equal":
            continue
        for place in range(max(i_end - i, j_end - j)):
            old = before[i + place] if i + place < i_end else _MISSING
            new = after[j + place] if j + place < j_end else _MISSING
            yield (j if new is not _MISSING else i) + place, old, new


def value_text(
    value: Any, find: Callable[[ConfigReference], RecordedConfig | None] | None = None
) -> str:
    """A value of tagged JSON in Python's words, shortened.

    Args:
        value: the value.
        find: finds nested configs, whose fields are then told as well.

    Example:
        >>> value_text({"$path": "a"}), value_text({"$tuple": [1, None]}), value_text(0.1)
        ("PosixPath('a')", '(1, None)', '0.1')
    """
    text = ABSENT_TEXT if value is _MISSING else _text(value, find, 0)
    return text if len(text) <= _LONG else f"{text[: _LONG - 3]}..."


def _text(
    value: Any, find: Callable[[ConfigReference], RecordedConfig | None] | None, depth: int
) -> str:
    if depth > 20:
        return "..."
    if isinstance(value, list):
        return f"[{', '.join(_text(item, find, depth + 1) for item in value)}]"
    if not isinstance(value, dict):
        return repr(value)
    reference = reference_of(value)
    if reference is not None:
        found = None if find is None or depth else find(reference)
        if found is None:
            return reference.name
        return _call(reference.class_name, found.fields, None, depth)
    tagged = _tag_of(value)
    if tagged is None:
        inner = (f"{key!r}: {_text(item, find, depth + 1)}" for key, item in value.items())
        return f"{{{', '.join(inner)}}}"
    return _tagged_text(*tagged, find, depth)


def _tagged_text(
    tag: str,
    payload: Any,
    find: Callable[[ConfigReference], RecordedConfig | None] | None,
    depth: int,
) -> str:
    if tag in _OF_CLASS and isinstance(payload, list) and len(payload) == 2:
        name = str(payload[0])
        if isinstance(payload[1], dict):
            return _call(name, payload[1], find, depth)
        short = _short(name)
        if tag == "enum":
            return f"{short}.{payload[1]}"
        return f"{short}({_text(payload[1], find, depth + 1)})"
    if tag in ("tuple", "set", "frozenset") and isinstance(payload, list):
        items = ", ".join(_text(item, find, depth + 1) for item in payload)
        if tag == "tuple":
            return f"({items},)" if len(payload) == 1 else f"({items})"
        return f"{{{items}}}" if tag == "set" else f"frozenset({{{items}}})"
    if tag == "float":
        return str(payload)
    if tag == "dict" and isinstance(payload, list):
        pairs = (f"{_text(k, find, depth + 1)}: {_text(v, find, depth + 1)}" for k, v in payload)
        return f"{{{', '.join(pairs)}}}"
    return f"{_PATHS.get(tag, tag)}({_text(payload, find, depth + 1)})"


def _call(
    name: str,
    fields: Mapping[str, Any],
    find: Callable[[ConfigReference], RecordedConfig | None] | None,
    depth: int,
) -> str:
    inner = (f"{key}={_text(value, find, depth + 1)}" for key, value in fields.items())
    return f"{_short(name)}({', '.join(inner)})"


def _short(reference: str) -> str:
    """The name of a class without its module, and without the name to import it by."""
    return reference.partition("@")[0].rpartition(":")[2]
