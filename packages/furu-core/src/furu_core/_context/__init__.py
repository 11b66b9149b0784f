"""The execution context of code (node, executor, run), and how child processes inherit it."""
