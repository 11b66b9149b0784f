"""What furu relies on when processes exclude each other: the contract with filelock.

3.30.0, 3.32.7, 4.0.12 and 4.3.1 keep it; 3.16.1, 3.25.2 and 3.29.0 were tried as well, and where they break
it the test says so.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from furu_core._locks import excluding
from furu_core.errors import FuruStoreError

pytestmark = pytest.mark.timeout(120)

COUNT = """
import sys, time
from pathlib import Path
from furu_core.executors import excluding

lock, number = sys.argv[1], Path(sys.argv[2])
for _ in range(10):
    with excluding(lock, what="counting"):
        before = int(number.read_text())
        time.sleep(0.005)  # in which others would read the same
        number.write_text(str(before + 1))
"""
HOLD = """
import os, sys, threading, time, warnings
from furu_core.executors import excluding

warnings.simplefilter("ignore")

def fork():
    if not os.fork():
        time.sleep(600)

with excluding(sys.argv[1], what="testing"):
    if len(sys.argv) > 2:
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()
    print("held", flush=True)
    time.sleep(600)
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "locks" / "lock"


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts programs, each in a session of its own that ends with the test."""
    with ExitStack() as ends:

        def start(code: str, *args: object) -> subprocess.Popen[str]:
            started = subprocess.Popen(
                [sys.executable, "-c", code, *map(str, args)],
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            ends.callback(end, started)
            return started

        yield start


def end(started: subprocess.Popen[str]) -> None:
    try:
        os.killpg(started.pid, 9)  # children that it left behind, too
    except ProcessLookupError:
        pass
    started.communicate()


def holder(start: Start, lock: Path, *how: object) -> subprocess.Popen[str]:
    """A process that holds the lock."""
    held = start(HOLD, lock, *how)
    assert held.stdout is not None
    assert held.stdout.readline() == "held\n"
    return held


def is_free(lock: Path, wait_secs: float = 0.1) -> bool:
    try:
        with excluding(lock, what="looking", wait_secs=wait_secs):
            return True
    except FuruStoreError:
        return False


def test_processes_do_it_one_after_the_other(start: Start, tmp_path: Path, lock: Path) -> None:
    number = tmp_path / "number"
    number.write_text("0")
    counting = [start(COUNT, lock, number) for _ in range(3)]
    assert [one.wait() for one in counting] == [0, 0, 0]
    assert number.read_text() == "30"


def test_p7_a_lock_ends_with_its_holder_however_that_ends(start: Start, lock: Path) -> None:
    held = holder(start, lock)
    assert not is_free(lock)
    held.kill()
    held.wait()
    assert is_free(lock)


def test_p7_a_lock_is_not_left_to_a_child_that_a_thread_of_its_holder_forked(
    start: Start, lock: Path
) -> None:
    """Up to filelock 3.29 the child had it as long as it lived; it may be a node's process of hours."""
    held = holder(start, lock, "with a child")
    held.kill()
    held.wait()
    assert is_free(lock, 10.0)


def test_p6_a_wait_tells_for_whom_and_ends(
    start: Start, lock: Path, caplog: pytest.LogCaptureFixture
) -> None:
    held = holder(start, lock)
    caplog.set_level(logging.INFO, "furu")
    with pytest.raises(FuruStoreError) as caught, excluding(lock, what="testing", wait_secs=1.2):
        pytest.fail("it is held by another process")
    said = f"waiting for process {held.pid} on {os.uname().nodename}"
    assert [said in record.getMessage() for record in caplog.records] == [True]
    assert f"testing: waited 1.2 s for process {held.pid} on " in str(caught.value)
    assert "end that process" in str(caught.value)
    assert caught.value.path == lock


def test_threads_do_it_one_after_the_other_too(lock: Path) -> None:
    free: list[bool] = []
    with excluding(lock, what="testing"):
        other = threading.Thread(target=lambda: free.append(is_free(lock)))
        other.start()
        other.join()
    assert free == [False]
    assert is_free(lock)


def test_p6_the_same_thread_waits_for_itself_but_not_for_ever(lock: Path) -> None:
    """filelock raises RuntimeError for who would wait for ever, which nobody does here."""
    with excluding(lock, what="testing"):
        assert not is_free(lock)
    assert is_free(lock)


def test_an_error_frees_the_lock(lock: Path) -> None:
    with pytest.raises(ZeroDivisionError), excluding(lock, what="testing"):
        raise ZeroDivisionError
    assert is_free(lock)


def test_the_file_follows_the_umask(lock: Path) -> None:
    """With filelock 3.16 it is 0644, which keeps out others who may write to the store."""
    before = os.umask(0o002)
    try:
        assert is_free(lock)
    finally:
        os.umask(before)
    assert lock.stat().st_mode & 0o777 == 0o664


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_filesystem_without_locks_excludes_nobody_and_is_told_of(
    number: int, lock: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """filelock 3.25 and 3.29 leave a soft lock, which outlives a killed holder; 3.16 waits in vain."""

    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        excluding(lock, what="testing", wait_secs=5.0),
        excluding(lock, what="testing", wait_secs=5.0),
    ):
        pass
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert f"{lock} cannot be locked: {os.strerror(number)}" in caplog.text
    assert {one.name for one in lock.parent.iterdir()} <= {lock.name}


def test_p8_a_file_that_cannot_be_made_is_an_error_of_the_store(lock: Path) -> None:
    lock.parent.write_text("no folder")
    with pytest.raises(FuruStoreError, match="move it away"), excluding(lock, what="testing"):
        pytest.fail("there is no such folder")


# Forks

FORKS = """
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
LOCKED = """
from furu_core.executors import excluding
with excluding(sys.argv[1], what="testing"):
    pass
"""


def after_forks(load: str, lock: Path) -> list[str]:
    code = FORKS.format(load=load)
    said = subprocess.check_output([sys.executable, "-c", code, lock], text=True, timeout=100)
    return said.split(maxsplit=2)


def test_threads_that_fork_at_once_after_a_lock_wait_for_each_other(lock: Path) -> None:
    assert after_forks(LOCKED, lock) == ["0", "0"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="filelock 4 allows it up to Python 3.11")
def test_filelock_alone_forbids_them_to(lock: Path) -> None:
    """Should a release do without (3.30 to 4.3 do not), `_let_threads_fork` has done its duty.

    3.30 to 3.32 forbid it to every Python.
    """
    failed, _, message = after_forks("import filelock", lock)
    assert int(failed) > 0
    assert "os.fork is unsafe" in message
