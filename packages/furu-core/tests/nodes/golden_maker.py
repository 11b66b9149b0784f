"""Makes a golden store, `python nodes/golden_maker.py FILE.tar.gz`: what this furu writes, kept for later ones to read.

The stores in `golden` beside `nodes` were made with it and are never made again: a change of
what they hold would be the very fault that they are there to find.

    format1.tar.gz   with furu as of commit dc569d7, the last one that wrote format 1: in a clone of that
                     commit, with this file and `golden_nodes.py` put where they are here
    format2.tar.gz   with furu as it was when the golden stores came

Nothing of the machine is in them: identity and provenance of the processes are made up, paths in logs are
replaced, and the result is searched for what would give the machine away.
"""

import getpass
import gzip
import io
import os
import re
import signal
import socket
import sys
import tarfile
import tempfile
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import golden_nodes
import numpy as np
from golden_nodes import Failing, Given, Golden, Queued

from furu_core import Furu, _process_ids, _provenance, errors, executors, use_settings, workers
from furu_core._provenance import Git, Provenance

ROOT = Path(__file__).parents[4]
MADE = 1_700_000_000  # when all files were last changed
GIT = Git(
    "/home/ada/exp", "0" * 39 + "1", "main", True, "p\xe4tch \udc80\n", 9, ("new.py",), "a note"
)
PROVENANCE = Provenance(
    GIT, "/home/ada/exp", "/home/ada/exp", ("python", "train.py"), "golden-host", "ada", "Linux", "3.11.7",
    "/usr/bin/python3", {"attrs": "23.1.0", "numpy": np.__version__}, "2023-11-14T22:13:20+00:00",
)  # fmt: skip


def main() -> None:
    to = Path(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="golden-") as name:
        store = Path(name) / "store"
        with use_settings(path=store, log_level="ERROR"):
            in_process(results)
            in_process(worker_results)
            in_process(failures)
            in_process(damage)
            for n in (0, 1):
                in_process(saves, n)
            in_process(age, store)
            in_process(saves, 1)  # takes over what the killed one saved, and is killed as well
            in_process(notes)
        scrub(store, {name: "/home/ada", str(ROOT): "/home/ada/furu", sys.prefix: "/home/ada/env"})
        to.write_bytes(packed(store))
    print(f"{to}: {to.stat().st_size} bytes")


def in_process(call: Callable[..., object], *args: object) -> None:
    """Call a function in a process of its own, which is `golden-host`'s."""
    machine = os.uname()
    pid = os.fork()
    if pid == 0:
        os.uname = lambda: os.uname_result((machine[0], "golden-host", *machine[2:]))
        _process_ids._this = _process_ids.ProcessId(
            "golden-host", "boot-1", "pid:[4026531836]", os.getpid(), "12345"
        )
        _provenance._captured = PROVENANCE
        status = 1
        try:
            call(*args)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    _, ended = os.waitpid(pid, 0)
    assert ended == (signal.SIGKILL if call is saves else 0), (call, ended)


def results() -> None:
    made = [node for n in range(2) for node in golden_nodes.nodes_of(n)]
    for node in made:
        assert golden_nodes.same(node.get(), node.value()), node
    if hasattr(Furu, "put"):  # since format 2
        Given().put(Given().value())


def worker_results() -> None:
    job = executors.Submission("slurm-dag", "20260101-000000-abcdef/token:3", 1)
    context = workers.WorkerContext(
        executor="slurm-dag", run_id="20260101-000000-abcdef", spec_key="gpu", submission=job
    )
    with workers.worker_session(context):
        for node in golden_nodes.run_by_worker():
            done = workers.run_node(node)
            assert done.outcome is workers.Outcome.COMPUTED, done


def failures() -> None:
    for how in golden_nodes.FAILED:
        fail(Failing(how=how), how)
    flaky = Failing(how="raises", n=7)  # computed at the third attempt
    fail(flaky, "raises")
    fail(flaky, "raises")
    flaky.get()


def fail(node: Furu[int], how: str) -> None:
    os.environ["GOLDEN"] = how
    with suppress(errors.FuruError, KeyboardInterrupt):
        node.get()
        raise AssertionError(f"{node} did not fail")
    del os.environ["GOLDEN"]


def damage() -> None:
    """A damaged artifact is moved aside, and computed again."""
    node = Golden(kind="bytes", n=9)
    node.get()
    for path in node.furu_dir.rglob("*result*"):
        os.truncate(path, 5)
    node.get()


def saves(n: int) -> None:
    """Save a checkpoint, and be killed."""
    os.environ["GOLDEN"] = "saves"
    Failing(how="saves", n=n).get()


def age(store: Path) -> None:
    for path in store.rglob("*"):
        os.utime(path, (MADE, MADE), follow_symlinks=False)


def notes() -> None:
    for node in (Queued(), Failing(how="raises")):
        assert executors.note_submission(node, executors.Submission("slurm-dag", "token:5", 0))


def scrub(store: Path, instead: dict[str, str]) -> None:
    """Replace paths in logs, and see that nothing else of the machine is in the store."""
    secrets = [*instead, socket.gethostname(), str(Path.home()), os.getcwd(), *boot_ids()]
    if getpass.getuser() != "root":
        secrets.append(getpass.getuser())
    for path in (path for path in store.rglob("*") if path.is_file() and not path.is_symlink()):
        data = path.read_bytes()
        if path.suffix == ".log":
            for old, new in instead.items():
                data = data.replace(old.encode(), new.encode())
            path.write_bytes(data)
        for secret in secrets:
            assert not tells(secret, data), (path, secret, data)
            assert not tells(secret, os.fsencode(path.relative_to(store))), (path, secret)


def tells(secret: str, data: bytes) -> bool:
    """Whether a name stands in it, as a word: it may be as short as `vm`."""
    return bool(re.search(rb"(?<![a-z])" + re.escape(secret.encode()) + rb"(?![a-z])", data))


def boot_ids() -> Iterable[str]:
    with suppress(OSError):
        yield Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def packed(store: Path) -> bytes:
    """The store as an archive that depends on nothing but what is in it."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(store.rglob("*")):
            info = archive.gettarinfo(path, str(path.relative_to(store)))
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mtime = MADE
            if info.islnk():
                info.type, info.size = tarfile.REGTYPE, path.stat().st_size
            with path.open("rb") if info.isreg() else io.BytesIO() as file:
                archive.addfile(info, file)
    return gzip.compress(raw.getvalue(), mtime=0)


if __name__ == "__main__":
    main()
