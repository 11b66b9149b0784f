"""`get()`: the hit, the miss, and running a node's code."""
