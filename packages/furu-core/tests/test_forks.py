"""Threads of a node's code may fork at the same moment, though filelock is loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import os, sys, threading, time, warnings

warnings.simplefilter("ignore")
# It runs after filelock's, so that each fork takes long enough for another to begin.
os.register_at_fork(before=lambda: time.sleep(0.01))
{load}
failures = []

def fork():
    for _ in range(10):
        try:
            child = os.fork()
        except RuntimeError as error:
            failures.append(str(error))
            continue
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)

threads = [threading.Thread(target=fork) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
child = os.fork()  # one that forks itself
if child == 0:
    grandchild = os.fork()
    if grandchild:
        os.waitpid(grandchild, 0)
    os._exit(0)
status = os.waitpid(child, 0)[1]
print(len(failures), status, *failures[:1])
"""
_PREPARED = "from furu_core import _forks; _forks.prepare_for_filelock(); import filelock"


def outcome(load: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(load=load)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.split(maxsplit=2)


def test_threads_that_fork_at_once_wait_for_each_other() -> None:
    assert outcome(_PREPARED) == ["0", "0"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="filelock forbids it from Python 3.12 on")
def test_alone_filelock_forbids_them_to() -> None:
    """Should this fail because it does not any more, `_forks` has done its duty."""
    failed, _, message = outcome("import filelock")
    assert int(failed) > 0
    assert "os.fork is unsafe" in message
