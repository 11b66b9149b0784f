"""Makes a store with a known history: the same nodes, runs, failures and edits each time, all of it really done.

    python tests/known_store/make.py FOLDER

makes the project and its store in a new folder, to try commands on. `tests/test_known_store.py` asks each command about
it, and compares the answers with those in `answers/`.

What happened, in this order, is in `make`. Known are all hashes, results and numbers of nodes; times, hosts, process ids
and the ids of runs are not.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from furu_testing import Host, Said

HERE: Final = Path(__file__).parent
FORKED: Final = HERE.parent.parent / "packages" / "furu-core" / "tests" / "nodes"
COMMANDS: Final = (
    *(
        "_adopt",
        "_code",
        "_collect",
        "_explain",
        "_listing",
        "_nodes",
        "_output",
        "_pin",
        "_remove",
    ),
    *("_run", "_run_status", "_runs", "_space", "_table", "_verify"),
)
PRELOADED: Final = (
    "known_commands",
    "furu_local",
    *(f"furu_core._cli.{name}" for name in COMMANDS),
)


class KnownProject:
    """A copy of the project, and the `furu` command in it, in a process of its own each time.

    Args:
        folder: where.
        host: what these processes are forked from.
    """

    def __init__(self, folder: Path, host: Host) -> None:
        self.folder = folder
        self.store = folder / "furu-data"
        self._host = host

    def furu(self, *args: str, status: int | None = None) -> Said:
        """Run the command; with the exit status that it must have."""
        streams = [
            self.folder.parent / f"{self.folder.name}.{name}" for name in ("in", "out", "err")
        ]
        for stream in streams:
            stream.write_text("")
        env = {name: value for name, value in os.environ.items() if not name.startswith("FURU_")}
        env |= {"COLUMNS": "200", "TERM": "dumb", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        call = "known_commands:furu"
        ended = self._host.start(
            call, list(args), str(self.folder), env, [*map(str, streams)]
        ).wait()
        out, err = (stream.read_text() for stream in streams[1:])
        for stream in streams:
            stream.unlink()
        said = Said(ended.value if ended.status == 0 else ended.status, out, err)
        assert status is None or said.status == status, (args, said, ended.traceback)
        return said

    def ask(self, *args: str) -> None:
        """Ask something in the middle of the history; `asked.json` beside the project has the answers."""
        file = self.folder.parent / "asked.json"
        before = json.loads(file.read_text()) if file.exists() else []
        for more in ((), ("--json",)):
            before.append([[*args, *more], self.furu(*args, *more)])
        file.write_text(json.dumps(before))

    def edit(self, name: str, old: str, new: str) -> None:
        """Change a file of the project."""
        path = self.folder / name
        text = path.read_text()
        assert text.count(old), f"{name} does not have {old!r}"
        path.write_text(text.replace(old, new))


def host() -> Host:
    """What processes are forked from."""
    return Host(Path(os.devnull), modules=PRELOADED, sys_path=[HERE, FORKED])


def make(folder: Path, forks: Host) -> KnownProject:
    """Make the project and its store in a new folder."""
    shutil.copytree(HERE / "project", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "downloads").mkdir()
    for number, name in enumerate(("digits", "faces", "iris", "wine"), 1):
        lines = [str(number * step % 7) for step in range(8)]
        (folder / "downloads" / name).write_text("\n".join(lines))
    known = KnownProject(folder, forks)
    furu = known.furu

    # A study of 45 nodes: 4 downloads, 4 splits, 36 models, 1 report. And two baselines.
    furu(
        "run",
        "exp.report:study",
        "-j",
        "1",
        "--tag",
        "sweep=models",
        "--note",
        "the first try",
        status=0,
    )
    furu("run", "exp.baseline:baselines", "-j", "1", status=0)

    # Download is called Raw now, and what was Baseline is Simple, of which nothing tells.
    known.edit("exp/data.py", "Download", "Raw")
    known.edit(
        "exp/data.py",
        "class Raw(Furu[list[int]]):",
        'class Raw(Furu[list[int]], formerly="exp.data:Download"):',
    )
    known.edit("exp/baseline.py", "Baseline", "Simple")
    for name in ("Download", "Split", "Train", "Report"):
        furu("accept", name, "Download was renamed", status=0)

    # The second run of the study, of which 41 nodes are new.
    known.ask("why", "exp.report:study", "--set", "seed=1", "-j", "2")
    known.ask("plan", "exp.report:study", "--set", "seed=1")
    furu("run", "exp.report:study", "--set", "seed=1", "-j", "1", "--tag", "sweep=models", status=0)

    # The five slowest nodes; then their code is edited, and a sixth one is by the new code.
    furu("run", "exp.train:pretraining", "-j", "5", "-o", "worker=thread", status=0)
    known.edit("exp/train.py", "return self.epochs\n", "return 2 * self.epochs\n")
    furu("run", "exp.train:Pretrain", "--set", "epochs=0", "-j", "1", status=0)

    # A download brings other numbers, so what was made of the old ones is stale.
    with (folder / "downloads" / "iris").open("a") as file:
        file.write("\n6")
    furu("run", "exp.data:Raw", "--set", "name=iris", "--rerun", "Raw", "-j", "1", status=0)

    # Failures of four kinds.
    furu("run", "exp.report:risky", "--keep-going", "-j", "2", "--tag", "sweep=risky", status=1)
    furu("run", "exp.train:one", "--set", "model=lazy", "-j", "1", status=1)
    furu("run", "exp.train:one", "--set", "model=endless", "-o", "worker=inline", status=130)

    # A run that was killed.
    furu(
        "run",
        "exp.train:one",
        "--set",
        "model=huge",
        "--set",
        "lr=0.2",
        "-o",
        "worker=inline",
        status=-9,
    )

    # What is kept, and what was removed.
    furu("pin", "Report(4d00d4)", "table 2 of the paper", status=0)
    furu("rm", "--yes", "Train(2b63e3)", status=0)
    return known


if __name__ == "__main__":
    with host() as started:
        made = make(Path(sys.argv[1]).absolute(), started)
    print(f"cd {made.folder}")
