"""Reproducible computation in plain Python."""
