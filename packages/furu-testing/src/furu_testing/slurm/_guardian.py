"""The process that owns a test cluster: it starts the daemons, and when it ends, nothing is left of them.

`start` starts it in a session of its own, so that a Ctrl-C meant for pytest does not reach
the daemons, and asks it over a socket in the cluster's folder to start and kill single ones. It ends
the cluster when it is told to, and when the process it watches is gone, however that one died.

All daemons and jobs are its descendants: each `slurmd` has a keeper, a process that inherits whatever
loses its parent below it, so a job stays among the keeper's descendants and is found at the end.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import pwd
import random
import select
import shlex
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from furu_testing.slurm._configuration import (
    CONTROL,
    LOCK,
    ClusterOptions,
    NodeOptions,
    pipe,
    write_configuration,
)

START_SECS: Final = 200.0
END_SECS: Final = 120.0

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_libc: Final = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")


class StartFailed(Exception):
    """The cluster does not come up; the text says what was waited for, with the end of its log."""


# ------------------------------------------------------------------------------------- processes


def processes() -> dict[int, int]:
    """The parent of each process."""
    found: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                stat = Path("/proc", entry, "stat").read_text("utf-8", "replace")
                found[int(entry)] = int(stat.rpartition(")")[2].split()[1])
    return found


def descendants(pid: int) -> list[int]:
    """Every process below one, dead ones that nobody has waited for included."""
    children: dict[int, list[int]] = {}
    for child, parent in processes().items():
        children.setdefault(parent, []).append(child)
    found: list[int] = []
    todo = [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def kill_descendants() -> None:
    """Kill everything below this process and wait for it; what is killed may fork until it dies."""
    deadline = time.monotonic() + END_SECS
    while time.monotonic() < deadline:
        reap()
        if not (left := descendants(os.getpid())):
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def reap() -> dict[int, int]:
    """Wait for children that have ended; their exit statuses."""
    ended: dict[int, int] = {}
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended[pid] = os.waitstatus_to_exitcode(status)
    return ended


def spawn(
    command: Sequence[str], log: Path, env: Mapping[str, str], *, keeper: bool = False
) -> int:
    """Fork a daemon that dies with this process.

    Args:
        command: what to run.
        log: where its output goes.
        env: its environment.
        keeper: put a process between, which inherits the orphans of what the daemon starts, and
            kills all of it when it is told to end or when this process dies.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.closerange(3, 1024)
        if keeper:
            _keep(command, env, parent)
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            os.execvpe(command[0], list(command), dict(env))
    except BaseException:  # a forked child must never return
        traceback.print_exc()
    os._exit(127)


