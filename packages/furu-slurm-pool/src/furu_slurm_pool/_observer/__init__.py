"""Runs as any process sees them by their folders: how they stand, waiting for them, stopping them."""
