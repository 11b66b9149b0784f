"""Plans what of a furu graph is to be computed, and in which order."""
