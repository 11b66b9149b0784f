"""Processes that compute nodes for another one, and their watchdog."""
