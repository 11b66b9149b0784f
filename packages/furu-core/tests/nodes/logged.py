"""A node's log without a node."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from furu_core import use_settings
from furu_core._output import _capture, _spool


@contextmanager
def node_log(path: str | os.PathLike[str], **options: Any) -> Iterator[_capture.NodeLog]:
    """Send what is printed to the file at `path`, by way of a spool beside it."""
    with use_settings(path=os.path.dirname(os.path.abspath(path))):
        spool = _spool.take()
        try:
            with _capture.node_log(spool, path, **options) as log:
                yield log
        finally:
            _spool.give_back(spool.name)
