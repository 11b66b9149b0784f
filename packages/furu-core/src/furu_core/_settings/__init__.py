"""The settings of the process: furu's own, and those of plugins."""
