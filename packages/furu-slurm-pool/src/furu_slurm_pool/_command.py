"""The command `furu pool`."""

from __future__ import annotations

import click


@click.group()
def pool() -> None:
    """Look at, resume and stop runs on a pool of Slurm workers."""
