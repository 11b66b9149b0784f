"""How all of the user's jobs stand: one squeue for many, and sacct for those that squeue forgot.

Both are throttled, and shared by everyone in this process who asks about the same cluster. An answer
that fails or takes too long is no information; nothing is concluded from it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

import attrs

from furu_slurm._commands import Reply, call, query_environ
from furu_slurm._states import JobInfo, JobState, Snapshot

_TIMEOUT_SECS: Final = 30.0
_SACCT_AGAIN_SECS: Final = 600.0  # until a cluster without accounting is asked again
_SACCT_FAILED_SECS: Final = 15.0
_SHARE: Final = 10  # a command may take a tenth of the time, whatever the interval
_LONGEST_PAUSE_SECS: Final = 20.0
_IDS_A_CALL: Final = 500
_FIELDS: Final = ("JobArrayID", "State", "RestartCnt", "exit_code", "Reason", "Name")
_SQUEUE: Final = (
    *("squeue", "--noheader", "--array", "--states=all"),
    "--Format=" + ",".join(f"{field}:|" for field in _FIELDS),
)
_SACCT: Final = (
    *("sacct", "--allocations", "--noheader", "--parsable2"),
    "--format=JobID,State,ExitCode,JobName",
)
_NO_ACCOUNTING: Final = ("accounting storage is disabled", "cannot be started")


@attrs.define
class _Sacct:
    """What sacct said of ended jobs, which does not change any more."""

    ended: dict[str, JobInfo] = attrs.field(factory=dict)
    asked: dict[str, float] = attrs.field(factory=dict)  # ids it does not know, and since when
    next: float = 0.0


class Queue:
    """How the jobs of one user on one cluster stand.

    Args:
        interval: seconds between two looks, at least.
    """

    def __init__(self, interval: float = 2.0) -> None:
        self._interval = interval
        self._lock = threading.Lock()
        self._last: Snapshot | None = None
        self._due = 0.0
        self._sacct = _Sacct()

    def look(
        self,
        ended: Iterable[str] = (),
        *,
        newer_than: float | None = None,
        timeout: float | None = None,
    ) -> Snapshot:
        """How the jobs stand.

        Args:
            ended: ids of jobs whose end is of interest, should squeue have forgotten them.
            newer_than: a time by `time.monotonic`; an older snapshot will not do.
            timeout: seconds that a command may take.
        """
        limit = _TIMEOUT_SECS if timeout is None else timeout
        with self._lock:
            last = self._last
            now = time.monotonic()
            if last is None or now >= self._due or (newer_than and last.taken <= newer_than):
                last = self._last = self._squeue(now, limit)
            if not last.known:
                return last
            forgotten = [job_id for job_id in ended if last.job(job_id) is None]
            if not forgotten:
                return last
            return attrs.evolve(last, found={**self._of_sacct(forgotten, limit), **last.found})

    def changed(self) -> None:
        """Forget the last snapshot, because jobs were submitted or cancelled since."""
        with self._lock:
            self._due = 0.0

    def find(self, name: str, *, timeout: float) -> list[JobInfo] | None:
        """All jobs of a name, the ended ones too, asked afresh; None for no information.

        Args:
            name: the job's whole name.
            timeout: seconds that a command may take.
        """
        now = time.monotonic()
        seen = self.look(newer_than=now, timeout=timeout)
        if not seen.known:
            return None
        found = [info for info in seen.found.values() if info.name == name]
        if found:
            return found
        with self._lock:
            if now < self._sacct.next:
                return []
            reply = self._ask_sacct([f"--name={name}", "--starttime=now-2days"], timeout)
        # squeue's word stands alone where there is no accounting.
        return [info for info in parse_sacct(reply.out) if info.name == name] if reply.ok else []

    def _squeue(self, now: float, timeout: float) -> Snapshot:
        # By number: some users have no name where they run.
        command = (*_SQUEUE, f"--user={os.getuid()}")
        reply = call(command, timeout=timeout, environ=query_environ())
        self._due = now + reply.seconds + max(self._interval, _pause_after(reply))
        if not reply.ok:
            return Snapshot(False, problem=f"squeue: {reply.said}", taken=now)
        infos = {info.job_id: info for info in parse_squeue(reply.out)}
        return Snapshot(True, taken=now, found=infos)

    def _of_sacct(self, job_ids: Collection[str], timeout: float) -> Mapping[str, JobInfo]:
        sacct, now = self._sacct, time.monotonic()
        # The accounting may lag behind: a job it does not know now, it may know in a while.
        unknown = [
            job_id
            for job_id in job_ids
            if job_id not in sacct.ended and now - sacct.asked.get(job_id, -1e9) > self._interval
        ]
        # Asking for an array answers for all of its elements, and in a fraction of the time.
        numbers = numbers_of(unknown)
        for start in range(0, len(numbers), _IDS_A_CALL):
            if time.monotonic() < sacct.next:
                break
            part = numbers[start : start + _IDS_A_CALL]
            reply = self._ask_sacct([f"--jobs={','.join(part)}"], timeout)
            if not reply.ok:
                break
            sacct.asked.update(dict.fromkeys(unknown, time.monotonic()))
            for info in parse_sacct(reply.out):
                if info.state.ended:
                    sacct.ended[info.job_id] = info
        wanted = {*job_ids, *numbers_of(job_ids)}
        return {job_id: sacct.ended[job_id] for job_id in wanted if job_id in sacct.ended}

    def _ask_sacct(self, which: list[str], timeout: float) -> Reply:
        reply = call((*_SACCT, *which), timeout=timeout, environ=query_environ())
        if not reply.ok:
            never = any(words in reply.err for words in _NO_ACCOUNTING)
            pause = _SACCT_AGAIN_SECS if never else _SACCT_FAILED_SECS
            self._sacct.next = time.monotonic() + pause
        return reply


def _pause_after(reply: Reply) -> float:
    """Seconds not to ask again: little may be asked of a controller to which it means much work.

    One that was down or starting took as long without any work, and there is news when it is back.
    """
    wanted = _SHARE * reply.seconds if reply.ok else reply.seconds
    return min(wanted, _LONGEST_PAUSE_SECS)


def numbers_of(job_ids: Iterable[str]) -> list[str]:
    """The ids of jobs and of the arrays that elements belong to."""
    return sorted({job_id.partition("_")[0] for job_id in job_ids})


def parse_squeue(text: str) -> Iterator[JobInfo]:
    """The jobs in squeue's listing; lines that are none are passed over.

    Example:
        >>> next(parse_squeue("2_3|PENDING|1|0|Priority|Train.k3v9x0|")).job_id
        '2_3'
    """
    for line in text.splitlines():
        parts = line.strip().split("|", len(_FIELDS) - 1)
        if len(parts) < len(_FIELDS) or not parts[0][:1].isdigit():
            continue
        job_id, state_text, restarts, status, reason, name = parts
        state = JobState.parse(state_text)
        yield JobInfo(
            job_id=job_id,
            name=name.removesuffix("|"),
            state=state,
            restarts=int(restarts) if restarts.isdigit() else 0,
            reason="" if reason in {"None", "(null)"} else reason,
            exit_code=_raw_exit_code(status) if state.ended else None,
        )


def parse_sacct(text: str) -> Iterator[JobInfo]:
    """The jobs in sacct's listing, elements of arrays that have not started left out."""
    for line in text.splitlines():
        parts = line.strip().split("|", 3)
        if len(parts) < 4 or not parts[0].replace("_", "").isdigit():
            continue
        job_id, state_text, status, name = parts
        yield JobInfo(
            job_id=job_id,
            name=name,
            state=JobState.parse(state_text),
            reason=state_text,
            exit_code=_exit_code(status),
        )


def _raw_exit_code(text: str) -> int | None:
    """squeue shows what `wait` gave: 768 is status 3, 9 a signal."""
    if not text.isdigit():
        return _exit_code(text)
    raw = int(text)
    return 128 + (raw & 0x7F) if raw & 0x7F else raw >> 8


def _exit_code(text: str) -> int | None:
    """sacct shows them apart: ``3:0`` is status 3, ``0:9`` a signal."""
    status, _, signal = text.partition(":")
    if signal.isdigit() and int(signal):
        return 128 + int(signal)
    return int(status) if status.isdigit() else None


_queues: dict[tuple[str, ...], Queue] = {}
_queues_lock = threading.Lock()


def shared_queue() -> Queue:
    """The queue of the cluster that the environment names, one for the whole process."""
    with _queues_lock:
        return _queues.setdefault(cluster_key(), Queue())


def cluster_key() -> tuple[str, ...]:
    """What tells the cluster that the environment names from others."""
    environ = query_environ()
    return tuple(environ.get(name, "") for name in ("SLURM_CONF", "SLURM_CLUSTERS", "PATH"))
