"""Records: attrs objects stored as JSON in files of their own, with the version of their format.

A format is declared once beside its class, and all reading and writing of the file goes through it::

    NOTE = RecordFormat(Note, "the note of a worker", version=1)
    NOTE.replace(path, Note(...))
    NOTE.read(path)

A damaged file (`FuruDamagedRecord`) is distinguished from one of a format that this furu does not
read (`FuruFormatError`).
"""

from __future__ import annotations

import json
import os
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cache
from pathlib import PurePath
from typing import Any, Final, Generic, NoReturn, TypeAlias, TypeVar

import attrs

from furu_core._files import (
    create_file,
    once_visible,
    read_file,
    replace_file,
    store_error,
    store_errors,
)
from furu_core.errors import FuruDamagedRecord, FuruFormatError

R = TypeVar("R")
Raw: TypeAlias = "dict[str, Any]"

# For the `metadata` of a field with an empty default: the field is not written while it is empty.
OMIT_EMPTY: Final = {"furu omit empty": True}
_DEEP: Final = (
    100  # brackets around brackets that no record has, but one that the parser cannot read
)
# A text, of which no bracket counts, or a bracket.
_NESTING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]', re.DOTALL)
# What `json.loads` and `json.dumps` would make, or look for, anew at each call.
_parsed: Final = json.JSONDecoder().decode
_compact: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@attrs.frozen(eq=False)
class RecordFormat(Generic[R]):
    """The file format of the records of one class.

    Fields may be strings, numbers, booleans, None, paths, enums, attrs objects with such fields,
    and tuples, lists and mappings from strings to them. Values that are read have the types in the
    class. Unknown keys are ignored, so that one version may grow by fields that have defaults.

    Attributes:
        cls: the class.
        name: what the record is, for errors, such as ``"the record of an attempt"``.
        version: the version that is written.
        upgrades: functions that turn JSON of an older version into that of the next one, by the
            older version's number. Versions older than those are not read.
        next_step: the hint in the error for a damaged record.
        next_step_other_version: the hint in the error for a version that is not read.
        key: the key of the version.
        dumps: writes JSON; given where the bytes must stay as an earlier furu wrote them.

    Example:
        >>> import attrs
        >>> from furu_core.executors import RecordFormat
        >>> @attrs.frozen
        ... class Note:
        ...     host: str
        ...     tries: int = 0
        >>> NOTE = RecordFormat(Note, "a note", version=1)
        >>> NOTE.to_bytes(Note("here"))
        b'{"version":1,"host":"here","tries":0}'
        >>> NOTE.from_bytes(b'{"version":1,"host":"there"}', "note.json")
        Note(host='there', tries=0)
    """

    cls: type[R]
    name: str
    version: int = attrs.field(kw_only=True)
    upgrades: Mapping[int, Callable[[Raw], Raw]] = attrs.field(factory=dict, kw_only=True)
    next_step: str = attrs.field(default="was it changed? Run the same command again", kw_only=True)
    next_step_other_version: str = attrs.field(
        default="use the furu that wrote it, or a newer one", kw_only=True
    )
    key: str = attrs.field(default="version", kw_only=True)
    dumps: Callable[[Raw], str] = attrs.field(default=_compact, kw_only=True, repr=False)

    def to_json(self, record: R) -> Raw:
        """A record as JSON, without its version."""
        return to_json(record)

    def from_json(self, raw: Any) -> R:
        """The record that `to_json` described.

        Raises:
            ValueError: the JSON does not fit the class.
        """
        return from_json(self.cls, raw)

    def to_bytes(self, record: R) -> bytes:
        """The contents of a record's file."""
        text = self.dumps({self.key: self.version, **self.to_json(record)})
        # Lone surrogates, such as the odd bytes of a file's name, have no UTF-8; JSON reads escapes.
        return text.encode("utf-8", "backslashreplace")

    def from_bytes(self, data: bytes, path: str | os.PathLike[str]) -> R:
        """The record that `to_bytes` wrote.

        Args:
            data: the contents of the file.
            path: the file, for errors.

        Raises:
            FuruDamagedRecord: the bytes are no record.
            FuruFormatError: they have a format that this furu does not read.
        """
        try:
            raw = _parsed(data.decode())
            found = raw.pop(self.key)
            if self.reads(found):
                version = found
                while version < self.version:
                    raw = self.upgrades[version](raw)
                    version += 1
                return self.from_json(raw)
        except Exception as error:
            if isinstance(error, MemoryError | RecursionError) and _depth(data) < _DEEP:
                raise  # the caller's stack is exhausted; the record itself is good
            raise self.damaged(path, f"{type(error).__name__}: {error}") from None
        raise self.other_version(path, found)

    def reads(self, version: object) -> bool:
        """Whether this format reads records of a version.

        Raises:
            ValueError: it is no version number.
        """
        if type(version) is not int:
            raise ValueError(f"{version!r} is no version")
        return version == self.version or (
            version < self.version and version >= min(self.upgrades, default=self.version)
        )

    def damaged(self, path: str | os.PathLike[str], why: str) -> FuruDamagedRecord:
        """The error for a file that is no record of this format."""
        return FuruDamagedRecord(
            f"{os.fspath(path)}, {self.name}, is damaged: {why}",
            path=path,
            reason=why,
            hint=self.next_step,
        )

    def other_version(self, path: str | os.PathLike[str], found: object) -> FuruFormatError:
        """The error for a record of a version that is not read."""
        return format_error(
            path, found, self.version, hint=self.next_step_other_version,
            oldest=min(self.upgrades, default=self.version),
        )  # fmt: skip

    # Records in files

    def read(
        self,
        path: str | os.PathLike[str],
        *,
        wait_secs: float = 0.0,
        reader: Callable[[str | os.PathLike[str]], bytes] = read_file,
    ) -> R:
        """The record in a file.

        Args:
            path: the file.
            wait_secs: seconds to wait until it is visible, as on a network filesystem.
            reader: gives the contents of the file; `read_trusted` for records that say what is run.

        Raises:
            FileNotFoundError: it is not there.
            FuruDamagedRecord, FuruFormatError: as for `from_bytes`.
            FuruStoreError: it cannot be read.
        """
        try:
            data = once_visible(lambda: reader(path), wait_secs)
        except FileNotFoundError:
            raise
        except (IsADirectoryError, NotADirectoryError) as error:
            raise self.damaged(path, f"{error.strerror}") from None
        except OSError as error:
            raise store_error(error, path, doing="read") from error
        return self.from_bytes(data, path)

    def replace(
        self,
        path: str | os.PathLike[str],
        record: R,
        *,
        sync: bool = False,
        mode: int = 0o666,
    ) -> None:
        """Write a record in place of the one that is there, if there is one.

        Args:
            path: the file.
            record: the record.
            sync, mode: see `replace_file`.

        Raises:
            FuruStoreError: it cannot be written.
        """
        with store_errors(path):
            replace_file(path, self.to_bytes(record), sync=sync, mode=mode)

    def create(self, path: str | os.PathLike[str], record: R, *, sync: bool = False) -> bool:
        """Write a record unless one is there; of several processes that do so, one succeeds.

        Args:
            path: the file.
            record: the record.
            sync: see `create_file`.

        Returns:
            Whether it was written; False where one is there.

        Raises:
            FuruStoreError: it cannot be written.
        """
        with store_errors(path):
            return create_file(path, self.to_bytes(record), sync=sync)


