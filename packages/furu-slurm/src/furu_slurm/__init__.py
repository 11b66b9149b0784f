"""What the Slurm backends of furu share: what jobs ask for, submitting them, and how they stand."""

from __future__ import annotations
