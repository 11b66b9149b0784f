"""The nodes of a run that can be computed now, in the order in which they became ready."""

from __future__ import annotations

from collections import deque


class ReadyQueue:
    """First come, first served, in all or for one spec key; adding and taking cost O(1).

    A node that is taken out of turn leaves its entry behind; the entry no longer has the node's
    ticket and is skipped when its turn comes.
    """

    def __init__(self) -> None:
        self._queues: dict[str, deque[tuple[int, str]]] = {}
        self._counts: dict[str, int] = {}
        self._tickets: dict[str, tuple[int, str]] = {}
        self._next_ticket = 0

    def __len__(self) -> int:
        return len(self._tickets)

    def counts(self) -> dict[str, int]:
        """How many nodes are ready, by spec key; keys with none are left out."""
        return {key: count for key, count in self._counts.items() if count}

    def count(self, spec_key: str | None) -> int:
        """How many nodes are ready in all, or for one spec key."""
        return len(self._tickets) if spec_key is None else self._counts.get(spec_key, 0)

    def add(self, node_hash: str, spec_key: str) -> None:
        """Put a node at the end."""
        ticket = self._next_ticket
        self._next_ticket += 1
        self._tickets[node_hash] = (ticket, spec_key)
        if spec_key not in self._queues:
            self._queues[spec_key] = deque()
            self._counts[spec_key] = 0
        self._queues[spec_key].append((ticket, node_hash))
        self._counts[spec_key] += 1

    def discard(self, node_hash: str) -> None:
        """Take a node out of turn, if it is there."""
        entry = self._tickets.pop(node_hash, None)
        if entry is not None:
            self._counts[entry[1]] -= 1

    def pop(self, spec_key: str | None = None) -> str:
        """Take the node that has been ready for longest.

        Raises:
            IndexError: there is none.
        """
        key = self._oldest() if spec_key is None else spec_key
        _, node_hash = self._head(key)
        self._queues[key].popleft()
        del self._tickets[node_hash]
        self._counts[key] -= 1
        return node_hash

    def _oldest(self) -> str:
        keys = [key for key, count in self._counts.items() if count]
        if len(keys) == 1:
            return keys[0]
        if not keys:
            raise IndexError("no node is ready")
        return min(keys, key=self._head)

    def _head(self, key: str) -> tuple[int, str]:
        queue = self._queues[key]
        while True:
            ticket, node_hash = queue[0]
            if self._tickets.get(node_hash, (None,))[0] == ticket:
                return ticket, node_hash
            queue.popleft()
