"""Commands of Slurm that do what a test says, for what a real cluster does not do on request."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import pytest

QUEUED = "{job}|PENDING|0|0|Priority|{name}|"


class FakeSlurm:
    """A folder of commands at the front of `PATH`.

    Commands that a test says nothing about answer as on a cluster where nothing runs and nothing can
    be submitted.
    """

    NO_JOB: ClassVar = (
        'case "$*" in *" show jobs") echo "No jobs in the system"; exit 0;; esac; '
        "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1"
    )

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._bin = folder / "bin"
        self._bin.mkdir(parents=True)
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("PATH", f"{self._bin}{os.pathsep}/usr/bin{os.pathsep}/bin")
        for name in list(os.environ):
            if name.startswith(("SLURM_", "SBATCH_")):
                monkeypatch.delenv(name)
        self.command("sbatch", "echo 'sbatch: error: nothing is submitted here' >&2; exit 1")
        self.command("squeue", f"cat {folder}/queue 2>/dev/null; exit 0")
        self.command(
            "sacct", "echo 'sacct: error: Slurm accounting storage is disabled' >&2; exit 1"
        )
        self.command("scontrol", self.NO_JOB)
        self.command("scancel", "exit 0")

    def command(self, name: str, body: str) -> None:
        """Say in shell what a command does. `$NAME` is the job's name, `$COUNT` counts its calls."""
        calls = self.folder / f"{name}.calls"
        text = [
            "#!/bin/sh",
            f'echo "$*" >> {calls}',
            f"env > {self.folder}/{name}.env",
            f"COUNT=$(grep -c . {calls})",
            'for word in "$@"; do case "$word" in --job-name=*) NAME="${word#--job-name=}";; esac; done',
            f"FAKE={self.folder}",
            body,
        ]
        path = self._bin / name
        path.write_text("\n".join(text) + "\n")
        path.chmod(0o755)

    def remove(self, name: str) -> None:
        """As on a machine without this command; only ours are there."""
        (self._bin / name).unlink()
        for tool in ("sh", "cat", "grep", "env", "sleep"):
            if not (self._bin / tool).exists():
                (self._bin / tool).symlink_to(f"/bin/{tool}")
        self._monkeypatch.setenv("PATH", str(self._bin))

    def calls(self, name: str) -> list[str]:
        """The arguments of each call of a command so far."""
        path = self.folder / f"{name}.calls"
        return path.read_text().splitlines() if path.exists() else []

    def environment(self, name: str) -> dict[str, str]:
        """The environment of the last call of a command."""
        lines = (self.folder / f"{name}.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def queue(self, *lines: str) -> None:
        """What squeue lists from now on."""
        (self.folder / "queue").write_text("".join(f"{line}\n" for line in lines))
