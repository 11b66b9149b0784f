"""The `furu` command."""

from furu_core._cli._main import main

__all__ = ["main"]
