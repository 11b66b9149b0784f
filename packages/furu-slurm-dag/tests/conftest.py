"""Node classes that jobs can import."""

from __future__ import annotations

import sys
from pathlib import Path

NODES = Path(__file__).parent / "nodes"
collect_ignore = ["nodes"]  # collected, they would be imported a second time under other names

for folder in (NODES, NODES.parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
