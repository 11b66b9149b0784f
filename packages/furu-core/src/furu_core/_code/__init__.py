"""The code that made a result: which modules are the project's, and what their source was."""
