"""What the workers of executors do: compute nodes in a session, and tell what became of them."""
