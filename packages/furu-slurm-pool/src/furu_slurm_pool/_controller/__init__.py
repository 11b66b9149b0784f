"""The side of a run that decides: who controls it, which workers it has, what is queued, and what is recovered after a controller died."""
