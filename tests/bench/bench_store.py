"""A store of 100,000 trivial results: what it takes up, and commands over all of it.

The bare reference lists the class's folder and reads all records once. Seconds are the wall's, those
of the start of a command included.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.row import Row

COUNT = 100_000
FILL = """
import sys
from bench.trivial import Trivial
from furu_core import use_settings
store, begin, end = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with use_settings(path=store, log_level="ERROR"):
    for index in range(begin, end):
        Trivial(index=index).get()
"""


RUN = """
import sys
from bench.trivial import Trivial
from furu_core import use_settings
from furu_core.executors import EventKind, EventLog, Prospect, named_roots, new_run_folder, write_outline
store, count = sys.argv[1], int(sys.argv[2])
with use_settings(path=store):
    roots = named_roots([Trivial(index=index) for index in range(count)])
    _, folder = new_run_folder("local", roots)
    write_outline(folder, ((root, (), Prospect.COMPUTE) for root in roots.items))
    events = EventLog(folder)
    events.write(EventKind.RUN_STARTED, detail=f"{count} nodes")
    for root in roots.items:
        name = f"Trivial({root.furu_hash[:6]})"
        events.write(EventKind.NODE_STARTED, hash=root.furu_hash, node=name)
        events.write(EventKind.NODE_COMPUTED, hash=root.furu_hash, node=name, detail="0.001 s")
"""


def write_run(store: Path, count: int) -> None:
    """Write the folder of a run that computed the nodes and was killed before it ended."""
    paths = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    subprocess.run([sys.executable, "-c", RUN, str(store), str(count)], env=paths, check=True)


def fill(store: Path, count: int) -> None:
    """Compute the nodes in two processes."""
    command = [sys.executable, "-c", FILL, str(store)]
    paths = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    halves = [(0, count // 2), (count // 2, count)]
    processes = [subprocess.Popen([*command, *map(str, half)], env=paths) for half in halves]
    for process in processes:
        if process.wait() != 0:
            raise RuntimeError(f"{process.args} failed")


def furu(store: Path, *arguments: str, status: int = 0) -> float:
    """Seconds of a command on a store."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "furu_core", *arguments],
        env=os.environ | {"FURU_PATH": str(store), "PYTHONPATH": str(Path(__file__).parent.parent)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != status:
        command = f"furu {' '.join(arguments)}"
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stderr}")
    return time.perf_counter() - began


def read_all(store: Path) -> float:
    """Seconds of listing the folders and reading all records, without furu."""
    began = time.perf_counter()
    for folder, _, names in os.walk(store / "data"):
        for name in names:
            with open(f"{folder}/{name}", "rb") as file:
                file.read()
    return time.perf_counter() - began


def rows(count: int = COUNT) -> Iterator[Row]:
    """What the store takes up for each node, and the times of commands over all nodes."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "store")
        fill(store, count)
        found = [path.lstat() for path in (store / "data").rglob("*")]
        many = f"{count:,} nodes"
        yield Row(f"{many}: inodes of each", len(found) / count, unit="files", limit=2.01)
        disk = sum(one.st_blocks for one in found) * 512 / count / 1024
        yield Row(f"{many}: disk of each", disk, unit="KiB", limit=8.1)
        bare = min(read_all(store) for _ in range(3))
        yield Row(f"{many}: furu ls --count", furu(store, "ls", "--count"), bare)
        yield Row(f"{many}: furu table, cold", furu(store, "table"), bare, limit=30.0)
        warm = min(furu(store, "table") for _ in range(3))
        yield Row(f"{many}: furu table, warm", warm, bare, limit=2.0)
        chosen = ("--where", "index<100", "--sort", "-took", "--csv")
        yield Row(f"{many}: furu table --where", furu(store, "table", *chosen), bare, limit=2.0)
        yield Row(f"{many}: furu ls -l", furu(store, "ls", "-l"), bare)
        write_run(store, count)
        yield Row(f"{many}: furu status", furu(store, "status"), bare)
        yield Row(f"{many}: furu runs", furu(store, "runs"), bare)
        yield Row(f"{many}: furu verify", furu(store, "verify"), bare)
        yield Row(f"{many}: furu verify --deep", furu(store, "verify", "--deep"), bare)
        shutil.rmtree(store / "index", ignore_errors=True)
        new = ("why", "bench.trivial:Trivial", "--set", f"index={count}")
        yield Row(f"{many}: furu why, without an index", furu(store, *new, status=3), bare)
        yield Row(f"{many}: furu why", furu(store, *new, status=3), bare, limit=2.0)
        (folder_of_class,) = (store / "data").glob("**/Trivial")
        pair = sorted(one.name for one in folder_of_class.iterdir())[:2]
        yield Row(f"{many}: furu diff", furu(store, "diff", *pair), bare, limit=2.0)
        yield Row(f"{many}: furu du", furu(store, "du"), bare)
        yield Row(f"{many}: furu gc, all kept", furu(store, "gc"), bare)
        yield Row(f"{many}: furu gc, all go", furu(store, "gc", "--keep", "0d"), bare)
        yield Row(f"{many}: furu rm", furu(store, "rm", "--yes", "Trivial"), bare)
        yield Row(f"{many}: furu rm --undo", furu(store, "rm", "--undo"), bare)
