"""Runs seen by any process through their folders: their status, waiting for them, stopping them."""
