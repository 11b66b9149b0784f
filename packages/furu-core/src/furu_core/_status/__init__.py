"""The states of nodes, read for many at once; the nodes in the store, and removing them, to the trash and back."""
