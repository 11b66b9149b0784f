"""A store for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from furu_core import _settings


@pytest.fixture
def furu_store(tmp_path: Path) -> Iterator[Path]:
    """An empty store for one test, in this process."""
    store = tmp_path / "furu-store"
    with _settings.use(path=store):
        yield store
