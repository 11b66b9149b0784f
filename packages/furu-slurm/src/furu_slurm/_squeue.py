"""The states of jobs: one squeue for many, and sacct or scontrol for each that squeue does not show.

A squeue without a job proves nothing: sites answer it from a cache, and it shows only the user's own
jobs. The proof is sacct's answer that the job has ended, or scontrol's that no job has this id. All
calls are throttled, and shared by all callers in this process that ask about the same cluster. A call
that fails or takes too long gives no information; nothing is concluded from it.
"""

from __future__ import annotations

import math
import os
import re
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

import attrs

from furu_slurm._commands import (
    Configuration,
    Reply,
    call,
    cluster_key,
    configuration,
    query_environ,
)
from furu_slurm._job_names import bare_id, home_of, is_local
from furu_slurm._states import JobInfo, JobState, Snapshot, job_elsewhere

_TIMEOUT_SECS: Final = 30.0
_SACCT_AGAIN_SECS: Final = 600.0  # until a cluster without accounting is asked again
_SACCT_FAILED_SECS: Final = 15.0
_SHARE: Final = 10  # commands may take a tenth of the time, whatever the interval
_LONGEST_PAUSE_SECS: Final = 20.0
_IDS_A_CALL: Final = 500
# How long one look may ask about single jobs; those left over wait for the next look.
_ASKING_SECS: Final = 10.0
_FIELDS: Final = ("JobArrayID", "State", "RestartCnt", "exit_code", "Reason", "Name")
_SQUEUE: Final = (
    *("squeue", "--noheader", "--array", "--states=all"),
    "--Format=" + ",".join(f"{field}:|" for field in _FIELDS),
)
_SACCT: Final = (
    *("sacct", "--allocations", "--noheader", "--parsable2"),
    "--format=JobID,State,ExitCode,JobName",
)
_SCONTROL: Final = ("scontrol", "--oneliner", "--all", "show")
_NO_SUCH_JOB: Final = "Invalid job id"
NO_ACCOUNTING: Final = ("accounting storage is disabled", "cannot be started")


@attrs.define
class _Sacct:
    """The answers of sacct about ended jobs, which do not change any more."""

    ended: dict[str, JobInfo] = attrs.field(factory=dict)
    asked: dict[str, float] = attrs.field(factory=dict)  # ids it does not know, and since when
    next: float = 0.0
    fails: bool = False  # sacct failed, though the cluster has accounting


@attrs.define
class _Scontrol:
    """The answers of scontrol about single jobs and arrays."""

    found: dict[str, list[JobInfo]] = attrs.field(factory=dict)  # by number
    cut: set[str] = attrs.field(factory=set)  # numbers of arrays whose elements were not all listed
    denied: set[str] = attrs.field(factory=set)  # remembered: ids are not used again for years
    asked: dict[str, float] = attrs.field(factory=dict)  # numbers, and when they were asked for
    pause: float = 0.0  # seconds before one is asked for again
    next: float = 0.0
    problem: str = ""


