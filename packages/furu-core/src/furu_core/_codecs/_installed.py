"""An installed codec, furu's own or another distribution's, and whether it takes a value."""

from __future__ import annotations

import functools
import logging
from typing import Final

import attrs

from furu_core._codecs._codec import Codec
from furu_core._forms._tagged_json import NotExact

_log: Final = logging.getLogger("furu.codecs")


@attrs.frozen
class Installed:
    """A codec and where it comes from.

    Attributes:
        codec: the instance that serves this process.
        distribution: the distribution's name.
    """

    codec: Codec
    distribution: str


def accepts(entry: Installed, value: object) -> bool:
    """Whether a codec would store a value; False with a warning when its `accepts` raises."""
    try:
        return bool(entry.codec.accepts(value))
    except NotExact:
        return False
    except MemoryError:
        raise
    except Exception as error:
        if not entry.distribution:
            raise
        # It is asked about every value, so its bug must not cost results that it has no part in.
        _warn(
            f"the codec {entry.codec.name!r} of {entry.distribution} failed to say whether it takes a "
            f"{type(value).__qualname__}, which is stored without it: {type(error).__name__}: {error}"
        )
        return False


@functools.cache
def _warn(text: str) -> None:
    _log.warning("%s", text)  # once, since many values of a kind may follow
