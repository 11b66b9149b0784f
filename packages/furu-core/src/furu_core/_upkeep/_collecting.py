"""Collecting garbage: a plan of what nothing keeps, and moving exactly that to the trash.

::

    <store>/gc/<id>.json    a plan
    <store>/gc/lock         held while one is carried out

A plan's id is the digest of what would go, so it names exactly that. Before and after anything is moved, the store
is looked at again: what a run, an attempt, a result or a pin that came since reaches stays, or is put back.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import attrs

from furu_core import _trust
from furu_core._executors._run import EVENTS_FILE
from furu_core._files import list_folder, read_file, store_error, store_errors
from furu_core._import_records import FOLDER as IMPORTS
from furu_core._locks import excluding
from furu_core._record_format import RecordFormat
from furu_core._settings import _settings
from furu_core._status import _deleting, _trash
from furu_core._status._states import NodeState
from furu_core._status._stored_nodes import StoredClass, StoredNode
from furu_core._status._trash import Undone
from furu_core._store._adoption_records import ADOPTED
from furu_core._tables._facts import NodeFacts
from furu_core._text import count
from furu_core._upkeep._keepers import Keeper, KeptBy, Survey, recorded_runs
from furu_core._upkeep._space import SizeReader, staying
from furu_core._upkeep._spent_imports import spent_imports
from furu_core.errors import FuruStoreError, FuruUsageError

FOLDER: Final = "gc"
_SUFFIX: Final = ".json"
_RUNS: Final = "runs"
_SNAPSHOTS: Final = "code/snapshots"
_ENVIRONMENT: Final = (
    "environment.json"  # of a run whose nodes are jobs: among others, the snapshot that they import
)
_DIGITS: Final = 12
_SHOWN: Final = 5
_OLD_SECS: Final = 7 * 24 * 3600.0  # after which a plan that nobody carried out is removed
_NEVER: Final = frozenset({NodeState.RUNNING, NodeState.QUEUED, NodeState.UNREADABLE})


@attrs.frozen
class Doomed:
    """A node that would go.

    Attributes:
        class_name: its class, by its name in hashes.
        below: the folder of its class, below `data` in the store.
        hash: its hash.
        state: what tells its folder from one that takes its place.
    """

    class_name: str
    below: str
    hash: str
    state: str

    @property
    def node(self) -> StoredNode:
        """The node in the current store."""
        folder = f"{_settings.settings().path}/data/{self.below}"
        return StoredNode(StoredClass(self.class_name, folder), self.hash)


@attrs.frozen
class DoomedFolder:
    """What would go besides nodes: the folder of a run, a snapshot of code, or the record of an import.

    Attributes:
        path: its path in the store.
        state: what tells it from one that takes its place, or in which something happened since.
    """

    path: str
    state: str


@attrs.frozen
class GcPlan:
    """What would go.

    Attributes:
        id: the digest of the nodes and folders.
        made: when it was made.
        cutoff: what was made or used since then is kept, in seconds since 1970.
        nodes: what would go, each before all that it was made of.
        folders: those of runs and snapshots that would go, and records of imports.
        intermediate: the classes whose results go once all that was made of them is there.
    """

    id: str
    made: float
    cutoff: float
    nodes: tuple[Doomed, ...]
    folders: tuple[DoomedFolder, ...] = ()
    intermediate: tuple[str, ...] = ()


_FORMAT: Final = RecordFormat(
    GcPlan, "the record of a plan of furu gc", version=1, key="furu", next_step="make a new one"
)


@attrs.frozen
class DoomedClass:
    """The nodes of a class that would go.

    Attributes:
        name: the class, by its name in hashes.
        nodes: how many.
        size: of their files, in bytes, but those that other results share which stay.
        last_used: when one of them was last needed, as far as that is known.
        example: the facts of the largest.
    """

    name: str
    nodes: int
    size: int
    last_used: float
    example: NodeFacts


@attrs.frozen
class Proposal:
    """A plan, and what it was made from.

    Attributes:
        plan: the plan.
        survey: the nodes of the store, and what keeps them.
        keepers: what keeps each node that stays, by its hash.
        classes: what would go, by class, the largest first.
        of_others: how many nodes stay because they are other users'.
        is_noted: whether the plan is in the store, so that it can be carried out.
    """

    plan: GcPlan
    survey: Survey
    keepers: dict[str, Keeper]
    classes: list[DoomedClass]
    of_others: int
    is_noted: bool


def propose(
    keep_secs: float,
    *,
    everybody: bool = False,
    with_nodes: bool = True,
    with_runs: bool = False,
    intermediate: Iterable[str] = (),
    now: float | None = None,
) -> Proposal:
    """Plan what would go, and note the plan in the store; nothing else changes.

    Args:
        keep_secs: for how long what was made, or needed by a run, is kept.
        everybody: plan for the nodes of all users, and not only for one's own.
        with_nodes: plan for nodes, and for the records of imports of which no result is left.
        with_runs: plan for the folders of runs as well, and for snapshots of code that no other run names.
        intermediate: names of classes whose results go, too, once all that was made of them is there.
        now: the present, in seconds since 1970; default: by the clock.

    Raises:
        FuruStoreError: the store cannot be read.
    """
    present = time.time() if now is None else now
    cutoff = present - keep_secs
    survey = Survey(cutoff, present)
    classes_between = tuple(sorted(set(intermediate)))
    keepers = survey.keepers(classes_between)
    me = os.geteuid()
    of_others = 0
    chosen = []
    for node_hash, facts in survey.facts.items() if with_nodes else ():
        if node_hash in keepers or facts.state in _NEVER:
            continue
        if everybody or facts.owner == me:
            chosen.append(facts)
        else:
            of_others += 1
    # Dependents go first, so that whenever this ends what remains has all that it was made of.
    doomed = [found for facts in _dependents_first(survey, chosen) if (found := _doomed(facts))]
    folders = _doomed_folders(survey, everybody=everybody) if with_runs else []
    folders += _still_there(spent_imports(cutoff) if with_nodes else [], everybody=everybody)
    plan = GcPlan(
        _digest(doomed, folders), present, cutoff, tuple(doomed), tuple(folders), classes_between
    )
    planned = {one.hash for one in doomed}
    classes = _by_class(survey, [facts for facts in chosen if facts.node.hash in planned])
    noted = bool(doomed or folders) and _note(plan)
    return Proposal(plan, survey, keepers, classes, of_others, noted)


def _dependents_first(survey: Survey, chosen: list[NodeFacts]) -> list[NodeFacts]:
    above: dict[str, int] = dict.fromkeys((facts.node.hash for facts in chosen), 0)
    for node_hash in list(above):
        for below in survey.below(node_hash):
            if below in above:
                above[below] += 1
    ready = [node_hash for node_hash, number in above.items() if not number]
    ordered: dict[str, None] = {}
    while ready:
        node_hash = ready.pop()
        ordered[node_hash] = None
        for below in survey.below(node_hash):
            if below in above:
                above[below] -= 1
                if not above[below]:
                    ready.append(below)
    # Records that name each other in a circle are damaged; they go last.
    ordered |= dict.fromkeys(above)
    return [survey.facts[node_hash] for node_hash in ordered]


def _doomed(facts: NodeFacts) -> Doomed | None:
    node = facts.node
    data = f"{_settings.settings().path}/data/"
    with suppress(OSError):  # removed in this moment
        return Doomed(node.cls.name, node.cls.folder.removeprefix(data), node.hash, _state_of(node))
    return None


def _state_of(node: StoredNode) -> str:
    status = os.stat(node.folder)
    return f"{status.st_ino}-{status.st_mtime_ns}"


def _doomed_folders(survey: Survey, *, everybody: bool) -> list[DoomedFolder]:
    going = {run.id for run in survey.runs.values() if not survey.keeps(run)}
    paths = [f"{_RUNS}/{run_id}" for run_id in sorted(going)]
    paths += unnamed_snapshots(survey, going)
    found = _still_there(paths, everybody=everybody)
    # A snapshot goes only if all runs go that name it.
    left = going - {one.path.removeprefix(f"{_RUNS}/") for one in found}
    if left:
        unnamed = unnamed_snapshots(survey, going - left)
        found = [one for one in found if one.path.startswith(f"{_RUNS}/") or one.path in unnamed]
    return found


def _still_there(paths: Iterable[str], *, everybody: bool) -> list[DoomedFolder]:
    """What is at some paths in the store, of this user or of everybody."""
    found = []
    for path in paths:
        with suppress(OSError):  # removed in this moment
            owner = os.stat(f"{_settings.settings().path}/{path}").st_uid
            if everybody or owner == os.geteuid():
                found.append(DoomedFolder(path, _folder_state(path)))
    return found


def unnamed_snapshots(survey: Survey, without: Collection[str] = ()) -> list[str]:
    """The snapshots of code that no run names, and that nobody took since the cutoff; their paths in the store.

    Args:
        survey: the runs.
        without: the ids of runs that do not count.
    """
    store = str(_settings.settings().path)
    named: set[str] = set()
    for run_id in survey.runs:
        if run_id in without:
            continue
        try:
            told = json.loads(read_file(f"{store}/{_RUNS}/{run_id}/{_ENVIRONMENT}"))
            if told.get("snapshot"):
                named.add(os.path.basename(told["snapshot"]["folder"]))
        except FileNotFoundError:
            continue  # its nodes are computed by no jobs
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return []  # nobody can say which one its jobs import from
    found = []
    with suppress(OSError):
        for name in sorted(list_folder(f"{store}/{_SNAPSHOTS}")):
            path = f"{_SNAPSHOTS}/{name}"
            if name.startswith(".") or name in named:
                continue
            if os.stat(f"{store}/{path}").st_mtime < survey.cutoff:
                found.append(path)
    return found


def is_import_record(path: str) -> bool:
    """Whether a path in the store, of what a plan takes besides nodes, is that of the record of an import."""
    return path.startswith(f"{IMPORTS}/")


def _folder_state(path: str) -> str:
    """What changes where a folder is another one, a run in it goes on, or somebody takes a snapshot."""
    full = f"{_settings.settings().path}/{path}"
    status = os.stat(full)
    touched = status.st_mtime_ns
    with suppress(FileNotFoundError, NotADirectoryError):
        touched = max(touched, os.stat(f"{full}/{EVENTS_FILE}").st_mtime_ns)
    return f"{status.st_ino}-{touched}"


def _digest(doomed: Iterable[Doomed], folders: Iterable[DoomedFolder]) -> str:
    lines = sorted(f"{one.below}/{one.hash} {one.state}\n" for one in doomed)
    lines += sorted(f"{one.path} {one.state}\n" for one in folders)
    return hashlib.blake2b("".join(lines).encode(), digest_size=16).hexdigest()[:_DIGITS]


def _by_class(survey: Survey, chosen: list[NodeFacts]) -> list[DoomedClass]:
    last_used = survey.last_used()
    sizes = SizeReader()
    has_aliases = any(facts.made_by == ADOPTED for facts in survey.facts.values())
    kept = staying(chosen) if has_aliases else {}
    by_class: dict[str, list[tuple[int, NodeFacts]]] = {}
    for facts in chosen:
        freed = sizes.of(facts).bytes - kept.get(facts.node.hash, 0)
        by_class.setdefault(facts.node.cls.name, []).append((freed, facts))
    found = [
        DoomedClass(
            name,
            len(those),
            sum(size for size, _ in those),
            max(last_used[facts.node.hash] for _, facts in those),
            max(those, key=lambda one: (one[0], one[1].node.hash))[1],
        )
        for name, those in by_class.items()
    ]
    return sorted(found, key=lambda one: (-one.size, one.name))


# Plans in the store


def _note(plan: GcPlan) -> bool:
    folder = _folder()
    try:
        os.makedirs(folder, exist_ok=True)
        for name in list_folder(folder):  # plans that nobody carried out
            path = f"{folder}/{name}"
            if name.endswith(_SUFFIX) and time.time() - os.stat(path).st_mtime > _OLD_SECS:
                os.unlink(path)
    except OSError:
        pass  # another user's, or gone in this moment
    try:
        _FORMAT.replace(_path(plan.id), plan)
    except FuruStoreError:
        return False  # one may look, though not write
    return True


def planned(plan_id: str) -> GcPlan:
    """The plan that the beginning of an id means.

    Raises:
        FuruUsageError: it means none, or several, or that of another user.
        FuruDamagedRecord: it is not what furu wrote.
    """
    folder = _folder()
    with store_errors(folder, doing="read"):
        known = [
            name.removesuffix(_SUFFIX)
            for name in list_folder(folder)
            if name.endswith(_SUFFIX) and not name.startswith(".")
        ]
    found = [one for one in known if plan_id and one.startswith(plan_id)]
    if len(found) != 1:
        raise FuruUsageError(
            f"{plan_id!r} means {len(found)} plans" if found else f"there is no plan {plan_id!r}",
            hint="`furu gc` and `furu runs --prune` make plans, and tell their ids",
        )
    path = _path(found[0])
    with store_errors(path, doing="read"):
        owner = os.stat(path).st_uid
    if owner != os.geteuid():
        raise FuruUsageError(
            f"plan {found[0]} is {_trust.user_name(owner)}'s",
            hint="`furu gc` makes one of your own",
        )
    plan = _FORMAT.read(path)
    if plan.id != found[0] or _digest(plan.nodes, plan.folders) != plan.id:
        raise _FORMAT.damaged(path, "what is in it is not what its id names")
    return plan


def _folder() -> str:
    return f"{_settings.settings().path}/{FOLDER}"


def _path(plan_id: str) -> str:
    return f"{_folder()}/{plan_id}{_SUFFIX}"


# Carrying out


@attrs.define
class Collected:
    """What came of a plan.

    Attributes:
        taken: what was moved to the trash.
        gone: what was not there any more, because it was taken or removed before.
        left: what stays or was put back, and why.
        folders: the folders besides nodes that were moved to the trash, by their paths in the store.
        left_folders: those that stay, and why.
    """

    taken: list[Doomed] = attrs.field(factory=list)
    gone: list[Doomed] = attrs.field(factory=list)
    left: dict[Doomed, str] = attrs.field(factory=dict)
    folders: list[str] = attrs.field(factory=list)
    left_folders: dict[str, str] = attrs.field(factory=dict)


def collect(plan: GcPlan, taking: Callable[[Doomed], object] | None = None) -> Collected:
    """Move what a plan names to the trash, exactly that; again after a kill, the rest of it.

    Args:
        plan: the plan.
        taking: called with each node before it is moved.

    Raises:
        FuruUsageError: something of it is kept by now, or changed; then nothing is moved.
        FuruStoreError: the store cannot be written; what was moved stays in the trash.
    """
    if not _settings.settings().trash_days:
        raise FuruUsageError(
            "FURU_TRASH_DAYS is 0, so what is removed could not be put back",
            hint="set it to the days for which `furu gc --undo` shall work; "
            "`furu gc --empty` frees the room before",
        )
    done = Collected()
    with _alone(), _trash.removing_by(plan.id):
        survey = Survey(plan.cutoff, time.time())
        there = _check(plan, survey, done)
        stay: set[str] = set()
        for one in there:
            if one.hash in stay:
                done.left[one] = "something that stays was made of it"
                continue
            if taking is not None:
                taking(one)
            try:
                reason = _take(one)
            except FuruUsageError as error:  # somebody computes it in this moment
                reason = error.message
            except FuruStoreError as error:
                if not _is_of_this_node(error):
                    raise
                reason = error.message
            if reason is None:
                done.taken.append(one)
            elif reason:
                done.left[one] = reason
                stay |= survey.with_what_they_need([one.hash])
            else:
                done.gone.append(one)
        for folder in plan.folders:
            _take_folder(folder, done)
        _put_back_what_is_used(plan, survey, done)
    with suppress(OSError):
        os.unlink(_path(plan.id))
    return done


@contextmanager
def _alone() -> Iterator[None]:
    with store_errors(_folder()), excluding(f"{_folder()}/lock", what="collecting garbage"):
        yield


def _check(plan: GcPlan, survey: Survey, done: Collected) -> list[Doomed]:
    """What of a plan is there as it was planned.

    Raises:
        FuruUsageError: something is kept by now, or changed.
    """
    keepers = survey.keepers(plan.intermediate, plan.made)
    there = []
    refused = []
    for one in plan.nodes:
        node = one.node
        try:
            state = _state_of(node)
        except OSError:
            done.gone.append(one)
            continue
        keeper = keepers.get(one.hash)
        if keeper is not None and keeper.kind is KeptBy.AGE and keeper.name == node.name:
            refused.append(f"{node.name} was computed again since")
        elif keeper is not None:
            refused.append(f"{node.name} is reached by {keeper}")
        elif state != one.state:
            refused.append(f"{node.name} changed since")
        else:
            there.append(one)
    spent = (
        spent_imports(plan.cutoff)
        if any(is_import_record(one.path) for one in plan.folders)
        else []
    )
    unnamed = unnamed_snapshots(survey, {os.path.basename(one.path) for one in plan.folders})
    for folder in plan.folders:
        name = os.path.basename(folder.path)
        run = survey.runs.get(name)
        if run is not None and survey.keeps(run):
            refused.append(f"run {name} went on, or is kept by now")
        elif folder.path.startswith(_SNAPSHOTS) and folder.path not in unnamed:
            with suppress(OSError):
                _folder_state(folder.path)
                refused.append(f"snapshot {name} is named by a run, or was taken since")
        elif is_import_record(folder.path) and folder.path not in spent:
            with suppress(OSError):
                _folder_state(folder.path)
                refused.append(f"something that import {name} brought is there again")
    if refused:
        more = len(refused) - _SHOWN
        told = "; ".join(refused[:_SHOWN]) + (
            f"; and {count(more, 'more node')}" if more > 0 else ""
        )
        raise FuruUsageError(
            f"plan {plan.id} does not hold any more, so nothing was moved: {told}",
            hint="`furu gc` makes a new plan",
        )
    return there


def _take(one: Doomed) -> str | None:
    """Move a node to the trash: None where that was done; why it stays; empty where it is gone."""
    node = one.node
    is_same: list[bool] = []

    def is_as_planned() -> bool:
        with suppress(OSError):
            is_same.append(_was(node, one.state))
        return is_same == [True]

    if _deleting.delete(node, still=is_as_planned):
        return None
    return "it changed in this moment" if is_same == [False] else ""


def _take_folder(one: DoomedFolder, done: Collected) -> None:
    try:
        if _folder_state(one.path) != one.state:
            done.left_folders[one.path] = "it changed in this moment"
            return
        _trash.move_folder_here(one.path)
    except FileNotFoundError:
        return  # it had gone before
    except PermissionError as error:
        done.left_folders[one.path] = str(error.strerror)
    except OSError as error:
        raise store_error(error, one.path, doing="move to the trash of") from error
    else:
        done.folders.append(one.path)


def _is_of_this_node(error: FuruStoreError) -> bool:
    """Whether others may be moved though one cannot: its folder is another user's, or on another disk than the trash."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM, errno.EXDEV)


