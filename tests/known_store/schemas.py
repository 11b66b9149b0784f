"""What docs/json.md says that commands print with ``--json``, and whether they do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

PAGE: Final = Path(__file__).parents[2] / "docs" / "json.md"
ABSENT: Final = "may be absent"
CLUSTER: Final = "on a cluster"
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "text": (str,),
    "int": (int,),
    "number": (int, float),
    "bool": (bool,),
    "null": (type(None),),
    "list": (list,),
    "object": (dict,),
    "objects": (dict,),
    "any": (object,),
}
_HEADING: Final = re.compile(r"^##+ `(furu [^`]+)`\n", re.MULTILINE)
_ROW: Final = re.compile(r"^\| (`.+`) \| (.+?) \| (.+) \|$", re.MULTILINE)


@attrs.define
class Schema:
    """What may stand in one place of a document.

    Attributes:
        kinds: the types that it may have, in the words of the page.
        of: those of what is in it, where that has no keys.
        like: the form of a command whose document it is.
        marks: whether it may be absent, or is there on a cluster only.
        inner: by key what is in it; ``[]`` is each item, a name in ``<>`` any key.
        has_row: whether the page has a row for it.
    """

    kinds: tuple[str, ...] = ("object", "list")
    of: tuple[str, ...] = ()
    like: str = ""
    marks: tuple[str, ...] = ()
    inner: dict[str, Schema] = attrs.field(factory=dict)
    has_row: bool = False

    def describe(self, text: str) -> None:
        """Take over a type as the page writes it: ``list of text or null, may be absent``."""
        kind, *marks = text.split(", ")
        if marks and marks[0].startswith("as `"):
            self.like = marks.pop(0).removeprefix("as `").removesuffix("`")
        self.marks, self.has_row = tuple(marks), True
        self.kinds, of = (), []
        for one in kind.split(" or "):
            outer, _, inner = one.partition(" of ")
            self.kinds += (outer,)
            of += [inner] if inner else []
        self.of = tuple(of)
        unknown = {*self.kinds, *self.of} - _KINDS.keys() | {*marks} - {ABSENT, CLUSTER}
        assert not unknown, f"docs/json.md: the type {text!r} has {unknown}"


def read() -> dict[str, Schema]:
    """The schemas of the page, by the form of the command."""
    text = PAGE.read_text(encoding="utf-8")
    _, *parts = _HEADING.split(text)
    return {form: schema_of(part) for form, part in zip(parts[::2], parts[1::2], strict=True)}


def schema_of(section: str) -> Schema:
    """What the tables of a section say."""
    top = Schema()
    for keys, kind, _ in _ROW.findall(section):
        for key in re.findall(r"`([^`]+)`", keys):
            place = top
            for part in re.findall(r"\[\]|[^.\[\]]+", key):
                place = place.inner.setdefault(part, Schema())
            place.describe(kind)
    return top


def form_of(args: Sequence[str], forms: Iterator[str] | Sequence[str]) -> str:
    """The form of a command line: the longest with its command whose options are all in it."""

    def fits(form: str) -> bool:
        _, *words = form.split()
        names = [word for word in words if word[0] != "-"]
        return [*args[: len(names)]] == names and {*words} <= {*args}

    return max(filter(fits, forms), key=len, default="")


def faults(
    value: Any, schema: Schema, schemas: dict[str, Schema], where: str = ""
) -> Iterator[str]:
    """In what a document differs from its schema."""
    if schema.like:
        yield from faults(value, schemas[schema.like], schemas, where)
        return
    if not _is_one_of(value, schema.kinds):
        yield f"{where or 'the document'} is {value!r:.80}, no {' or '.join(schema.kinds)}"
        return
    if isinstance(value, list) and ("[]" in schema.inner or schema.of):
        for one in value:
            yield from _faults_inside(one, schema, schema.inner.get("[]"), schemas, f"{where}[]")
    elif isinstance(value, dict) and (schema.inner or schema.of):
        free = next((inner for key, inner in schema.inner.items() if key[0] == "<"), None)
        for key, one in value.items():
            known = schema.inner.get(key, free)
            yield from _faults_inside(one, schema, known, schemas, f"{where}.{key}".lstrip("."))
        for key, inner in schema.inner.items():
            if key not in value and key[0] != "<" and not inner.marks:
                yield f"{where}.{key} is absent".lstrip(".")


def _faults_inside(
    value: Any, outer: Schema, known: Schema | None, schemas: dict[str, Schema], where: str
) -> Iterator[str]:
    if known is not None:
        yield from faults(value, known, schemas, where)
    elif not outer.of:
        yield f"{where} has no row"
    elif not _is_one_of(value, outer.of):
        yield f"{where} is {value!r:.80}, no {' or '.join(outer.of)}"


def _is_one_of(value: Any, kinds: Sequence[str]) -> bool:
    if isinstance(value, bool):
        return not {"bool", "any"}.isdisjoint(kinds)
    return any(isinstance(value, _KINDS[kind]) for kind in kinds)


def seen(value: Any, schema: Schema, schemas: dict[str, Schema], where: str = "") -> Iterator[str]:
    """The places of a schema that a document has."""
    yield where
    if schema.like:
        return
    if isinstance(value, list) and "[]" in schema.inner:
        for one in value:
            yield from seen(one, schema.inner["[]"], schemas, f"{where}[]")
    elif isinstance(value, dict):
        for key, inner in schema.inner.items():
            for one in value.values() if key[0] == "<" else [value[key]] if key in value else []:
                yield from seen(one, inner, schemas, f"{where}.{key}".lstrip("."))


def places(schema: Schema, where: str = "") -> Iterator[str]:
    """The places for which a schema has rows, but for those that only a cluster has."""
    if schema.has_row and CLUSTER not in schema.marks:
        yield where
    if CLUSTER not in schema.marks:
        for key, inner in schema.inner.items():
            yield from places(inner, f"{where}[]" if key == "[]" else f"{where}.{key}".lstrip("."))
