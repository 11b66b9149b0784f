"""What a forked process does in place of a fresh interpreter, which takes ten times as long to start."""

from __future__ import annotations

import os
import sys

from furu_core._cli import main
from furu_core._settings import _settings

NODES = os.path.dirname(__file__)


def furu(args: list[str], cwd: str, env: dict[str, str], streams: list[str]) -> int:
    """Run the command and return its exit status.

    Args:
        args: its arguments.
        cwd: where.
        env: the environment, of which PYTHONPATH is heeded.
        streams: the files that are its standard input, output and error.
    """
    _become(cwd, env, streams)
    try:
        main(args)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()


def python(code: str, cwd: str, env: dict[str, str], streams: list[str]) -> int:
    """Run code as ``python -c`` does; the other arguments are those of `furu`."""
    _become(cwd, env, streams)
    sys.path.insert(0, "")
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    sys.stdout.flush()
    return 0


def _become(cwd: str, env: dict[str, str], streams: list[str]) -> None:
    for descriptor, name in enumerate(streams):
        file = os.open(name, os.O_RDONLY if descriptor == 0 else os.O_WRONLY)
        os.dup2(file, descriptor)
        os.close(file)
    here = os.getcwd()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    kept = [entry for entry in sys.path if entry not in ("", here, NODES)]
    sys.path[:] = [*filter(None, env.get("PYTHONPATH", "").split(os.pathsep)), *kept]
    _settings.forget()  # what the process that was forked had read
