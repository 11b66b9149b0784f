"""Makes a store with a known history: the same nodes, runs, failures and edits each time, all of it really done.

    python tests/known_store/make.py FOLDER

makes the project and its store in a new folder, to try commands on. `tests/test_known_store.py` asks each command about
it, and compares the answers with those in `answers/`.

What happened, in this order, is in `make`. Known are all hashes, results and numbers of nodes; times, hosts, process ids
and the ids of runs are not.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

from furu_testing import Child, Host, Said, wait_until

HERE: Final = Path(__file__).parent
FORKED: Final = HERE.parent.parent / "packages" / "furu-core" / "tests" / "nodes"


_numbers = count()


class KnownProject:
    """A copy of the project, and the `furu` command in it, in a process of its own each time.

    Args:
        folder: where.
        host: what these processes are forked from.
    """

    def __init__(self, folder: Path, host: Host) -> None:
        self.folder = folder
        self.store = folder / "furu-data"
        self.asked: dict[str, Said] = {}  # command lines, and what they said then
        self._host = host

    def furu(self, *args: str) -> Said:
        """Run the command."""
        child, streams = self._begun(args)
        ended = child.wait()
        assert not ended.error, f"furu {shlex.join(args)}:\n{ended.traceback}"
        out, err = (stream.read_text() for stream in streams[1:])
        for stream in streams:
            stream.unlink()
        return Said(ended.value if ended.status == 0 else ended.status, out, err)

    def start(self, line: str) -> Child:
        """Run a command line that goes on."""
        return self._begun(shlex.split(line))[0]

    def _begun(self, args: Sequence[str]) -> tuple[Child, list[Path]]:
        name = f"{self.folder.name}.{next(_numbers)}"
        streams = [self.folder.parent / f"{name}.{stream}" for stream in ("in", "out", "err")]
        for stream in streams:
            stream.write_text("")
        env = {name: value for name, value in os.environ.items() if not name.startswith("FURU_")}
        env |= {"COLUMNS": "200", "TERM": "dumb", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        where = str(self.folder), env, [*map(str, streams)]
        return self._host.start("known_commands:furu", [*args], *where), streams

    def typed(self, line: str, status: int = 0) -> None:
        """Run a command line, which must end with that status."""
        said = self.furu(*shlex.split(line))
        assert said.status == status, (line, said)

    def ask(self, line: str) -> None:
        """Ask something in the middle of the history."""
        for form in (line, f"{line} --json"):
            self.asked[form] = self.furu(*shlex.split(form))

    def edit(self, name: str, old: str, new: str) -> None:
        """Change a file of the project."""
        path = self.folder / name
        text = path.read_text()
        assert text.count(old), f"{name} does not have {old!r}"
        path.write_text(text.replace(old, new))


def host() -> Host:
    """What processes are forked from."""
    return Host(Path(os.devnull), modules=["known_commands", "furu_local"], sys_path=[HERE, FORKED])


def make(folder: Path, forks: Host) -> KnownProject:
    """Make the project and its store in a new folder."""
    shutil.copytree(HERE / "project", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "downloads").mkdir()
    for number, name in enumerate(("digits", "faces", "iris", "wine"), 1):
        lines = [str(number * step % 7) for step in range(8)]
        (folder / "downloads" / name).write_text("\n".join(lines))
    known = KnownProject(folder, forks)

    # A study of 45 nodes: 4 downloads, 4 splits, 36 models, 1 report. And two baselines.
    known.typed("run exp.report:study -j 1 --tag sweep=models --note 'the first try'")
    known.typed("run exp.baseline:baselines -j 1")

    # Download is called Raw now, and what was Baseline is Simple, of which nothing tells.
    renamed = 'class Raw(Furu[list[int]], formerly="exp.data:Download"):'
    known.edit("exp/data.py", "Download", "Raw")
    known.edit("exp/data.py", "class Raw(Furu[list[int]]):", renamed)
    known.edit("exp/baseline.py", "Baseline", "Simple")
    for name in ("Download", "Split", "Train", "Report"):
        known.typed(f"accept {name} 'Download was renamed'")

    # The second run of the study, of which 41 nodes are new.
    known.ask("why exp.report:study --set seed=1 -j 2")
    known.ask("plan exp.report:study --set seed=1")
    known.typed("run exp.report:study --set seed=1 -j 1 --tag sweep=models")

    # The five slowest nodes; then their code is edited, and a sixth one is by the new code.
    known.typed("run exp.train:pretraining -j 5 -o worker=thread")
    known.edit("exp/train.py", "return self.epochs\n", "return 2 * self.epochs\n")
    known.typed("run exp.train:Pretrain --set epochs=0 -j 1")

    # A download brings other numbers, so what was made of the old ones is stale.
    with (folder / "downloads" / "iris").open("a") as file:
        file.write("\n6")
    known.typed("run exp.data:Raw --set name=iris --rerun Raw -j 1")

    # Failures: an exception six times, a worker that is killed, a result that cannot be stored, Ctrl-C.
    known.typed("run exp.report:risky --keep-going -j 2 --tag sweep=risky", status=1)
    known.typed("run exp.train:one --set model=lazy -j 1", status=1)
    known.typed("run exp.train:one --set model=endless -o worker=inline", status=130)

    # A run that was killed itself.
    known.typed("run exp.train:one --set model=huge --set lr=0.2 -o worker=inline", status=-9)

    # What is kept, and what was removed.
    known.typed("pin Report(4d00d4) 'table 2 of the paper'")
    known.typed("rm --yes Train(2b63e3)")
    return known


@contextmanager
def trouble(known: KnownProject) -> Iterator[None]:
    """Damage a result and a record, have a run on a pool, and let another one go on meanwhile."""
    train = known.store / "data/exp/train/Train"
    (next(train.glob("0260de*")) / "weights.bin").write_bytes(b"")
    (next(train.glob("03351c*")) / ".furu.json").write_text('{"furu":3}\n')
    pool = "-o cluster=local -o idle_timeout_sec=0.1 -o poll_interval_sec=0.05"
    known.typed(f"run exp.data:Raw --set name=wine --rerun Raw --executor slurm-pool {pool}")
    child = known.start("run exp.train:one --set model=patient -j 1 --note 'it goes on'")
    try:
        wait_until(
            "a node that runs", lambda: "running" in known.furu("ls", "--state", "running").out
        )
        yield
    finally:
        (known.folder / "go").touch()
        child.wait()


def main() -> int:
    """Make it where the command line says."""
    folder = Path(sys.argv[1]).absolute() if len(sys.argv) == 2 else None
    if folder is None or folder.exists():
        what = f"{folder} is there already" if folder else "one argument is needed: a new folder"
        print(f"{what}\n\n{__doc__}", file=sys.stderr)
        return 2
    with host() as started:
        made = make(folder, started)
    print(f"cd {made.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
