"""The states of nodes, read for many at once, and the nodes in the store."""
