"""Runs as any process sees them: what their folders tell, how far they are, what failed, and their end."""
