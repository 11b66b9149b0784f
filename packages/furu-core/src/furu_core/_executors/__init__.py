"""The interface of executors and their runs, and what their workers do."""