def _was(node: StoredNode, state: str) -> bool:
    """Whether a node that this process holds an attempt of has the folder that was planned."""
    folder = node.artifact
    if not os.path.isdir(folder):
        # The newest attempt is this process's own; the one before it was planned.
        begins = f"{os.path.basename(folder)}"
        numbers = [
            int(name.rpartition(".")[2])
            for name in list_folder(node.cls.folder)
            if name.startswith(f".{begins}.") and name.rpartition(".")[2].isdecimal()
        ]
        folder = node.attempt(max(numbers, default=1) - 1)
    status = os.stat(folder)
    return f"{status.st_ino}-{status.st_mtime_ns}" == state


def _put_back_what_is_used(plan: GcPlan, survey: Survey, done: Collected) -> None:
    _put_back_named_snapshots(plan, survey, done)
    keepers = survey.came_since(one.hash for one in done.taken)
    used = {one.hash: one for one in done.taken if one.hash in keepers}
    if not used:
        return
    for removal in _trash.mine():
        if removal.plan == plan.id:
            entries = [entry for entry in removal.entries() if entry.hash in used]
            # Where another result is there by now, that one is used.
            for entry in _trash.undo(removal, entries).put_back:
                one = used.pop(entry.hash, None)
                if one is not None:
                    done.taken.remove(one)
                    done.left[one] = f"it is reached by {keepers[entry.hash]}"