class Queue:
    """The states of the jobs of one user on one cluster.

    Args:
        interval: seconds between two looks, at least.
    """

    def __init__(self, interval: float = 2.0) -> None:
        self._interval = interval
        self._lock = threading.Lock()
        self._last: Snapshot | None = None
        self._due = 0.0
        self._sacct = _Sacct()
        self._scontrol = _Scontrol()

    def look(
        self,
        wanted: Iterable[str] = (),
        *,
        newer_than: float | None = None,
        timeout: float | None = None,
    ) -> Snapshot:
        """The states of the jobs.

        Args:
            wanted: ids of jobs that are asked for one by one if squeue does not show them, except
                those whose home is another cluster.
            newer_than: a time by `time.monotonic`; an older snapshot will not do.
            timeout: seconds that a command may take.
        """
        limit = _TIMEOUT_SECS if timeout is None else timeout
        with self._lock:
            last = self._last
            now = time.monotonic()
            if last is None or now >= self._due or (newer_than and last.taken <= newer_than):
                last = self._last = self._squeue(now, limit)
            asked = list(wanted)
            if not last.known or not asked:
                return last
            slurm: Configuration | None = None
            if any(home_of(job_id) for job_id in asked):
                slurm = configuration(timeout=limit)
                last = attrs.evolve(last, home=None if slurm is None else slurm.home)
            local = {
                one: job_elsewhere(one, "a process of a machine") for one in asked if is_local(one)
            }
            seen = attrs.evolve(last, found={**local, **last.found}) if local else last
            unseen = [bare_id(one) for one in asked if seen.job(one) is None]
            if not unseen:
                return seen
            seen = attrs.evolve(seen, found={**self._of_sacct(unseen, limit), **seen.found})
            unseen = [bare_id(one) for one in asked if seen.job(one) is None]
            if not unseen:
                return seen
            seen = self._with_scontrol(seen, unseen, limit, newer_than)
            # A cluster that hides users' jobs from each other says of all of those that there is none.
            hidden = slurm is not None and slurm.hides_jobs
            denied = [
                one
                for one in asked
                if bare_id(one) in seen.denied
                and seen.job(one) is None
                and not (hidden and _is_others(one))
            ]
            return attrs.evolve(seen, denied=frozenset(denied))

    def changed(self) -> None:
        """Forget the last snapshot, because jobs were submitted or cancelled since."""
        with self._lock:
            self._due = 0.0

    def find(self, name: str, *, timeout: float, long_ago: bool = False) -> list[JobInfo] | None:
        """All jobs of a name, ended ones included, from new calls; None for no information.

        Args:
            name: the job's whole name.
            timeout: seconds that a command may take.
            long_ago: whether they may have ended so long ago that only the accounting knows them.
        """
        now = time.monotonic()
        seen = self.look(newer_than=now, timeout=timeout)
        if not seen.known:
            return None
        found = [info for info in seen.found.values() if info.name == name]
        if found:
            return found
        with self._lock:
            if now >= self._sacct.next:
                reply = self._ask_sacct([f"--name={name}", "--starttime=now-2days"], timeout)
                found = [info for info in parse_sacct(reply.out) if info.name == name]
                if reply.ok and found:
                    return found
        # squeue may have answered from a cache, and the accounting lags behind.
        reply = self._ask_scontrol("jobs", timeout=timeout)
        if not reply.ok:
            return None
        found = [info for info in parse_scontrol(reply.out) if info.name == name]
        return None if long_ago and not found and self._sacct.fails else found

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
        # The accounting may lag behind: it may soon know a job that it does not know now.
        unknown = [
            job_id
            for job_id in job_ids
            if job_id not in sacct.ended and now - sacct.asked.get(job_id, -1e9) > self._interval
        ]
        # Asking for an array gives all of its elements, and in a fraction of the time.
        numbers = numbers_of(unknown)
        for start in range(0, len(numbers), _IDS_A_CALL):
            if time.monotonic() < sacct.next:
                break
            part = numbers[start : start + _IDS_A_CALL]
            reply = self._ask_sacct([f"--jobs={','.join(part)}"], timeout)
            if not reply.ok:
                break
            sacct.asked.update(dict.fromkeys(unknown, now))
            for info in parse_sacct(reply.out):
                # Elements of the array that are asked for later have been answered as well.
                sacct.asked[info.job_id] = now
                if info.state.ended:
                    sacct.ended[info.job_id] = info
        wanted = {*job_ids, *numbers_of(job_ids)}
        return {job_id: sacct.ended[job_id] for job_id in wanted if job_id in sacct.ended}

    def _with_scontrol(
        self, seen: Snapshot, unseen: list[str], timeout: float, newer_than: float | None
    ) -> Snapshot:
        """The jobs seen so far, and the controller's answers about those that were not."""
        control, began = self._scontrol, time.monotonic()
        wanted: dict[str, list[str]] = {}
        for job_id in unseen:
            if job_id not in control.denied:
                wanted.setdefault(job_id.partition("_")[0], []).append(job_id)
        pause = max(self._interval, control.pause)
        due = began - pause if newer_than is None else newer_than
        numbers = [one for one in wanted if control.asked.get(one, -math.inf) <= due]
        if numbers and began >= control.next:
            control.problem = ""
            # The one asked for longest ago comes first, in case time is up before the last one.
            for number in sorted(numbers, key=lambda one: control.asked.get(one, -math.inf)):
                reply = self._ask_scontrol("job", number, timeout=timeout)
                found_now = list(parse_scontrol(reply.out)) if reply.ok else []
                if not found_now and _NO_SUCH_JOB not in reply.err:
                    said = (
                        "it shows no job, nor says that there is none" if reply.ok else reply.said
                    )
                    control.problem = f"scontrol: {said}"
                    control.next = time.monotonic() + _pause_after(reply)
                    break
                control.asked[number] = time.monotonic()
                control.found[number] = found_now
                if _CUT.search(reply.out):
                    control.cut.add(number)
                if time.monotonic() - began > _ASKING_SECS:
                    break
            control.pause = min(_SHARE * (time.monotonic() - began), _LONGEST_PAUSE_SECS)
        found = {info.job_id: info for one in wanted for info in control.found.get(one, ())}
        for number, job_ids in wanted.items():
            # Slurm forgets the ended elements of an array that goes on.
            if number in control.found and number not in control.cut:
                control.denied.update(job_id for job_id in job_ids if job_id not in found)
        return attrs.evolve(
            seen,
            problem=control.problem,
            found={**found, **seen.found},
            denied=frozenset(control.denied.intersection(unseen)),
        )

    def _ask_scontrol(self, *which: str, timeout: float) -> Reply:
        # Without this variable scontrol truncates long lists of an array's elements.
        environ = query_environ() | {"SLURM_BITSTR_LEN": "0"}
        return call((*_SCONTROL, *which), timeout=timeout, environ=environ)

    def _ask_sacct(self, which: list[str], timeout: float) -> Reply:
        reply = call((*_SACCT, *which), timeout=timeout, environ=query_environ())
        self._sacct.fails = False
        if not reply.ok:
            never = any(words in reply.err for words in NO_ACCOUNTING)
            pause = _SACCT_AGAIN_SECS if never else _SACCT_FAILED_SECS
            self._sacct.next = time.monotonic() + pause
            self._sacct.fails = not never
        return reply


