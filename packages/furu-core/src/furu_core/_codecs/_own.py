"""furu's own codecs, by the names that manifests use."""

from __future__ import annotations

from typing import Final

from furu_core._codecs._arrays import ArrayCodec
from furu_core._codecs._bytes import BytesCodec
from furu_core._codecs._codec import Codec
from furu_core._codecs._frames import FrameCodec, SeriesCodec

STEM: Final = "result"
JSON_FILE: Final = "result.json"
PICKLE_FILE: Final = "result.pickle"
TAG_FILE: Final = "$file"
TAG_PATH: Final = "$furu_dir"

OWN_CODECS: Final[tuple[Codec, ...]] = (ArrayCodec(), FrameCodec(), SeriesCodec(), BytesCodec())
OWN_NAMES: Final = frozenset({"json", "pickle", *(codec.name for codec in OWN_CODECS)})