def _put_back_named_snapshots(plan: GcPlan, survey: Survey, done: Collected) -> None:
    """Put back snapshots that a run came to name meanwhile."""
    taken = [one for one in done.folders if one.startswith(_SNAPSHOTS)]
    new = recorded_runs(survey.runs) if taken else {}
    for run_id in new:
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            path = f"{_settings.settings().path}/{_RUNS}/{run_id}/{_ENVIRONMENT}"
            name = os.path.basename(json.loads(read_file(path))["snapshot"]["folder"])
            for removal in _trash.mine():
                if removal.plan == plan.id and f"{_SNAPSHOTS}/{name}" in removal.folders():
                    for back in _trash.undo(removal, (), [f"{_SNAPSHOTS}/{name}"]).folders:
                        done.folders.remove(back)
                        done.left_folders[back] = f"run {run_id}, which began since, names it"


# Undoing


def carried_out(*, half_emptied: bool = False) -> list[str]:
    """The ids of plans of which something is in the trash, by this user, the newest first.

    Args:
        half_emptied: also of those that were being removed for good when that was killed.
    """
    found = (
        removal.plan
        for removal in _trash.mine(half_emptied=half_emptied)
        if removal.plan and (removal.is_half_emptied or removal.folders() or removal.entries())
    )
    return list(dict.fromkeys(found))


