"""Executors that processes of tests can import."""

from __future__ import annotations

import sys
from pathlib import Path

EXECUTORS = Path(__file__).parent / "executors"
collect_ignore = ["executors"]  # collected, they would be imported a second time under other names

if str(EXECUTORS) not in sys.path:
    sys.path.insert(0, str(EXECUTORS))
