"""Attempts at nodes: claiming, leases, how an attempt ended, publishing, removal."""
