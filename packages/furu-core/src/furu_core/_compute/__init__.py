"""`get()`: loading a result (a hit), or else computing it or waiting for it (a miss)."""
