"""Users that a test makes, who may use a cluster and share a folder, and are gone afterwards."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from furu_testing.slurm._cluster import SlurmTestCluster

_PROGRAMS: Final = ("groupadd", "useradd", "userdel", "groupdel", "runuser")
_SBIN: Final = "/usr/sbin:/sbin"
# pytest's own interpreter may be in a folder that only its user may enter.
_INTERPRETERS: Final = (sys.executable, f"/usr/bin/python3.{sys.version_info[1]}")


class NoUsers(Exception):
    """Why no users can be made here, or cannot run Python."""


@attrs.frozen
class TestUsers:
    """Users of one group.

    Attributes:
        folder: a folder that is the group's, as are all files in it.
        names: the users.
        python: an interpreter that they may run.
    """

    __test__ = False  # no test, though it is called so

    folder: Path
    names: tuple[str, ...]
    python: str

    def command(self, name: str) -> list[str]:
        """What to put before the arguments of Python to have it run as a user."""
        shell = f'umask 002; exec "{self.python}" "$@"'
        return ["runuser", "-u", name, "--", "sh", "-c", shell, "sh"]

    @property
    def environment(self) -> dict[str, str]:
        """With which they find what this process can import."""
        # Not the standard library, of which the other interpreter has its own.
        found = [one for one in sys.path if one and not Path(one).is_relative_to(sys.base_prefix)]
        return {"PATH": _path(), "PYTHONPATH": os.pathsep.join(found)}


def let_users_in(cluster: SlurmTestCluster) -> None:
    """Let others than this user submit jobs to a cluster, and have them run there."""
    spool = cluster.folder / "spool"
    for folder in (cluster.folder, spool, *spool.iterdir()):
        folder.chmod(0o711)
    for name in ("slurm.conf", "gres.conf", "plugstack.conf"):
        (cluster.folder / name).chmod(0o644)


@contextmanager
def users(count: int) -> Iterator[TestUsers]:
    """Make users of one group, and a folder for it.

    Raises:
        NoUsers: they cannot be made here.
    """
    missing = [one for one in _PROGRAMS if shutil.which(one, path=_path()) is None]
    if os.getuid() != 0 or missing:
        raise NoUsers(f"only root may make users, by {', '.join(_PROGRAMS)}")
    token = secrets.token_hex(4)
    group = f"furu-{token}"
    folder = Path(tempfile.mkdtemp(prefix="furu-users-"))
    names = tuple(f"{group}-{number}" for number in range(count))
    try:
        _run("groupadd", group)
        for name in names:
            _run("useradd", "--no-create-home", "--gid", group, name)
        shutil.chown(folder, group=group)
        folder.chmod(0o2775)
        made = TestUsers(folder, names, "")
        for python in _INTERPRETERS:
            made = attrs.evolve(made, python=python)
            check = subprocess.run(
                [*made.command(names[0]), "-c", "import attrs"],
                env=made.environment,
                capture_output=True,
                check=False,
            )
            if check.returncode == 0:
                break
        else:
            raise NoUsers(f"other users may not run {' or '.join(_INTERPRETERS)} with attrs")
        yield made
    finally:
        for name in names:
            _run("userdel", name, check=False)
        _run("groupdel", group, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _path() -> str:
    return os.pathsep.join((os.environ.get("PATH", ""), _SBIN))


def _run(*command: str, check: bool = True) -> None:
    environ = {**os.environ, "PATH": _path()}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise NoUsers(f"{command[0]}: {done.stderr.strip()}")
