"""Functions for the workers of executors: compute nodes in a session, and report the results."""
