"""Distributions as third parties would publish them, small ones and broken ones, as real wheels."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent


@dataclass(frozen=True)
class Distribution:
    """What a wheel is made of.

    Attributes:
        name: of the distribution.
        code: of its only module, which is called as it is.
        points: entry points, by group and name; `entry_points` in place of it is the text of the file.
        requires: requirements, as in its metadata.
        version: its version.
    """

    name: str
    code: str = ""
    points: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    requires: tuple[str, ...] = ("furu-core>=0.1,<0.2",)
    version: str = "1.0"
    entry_points: str = ""

    @property
    def module(self) -> str:
        return self.name.replace("-", "_")

    def write_wheel(self, folder: Path) -> Path:
        """Write the wheel into a folder."""
        info = f"{self.module}-{self.version}.dist-info"
        files = {
            f"{self.module}.py": dedent(self.code),
            f"{info}/METADATA": "".join(
                [
                    f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}\n",
                    *(f"Requires-Dist: {requirement}\n" for requirement in self.requires),
                ]
            ),
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": self.entry_points or self._entry_points(),
        }
        record = "".join(f"{name},{_digest(text)},{len(text)}\n" for name, text in files.items())
        path = folder / f"{self.module}-{self.version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
            archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
        return path

    def _entry_points(self) -> str:
        return "".join(
            f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in points.items())
            for group, points in self.points.items()
        )


def _digest(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    return f"sha256={digest.decode().rstrip('=')}"
