"""The project of the known store."""
