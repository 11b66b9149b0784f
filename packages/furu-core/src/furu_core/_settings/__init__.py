"""The settings of the process: furu's own, and those that plugins own."""
