"""Runs furu graphs on this machine."""
