"""What a test cluster is like, and the files that tell Slurm so."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

CONTROL: Final = "control"  # the socket of the guardian, which answers requests
LOCK: Final = "guardian.lock"  # locked as long as the guardian lives


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
class ClusterOptions:
    """What a cluster is like.

    Attributes:
        folder: an empty folder for all its files.
        watched: the process with which the cluster ends; 0 for none.
        max_submit_jobs: how many jobs the user may have in the queue at once.
        accounting: whether there is slurmdbd, and so `sacct`; by default where there is a limit, for the
            start takes several times as long.
        nodes: how many; the last two have GPUs.
        cpus: how many each node claims to have, whatever the machine has.
        node_options: what is different with some of them, by their names.
        max_array_size: the first index that a job array must not have.
        min_job_age: seconds for which Slurm remembers a job that has ended.
        slurmd_timeout: seconds after which a node that does not answer is down.
        requeue_secs: how long a requeued job waits; Slurm takes less than 5 for 120.
        kill_wait: seconds from SIGTERM to SIGKILL.
        conf: further lines of slurm.conf, or other values for those that are there.
    """

    folder: str
    watched: int = 0
    max_submit_jobs: int | None = None
    accounting: bool = attrs.field()
    nodes: int = 4
    cpus: int = 8
    node_options: Mapping[str, NodeOptions] = attrs.field(factory=dict)
    max_array_size: int = 1001
    min_job_age: int = 3600  # longer than any test, of which some look at their jobs at the end
    slurmd_timeout: int = 300  # as by default; a machine that stalls loses no nodes
    requeue_secs: int = attrs.field(default=5, validator=attrs.validators.ge(5))
    kill_wait: int = 30  # a busy machine needs seconds to end well what is told to
    conf: Mapping[str, str] = attrs.field(factory=dict)

    @accounting.default
    def _accounting(self) -> bool:
        return self.max_submit_jobs is not None  # only slurmdbd knows limits

    def to_json(self) -> str:
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ClusterOptions:
        fields = json.loads(text)
        nodes = {name: NodeOptions(**given) for name, given in fields.pop("node_options").items()}
        return cls(**fields, node_options=nodes)

    @property
    def node_names(self) -> list[str]:
        return [f"n{number}" for number in range(1, self.nodes + 1)]

    @property
    def gpu_nodes(self) -> list[str]:
        return self.node_names[-2:]


def pipe(folder: Path, node: str) -> Path:
    """The named pipe to which somebody writes to have a node's slurmd started again."""
    return folder / f"{node}.pipe"


def write_configuration(options: ClusterOptions, ports: Mapping[str, int], user: str) -> None:
    """Fill a cluster's folder: configuration files, and the folders that they name.

    Args:
        options: what the cluster is like.
        ports: where slurmctld, slurmdbd and the nodes listen.
        user: as whom the daemons run.
    """
    folder = Path(options.folder)
    names = ("state", "log", "mysql", "mysql-tmp", "spool")
    for name in (*names, *(f"spool/{n}" for n in options.node_names)):
        (folder / name).mkdir()
    for name in options.node_names:
        os.mkfifo(pipe(folder, name), 0o600)
        host = options.node_options.get(name, NodeOptions()).host
        hosts = f"127.0.0.1 localhost {host}\n{Path('/etc/hosts').read_text('utf-8')}"
        (folder / f"{name}.hosts").write_text(hosts, "utf-8")
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(os.urandom(128))
    munge = f"socket={folder / 'munge.socket'}"
    (folder / "slurm.conf").write_text(_slurm_conf(options, ports, user, munge), "utf-8")
    # Any device will do: nothing keeps jobs from using it, and each counts as one GPU.
    gpus = ",".join(options.gpu_nodes)
    gres = [f"NodeName={gpus} Name=gpu File={file}\n" for file in ("/dev/null", "/dev/zero")]
    (folder / "gres.conf").write_text("".join(gres), "utf-8")
    (folder / "plugstack.conf").touch()
    dbd = folder / "slurmdbd.conf"
    dbd.touch(0o600)  # slurmdbd refuses one that others may read
    settings = {
        "AuthType": "auth/munge",
        "AuthInfo": munge,
        "DbdHost": "localhost",
        "DbdAddr": "127.0.0.1",
        "DbdPort": ports["slurmdbd"],
        "SlurmUser": user,
        "DebugLevel": "info",
        "LogFile": folder / "log" / "slurmdbd.log",
        "PidFile": folder / "slurmdbd.pid",
        "StorageType": "accounting_storage/mysql",
        "StorageHost": "localhost",
        "StorageUser": user,
        "StorageLoc": "slurm",
    }
    dbd.write_text("".join(f"{key}={value}\n" for key, value in settings.items()), "utf-8")


def _slurm_conf(options: ClusterOptions, ports: Mapping[str, int], user: str, munge: str) -> str:
    folder = Path(options.folder)
    host = socket.gethostname()
    settings: dict[str, object] = {
        "ClusterName": "furu",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmctldPort": ports["slurmctld"],
        "SlurmUser": user,
        "SlurmdUser": user,
        "AuthType": "auth/munge",
        "AuthInfo": f"{munge},cred_expire={options.requeue_secs}",
        "CredType": "cred/munge",
        "StateSaveLocation": folder / "state",
        "SlurmdSpoolDir": folder / "spool" / "%n",
        "SlurmctldPidFile": folder / "slurmctld.pid",
        "SlurmdPidFile": folder / "slurmd-%n.pid",
        "SlurmctldLogFile": folder / "log" / "slurmctld.log",
        "SlurmdLogFile": folder / "log" / "slurmd-%n.log",
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
            "AccountingStoragePort": ports["slurmdbd"],
            "AccountingStoragePass": folder / "munge.socket",
            "AccountingStorageTRES": "gres/gpu",
        }
    if options.max_submit_jobs is not None:
        settings["AccountingStorageEnforce"] = "limits"
    settings |= options.conf
    lines = [f"{key}={value}" for key, value in settings.items()]
    for name in options.node_names:
        shown = options.node_options.get(name, NodeOptions()).host or host
        gres = " Gres=gpu:2" if name in options.gpu_nodes else ""
        lines.append(
            f"NodeName={name} NodeHostname={shown} NodeAddr=127.0.0.1 Port={ports[name]}"
            f" CPUs={options.cpus} RealMemory=131072{gres} State=UNKNOWN"
        )
    everywhere = ",".join(options.node_names)
    tiers = {"cpu": (everywhere, 10, "YES"), "gpu": (",".join(options.gpu_nodes), 10, "NO")}
    tiers["urgent"] = (everywhere, 100, "NO")  # its jobs send those of the others back
    lines += [
        f"PartitionName={name} Nodes={nodes} Default={default} PriorityTier={tier}"
        f" MaxTime=INFINITE State=UP"
        for name, (nodes, tier, default) in tiers.items()
    ]
    return "".join(f"{line}\n" for line in lines)
