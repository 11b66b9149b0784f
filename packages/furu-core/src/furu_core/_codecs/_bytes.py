"""Large byte strings as files of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from furu_core._codecs._codec import Codec

_LARGE: Final = 1024  # below, a file costs more than the third that base64 adds


class BytesCodec(Codec):
    """Byte strings from 1 KiB on, as they are."""

    name = "bytes"
    suffix = ".bin"

    def accepts(self, value: object) -> bool:
        return type(value) is bytes and len(value) >= _LARGE

    def save(self, value: bytes, path: Path) -> None:
        path.write_bytes(value)

    def load(self, path: Path, version: int) -> object:
        return path.read_bytes()
