"""The queue of files: claiming, taking back, dying, and filesystems that do not tell the truth."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from furu_core import use_settings
from furu_core.errors import FuruStoreError, FuruUntrustedFile
from furu_slurm_pool._queue import _tasks
from furu_slurm_pool._queue._tasks import TASK, Claims, QueuedTask, QueueFolder
from furu_testing import wait_until

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def queue(tmp_path: Path) -> QueueFolder:
    made = _tasks.queue_folder(str(tmp_path), "default")
    made.make()
    return made


def fill(queue: QueueFolder, count: int, first: int = 1) -> list[str]:
    """Queue so many tasks; their names."""
    names = []
    for number in range(first, first + count):
        task = QueuedTask(f"{number:040x}", "001-0001.jsonl", number)
        names.append(_tasks.task_name(number, 1, task.hash))
        _tasks.enqueue(queue, names[-1], task)
    return names


def fill_fast(queue: QueueFolder, count: int) -> None:
    """Queue many tasks whose files nobody reads."""
    for number in range(count):
        name = _tasks.task_name(number, 1, f"{number:040x}")
        os.close(os.open(f"{queue.todo}/{name}", os.O_CREAT | os.O_WRONLY))


def test_a_task_is_read_as_it_was_queued(queue: QueueFolder) -> None:
    task = QueuedTask("abc", "002-0001.jsonl", 4711, rerun=True, attempt=3)
    _tasks.enqueue(queue, "001-00000001.abc", task)
    claims = Claims(queue, "w1")
    (name,) = claims.claim(1)
    assert claims.read(name) == task
    assert _tasks.hash_of(name) == "abc"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_task_of_somebody_whose_code_is_not_to_be_run_is_refused_and_left(
    queue: QueueFolder,
) -> None:
    before = os.umask(0o002)
    try:
        fill(queue, 1)
    finally:
        os.umask(before)
    claims = Claims(queue, "w1")
    (name,) = claims.claim(1)
    path = claims.path(name)
    assert os.stat(path).st_mode & 0o777 == 0o644
    with use_settings(trust_pickles="own"):
        assert claims.read(name).offset == 1
        os.chown(path, 54321, -1)
        with pytest.raises(FuruUntrustedFile, match="belongs to 54321") as caught:
            claims.read(name)
    assert str(caught.value.path) == path
    with use_settings(trust_pickles="54321"):
        assert claims.read(name).offset == 1


def test_tasks_are_claimed_in_the_order_of_queueing_by_a_worker_alone(queue: QueueFolder) -> None:
    names = fill(queue, 10)
    claims = Claims(queue, "w1")
    assert [*claims.claim(1), *claims.claim(3)] == names[:4]


def test_a_worker_claims_no_more_than_its_share(queue: QueueFolder) -> None:
    fill(queue, 8)
    first, *_others = [Claims(queue, f"w{number}") for number in range(4)]
    assert len(first.claim(64)) <= 2


def test_two_workers_of_one_name_are_refused(queue: QueueFolder) -> None:
    Claims(queue, "w1")
    with pytest.raises(FileExistsError):
        Claims(queue, "w1")


def test_a_task_that_was_taken_back_is_not_claimed(queue: QueueFolder) -> None:
    one, two = fill(queue, 2)
    claims = Claims(queue, "w1")
    assert _tasks.withdraw(queue, one)
    assert claims.claim(2) == [two]
    assert not _tasks.withdraw(queue, two)
    assert os.listdir(queue.withdrawn) == []


def test_a_dead_workers_tasks_are_found_and_the_worker_notices(queue: QueueFolder) -> None:
    names = fill(queue, 2)
    claims = Claims(queue, "w1")
    assert claims.claim(1) == names[:1]
    assert claims.is_mine()
    assert _tasks.revoke(queue, "w1") == names[:1]
    assert not claims.is_mine()
    # Nothing that it does afterwards changes the queue.
    with pytest.raises(FileNotFoundError):
        os.listdir(claims.folder)
    assert claims.claim(1) == []
    assert _tasks.waiting(queue) == names[1:]
    _tasks.remove_orphans(queue, "w1")
    assert os.listdir(queue.orphaned) == []


def test_spec_keys_become_folders_whatever_they_are() -> None:
    keys = ["default", "gpu/large", "..", ".", "a b", "ä", "%2E"]
    paths = {_tasks.queue_folder("/r", key).path for key in keys}
    assert len(paths) == len(keys)
    assert all(os.path.dirname(path) == "/r/queue" for path in paths)
    assert not any(os.path.basename(path).startswith(".") for path in paths)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"version": 1}',
        b'{"version": 2, "hash": "a"}',
        b'{"version": 1, "hash": "a", "graph": "g", "offset": "x", "rerun": 0, "attempt": 1}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_damaged_task_is_an_error_and_no_crash(data: bytes) -> None:
    with pytest.raises(FuruStoreError):
        TASK.from_bytes(data, "")


def test_a_task_file_stays_small(queue: QueueFolder) -> None:
    (name,) = fill(queue, 1)
    assert os.stat(f"{queue.todo}/{name}").st_size < 200


# Network filesystems


def test_a_claim_whose_reply_was_lost_counts(
    queue: QueueFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that did the rename, and was asked again, answers that there is no such file."""
    names = fill(queue, 3)
    real = os.rename

    def lossy(source: str, target: str) -> None:
        real(source, target)
        raise FileNotFoundError(2, "No such file or directory", source)

    claims = Claims(queue, "w1")
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", lossy)
        assert claims.claim(1) == names[:1]
        assert _tasks.withdraw(queue, names[1])
    assert claims.claim(1) == names[2:]


