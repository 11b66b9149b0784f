"""Config classes: their fields and the values of those, their names, and the hashes of objects."""