def to_json(record: Any) -> Raw:
    """An attrs object, with fields that `RecordFormat` allows, as JSON."""
    cls: Any = type(record)
    made: Raw = _form_of(cls).written(record)
    return made


def from_json(cls: type[R], raw: Any) -> R:
    """The object of a class that `to_json` described.

    Raises:
        ValueError: the JSON does not fit the class.
    """
    kind: Any = cls
    made: R = _form_of(kind).read(raw)
    return made


def format_error(
    path: str | os.PathLike[str], found: object, known: int, *, hint: str, oldest: int = 1
) -> FuruFormatError:
    """The error for a file of a format that this furu does not read.

    Args:
        path: the file.
        found: the version that it has.
        known: the newest version that is read.
        hint: the next step.
        oldest: the oldest version that is read.
    """
    reads = f"up to {known}" if oldest <= 1 else f"{oldest} to {known}" if oldest < known else known
    return FuruFormatError(
        f"{os.fspath(path)} has format version {found}, this furu reads {reads}",
        path=path,
        found=found,
        known=known,
        hint=hint,
    )


def _depth(data: bytes) -> int:
    """The greatest number of nested brackets in a JSON text."""
    depth = deepest = 0
    for found in _NESTING.finditer(data):
        if found[0] in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif found[0] in b"]}":
            depth -= 1
    return deepest


# Conversion of values to JSON and back, compiled once per type. cattrs does the same and more, but
# its import takes longer than all that a scheduler's job does before its node starts.


@attrs.frozen
class _Form:
    """How values of one type are written and read.

    Attributes:
        write: turns a value into JSON; None where it is JSON already.
        read: turns JSON into the value, or raises `_Unfit`.
        exact: JSON values of this type are taken as they are, without calling `read`.
    """

    write: Callable[[Any], Any] | None
    read: Callable[[Any], Any]
    exact: type | None = None

    def written(self, value: Any) -> Any:
        return value if self.write is None else self.write(value)


class _Unfit(ValueError):
    """JSON that is no value of the type."""