def _is_others(job_id: str) -> bool:
    home = home_of(job_id)
    return home is not None and home.user != os.getuid()


def _pause_after(reply: Reply) -> float:
    """Seconds to wait before the next call: a controller that took long is asked less often.

    One that was down or starting took long without having any work, and has news once it is back.
    """
    wanted = _SHARE * reply.seconds if reply.ok else reply.seconds
    return min(wanted, _LONGEST_PAUSE_SECS)


def numbers_of(job_ids: Iterable[str]) -> list[str]:
    """The numbers of jobs, and of the arrays that elements belong to."""
    return sorted({job_id.partition("_")[0] for job_id in job_ids})


def parse_squeue(text: str) -> Iterator[JobInfo]:
    """The jobs in squeue's listing; other lines are skipped.

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
    """The jobs in sacct's listing, without elements of arrays that have not started."""
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


_CUT: Final = re.compile(r"ArrayTaskId=\S*\.\.\.")
_RECORD: Final = re.compile(
    r"JobId=(?P<id>\d+) (?:ArrayJobId=(?P<array>\d+) ArrayTaskId=(?P<places>\S+) )?.*?"
    r"JobName=(?P<name>.*?) UserId=.* JobState=(?P<state>\S+) Reason=(?P<reason>.*?) Dependency="
    r".* Restarts=(?P<restarts>\d+) .*?ExitCode=(?P<status>\S+)"
)


def parse_scontrol(text: str) -> Iterator[JobInfo]:
    """The jobs in ``scontrol --oneliner show job``; one line may stand for many elements of an array.

    Example:
        >>> line = (
        ...     "JobId=7 ArrayJobId=7 ArrayTaskId=2-3,5%4 JobName=Train.tok UserId=ann(1) "
        ...     "JobState=PENDING Reason=Priority Dependency=(null) Requeue=1 Restarts=1 ExitCode=0:0 "
        ... )
        >>> [info.job_id for info in parse_scontrol(line)]
        ['7_2', '7_3', '7_5']
    """
    for line in text.splitlines():
        record = _RECORD.match(line)
        if record is None:
            continue
        state = JobState.parse(record["state"])
        reason = record["reason"].replace("_", " ")
        info = JobInfo(
            job_id=record["id"],
            name=record["name"],
            state=state,
            restarts=int(record["restarts"]),
            reason="" if reason == "None" else reason,
            exit_code=_exit_code(record["status"]) if state.ended else None,
        )
        if record["array"] is None:
            yield info
            continue
        for place in _places(record["places"]):
            yield attrs.evolve(info, job_id=f"{record['array']}_{place}")


def _places(text: str) -> Iterator[int]:
    """The elements in a list such as ``0,2-8:3%5``."""
    for first, last, step in re.findall(r"(\d+)(?:-(\d+))?(?::(\d+))?", text.partition("%")[0]):
        yield from range(int(first), int(last or first) + 1, int(step or 1))


def _raw_exit_code(text: str) -> int | None:
    """The exit status in squeue's format, which is that of `wait`: 768 is status 3, 9 a signal."""
    if not text.isdigit():
        return _exit_code(text)
    raw = int(text)
    return 128 + (raw & 0x7F) if raw & 0x7F else raw >> 8


def _exit_code(text: str) -> int | None:
    """The exit status in sacct's format: ``3:0`` is status 3, ``0:9`` a signal."""
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
