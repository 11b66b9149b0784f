"""Finished artifacts: where they are, their files, whether they are complete."""