def test_p4_a_listing_that_shows_a_claimed_task_once_more_claims_it_once(
    queue: QueueFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that changes while it is listed, or a cache between hosts, may show a name again."""
    names = fill(queue, 2)
    monkeypatch.setattr(_tasks, "waiting", lambda _: sorted(names * 2))
    claims = Claims(queue, "w1")
    assert [*claims.claim(9), *claims.claim(9)] == names
    assert claims.claim(9) == []


def test_a_claim_that_somebody_else_got_does_not_count(
    queue: QueueFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = fill(queue, 2)
    one, two = Claims(queue, "w1"), Claims(queue, "w2")
    assert one.claim(1) + two.claim(1) == names
    assert one.claim(1) == two.claim(1) == []


# Many at once


def _claim_all(path: str, worker: str, most: int, start: Any, results: Any) -> None:
    claims = Claims(QueueFolder(path), worker)
    start.wait()
    names: list[str] = []
    while found := claims.claim(most):
        names += found
    results.put(names)


@pytest.mark.parametrize("most", [1, 16])
def test_eight_processes_at_once_claim_each_task_once(queue: QueueFolder, most: int) -> None:
    names = fill(queue, 1_000)
    start, results = FORK.Barrier(8), FORK.Queue()
    workers = [
        FORK.Process(target=_claim_all, args=(queue.path, f"w{n}", most, start, results))
        for n in range(8)
    ]
    for worker in workers:
        worker.start()
    claimed = Counter(name for _ in workers for name in results.get(timeout=200))
    for worker in workers:
        worker.join(200)
    assert claimed == Counter(names)
    assert _tasks.waiting(queue) == []


def _claim_for_ever(path: str, worker: str) -> None:
    claims = Claims(QueueFolder(path), worker)
    while True:
        for name in claims.claim(4):
            claims.clear([name])
            with open(f"{path}/done/{name}", "x"):
                pass


def test_p7_workers_killed_while_they_claim_lose_no_task(queue: QueueFolder) -> None:
    seed = int(os.environ.get("TEST_SEED", "4711"))
    chance = random.Random(seed)
    names = fill(queue, 500)
    os.mkdir(f"{queue.path}/done")
    for number in range(10):
        folders = [f"w{number}-{n}" for n in range(3)]
        workers = [
            FORK.Process(target=_claim_for_ever, args=(queue.path, claims)) for claims in folders
        ]
        for worker in workers:
            worker.start()
        _wait_for_files(f"{queue.path}/done", 20 * number + chance.randrange(1, 20))
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)
            worker.join(200)
    left = [name for worker in os.listdir(queue.claimed) for name in _left(queue, worker)]
    done = os.listdir(f"{queue.path}/done")
    waiting = _tasks.waiting(queue)
    # A task is in one place; one that was cleared away right before the kill is in none.
    everywhere = Counter([*left, *done, *waiting])
    assert set(everywhere) <= set(names)
    assert max(everywhere.values()) == 1
    assert len(names) - len(everywhere) <= 30  # one for each worker


def _wait_for_files(folder: str, count: int) -> None:
    wait_until(f"{count} files in {folder}", lambda: len(os.listdir(folder)) >= count)


def _left(queue: QueueFolder, worker: str) -> list[str]:
    return _tasks.revoke(queue, worker)


def _enqueue_for_ever(path: str, number: int) -> None:
    queue = QueueFolder(path)
    first = number * 10_000_000
    while True:
        fill(queue, 1, first=(first := first + 1))


def test_p7_a_controller_killed_while_it_queues_leaves_whole_tasks(queue: QueueFolder) -> None:
    for number in range(10):
        writer = FORK.Process(target=_enqueue_for_ever, args=(queue.path, number))
        before = len(_tasks.waiting(queue))
        writer.start()
        _wait_for_files(queue.todo, before + 5)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(200)
    for name in _tasks.waiting(queue):
        with open(f"{queue.todo}/{name}", "rb") as file:
            assert json.load(file)["hash"] == _tasks.hash_of(name)


def test_a_claim_costs_the_same_with_100_and_with_10_000_queued(
    tmp_path: Path,
) -> None:
    def calls_per_claim(count: int) -> tuple[int, int]:
        queue = _tasks.queue_folder(str(tmp_path), f"{count}")
        queue.make()
        fill_fast(queue, count)
        claims = Claims(queue, "w1")
        listings = renames = 0
        real_list, real_rename = os.listdir, os.rename

        def listdir(path: str) -> list[str]:
            nonlocal listings
            listings += 1
            return real_list(path)

        def rename(source: str, target: str) -> None:
            nonlocal renames
            renames += 1
            real_rename(source, target)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "listdir", listdir)
            patch.setattr(os, "rename", rename)
            for _ in range(100):
                assert len(claims.claim(1)) == 1
        return listings, renames

    assert calls_per_claim(100) == calls_per_claim(10_000)