@cache
def _form_of(kind: Any) -> _Form:
    if kind is Any:
        return _Form(None, lambda raw: raw)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return _Form(None, lambda raw: raw if raw in arguments else _unfit(raw, kind))
    if origin in (typing.Union, types.UnionType):
        return _union(arguments)
    if origin is tuple:
        return _tuple(arguments)
    if origin is list:
        return _list(_form_of(arguments[0]))
    if origin in (dict, Mapping) and arguments[0] is str:
        return _mapping(_form_of(arguments[1]), is_dict=origin is dict)
    if isinstance(kind, type):
        if attrs.has(kind):
            return _attrs(kind)
        if issubclass(kind, Enum):
            members = {member.value: member for member in kind}
            return _Form(
                lambda member: member.value,
                lambda raw: members[raw] if _is_in(raw, members) else _unfit(raw, kind),
            )
        if issubclass(kind, PurePath):
            return _Form(str, lambda raw: kind(raw) if type(raw) is str else _unfit(raw, kind))
        if kind is float:  # JSON may write a float as a whole number
            return _Form(
                None,
                lambda raw: float(raw) if type(raw) in (float, int) else _unfit(raw, kind),
                kind,
            )
        if kind in (str, int, bool, types.NoneType):
            return _Form(None, lambda raw: raw if type(raw) is kind else _unfit(raw, kind), kind)
    raise TypeError(f"a record cannot have a field of {kind}")


def _unfit(raw: Any, kind: Any) -> NoReturn:
    raise _Unfit(f"{raw!r:.60} is no {getattr(kind, '__name__', kind)}")


def _is_in(raw: Any, values: Mapping[Any, Any]) -> bool:
    return isinstance(raw, str | int) and raw in values


def _union(kinds: Sequence[Any]) -> _Form:
    forms = [_form_of(kind) for kind in kinds if kind is not types.NoneType]
    optional = len(forms) < len(kinds)
    if len(forms) > 1 and any(form.write is not None for form in forms):
        raise TypeError(f"a record cannot have a field of {kinds}: JSON does not tell them apart")
    write, others, read_last = forms[0].write, forms[:-1], forms[-1].read

    def read(raw: Any) -> Any:
        if raw is None and optional:
            return None
        for form in others:
            try:
                return form.read(raw)
            except _Unfit:
                pass
        return read_last(raw)

    if write is None:
        return _Form(None, read)
    return _Form(lambda value: None if value is None else write(value), read)


def _tuple(kinds: tuple[Any, ...]) -> _Form:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        items = _list(_form_of(kinds[0]))
        return _Form(items.write, lambda raw: tuple(items.read(raw)))
    forms = [_form_of(kind) for kind in kinds]

    def read(raw: Any) -> Any:
        if type(raw) not in (list, tuple) or len(raw) != len(forms):
            _unfit(raw, f"list of {len(forms)}")
        return tuple([form.read(item) for form, item in zip(forms, raw, strict=True)])

    if all(form.write is None for form in forms):
        return _Form(None, read)
    return _Form(
        lambda value: [form.written(item) for form, item in zip(forms, value, strict=True)], read
    )


def _list(item: _Form) -> _Form:
    write, read = item.write, item.read

    def read_all(raw: Any) -> Any:
        return [read(one) for one in raw] if type(raw) in (list, tuple) else _unfit(raw, "list")

    return _Form(write and (lambda values: [write(one) for one in values]), read_all)


def _mapping(value: _Form, *, is_dict: bool) -> _Form:
    write, read, exact = value.written, value.read, frozenset({value.exact})

    def read_all(raw: Any) -> Any:
        if type(raw) is not dict:
            _unfit(raw, "object")
        if exact.issuperset(map(type, raw.values())):
            return raw
        return {name: read(one) for name, one in raw.items()}

    if is_dict and value.write is None:  # JSON's encoder knows no other mappings than dicts
        return _Form(None, read_all)
    return _Form(lambda values: {name: write(one) for name, one in values.items()}, read_all)


def _attrs(cls: type[Any]) -> _Form:
    kinds = typing.get_type_hints(cls)
    fields = [field for field in attrs.fields(cls) if field.init]
    names = [field.name for field in fields]
    forms = {name: _form_of(kinds[name]) for name in names}
    writers = [(name, form.write) for name, form in forms.items() if form.write is not None]
    readers = [
        (
            field.name,
            field.alias,
            forms[field.name].exact,
            forms[field.name].read,
            field.default is attrs.NOTHING,
        )
        for field in fields
    ]
    sparse = [field for field in fields if field.metadata.get("furu omit empty")]

    def write(record: Any) -> Any:
        raw = {name: getattr(record, name) for name in names}
        for field in sparse:
            if not raw[field.name]:
                del raw[field.name]
        for name, convert in writers:
            if name in raw:
                raw[name] = convert(raw[name])
        return raw

    def read(raw: Any) -> Any:
        if type(raw) is not dict:
            _unfit(raw, "object")
        values = {}
        for name, alias, exact, convert, required in readers:
            if name in raw:
                value = raw[name]
                if type(value) is not exact:
                    try:
                        value = convert(value)
                    except _Unfit as error:
                        raise _Unfit(f"{name}: {error}") from None
                values[alias] = value
            elif required:
                raise _Unfit(f"{name} is missing")
        return cls(**values)

    return _Form(write, read)
