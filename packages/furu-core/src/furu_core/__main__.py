"""``python -m furu_core`` is the `furu` command."""

from furu_core._cli import main

if __name__ == "__main__":
    main()
