"""The base class of codecs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar


class Codec(ABC):
    """Stores values of certain types in one file each.

    A codec takes only values that it gives back exactly, types included. It is asked about a whole
    result, and about every part of it that is no plain JSON value; a value that no codec takes is
    pickled. One instance, made without arguments, serves all threads of a process.

    Attributes:
        name: the format's name in the artifact's manifest, which must never change; also that of
            the entry point.
        suffix: the file name's suffix, with its dot.
        version: the format's version, a whole number; `load` gets the version that a file was saved
            with; files of a higher one are refused without calling it.

    Example:
        >>> import json
        >>> from fractions import Fraction
        >>> class FractionCodec(Codec):
        ...     name = "fraction"
        ...     suffix = ".fraction"
        ...     def accepts(self, value):
        ...         return type(value) is Fraction
        ...     def save(self, value, path):
        ...         path.write_text(json.dumps([value.numerator, value.denominator]))
        ...     def load(self, path, version):
        ...         return Fraction(*json.loads(path.read_text()))
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    version: ClassVar[int] = 1

    @abstractmethod
    def accepts(self, value: object) -> bool:
        """Whether this codec would store `value`; must be cheap."""

    @abstractmethod
    def save(self, value: Any, path: Path) -> None:
        """Write `value` to the new file `path`.

        Raises:
            NotExact: `load` would not give the value back exactly; what was written is removed, and
                the next codec is asked.
        """

    @abstractmethod
    def load(self, path: Path, version: int) -> object:
        """The value that a `save` of format `version` wrote to `path`.

        Raises:
            ValueError: the file is damaged; the node is computed again.
        """