def _keep(command: Sequence[str], env: Mapping[str, str], parent: int) -> None:
    """Be the keeper of a slurmd and of its jobs, until told to end; the end of slurmd alone ends nothing."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signals = {signal.SIGTERM, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    daemon = os.fork()
    if daemon == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.execvpe(command[0], list(command), dict(env))
    while os.getppid() == parent:
        reap()
        info = signal.sigtimedwait(signals, 5)
        if info is not None and info.si_signo == signal.SIGTERM:
            break
    kill_descendants()
    os._exit(0)


# ------------------------------------------------------------------------------------- the cluster


class Guardian:
    """Starts, kills and ends the daemons of one cluster."""

    def __init__(self, options: ClusterOptions) -> None:
        self.options = options
        self.folder = Path(options.folder)
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self.conf = self.folder / "slurm.conf"
        self.pids: dict[str, int] = {}
        self.statuses: dict[int, int] = {}
        self._reserved: list[socket.socket] = []
        self._watched: int | None = None
        self._told_to_end = False
        names = ("slurmctld", "slurmdbd", *options.node_names)
        self.ports = {name: self._free_port() for name in names}
        self.env = {
            **{
                key: value
                for key, value in os.environ.items()
                if not key.startswith(("SLURM_", "SBATCH_", "FURU_", "PYTEST_"))
            },
            "SLURM_CONF": str(self.conf),
            "MYSQL_UNIX_PORT": str(self.folder / "mysql.socket"),
        }

    def _free_port(self) -> int:
        """A port outside the range the system itself hands out, reserved among test clusters.

        Chosen and closed again, a port could go to another cluster that starts now; the name in
        the abstract namespace belongs to this process, and goes when it goes.
        """
        for _ in range(1000):
            port = random.randrange(20000, 32000)
            name = socket.socket(socket.AF_UNIX)
            with socket.socket() as probe:
                try:
                    name.bind(f"\0furu-test-port-{port}")
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    name.close()
                    continue
            self._reserved.append(name)
            return port
        raise StartFailed("no free port between 20000 and 32000")

    # ----- daemons

    def start(self, name: str) -> None:
        """Start a daemon by its name; one that runs is left alone."""
        keeper = name in self.options.node_names
        if self.running(name):
            if keeper:
                self._start_slurmd_again(name)
            return
        log = self.folder / "log" / f"{name}.out"
        self.pids[name] = spawn(self._command(name), log, self.env, keeper=keeper)

    def _command(self, name: str) -> list[str]:
        folder = self.folder
        match name:
            case "munged":
                return [
                    *("munged", "--foreground", "--force", f"--key-file={folder / 'munge.key'}"),
                    *(f"--socket={folder / 'munge.socket'}", f"--pid-file={folder / 'munge.pid'}"),
                    *(f"--log-file={folder / 'log' / 'munged.log'}", "--num-threads=4"),
                    f"--seed-file={folder / 'munge.seed'}",
                ]
            case "mariadb-install-db":
                return [name, *self._mysql(), "--skip-test-db"]
            case "mariadbd":
                return [
                    *(name, *self._mysql(), f"--socket={folder / 'mysql.socket'}"),
                    *("--skip-networking", "--skip-grant-tables"),
                    f"--pid-file={folder / 'mysql.pid'}",
                ]
            case "slurmdbd":
                return [name, "-D"]
            case "slurmctld":
                return [name, "-D", "-f", str(self.conf)]
            case _:
                return self._slurmd(name)

    def _mysql(self) -> list[str]:
        folders = [
            f"--datadir={self.folder / 'mysql'}",
            # Each server that starts removes from this folder what looks like a server's.
            f"--tmpdir={self.folder / 'mysql-tmp'}",
        ]
        return ["--no-defaults", *folders, f"--user={self.user}", *_SMALL]

    def _slurmd(self, name: str) -> list[str]:
        """A shell that starts slurmd, and again whenever somebody writes to the node's pipe.

        As process 1 of a node's own namespace it also waits for orphans, and slurmd may die alone.
        """
        options = self.options.node_options.get(name, NodeOptions())
        command = [*options.wrapper, "slurmd", "-D", "-f", str(self.conf), "-N", name]
        script = f"while :; do {shlex.join(command)}; read _ < {shlex.quote(str(pipe(self.folder, name)))}; done"
        if not options.host:
            return ["sh", "-c", script]
        secs = options.view_secs
        caches = f"attr_timeout={secs},entry_timeout={secs},negative_timeout={secs},nonempty"
        views = [
            shlex.join(["bindfs", "-o", caches, folder, view])
            for view, folder in options.views.items()
        ]
        hosts = shlex.quote(str(self.folder / f"{name}.hosts"))
        script = " && ".join(
            [
                f"hostname {shlex.quote(options.host)}",
                f"mount --bind {hosts} /etc/hosts",  # slurmd looks up its own name
                *views,
                script,
            ]
        )
        unshare = ("unshare", "--uts", "--pid", "--mount", "--fork", "--kill-child")
        return [*unshare, "--mount-proc", "sh", "-c", script]

    def _start_slurmd_again(self, node: str) -> None:
        """Start the slurmd of a node whose jobs may still run."""
        if self.slurmd_pid(node):
            return

        def told() -> bool:
            try:
                written = os.open(pipe(self.folder, node), os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:  # the shell does not read yet
                    raise
                return False
            with open(written, "wb", buffering=0) as file:
                file.write(b"again\n")
            return True

        self.wait(f"the shell of {node}", told, node, seconds=END_SECS)

    def running(self, name: str) -> bool:
        self.statuses |= reap()
        pid = self.pids.get(name)
        return pid is not None and pid not in self.statuses

    def slurmd_pid(self, node: str) -> int | None:
        """The process of a node's slurmd, as seen from here."""
        if self.running(node):
            wanted = f"\0-N\0{node}\0"
            for pid in descendants(self.pids[node]):
                with contextlib.suppress(OSError):
                    line = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
                    if line.startswith(("slurmd\0", "/usr/sbin/slurmd\0")) and wanted in line:
                        return pid
        return None

    def kill(self, name: str, number: int) -> None:
        """Signal a daemon and wait for its end; a node's name means its slurmd alone, not its jobs."""
        node = name in self.options.node_names
        pid = self.slurmd_pid(name) if node else self.pids.get(name)
        if pid is None or not self.running(name):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if number not in (signal.SIGSTOP, signal.SIGCONT):
            gone = (lambda: not self.slurmd_pid(name)) if node else lambda: not self.running(name)
            self.wait(f"the end of {name}", gone, name, seconds=END_SECS, ending=True)

    def crash(self, node: str) -> None:
        """End a node as a power cut does: slurmd and all its jobs at once."""
        if self.running(node):
            os.kill(self.pids[node], signal.SIGTERM)
            self.wait(
                f"the end of {node}",
                lambda: not self.running(node),
                node,
                seconds=END_SECS,
                ending=True,
            )

    # ----- waiting

    def wait(
        self,
        what: str,
        true: Callable[[], object],
        name: str,
        *,
        seconds: float = START_SECS,
        ending: bool = False,
    ) -> None:
        """Wait until a condition holds, or fail with the end of a daemon's log.

        Args:
            what: what is waited for.
            true: the condition.
            name: the daemon that must not end meanwhile, unless it is `ending`.
            seconds: the deadline.
            ending: its end is what is waited for.
        """
        deadline = time.monotonic() + seconds
        pause = 0.002
        while not true():
            if not ending and name in self.pids and not self.running(name):
                status = self.statuses[self.pids[name]]
                raise StartFailed(f"{name} ended with {status}, {what}{self._log_tail(name)}")
            if time.monotonic() > deadline:
                raise StartFailed(f"waited {seconds:g} s for {what}{self._log_tail(name)}")
            if self.watched_is_gone():
                raise StartFailed("the process that wanted the cluster is gone")
            time.sleep(pause)
            pause = min(2 * pause, 0.05)

    def _log_tail(self, name: str) -> str:
        text = ""
        for path in sorted((self.folder / "log").glob(f"*{name}*")):
            lines = path.read_text("utf-8", "replace").splitlines()
            if len(lines) > _HEAD + _TAIL:
                lines = [*lines[:_HEAD], "...", *lines[-_TAIL:]]
            text += f"\n--- {path.name}:\n" + "\n".join(lines)
        return text

    def watched_is_gone(self) -> bool:
        if self._told_to_end:
            return True
        if self.options.watched == 0:
            return False
        if self._watched is None:
            try:
                self._watched = os.pidfd_open(self.options.watched)
            except OSError as error:
                if error.errno != errno.ESRCH:
                    raise
                return True
        return bool(select.select([self._watched], [], [], 0)[0])

    def answers(self, port: str) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.ports[port])) == 0

    def run(self, *command: str) -> str:
        """What a command prints; not by `subprocess`, whose child `reap` would take away."""
        out = self.folder / "log" / "command.out"
        out.unlink(missing_ok=True)
        pid = spawn(command, out, self.env)
        deadline = time.monotonic() + START_SECS
        while pid not in self.statuses:
            if time.monotonic() > deadline:
                raise StartFailed(f"waited {START_SECS:g} s for the end of {shlex.join(command)}")
            self.statuses |= reap()
            time.sleep(0.002)
        return out.read_text("utf-8", "replace")

    # ----- the whole

    def start_all(self) -> None:
        if self.watched_is_gone():
            raise StartFailed("the process that wanted the cluster is gone")
        write_configuration(self.options, self.ports, self.user)
        self.start("munged")
        if self.options.accounting:
            self.start_accounting()
        self.wait("munged", (self.folder / "munge.socket").exists, "munged")
        self.start("slurmctld")
        self.wait("slurmctld to answer", lambda: self.answers("slurmctld"), "slurmctld")
        for name in self.options.node_names:
            self.start(name)
        if self.options.max_submit_jobs is not None:
            self.limit_submissions(self.options.max_submit_jobs)
        self.wait("all nodes to be idle", self.all_idle, "slurmctld")

    def start_accounting(self) -> None:
        self.start("mariadb-install-db")
        pid = self.pids["mariadb-install-db"]
        done = lambda: not self.running("mariadb-install-db")  # noqa: E731
        self.wait("the end of mariadb-install-db", done, "mariadb-install-db", ending=True)
        if self.statuses[pid] != 0:
            raise StartFailed(f"no database{self._log_tail('mariadb-install-db')}")
        self.start("mariadbd")
        self.wait("MariaDB", (self.folder / "mysql.socket").exists, "mariadbd")
        self.wait("munged", (self.folder / "munge.socket").exists, "munged")
        self.start("slurmdbd")
        self.wait("slurmdbd to answer", lambda: self.answers("slurmdbd"), "slurmdbd")

    def limit_submissions(self, number: int) -> None:
        for command in (
            ["add", "account", "tests"],
            ["add", "user", self.user, "account=tests"],
            ["modify", "user", self.user, "set", f"MaxSubmitJobs={number}"],
        ):
            self.run("sacctmgr", "-i", *command)
        limits = self.run("sacctmgr", "-n", "list", "associations", "format=MaxSubmitJobs")
        if str(number) not in limits.split():
            raise StartFailed(f"no limit of {number} jobs: sacctmgr shows {limits.split()}")

    def all_idle(self) -> bool:
        states = self.run("sinfo", "-h", "-N", "-o", "%N %T").split("\n")
        idle = {line.split()[0] for line in states if line.endswith(" idle")}
        return idle == set(self.options.node_names)

    def end(self) -> None:
        """Kill everything, and remove the folder."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
        for node in self.options.node_names:
            if self.running(node):
                os.kill(self.pids[node], signal.SIGTERM)
        deadline = time.monotonic() + 10
        while any(map(self.running, self.options.node_names)) and time.monotonic() < deadline:
            time.sleep(0.005)
        kill_descendants()
        shutil.rmtree(self.folder, ignore_errors=True)

    def serve(self, answer: Callable[[dict[str, Any]], None], wakeup: int) -> None:
        """Answer requests until told to end, or until a signal handler says so."""
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.folder / CONTROL))
            listener.listen(64)
            answer({"ready": True})
            watched = [] if self._watched is None else [self._watched]
            readable: list[socket.socket | int] = [listener, wakeup, *watched]
            while not self.watched_is_gone():
                self.statuses |= reap()
                if listener not in select.select(readable, [], [], 1)[0]:
                    continue
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(10)
                    self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        with connection.makefile("rwb") as stream:
            request = json.loads(stream.readline())
            reply: dict[str, Any] = {}
            try:
                match request["do"]:
                    case "start":
                        self.start(request["name"])
                    case "kill":
                        self.kill(request["name"], request["signal"])
                    case "crash":
                        self.crash(request["name"])
                    case "processes":
                        reply["pids"] = descendants(os.getpid())
                    case "end":
                        self._told_to_end = True
                    case unknown:
                        reply["error"] = f"nobody can {unknown}"
            except StartFailed as error:
                reply["error"] = str(error)
            except Exception:  # whoever asked is told, and the cluster stays
                reply["error"] = traceback.format_exc()
            stream.write(json.dumps(reply).encode() + b"\n")


_HEAD: Final = 15  # lines of a log that are shown, for its first error
_TAIL: Final = 15
_SMALL: Final = (
    "--innodb-log-file-size=4M",
    "--innodb-buffer-pool-size=64M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
    "--innodb-flush-method=nosync",
    "--innodb-lock-wait-timeout=900",
    "--skip-log-bin",
)


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, by which others see that its cluster lives."""
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        # Not `excluding`: it is held as long as the cluster lives, while this process forks keepers.
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


def main() -> int:
    options = ClusterOptions.from_json(sys.argv[1])
    if os.fork():
        return 0  # so that nobody has to wait for the end of the guardian
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    os.chdir("/")
    os.umask(0o077)
    wakeup, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(woken)

    def answer(message: dict[str, Any]) -> None:
        # Then the pipe is closed, or whoever started this would wait for its end.
        os.write(1, json.dumps(message).encode() + b"\n")
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)

    error = ""
    with claimed(Path(options.folder)):
        guardian = Guardian(options)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: setattr(guardian, "_told_to_end", True))
        try:
            guardian.start_all()
            guardian.serve(answer, wakeup)
        except StartFailed as failed:
            error = str(failed)
        except BaseException:
            error = traceback.format_exc()
        finally:
            guardian.end()
    if error:
        answer({"error": error})
    return bool(error)


if __name__ == "__main__":
    sys.exit(main())
