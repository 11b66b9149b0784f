"""How nodes stand, for many at once, and what is in the store."""
