"""A short chaos; `make chaos` runs a long one."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from furu_testing.slurm import missing_programs

PROGRAM: Final = Path(__file__).with_name("run.py")


@pytest.mark.slow
@pytest.mark.timeout(1800)  # many times what it takes where nobody else computes
def test_p1_p4_p7_whatever_is_killed_all_roots_get_done_and_nothing_is_lost_or_left() -> None:
    if reason := missing_programs():
        pytest.skip(reason)
    seed = os.environ.get("TEST_SEED") or str(random.randrange(1_000_000))
    size = [
        "--minutes=0.4",
        "--deadline=15",
        "--nodes=150",
        "--longest=1",
        "--every=1.5",
        "--outage=5",
    ]
    done = subprocess.run(
        [sys.executable, PROGRAM, "--seed", seed, *size],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
