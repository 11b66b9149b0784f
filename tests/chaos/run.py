"""Computes graphs on a pool of workers while a seed decides what is killed: ``python tests/chaos/run.py``.

Rounds of one graph each are run, on a Slurm cluster of this program's own, until the time is over. At the
end all that must hold is checked and printed as a table. Exit status 1 means that something does not
hold; then the folder with the store, the logs and the order of events is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))

import furu_core  # noqa: E402 - as what follows, found by the line above
from chaos import findings  # noqa: E402
from chaos.faults import Fault, Injector, blows  # noqa: E402
from chaos.findings import Finding  # noqa: E402
from chaos.witness import Witness  # noqa: E402
from furu_testing.slurm import SlurmTestCluster, missing_programs, running  # noqa: E402

WORKERS: Final = 8
LEASE_SECS: Final = 6.0
MARK: Final = "CHAOS_FOLDER"
TICK_SECS: Final = 0.05
COUNT_SECS: Final = 3.0  # between two counts of the jobs
SILENT_SECS: Final = 300.0  # without any result, after which a run hangs
CANCEL_SECS: Final = 180.0  # for a command to end after SIGTERM
SHOWN: Final = 5
CLEAR_SECS: Final = 240.0  # for what was killed last to be gone
PROJECT: Final = """\
[tool.furu]
path = "{store}"
lease_secs = {lease}
poll_interval_secs = 0.5

[tool.furu.slurm.specs.default]
partition = "cpu"
cpus = 2
mem_gb = 1
time_min = 60

