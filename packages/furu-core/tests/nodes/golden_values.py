"""Configs with values of all types that a field may hold; run as a program, it prints their hashes.

`golden/hashes.json` beside this folder has the hashes that they have for good. A value that is here is never
changed. Without NumPy those of it are left out: other interpreters need not have it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import json
import pathlib
import uuid
import zoneinfo
from collections import OrderedDict, namedtuple
from typing import Any, NamedTuple

import attrs

from furu_core import Furu, field


class Color(enum.Enum):
    RED = 1
    CRIMSON = 1  # noqa: PIE796 - an alias


class Level(enum.IntEnum):
    HIGH = 2


class Mode(enum.StrEnum):
    FAST = "fast"


class Perm(enum.Flag):
    READ = 1
    WRITE = 2


class Loosely(enum.IntFlag):
    READ = 1
    ALL = 7


Point = namedtuple("Point", "x y")  # noqa: PYI024 - the other kind is the next


class Named(NamedTuple):
    x: Any
    y: Any = 2


@dataclasses.dataclass(frozen=True)
class Options:
    a: int = 1
    b: Any = None


@attrs.frozen
class Plain:
    x: Any
    y: Any = 0


class Name(str):
    __slots__ = ()


class Count(int):
    pass


class Rate(float):
    pass


class Raw(bytes):
    pass


class Inner(Furu[int]):
    rate: float = 1
    rates: list[float] = field(factory=lambda: [1, 2])
    maybe: float | None = 3


class Fitted(Furu[int]):
    """Its fields convert what they are given, and some are no part of the hash."""

    number: int = 0
    real: float = 0.0
    text: str = ""
    imaginary: complex = 0j
    pair: tuple[int, float] = (0, 0.0)
    names: set[str] = field(factory=set)
    kept: Any = field(default=None, exclude_from_hash=True)
    later: int = field(default=5, omit_default_from_hash=True)


class Outer(Furu[int]):
    inner: Inner
    value: Any = None


def plain() -> dict[str, Any]:
    """Values of Python's own types, and of classes."""
    chain = Outer(inner=Inner())
    for number in range(300):
        chain = Outer(inner=Inner(rate=number % 3), value=[chain, chain])
    return {
        "None": None,
        "True": True,
        "1": 1,
        "big int": -(2**70),
        "huge int": 2**5000,
        "0.1": 0.1,
        "1.0": 1.0,
        "-0.0": -0.0,
        "nan": float("nan"),
        "inf": float("-inf"),
        "1e300": 1e300,
        "smallest float": 5e-324,
        "complex": 1j,
        "complex nan": complex(float("nan"), -0.0),
        "text": "text",
        "odd text": "\ud800\xe9\U0001f600\0",
        "bytes": b"raw",
        "bytearray": bytearray(b"x"),
        "list": [1, [2, (3,)], []],
        "tuple": (1, (2, [3]), ()),
        "dict": {"b": 1, "a": {2, 3}, 1: frozenset({"x", "y", "z"})},
        "dict of tuples": {(str(i), i): i for i in range(20)},
        "OrderedDict": OrderedDict(b=1, a=2),
        "set": {str(i) for i in range(50)},
        "mixed set": {1, "1", 1.5, None, (1,)},
        "frozenset": frozenset({1, 2}),
        "range": range(1, 9, 2),
        "slice": slice(1, None),
        "...": ...,
        "Path": pathlib.Path("a/b"),
        "PurePosixPath": pathlib.PurePosixPath("a"),
        "PureWindowsPath": pathlib.PureWindowsPath("c:\\a\\b"),
        "Decimal": decimal.Decimal("1.10"),
        "Decimal nan": decimal.Decimal("nan"),
        "Fraction": fractions.Fraction(1, 3),
        "UUID": uuid.UUID(int=5),
        "date": dt.date(2024, 1, 2),
        "datetime": dt.datetime(2024, 1, 2, 3, 4, 5, 6),  # noqa: DTZ001 - one without a zone
        "datetime utc": dt.datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC),
        "datetime fold": dt.datetime(2024, 1, 2, 3, fold=1, tzinfo=zoneinfo.ZoneInfo("UTC")),
        "time": dt.time(1, 2),
        "timedelta": dt.timedelta(days=-1, microseconds=5),
        "timezone": dt.timezone(dt.timedelta(hours=1), "named"),
        "ZoneInfo": zoneinfo.ZoneInfo("Europe/Paris"),
        "Enum": Color.RED,
        "Enum alias": Color.CRIMSON,
        "IntEnum": Level.HIGH,
        "StrEnum": Mode.FAST,
        "Flag": Perm.READ | Perm.WRITE,
        "Flag of nothing": Perm(0),
        "IntFlag": Loosely(1 | 8),
        "namedtuple": Point(1, 2),
        "NamedTuple": Named(1),
        "dataclass": Options(b=Inner(rate=2)),
        "attrs class": Plain([1]),
        "str subclass": Name("text"),
        "int subclass": Count(1),
        "float subclass": Rate(0.1),
        "bytes subclass": Raw(b"raw"),
        "class int": int,
        "class Path": pathlib.Path,
        "class PurePosixPath": pathlib.PurePosixPath,
        "class Decimal": decimal.Decimal,
        "class of the project": Color,
        "class of configs": Inner,
        "config": Inner(rate=2),
        "configs in containers": {"a": [Inner(rate=2), (Inner(),)], "b": Inner(rate=2)},
        "chain of configs": chain,
        "converted": Fitted(number=1, real=2, imaginary=3, pair=[1, 2], names=frozenset({"a"})),  # type: ignore[arg-type]
        "not in the hash": Fitted(kept="anything"),
        "no longer its default": Fitted(later=6),
    }


