"""Peers that do the same work as furu, in the same run: `make bench-peers`.

Each is installed into an environment of its own (`environment`), and does its work by a script beside
this file; one that cannot be installed has a row that says so.
"""

from bench.peers.comparison import rows

__all__ = ["rows"]
