"""What is recorded of the nodes in the store, as rows and columns: facts, conditions on them, tables, frames."""