def of_numpy() -> dict[str, Any]:
    """Values of NumPy's types."""
    import numpy as np  # other interpreters need not have it

    codes = ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
    scalars = {f"numpy {code}": np.dtype(code).type(1) for code in codes}
    record = np.dtype([("a", "<i4"), ("b", ">f8", (2,)), ("c", "S3")])
    padded = np.dtype(
        {"names": ["a", "b"], "formats": ["i1", "<f8"], "offsets": [0, 8], "itemsize": 24}
    )
    return {
        **scalars,
        "numpy str": np.str_("1\xe9"),
        "numpy bytes": np.bytes_(b"1"),
        "numpy nan": np.float32("nan"),
        "numpy datetime64": np.datetime64("2024-01-01", "D"),
        "numpy datetime64 ns": np.datetime64("2024-01-01T01:02:03.5", "ns"),
        "numpy timedelta64": np.timedelta64(5, "s"),
        "numpy NaT": np.datetime64("NaT", "D"),
        "numpy record": np.array([(1, (2, 3), b"x")], dtype=record)[0],
        **{f"array {code}": np.arange(6).reshape(2, 3).astype(code) for code in codes},
        "array big-endian": np.array([1, 2], ">i4"),
        "array column-major": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "array strided": np.arange(12, dtype="<i8")[::-2],
        "array flat": np.array(1.5),
        "array empty": np.zeros((0, 3)),
        "array of nans": np.array([np.nan, -np.nan, -0.0]),
        "array of text": np.array(["a", "b\xe9"]),
        "array of bytes": np.array([b"a", b"bc"]),
        "array of dates": np.array(["2024-01-01", "NaT"], "datetime64[D]"),
        "array of records": np.array([(1, (2, 3), b"x"), (4, (5, 6), b"")], dtype=record),
        "array padded": np.array([(1, 2.5)], dtype=padded),
        "dtype f4": np.dtype("<f4"),
        "dtype big-endian": np.dtype(">i2"),
        "dtype of records": record,
        "dtype padded": padded,
        "class of numpy": np.float32,
        "in containers": {"a": [np.float64(1), (np.arange(3, dtype="<i8"),)], "b": Options(b=np.int64(3))},
        "numpy converted": Fitted(
            number=np.int64(1), real=np.float32(0.5), text=np.str_("x"), pair=(np.int8(1), np.float64(2))  # type: ignore[arg-type]
        ),
    }  # fmt: skip


def hashes(values: dict[str, Any]) -> dict[str, str]:
    """The hash of a config with each value, and of one with all of them."""
    found = {name: Outer(inner=Inner(), value=value).furu_hash for name, value in values.items()}
    found["all of them"] = Outer(inner=Inner(), value=list(values.values())).furu_hash
    return found


if __name__ == "__main__":
    told = {"plain": hashes(plain())}
    try:
        told["of_numpy"] = hashes(of_numpy())
    except ModuleNotFoundError as error:
        if error.name != "numpy":
            raise
    print(json.dumps(told, indent=1))