[tool.furu.slurm.specs.gpu]
partition = "gpu"
cpus = 2
mem_gb = 1
time_min = 60
"""


class Failed(Exception):
    """The run cannot go on; the text says why."""


def main(arguments: Sequence[str]) -> int:
    """Run it, print the table, and return the exit status."""
    options = parsed(arguments)
    if reason := missing_programs():
        print(reason, file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix=f"furu-chaos-{options.seed}-"))
    print(
        f"chaos: seed {options.seed}, graphs of {options.nodes} nodes for {options.minutes:g} "
        f"minutes, in {folder}",
        flush=True,
    )
    chaos = Chaos(folder, options)
    bad = chaos.run()
    if bad:
        print(f"\nIt does not hold. Again: make chaos ARGS={chaos.again!r}\nkept: {folder}")
        return 1
    if options.keep:
        print(f"kept: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--minutes", type=float, default=10.0, help="for which there are faults")
    parser.add_argument("--nodes", type=int, default=3000, help="of a graph")
    parser.add_argument("--longest", type=float, default=2.0, help="seconds that a node takes")
    parser.add_argument("--every", type=float, default=3.0, help="seconds between two faults")
    parser.add_argument("--outage", type=float, default=20.0, help="seconds without slurmctld")
    parser.add_argument("--deadline", type=float, help="minutes after which all must be over")
    parser.add_argument("--keep", action="store_true", help="keep the folder in any case")
    options = parser.parse_args(arguments)
    if options.deadline is None:
        options.deadline = 2 * options.minutes + 10
    return options


class Experiment:
    """The user's command: it runs a graph, and is started again whenever it was killed.

    Args:
        folder: of the experiment's code.
        logs: where its output goes.
        runs: where its runs have their folders.
        environment: its environment.
        rng: says how long it takes until somebody starts it again.
    """

    def __init__(
        self,
        folder: Path,
        logs: Path,
        runs: Path,
        environment: dict[str, str],
        rng: random.Random,
    ) -> None:
        self._folder = folder
        self._runs = runs
        self._logs = logs
        self._environment = environment
        self._rng = rng
        self._process: subprocess.Popen[bytes] | None = None
        self._again_at = 0.0
        self._command: list[str] = []
        self._interrupted_at: float | None = None
        self._graphs = 0
        self.starts = 0
        self.kills = 0
        self.interrupts = 0

    def begin(self, target: list[str]) -> None:
        """Start a graph's run."""
        self._graphs += 1
        self._command = [str(Path(sys.executable).with_name("furu")), *target]
        self._start()

    def _start(self) -> None:
        self.starts += 1
        self._interrupted_at = None
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def log(self) -> Path:
        """The output of the command that was started last."""
        return self._logs / f"controller-{self.starts:03d}.log"

    def kill(self) -> bool:
        """Kill it; it is started again after a while."""
        process = self._process
        if process is None or not self._halt():
            return False
        process.kill()
        process.wait()
        self.kills += 1
        self._rest()
        return True

    def interrupt(self) -> bool:
        """Have it cancel the run and end; it is started again after that."""
        process = self._process
        if process is None or self._interrupted_at is not None or not self._halt():
            return False
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        self._interrupted_at = time.monotonic()
        self.interrupts += 1
        return True

    def _halt(self) -> bool:
        """Stop it, unless its run has ended: started once more, it would begin another one."""
        assert self._process is not None
        if self._process.poll() is not None:
            return False
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if not self._is_noted():
            return self._process.poll() is None
        self._process.send_signal(signal.SIGCONT)
        return False

    def _is_noted(self) -> bool:
        """Whether the run of the graph that was begun last has noted that it is done."""
        done = {path.parents[2] for path in self._runs.glob("*/controllers/*/ended-done")}
        return len(done) >= self._graphs

    def _rest(self) -> None:
        """Let it be started again after a while."""
        self._process = self._interrupted_at = None
        self._again_at = time.monotonic() + self._rng.choice((0.0, 1.0, 4.0)) * self._rng.random()

    def is_over(self) -> bool:
        """Whether the run has ended well; starts it again when that is due.

        Raises:
            Failed: it ended otherwise.
        """
        if self._process is None:
            if time.monotonic() >= self._again_at:
                self._start()
            return False
        status = self._process.poll()
        since = self._interrupted_at
        if status is None:
            if since is not None and time.monotonic() - since > CANCEL_SECS:
                self.dump()
                raise Failed(f"SIGTERM does not end the command, see {self.log}:\n{self.tail()}")
            return False
        if status and since is not None:
            if self._is_noted():  # it was told to end when there was little left to do
                return True
            self._rest()
            return False
        if status:
            raise Failed(f"the command ended with {status}, see {self.log}:\n{self.tail()}")
        return True

    def tail(self, lines: int = 30) -> str:
        """The end of its output."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])

    def dump(self) -> None:
        """Have it write its stacks to its output, and end."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGABRT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)

    def end(self) -> None:
        """Make sure that it does not live."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Chaos:
    """One run of this program.

    Args:
        folder: an empty folder for everything.
        options: of `parsed`.
    """

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self._folder = folder
        self._options = options
        self._began = time.monotonic()
        self._log = (folder / "chaos.log").open("w", encoding="utf-8")
        self._class = folder / "store" / "data" / "layered" / "Node"
        self._most_jobs = 0
        self._count_at = 0.0
        self._nodes: list[Any] = []
        self._rounds = 0
        shutil.copytree(FOLDER / "experiment", folder / "experiment")
        text = PROJECT.format(store=folder / "store", lease=LEASE_SECS)
        (folder / "experiment" / "pyproject.toml").write_text(text, "utf-8")
        for path in (folder / "counts", folder / "logs", self._class):
            path.mkdir(parents=True)
        (folder / "store" / "runs").mkdir()
        self._witness = Witness(self._class)

    @property
    def again(self) -> str:
        """The options that repeat this."""
        given = self._options
        return (
            f"--seed {given.seed} --minutes {given.minutes:g} --nodes {given.nodes} --longest "
            f"{given.longest:g} --every {given.every:g} --outage {given.outage:g}"
        )

    def run(self) -> bool:
        """Do it all; whether anything does not hold."""
        with running(requeue_secs=5, accounting=True) as cluster:
            experiment = Experiment(
                self._folder / "experiment",
                self._folder / "logs",
                self._folder / "store" / "runs",
                self._environment(cluster),
                random.Random(self._options.seed),
            )
            injector = Injector(
                cluster,
                experiment,
                lease=LEASE_SECS,
                outage=self._options.outage,
                note=self._note,
            )
            failure = ""
            try:
                self._compute(cluster, experiment, injector)
            except Failed as error:
                failure = str(error)
                self._note(failure)
            finally:
                injector.settle()
                if failure:
                    self._keep(cluster)
                experiment.end()
            found = self._findings(cluster, experiment, failure)
            bad = any(one.bad for one in found)
            if bad and not failure:
                self._keep(cluster)
        self._print(injector, found)
        return bad

    def _environment(self, cluster: SlurmTestCluster) -> dict[str, str]:
        kept = {k: v for k, v in cluster.environment.items() if not k.startswith("FURU_")}
        return {**kept, MARK: str(self._folder), "PYTHONFAULTHANDLER": "1"}

    # ----- while it runs

    def _compute(
        self, cluster: SlurmTestCluster, experiment: Experiment, injector: Injector
    ) -> None:
        options = self._options
        coming = blows(options.seed, options.every)
        blow = next(coming)
        self._began = now = time.monotonic()
        due = now + blow.after
        while time.monotonic() - self._began < 60 * options.minutes:
            self._begin_round(experiment)
            self._note(f"round {self._rounds} begins")
            while not experiment.is_over():
                now = time.monotonic()
                elapsed = now - self._began
                if now >= due and elapsed < 60 * options.minutes:
                    injector.inject(blow)
                    blow = next(coming)
                    due = now + blow.after
                injector.step()
                self._watch(cluster, experiment, injector)
                if elapsed > 60 * options.deadline:
                    raise Failed(f"it is not over after {options.deadline:g} minutes")
                time.sleep(TICK_SECS)
            self._note(f"round {self._rounds} is over")

    def _begin_round(self, experiment: Experiment) -> None:
        given = self._options
        seed = 1000 * given.seed + self._rounds
        self._rounds += 1
        with self._importing():
            import layered  # type: ignore[import-not-found]

            self._nodes += layered.nodes(seed, given.nodes, given.longest)
        fields = {"seed": seed, "count": given.nodes, "longest": given.longest}
        settings = [f"--set={name}={value}" for name, value in fields.items()]
        pool = ["-j", str(WORKERS), "-oidle_timeout_sec=15", "-opoll_interval_sec=0.5"]
        target = ["run", "layered:roots", "--executor", "slurm-pool"]
        experiment.begin([*target, *settings, *pool])

    @contextlib.contextmanager
    def _importing(self) -> Iterator[None]:
        place = str(self._folder / "experiment")
        if place not in sys.path:
            sys.path.insert(0, place)
        with furu_core.use_settings(path=self._folder / "store", lease_secs=LEASE_SECS):
            yield

    def _watch(self, cluster: SlurmTestCluster, experiment: Experiment, injector: Injector) -> None:
        self._witness.look()
        now = time.monotonic()
        if now - self._witness.last > SILENT_SECS:
            experiment.dump()
            raise Failed(
                f"nothing was published for {SILENT_SECS:g} s: {cluster.jobs()}\n{experiment.tail(80)}"
            )
        if now >= self._count_at and not injector.deaf:
            self._count_at = now + COUNT_SECS
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                states = Counter(job["state"] for job in cluster.jobs())
                self._most_jobs = max(self._most_jobs, states["PENDING"] + states["RUNNING"])
                self._note(f"jobs: {dict(states)}")

    def _note(self, text: str) -> None:
        elapsed = time.monotonic() - self._began
        done = sum(self._witness.published.values())
        self._log.write(f"{time.time():.3f} {elapsed:8.2f} s, {done:5} done: {text}\n")
        self._log.flush()

    # ----- when it is over

    def _findings(
        self, cluster: SlurmTestCluster, experiment: Experiment, failure: str
    ) -> list[Finding]:
        seconds = time.monotonic() - self._began
        deadline = time.monotonic() + CLEAR_SECS
        mark = f"{MARK}={self._folder}"
        while time.monotonic() < deadline and not failure:
            if not cluster.jobs() and not findings.processes_with(mark):
                break
            time.sleep(0.2)
        cleared = time.monotonic() - self._began - seconds
        self._witness.look()
        ended = Finding("commands that ended well", f"{self._rounds} in {seconds:.0f} s")
        if failure:
            ended = Finding("commands that ended well", "no", (failure,))
        too_many = (f"{self._most_jobs} jobs at once",) if self._most_jobs > WORKERS else ()
        with self._importing():
            return [
                ended,
                *findings.of_results(self._nodes),
                *findings.of_publications(self._nodes, self._witness),
                *findings.of_runs(self._folder / "store" / "runs", self._rounds, experiment),
                Finding(f"most jobs at once, of {WORKERS}", str(self._most_jobs), too_many),
                *findings.of_leftovers(self._class, mark, cluster.jobs()),
                Finding("longest time without a result", f"{self._witness.longest:.1f} s"),
                Finding("seconds until nothing was left", f"{cleared:.1f}"),
            ]

    def _keep(self, cluster: SlurmTestCluster) -> None:
        """Save what ends with the cluster."""
        shutil.copytree(cluster.folder / "log", self._folder / "slurm", dirs_exist_ok=True)
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            rows = [*cluster.squeue(), *cluster.sacct()]
            (self._folder / "slurm" / "jobs").write_text("\n".join(map(str, rows)), "utf-8")

    def _print(self, injector: Injector, found: list[Finding]) -> None:
        rows = [(f"faults: {fault.value}", str(injector.done[fault]), "") for fault in Fault]
        rows.append(("faults in all", str(injector.done.total()), ""))
        rows += [(one.what, one.seen, f"WRONG: {len(one.bad)}" if one.bad else "") for one in found]
        print(findings.table(rows))
        for one in found:
            more = f" (and {len(one.bad) - SHOWN} more)" if len(one.bad) > SHOWN else ""
            for line in one.bad[:SHOWN]:
                print(f"\n{one.what}: {line}")
            print(more, end="")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
