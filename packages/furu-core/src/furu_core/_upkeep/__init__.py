"""Looking after a store: what is kept and what goes, what is damaged, and names and formats of older results."""
