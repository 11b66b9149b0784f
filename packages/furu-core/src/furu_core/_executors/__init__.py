"""The interface of executors and their runs, and executors by name."""
