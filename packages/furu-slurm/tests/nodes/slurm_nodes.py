"""Nodes of two spec keys."""

from __future__ import annotations

from furu_core import Furu


class Light(Furu[int]):
    x: int

    def _create(self) -> int:
        return self.x


class Heavy(Furu[int]):
    x: int

    _executor_spec_key = "big"

    def _create(self) -> int:
        return self.x
