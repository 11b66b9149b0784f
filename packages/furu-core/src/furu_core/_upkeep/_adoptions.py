"""Adoption: the results of one class found again as those of another, without computing or copying.

For each result of the old class, and for each that depends on it, an alias is made: an artifact of
its own under the new name and hash. Its record tells what it is an alias of, and its files are the
same ones (hard links). So readers need know nothing of aliases, and each of the two may be removed
without harm to the other. See `docs/store-format.md`.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

import attrs

from furu_core import _text, _trust
from furu_core._attempts import _attempts, _claims, _liveness, _publishing, _records
from furu_core._attempts._attempts import Attempt, LatestAttempt
from furu_core._compute import _acquire
from furu_core._config._class_names import name_of
from furu_core._config._identity import furu_hash
from furu_core._config._objects import config_class, short_name
from furu_core._context import _context
from furu_core._files import discard, list_folder, store_error, store_errors, sync_tree
from furu_core._forms import _python_text
from furu_core._locks import excluding
from furu_core._settings import _settings
from furu_core._status import _deleting, _stored_nodes
from furu_core._status._stored_nodes import class_named, node_called
from furu_core._status._stored_objects import NotMade, records_in, refs_in
from furu_core._status._trash import ANOTHER_RESULT
from furu_core._store import _adoption_records, _manifest, _record_file
from furu_core._store._adoption_records import Adoption, Alias, adoptions
from furu_core._store._layout import RECORD_FILE, VIOLATIONS, NodeRef, ref_of
from furu_core._upkeep._adopted import AdoptedObjects
from furu_core.errors import FuruError, FuruStoreError, FuruUsageError

EXECUTOR: Final = "adopt"
_COPIED_BYTES: Final = 64 << 20
_CANNOT_LINK: Final = (
    *(errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS),
)
_compact: Final = json.JSONEncoder(separators=(",", ":")).encode


@attrs.frozen
class Planned:
    """An alias that is to be made.

    Attributes:
        alias: under what name, and of which result.
        obj: the object that it is the result of.
        depends: whether its class stays, and only what it depends on was adopted.
        objects: knows what became of the objects that its record names.
    """

    alias: Alias
    obj: Any
    depends: bool
    objects: AdoptedObjects


@attrs.define
class Plan:
    """What an adoption would do.

    Attributes:
        adoption: the adoption.
        aliases: what is to be made, those first that others depend on.
        made: aliases that were made before.
        there: results that have a result under the new name already, which stays.
        refused: what cannot be adopted, by its short name, and why.
        defaults: fields that the old configs lack, with the values that they get.
    """

    adoption: Adoption
    aliases: list[Planned] = attrs.field(factory=list)
    made: list[Alias] = attrs.field(factory=list)
    there: list[Alias] = attrs.field(factory=list)
    refused: dict[str, str] = attrs.field(factory=dict)
    defaults: dict[str, str] = attrs.field(factory=dict)


# ---- the plan ----


def adoption_of(
    old: str, cls: type, *, map: Mapping[str, str], set: Mapping[str, str], drop: Mapping[str, str]
) -> Adoption:
    """An adoption that nobody has made yet.

    Args:
        old: the name in hashes of the class that computed the results.
        cls: the class that takes them over.
        map: new attributes by the old keys.
        set: values of new attributes, as tagged JSON.
        drop: values of fields that the new class lacks, as they were typed.

    Raises:
        FuruUsageError: a field is named twice, or the new class has no such field.
    """
    keys = {field.name: field.key for field in config_class(cls).fields}
    name = name_of(cls)
    for field in (*map.values(), *set):
        if field not in keys:
            raise FuruUsageError(
                f"{name.importable} has no field {field!r}" + _text.did_you_mean(field, keys),
                hint=f"it has {', '.join(keys) or 'none'}",
            )
    twice = [field for field, many in Counter([*map.values(), *set]).items() if many > 1]
    twice += [field for field in map if field in drop]
    if twice:
        raise FuruUsageError(
            f"the field {twice[0]!r} is given twice",
            hint="leave out one of --map, --set and --drop",
        )
    return Adoption(
        id=time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + f"-{os.urandom(3).hex()}",
        old=old,
        new=name.identity,
        importable=name.importable,
        map={old: keys[new] for old, new in map.items()},
        set={keys[field]: text for field, text in set.items()},
        drop=dict(drop),
    )


def plan(adoption: Adoption) -> Plan:
    """Find out what an adoption would do; nothing is changed.

    Raises:
        FuruStoreError: the store cannot be read.
    """
    before = adoptions()
    same = next((one for one in before if one.is_like(adoption)), None)
    found = Plan(adoption if same is None else same)
    objects = AdoptedObjects([*(one for one in before if one is not same), found.adoption])
    taken: dict[str, str] = {}
    for class_name, node_hash in _affected(adoption.old):
        name = node_called(class_name, node_hash).name
        try:
            obj = objects.make(class_name, node_hash)
        except NotMade as error:
            found.refused[name] = error.message
            continue
        alias = Alias(name_of(type(obj)).identity, furu_hash(obj), class_name, node_hash)
        if alias.hash == node_hash:
            continue  # it is of today's class already
        ref = ref_of(obj)
        if not os.path.exists(f"{node_called(class_name, node_hash).artifact}/{RECORD_FILE}"):
            found.refused[name] = "its record has format 1: run `furu upgrade` first"
        elif _is_foreign(node_called(class_name, node_hash).artifact):
            found.refused[name] = (
                "it was imported, and without --trust: as a second name, its pickles would be loaded"
            )
        elif alias.hash in taken:
            found.refused[name] = f"{taken[alias.hash]} would have the same hash"
        elif os.path.isdir(ref.artifact):
            known = _adopted_from(ref).get("hash") == node_hash
            (found.made if known else found.there).append(alias)
        else:
            found.aliases.append(Planned(alias, obj, class_name != adoption.old, objects))
            if class_name == adoption.old and len(found.aliases) == 1:  # the others are alike
                found.defaults = _defaults(obj, objects.keys(class_name, node_hash))
        taken.setdefault(alias.hash, name)
    return found


def _is_foreign(artifact: str) -> bool:
    """Whether a result was imported, and its pickles are not to be loaded."""
    origin = _trust.origin_of(artifact)
    return origin is not None and not origin.trusted


def _affected(old: str) -> list[tuple[str, str]]:
    """The results of a class, and then those whose configs nest one of its, the nearest first."""
    stored: dict[str, str] = {}
    parents: dict[str, set[str]] = {}
    reached: set[str] = set()
    for cls in _stored_nodes.classes():
        for node_hash in cls.published():
            stored[node_hash] = cls.name
            if cls.name == old:
                reached.add(node_hash)
            for parent, record in records_in(cls.name, node_hash):
                if record["class"] == old:
                    reached.add(parent)
                for name, ref in refs_in(record):
                    parents.setdefault(ref, set()).add(parent)
                    if name == old:
                        reached.add(ref)
    found: list[tuple[str, str]] = []
    level = reached
    while level:
        found += sorted((stored[node], node) for node in level if node in stored)
        level = {parent for node in level for parent in parents.get(node, ())} - reached
        reached |= level
    return found


def _defaults(obj: Any, given: frozenset[str]) -> dict[str, str]:
    """The fields of an object that the old config lacks, as text."""
    return {
        field.name: _text.shown(obj.__dict__[field.name])
        for field in config_class(obj).fields
        if field.key not in given
    }


def _adopted_from(ref: NodeRef) -> dict[str, Any]:
    """What the record of an artifact tells of the result that it is an alias of; empty for others."""
    with suppress(OSError, ValueError):
        told = _records.raw(ref.artifact)[1].get("adopted_from")
        if isinstance(told, dict):
            return told
    return {}


# ---- doing it ----


@attrs.define
class Done:
    """What an adoption, or taking one back, did.

    Attributes:
        aliases: those that were made, or taken back.
        failed: what could not be, by its short name, and why.
        left: aliases that were not taken back, and why.
        more: another adoption of the same class by the same one, which is still in effect.
    """

    aliases: list[Alias] = attrs.field(factory=list)
    failed: dict[str, str] = attrs.field(factory=dict)
    left: dict[Alias, str] = attrs.field(factory=dict)
    more: bool = False


def adopt(adoption: Adoption, found: Callable[[Plan], object]) -> Done:
    """Make the aliases of an adoption; those that are there already stay.

    Args:
        adoption: as `adoption_of` made it.
        found: called with the plan before anything is done.

    Raises:
        FuruStoreError: the store cannot be written, or another adoption takes too long.
    """
    done = Done()
    with _alone():
        planned = plan(adoption)
        found(planned)
        if not planned.aliases:
            return done
        known = dict.fromkeys(planned.adoption.aliases)
        known |= dict.fromkeys(one.alias for one in planned.aliases)
        # First, so that it is known what to take back, whenever this process is killed.
        attrs.evolve(planned.adoption, aliases=tuple(known)).write()
        for one in planned.aliases:
            try:
                if _make(one, planned.adoption.id):
                    done.aliases.append(one.alias)
            except FuruError as error:
                done.failed[node_called(one.alias.from_class, one.alias.from_hash).name] = str(
                    error
                )
    return done


@contextmanager
def _alone() -> Iterator[None]:
    context = attrs.evolve(_context.exec_context(), executor=EXECUTOR)
    with (
        store_errors(_adoption_records.folder()),
        excluding(f"{_adoption_records.folder()}/lock", what="adopting results"),
        _context.session(context, process_wide=True),
    ):
        yield


def _make(planned: Planned, adoption_id: str) -> bool:
    """Make one alias; False where a result is there by now."""
    obj = planned.obj
    match _acquire.acquire(obj, ref_of(obj)):
        case None:
            return False
        case LatestAttempt() as other:
            raise FuruUsageError(
                f"{short_name(obj)} is being computed by {other.who}",
                hint="wait until it has ended"
                if other.record
                else "if that died, the same command goes on after FURU_LEASE_SECS",
            )
        case Attempt() as attempt:
            published = False
            try:
                published = _publish(planned, attempt, adoption_id)
            finally:
                _publishing.clean_up(attempt, published=published)
            return published


def _publish(planned: Planned, attempt: Attempt, adoption_id: str) -> bool:
    alias = planned.alias
    source = node_called(alias.from_class, alias.from_hash).artifact
    try:
        if _manifest.check(source) is None:
            raise FuruUsageError("it was removed in this moment", hint="do the same again")
        found = _record_file.read(source)
        with store_errors(attempt.folder):
            _link_all(source, attempt.folder)
        told = json.loads(found.story)
        manifest = planned.objects.renamed_omitted(found.manifest)
    except (_manifest.DamagedArtifact, ValueError) as damage:
        raise FuruStoreError(
            f"the result is damaged: {damage}", path=source, hint="`furu verify --deep` tells more"
        ) from None
    except OSError as error:
        raise store_error(error, source, doing="read") from error
    story = _compact(_story(planned, told, attempt, adoption_id)).encode("ascii")
    with store_errors(attempt.folder):
        ours = _claims.append(attempt, manifest, story)
        if _settings.settings().durable:
            sync_tree(attempt.folder)
        if not ours or _claims.is_superseded(attempt):
            raise FuruUsageError("another process took over", hint="do the same again")
        return _publishing.publish(attempt, replace=False)


def _story(
    planned: Planned, told: dict[str, Any], attempt: Attempt, adoption_id: str
) -> dict[str, Any]:
    """How the result came to be, as the record of the first one tells it, and whose alias this is."""
    alias, objects = planned.alias, planned.objects
    story = {key: value for key, value in told.items() if key not in ("earlier", "to_python")}
    story["ended"] = {"time": time.time()}
    used = told.get("dependencies")
    if used:
        story["dependencies"] = {
            "declared": [objects.hash_now(one) for one in used.get("declared", ())],
            "used": {objects.hash_now(one): digest for one, digest in used.get("used", {}).items()},
        }
    with suppress(KeyError):  # a nested object is known by its hash alone
        text = _python_text.python_text(planned.obj, limit_chars=_python_text.LIMIT_CHARS)
        story["to_python"] = text.expression
    story["claim"] = _record_file.digest(attempt.claim).decode()
    story["made_by"] = _adoption_records.ADOPTED
    story["adopted_from"] = {
        "class": alias.from_class,
        "hash": alias.from_hash,
        "ended": told.get("ended", {}).get("time", 0.0),
        "adoption": adoption_id,
        **({"made_by": told["made_by"]} if "made_by" in told else {}),
    }
    return story


def _link_all(source: str, target: str) -> None:
    """Give all files of an artifact second names in another folder; links and folders are made anew."""
    for name, entry in _manifest.entries_below(source):
        if name in (RECORD_FILE, VIOLATIONS):
            continue
        path = f"{target}/{name}"
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), path)
        elif entry.is_dir(follow_symlinks=False):
            os.mkdir(path)
        else:
            _link(entry.path, path)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        size = os.stat(source).st_size
        if size > _COPIED_BYTES:
            raise FuruStoreError(
                f"{source} cannot have a second name ({error.strerror}), and its {_text.size(size)} are "
                "too many to be copied",
                path=source,
                hint="let the owner of the file adopt it; or say formerly= in the class, which needs no "
                "second name",
            ) from error
        # Who reads the copy trusts this user, so this user must trust whose file it was.
        with open(_trust.open_trusted(source), "rb") as old, open(target, "xb") as new:
            shutil.copyfileobj(old, new)


# ---- taking it back ----


def undo(old: str, new: str) -> Done:
    """Take the newest adoption of a class by another one back: its aliases go to the trash.

    Args:
        old, new: the names in hashes of both classes, as `_text.meant` takes them.

    Raises:
        FuruUsageError: there is none.
        FuruStoreError: the store cannot be written, or another adoption takes too long.
    """
    done = Done()
    with _alone():
        known = adoptions()
        chosen = [
            one
            for one in known
            if _text.is_called(one.old, old)
            and (_text.is_called(one.new, new) or _text.is_called(one.importable, new))
        ]
        if not chosen:
            listed = ", ".join(f"`furu adopt {one.old} {one.importable}`" for one in known)
            raise FuruUsageError(
                f"{new} has adopted nothing of {old}",
                hint=f"there is {listed}" if listed else "nothing was adopted in this store",
            )
        adoption = chosen[-1]
        done.more = len(chosen) > 1
        for alias in reversed(adoption.aliases):
            try:
                _take_back(alias, adoption, done)
            except FuruError as error:
                done.failed[node_called(alias.class_name, alias.hash).name] = str(error)
        for folder in {class_named(alias.class_name).folder for alias in adoption.aliases}:
            _prune(folder)
        only = tuple(alias for alias, why in done.left.items() if why != ANOTHER_RESULT)
        if only and not done.failed:
            attrs.evolve(adoption, aliases=only).write()  # it tells what configs in results are now
        elif not done.failed:
            adoption.remove()
    with suppress(OSError):
        if set(list_folder(_adoption_records.folder())) <= {"lock"}:
            discard(_adoption_records.folder())
    return done


def _take_back(alias: Alias, adoption: Adoption, done: Done) -> None:
    ref = node_called(alias.class_name, alias.hash)

    def is_ours() -> bool:
        return _adopted_from(ref).get("adoption") == adoption.id

    if not os.path.isdir(ref.artifact):
        _remove_attempts(ref)
    elif not is_ours():
        done.left[alias] = ANOTHER_RESULT
    elif not os.path.isdir(node_called(alias.from_class, alias.from_hash).artifact):
        done.left[alias] = (
            "the result that it is a second name of was removed, so it is the only one"
        )
    elif _deleting.delete(ref, still=is_ours):
        done.aliases.append(alias)


def _remove_attempts(ref: NodeRef) -> None:
    """Remove what a process left behind that was killed while it made an alias."""
    newest = _attempts.latest_of_any_furu(ref, lease_secs=_settings.settings().lease_secs)
    if newest is None or newest.alive:
        return
    record = newest.record
    # Its own attempts, those that removing an alias claims, which are of no config, and those that were
    # killed before they had a record.
    ours = record is None or record.executor == EXECUTOR or not record.class_name
    if ours and not (record and _liveness.may_wake(record)):
        _publishing.remove_all(ref)


def _prune(folder: str) -> None:
    """Remove the folder of a class in which nothing is left, and those above it."""
    data = f"{_settings.settings().path}/data"
    with suppress(OSError):
        while folder.startswith(f"{data}/"):
            os.rmdir(folder)
            folder = os.path.dirname(folder)
