"""How many roots of a run are worked on at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Literal

Window = Literal["dfs", "bfs"] | int


class RootWindow:
    """The roots whose turn has not come, and those that take the window's places now."""

    def __init__(self, roots: Sequence[str], window: Window) -> None:
        self.size = window_size(window, len(roots))
        self.roots = frozenset(roots)
        self._left = deque(roots)
        self._open: set[str] = set()

    def next(self) -> str | None:
        """The root whose turn it is, None while there is no place or no root left."""
        if self._left and len(self._open) < self.size:
            return self._left.popleft()
        return None

    def open(self, node_hash: str) -> None:
        """Give a node a place, if it is a root."""
        if node_hash in self.roots:
            self._open.add(node_hash)

    def close(self, node_hash: str) -> None:
        """Free the node's place, if it has one."""
        self._open.discard(node_hash)

    def postpone(self, node_hash: str) -> None:
        """Let a root have the next turn."""
        self._left.appendleft(node_hash)


def window_size(window: Window, roots: int) -> int:
    """How many places a window has.

    Raises:
        ValueError: the window is none of ``"dfs"``, ``"bfs"`` and a number from 1 on.
    """
    if window == "bfs":
        return max(roots, 1)
    if window == "dfs":
        return 1
    if type(window) is int and window >= 1:
        return window
    raise ValueError(f'the window is {window!r}, expected "dfs", "bfs" or a number from 1 on')