def plan_called(plan_id: str, *, half_emptied: bool = False) -> str:
    """The id of the plan of which something is in the trash; empty means the newest one.

    Args:
        plan_id: the beginning of an id.
        half_emptied: as for `carried_out`.

    Raises:
        FuruUsageError: there is none, or several.
    """
    known = carried_out(half_emptied=half_emptied)
    found = [one for one in known if one.startswith(plan_id)]
    if not plan_id:
        found = found[:1]
    if len(found) != 1:
        what = f"of plan {plan_id!r}" if plan_id else "that `furu gc` moved there"
        raise FuruUsageError(
            f"{plan_id!r} means {len(found)} plans" if found else f"the trash has nothing {what}",
            hint="`furu rm --trash` lists what is in it",
        )
    return found[0]


def undo(plan_id: str) -> Undone:
    """Put back all that a plan moved to the trash; again after a kill, the rest of it."""
    done = Undone()
    with _alone():
        for removal in _trash.mine():
            if removal.plan == plan_id:
                one = _trash.undo(removal)
                done.put_back.extend(one.put_back)
                done.refused.extend(one.refused)
                done.folders.extend(one.folders)
                done.refused_folders.extend(one.refused_folders)
    return done


def empty(plan_ids: list[str]) -> None:
    """Remove for good what some plans moved to the trash.

    Raises:
        FuruStoreError: it cannot be removed.
    """
    with _alone():
        chosen = [one for one in _trash.mine(half_emptied=True) if one.plan in plan_ids]
        _trash.empty(chosen)
    left = [one.folder for one in chosen if os.path.isdir(one.folder)]
    if left:
        error = OSError(None, "it could not be renamed")
        raise store_error(error, left[0], doing="empty the trash in")
