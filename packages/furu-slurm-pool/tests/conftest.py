"""Node classes that workers can import."""

from __future__ import annotations

import sys
from pathlib import Path

NODES = Path(__file__).parent / "nodes"
collect_ignore = ["nodes"]  # collected, they would be imported a second time under other names

if str(NODES) not in sys.path:
    sys.path.insert(0, str(NODES))
