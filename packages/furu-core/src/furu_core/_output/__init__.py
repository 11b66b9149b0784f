"""Output: the console, and capturing a node's output in its log."""
