"""In whose name code runs, and what its child processes inherit of that."""
