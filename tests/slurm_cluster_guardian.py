"""The process that owns a test cluster: it starts the daemons, and when it ends, nothing is left of them.

`slurm_cluster.py` starts it in a session of its own, so that a Ctrl-C meant for pytest does not reach
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
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

CONTROL: Final = "control"  # the socket that answers requests
LOCK: Final = "guardian.lock"  # locked as long as the guardian lives
START_SECS: Final = 60.0

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_libc: Final = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")


def _texts(given: Iterable[object]) -> tuple[str, ...]:
    return tuple(map(str, given))


def _paths(given: Mapping[Any, Any]) -> dict[str, str]:
    return {str(view): str(folder) for view, folder in given.items()}


@attrs.frozen
class NodeOptions:
    """How one node differs from the others.

    Attributes:
        host: a host name of its own; with one, the node has a PID, mount and UTS namespace of its
            own, so that its processes cannot be looked up from outside, nor others from inside.
        views: folders that the node sees through caches, as on a network filesystem; what it sees
            and where that is outside, which may be the same path. Needs `host`.
        view_secs: how long such a cache believes what it saw.
        wrapper: a command put in front of `slurmd`.
    """

    host: str = ""
    views: Mapping[str, str] = attrs.field(factory=dict, converter=_paths)
    view_secs: float = 20.0
    wrapper: tuple[str, ...] = attrs.field(default=(), converter=_texts)


@attrs.frozen
class Options:
    """What a cluster is like.

    Attributes:
        folder: an empty folder for all its files.
        watched: the process with which the cluster ends; 0 for none.
        accounting: whether there is slurmdbd, and so `sacct`.
        nodes: how many; the last two have GPUs.
        cpus: how many each node claims to have, whatever the machine has.
        node_options: what is different with some of them, by their names.
        max_array_size: the first index that a job array must not have.
        min_job_age: seconds for which Slurm remembers a job that has ended.
        slurmd_timeout: seconds after which a node that does not answer is down.
        requeue_secs: how long a requeued job waits; Slurm takes less than 5 for 120.
        kill_wait: seconds from SIGTERM to SIGKILL.
        max_submit_jobs: how many jobs the user may have in the queue at once.
        conf: further lines of slurm.conf, or other values for those that are there.
    """

    folder: str
    watched: int = 0
    accounting: bool = True
    nodes: int = 4
    cpus: int = 8
    node_options: Mapping[str, NodeOptions] = attrs.field(factory=dict)
    max_array_size: int = 1001
    min_job_age: int = 300
    slurmd_timeout: int = 60
    requeue_secs: int = attrs.field(default=5, validator=attrs.validators.ge(5))
    kill_wait: int = 2
    max_submit_jobs: int | None = None
    conf: Mapping[str, str] = attrs.field(factory=dict)

    def to_json(self) -> str:
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Options:
        fields = json.loads(text)
        nodes = {name: NodeOptions(**given) for name, given in fields.pop("node_options").items()}
        return cls(**fields, node_options=nodes)

    @property
    def node_names(self) -> list[str]:
        return [f"n{number}" for number in range(1, self.nodes + 1)]


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


def kill_descendants(spared: Sequence[int] = ()) -> None:
    """Kill everything below this process and wait for it; what is killed may fork until it dies."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        reap()
        left = [pid for pid in descendants(os.getpid()) if pid not in spared]
        if not left:
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

    def __init__(self, options: Options) -> None:
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

    # ----- configuration

    def write_configuration(self) -> None:
        spools = [f"spool/{name}" for name in self.options.node_names]
        for name in ("state", "log", "mysql", "spool", *spools):
            (self.folder / name).mkdir()
        for name in self.options.node_names:
            os.mkfifo(self._pipe(name), 0o600)
            host = self.options.node_options.get(name, NodeOptions()).host
            hosts = f"127.0.0.1 localhost {host}\n{Path('/etc/hosts').read_text('utf-8')}"
            (self.folder / f"{name}.hosts").write_text(hosts, "utf-8")
        key = self.folder / "munge.key"
        key.touch(0o600)
        key.write_bytes(os.urandom(128))
        munge = f"socket={self.folder / 'munge.socket'}"
        self.conf.write_text(self._slurm_conf(munge), "utf-8")
        gpus = ",".join(self._gpu_nodes())
        gres = [f"NodeName={gpus} Name=gpu File={file}\n" for file in ("/dev/null", "/dev/zero")]
        (self.folder / "gres.conf").write_text("".join(gres), "utf-8")
        (self.folder / "plugstack.conf").touch()
        dbd = self.folder / "slurmdbd.conf"
        dbd.touch(0o600)
        settings = {
            "AuthType": "auth/munge",
            "AuthInfo": munge,
            "DbdHost": "localhost",
            "DbdAddr": "127.0.0.1",
            "DbdPort": self.ports["slurmdbd"],
            "SlurmUser": self.user,
            "DebugLevel": "info",
            "LogFile": self.folder / "log" / "slurmdbd.log",
            "PidFile": self.folder / "slurmdbd.pid",
            "StorageType": "accounting_storage/mysql",
            "StorageHost": "localhost",
            "StorageUser": self.user,
            "StorageLoc": "slurm",
        }
        dbd.write_text("".join(f"{key}={value}\n" for key, value in settings.items()), "utf-8")

    def _gpu_nodes(self) -> list[str]:
        return self.options.node_names[-2:]

    def _slurm_conf(self, munge: str) -> str:
        options = self.options
        host = socket.gethostname()
        settings: dict[str, object] = {
            "ClusterName": "furu",
            "SlurmctldHost": f"{host}(127.0.0.1)",
            "SlurmctldPort": self.ports["slurmctld"],
            "SlurmUser": self.user,
            "SlurmdUser": self.user,
            "AuthType": "auth/munge",
            "AuthInfo": f"{munge},cred_expire={options.requeue_secs}",
            "CredType": "cred/munge",
            "StateSaveLocation": self.folder / "state",
            "SlurmdSpoolDir": self.folder / "spool" / "%n",
            "SlurmctldPidFile": self.folder / "slurmctld.pid",
            "SlurmdPidFile": self.folder / "slurmd-%n.pid",
            "SlurmctldLogFile": self.folder / "log" / "slurmctld.log",
            "SlurmdLogFile": self.folder / "log" / "slurmd-%n.log",
            "SlurmctldDebug": "verbose",
            "SlurmdDebug": "verbose",
            "CommunicationParameters": "NoInAddrAny,NoCtldInAddrAny",
            "MpiDefault": "none",
            "MailProg": "/bin/true",
            "SwitchType": "switch/none",
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/none",
            "JobAcctGatherType": "jobacct_gather/linux",
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_Core",
            "SlurmdParameters": "config_overrides",
            "ReturnToService": 2,
            "KillWait": options.kill_wait,
            "MinJobAge": options.min_job_age,
            "SlurmdTimeout": options.slurmd_timeout,
            "MaxArraySize": options.max_array_size,
            "MaxJobCount": 50000,
            "SchedulerType": "sched/backfill",
            "SchedulerParameters": ",".join(
                (
                    "batch_sched_delay=0",
                    "sched_interval=1",
                    "bf_interval=1",
                    "default_queue_depth=500",
                )
            ),
            "PreemptType": "preempt/partition_prio",
            "PreemptMode": "REQUEUE",
            "GresTypes": "gpu",
        }
        if options.accounting:
            settings |= {
                "AccountingStorageType": "accounting_storage/slurmdbd",
                "AccountingStorageHost": "127.0.0.1",
                "AccountingStoragePort": self.ports["slurmdbd"],
                "AccountingStoragePass": self.folder / "munge.socket",
                "AccountingStorageTRES": "gres/gpu",
            }
        if options.max_submit_jobs is not None:
            settings["AccountingStorageEnforce"] = "limits"
        settings |= options.conf
        lines = [f"{key}={value}" for key, value in settings.items()]
        for name in options.node_names:
            shown = options.node_options.get(name, NodeOptions()).host or host
            gres = " Gres=gpu:2" if name in self._gpu_nodes() else ""
            lines.append(
                f"NodeName={name} NodeHostname={shown} NodeAddr=127.0.0.1 Port={self.ports[name]}"
                f" CPUs={options.cpus} RealMemory=131072{gres} State=UNKNOWN"
            )
        everywhere = ",".join(options.node_names)
        tiers = {"cpu": (everywhere, 10, "YES"), "gpu": (",".join(self._gpu_nodes()), 10, "NO")}
        tiers["urgent"] = (everywhere, 100, "NO")  # its jobs send those of the others back
        lines += [
            f"PartitionName={name} Nodes={nodes} Default={default} PriorityTier={tier}"
            f" MaxTime=INFINITE State=UP"
            for name, (nodes, tier, default) in tiers.items()
        ]
        return "".join(f"{line}\n" for line in lines)

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
                options = (f"--datadir={folder / 'mysql'}", f"--user={self.user}")
                return [name, "--no-defaults", *options, *_SMALL, "--skip-test-db"]
            case "mariadbd":
                return [
                    *(name, "--no-defaults", f"--datadir={folder / 'mysql'}"),
                    *(f"--socket={folder / 'mysql.socket'}", f"--user={self.user}"),
                    *("--skip-networking", "--skip-grant-tables", *_SMALL),
                    f"--pid-file={folder / 'mysql.pid'}",
                ]
            case "slurmdbd":
                return [name, "-D"]
            case "slurmctld":
                return [name, "-D", "-f", str(self.conf)]
            case _:
                return self._slurmd(name)

    def _slurmd(self, name: str) -> list[str]:
        """A shell that starts slurmd, and again whenever somebody writes to the node's pipe.

        As process 1 of a node's own namespace it also waits for orphans, and slurmd may die alone.
        """
        options = self.options.node_options.get(name, NodeOptions())
        command = [*options.wrapper, "slurmd", "-D", "-f", str(self.conf), "-N", name]
        script = (
            f"while :; do {shlex.join(command)}; read _ < {shlex.quote(self._pipe(name))}; done"
        )
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

    def _pipe(self, node: str) -> str:
        return str(self.folder / f"{node}.pipe")

    def _start_slurmd_again(self, node: str) -> None:
        """Start the slurmd of a node whose jobs may still run."""
        if self.slurmd_pid(node):
            return

        def told() -> bool:
            try:
                pipe = os.open(self._pipe(node), os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:  # the shell does not read yet
                    raise
                return False
            with open(pipe, "wb", buffering=0) as file:
                file.write(b"again\n")
            return True

        self.wait(f"the shell of {node}", told, node, 20)

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
            self.wait(f"the end of {name}", gone, name, 20)

    def crash(self, node: str) -> None:
        """End a node as a power cut does: slurmd and all its jobs at once."""
        if self.running(node):
            os.kill(self.pids[node], signal.SIGTERM)
            self.wait(f"the end of {node}", lambda: not self.running(node), node, 20)

    # ----- waiting

    def wait(
        self, what: str, true: Callable[[], object], name: str, seconds: float = START_SECS
    ) -> None:
        deadline = time.monotonic() + seconds
        pause = 0.002
        while not true():
            if name in self.pids and not self.running(name) and "the end of" not in what:
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
            lines = path.read_text("utf-8", "replace").splitlines()[-15:]
            text += f"\n--- end of {path.name}:\n" + "\n".join(lines)
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

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; not `subprocess.run`, whose child `reap` would take away."""
        out = self.folder / "log" / "command.out"
        out.unlink(missing_ok=True)
        pid = spawn(command, out, self.env)
        while pid not in self.statuses:
            self.statuses |= reap()
            time.sleep(0.002)
        text = out.read_text("utf-8", "replace")
        return subprocess.CompletedProcess(command, self.statuses[pid], text, "")

    # ----- the whole

    def start_all(self) -> None:
        if self.watched_is_gone():
            raise StartFailed("the process that wanted the cluster is gone")
        self.write_configuration()
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
        self.wait("the end of mariadb-install-db", done, "mariadb-install-db")
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

    def all_idle(self) -> bool:
        states = self.run("sinfo", "-h", "-N", "-o", "%N %T").stdout.split("\n")
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
            except (StartFailed, OSError) as error:
                reply["error"] = str(error)
            stream.write(json.dumps(reply).encode() + b"\n")


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
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


def main() -> int:
    options = Options.from_json(sys.argv[1])
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
