"""The class that users subclass."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, dataclass_transform

from furu_core._compute import _hit
from furu_core._compute._hit import default
from furu_core._config import _class_names, _config_class, _identity
from furu_core._config._config_class import field
from furu_core._config._objects import short_name
from furu_core._context import _context
from furu_core._files import store_error
from furu_core._settings import _settings
from furu_core._store import _published
from furu_core._store._layout import CHECKPOINT, ref_of
from furu_core.errors import FuruDefinitionError, FuruNodeError, FuruNoFolder, FuruUsageError

if TYPE_CHECKING:
    from furu_core._config._class_record import ConfigClass
    from furu_core._status._states import NodeState

T_co = TypeVar("T_co", covariant=True)


@dataclass_transform(
    kw_only_default=True, frozen_default=True, eq_default=False, field_specifiers=(field,)
)
class Furu(Generic[T_co]):
    """A computation, declared by its configuration.

    A subclass states its parameters as annotated fields and computes its result in `_create`. Equal
    parameters give an equal `furu_hash`, and the hash is where the result is stored: `get` computes
    it once and loads it ever after. Fields that are Furu objects, also in lists and dicts, are its
    dependencies. The class statement alone makes a frozen class with keyword-only arguments.

    A class that was renamed or moved keeps its results with ``formerly="train:Train"`` in its class
    statement: that stays its name in hashes and in the store. ``removed={"momentum": 0.9}`` does so
    for fields that it has no more, and `field` for those that were renamed.

    A change of the code of `_create` invalidates nothing; the code that ran is recorded with each
    result. After a change that matters, delete the results or add a field, such as ``version: int = 2``.

    Example:
        >>> from furu_core import Furu
        >>> class Square(Furu[int]):
        ...     side: int = 2
        ...
        ...     def _create(self) -> int:
        ...         return self.side**2
        >>> Square(side=3).get()
        9
        >>> Square(side=3).exists(), Square(side=4).exists()
        (True, False)
        >>> Square(side=3) == Square(side=3)
        True
    """

    if TYPE_CHECKING:
        __furu_class__: ClassVar[ConfigClass]

        @property
        def _executor_spec_key(self) -> Any:
            """Which kind of worker computes the node: text, as a class attribute, property or method."""

    else:
        _executor_spec_key = "default"

        __attrs_pre_init__ = _config_class.AttrsSeal()
        __post_init__ = _config_class.DataclassSeal()

        def __setattr__(self, name: str, value: object) -> None:
            raise _config_class.frozen(self, name)

        def __delattr__(self, name: str) -> None:
            raise _config_class.frozen(self, name)

    def __init_subclass__(
        cls,
        *,
        formerly: str | None = None,
        removed: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        try:
            super().__init_subclass__(**kwargs)
        except TypeError as error:
            if not kwargs or "takes no keyword arguments" not in str(error):
                raise  # another base class takes keyword arguments
            raise FuruDefinitionError(
                f"the class statement of {cls.__qualname__} has {', '.join(kwargs)}=, which is no "
                "option of a config class",
                hint="leave it out, or write formerly= or removed=; the code that ran is recorded with each result, and options of "
                "fields are given to field()",
            ) from None
        _config_class.define(cls, formerly=formerly, removed=removed)

    # Methods that a user may override

    @default
    def _create(self) -> T_co:
        """Compute the result; files go to `furu_dir`."""
        cls = type(self).__qualname__
        raise FuruDefinitionError(
            f"{cls} has no _create, so it cannot be computed",
            hint=f"write `def _create(self)` in {cls}, or use a subclass that has one",
        )

    @default
    def _load(self) -> T_co:
        """Load the result from `furu_dir`. A class that overrides this writes its own files there.

        Otherwise furu stores what `_create` returns and gives back an equal value.
        """
        return self.get()

    @default
    def _validate(self) -> bool | None:
        """Whether the artifact is still good; after False or any exception it is computed again."""
        return True

    @default
    def _dependencies(self) -> Iterable[Furu[Any]]:
        """Further dependencies, beside the Furu objects in fields."""
        return ()

    # Methods that a user calls

    def get(self, force: bool = False) -> T_co:
        """Load the result, or wait for the process that computes it, or compute it.

        Inside an executor it only loads: there, dependencies are computed before a node starts.

        Args:
            force: inside an executor, compute an object that is not there, if its spec key equals
                the worker's. Elsewhere it changes nothing.

        Raises:
            FuruComputeError: the code of the node raised; the original error is its `__cause__`.
            FuruMissingArtifact: inside an executor, there is no artifact.
            FuruSpecMismatch: inside an executor, `force` for another spec key.
            FuruInvalidDependency: inside an executor, the artifact was bad.
            FuruResultError: the result cannot be stored or loaded, or was computed with other
                defaults of fields that its hash leaves out.
            FuruWaitTimeout: another process computes it, for longer than `FURU_MAX_WAIT_SECS`.
            FuruStoreError: the store cannot be read or written.
        """
        try:
            found = _hit.hit(self)
            if isinstance(found, _hit.Miss):
                from furu_core._compute import (
                    _compute_or_wait,  # a program that only loads needs none
                )

                found = _compute_or_wait.compute_or_wait(self, found, force=force)
        except FuruNodeError as error:
            raise error.with_traceback(None)  # noqa: B904 - the same error, without furu's frames
        result: T_co = found
        return result

    def load_existing(self) -> T_co:
        """Load the result that is there; never compute it, nor wait for a process that does.

        Raises:
            FuruMissingArtifact: it is not there, or damaged or invalid.
            FuruResultError: it cannot be loaded, or was computed with other defaults of fields that
                its hash leaves out.
            FuruStoreError: the store cannot be read.

        Example:
            >>> from furu_testing.nodes import Leaf
            >>> Leaf().get() == Leaf().load_existing()
            True
        """
        result: T_co = _hit.load_existing(self)
        return result

    def put(self, value: T_co) -> None:  # type: ignore[misc]  # a result may be given, too
        """Store a result that was made elsewhere; its record says that furu did not compute it.

        Args:
            value: the result, as `_create` would return it.

        Raises:
            FuruUsageError: there is a result, or the node is computed now; or its class has a
                `_load` of its own, which reads files that only `_create` writes; or this is the
                code of a node in an executor.
            FuruResultError: the value cannot be stored.
            FuruStoreError: the store cannot be written.

        Example:
            >>> from furu_testing.nodes import Leaf
            >>> Leaf(x=12345).put(12345)
            >>> Leaf(x=12345).provenance()["made_by"]
            'put'
        """
        from furu_core._compute import _compute_or_wait

        _compute_or_wait.put(self, value)

    def provenance(self) -> dict[str, Any]:
        """What the record of the result tells: costs, dependencies, attempts, code and machine.

        The keys are those of the record file that `docs/store-format.md` describes; `provenance`
        has what its digest there names, and `code` its digest and the modules that it lists. `imported` tells
        of a result that `furu import` brought: `source`, `user`, `time`, and whether it is `trusted`.

        Raises:
            FuruMissingArtifact: there is no result.
        """
        from furu_core._status import _stored_nodes

        return _stored_nodes.record_of(self)

    def exists(self) -> bool:
        """Whether the result is there, in this store or in one that `FURU_ALSO` names."""
        return _published.found_ref(ref_of(self)) is not None

    def status(self) -> NodeState:
        """The node's state: done, running, queued, lost, failed, cancelled or absent."""
        from furu_core._status import _state_reader

        return _state_reader.state_at(self).told

    @classmethod
    def stored(cls, *, also: bool = False) -> list[Self]:
        """The objects of this class that have results in the store, in the order of their hashes.

        They are made from the records of the results, so no sweep is needed to find them, and nothing
        is computed. What the classes of today cannot make, because a field is gone for instance, is
        left out, and one warning tells how many and why. Objects of subclasses are not among them.

        Args:
            also: those with results in the stores of `FURU_ALSO`, too, which `get()` loads from there.

        Raises:
            FuruImportNameError: the class has no name that is valid in other processes.
            FuruStoreError: with `also`, one of these stores was made by a newer furu.

        Example:
            >>> from furu_testing.nodes import Leaf
            >>> sum(Leaf(x=x).get() for x in (3, 4))
            7
            >>> sorted(leaf.x for leaf in Leaf.stored())
            [3, 4]
        """
        from furu_core._status import _stored_objects

        return _stored_objects.stored(cls, also=also)

    def delete(self) -> bool:
        """Move the result and what failed attempts left to the trash; whether there was anything.

        For `FURU_TRASH_DAYS` the command ``furu rm --undo`` puts it back.

        Raises:
            FuruUsageError: the node is being computed, or a job that is to compute it is queued; or a pin
                keeps it.
            FuruStoreError: the store cannot be written.
        """
        from furu_core._status import _deleting, _stored_nodes
        from furu_core._upkeep import _pins

        _pins.refuse_pinned([_stored_nodes.node_of(self)])
        return _deleting.delete(ref_of(self))

    @property
    def furu_hash(self) -> str:
        """The hash of the configuration, 32 hexadecimal digits.

        Raises:
            FuruValueError: a field holds a value that has no stable hash.
            FuruImportNameError: another process could not import the class.
        """
        found: str | None = self.__dict__.get("_furu_hash")  # nearly always it is there
        return _identity.furu_hash(self) if found is None else found

    @property
    def furu_dir(self) -> Path:
        """The folder of the node's files: the artifact, or the attempt's while it is computed.

        Raises:
            FuruNoFolder: there is neither.
            FuruResultError: the artifact was computed with other defaults of fields that its hash
                leaves out.
        """
        active = _context.active(self.furu_hash)
        if active is not None:
            return Path(active.folder)
        folder = _hit.folder_of(self, ref_of(self))
        if folder is not None:
            return Path(folder)
        raise FuruNoFolder(
            f"{short_name(self)} has no folder: it is neither computed nor being computed here",
            hint="call get() first",
        )

    @property
    def checkpoint_dir(self) -> Path:
        """A folder that survives failed and killed attempts, for resuming; only inside `_create`.

        Raises:
            FuruNoFolder: the node is not being computed here.
            FuruStoreError: the folder cannot be made.
        """
        active = _context.active(self.furu_hash)
        if active is None:
            raise FuruNoFolder(
                f"{short_name(self)} has no checkpoint folder, because it is not computed here",
                hint="use checkpoint_dir in _create, and furu_dir for what shall last",
            )
        folder = f"{active.folder}.{CHECKPOINT}"
        _context.note_beside(active, CHECKPOINT)
        return _made(folder)

    @property
    def raw_dir(self) -> Path:
        """A folder shared by all nodes, for downloads and the like; furu never cleans it.

        Raises:
            FuruStoreError: the folder cannot be made.
        """
        return _made(f"{_settings.settings().path}/raw")

    # Round trips

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON values, which hold every nested configuration once."""
        from furu_core._forms import _pack

        return _pack.to_dict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Self:
        """The object that `to_dict` described.

        Raises:
            FuruValueError: the record does not fit the classes as they are now.
            FuruUsageError: it describes an object of another class.
        """
        from furu_core._forms import _pack

        obj = _pack.from_dict(record)
        if not isinstance(obj, cls):
            raise FuruUsageError(
                f"the record describes {short_name(obj)}, expected a {cls.__qualname__}",
                hint="call from_dict of that class, or Furu.from_dict for any",
            )
        return obj

    def to_python(self) -> str:
        """A Python expression that makes an equal object."""
        from furu_core._forms import _python_text

        return _python_text.python_text(self).expression

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Furu) or type(other) is not type(self):
            return NotImplemented
        return self.furu_hash == other.furu_hash

    def __hash__(self) -> int:
        return hash(self.furu_hash)

    def __repr__(self) -> str:
        from furu_core._forms import _python_text

        return _python_text.short_repr(self)

    def __reduce__(self) -> tuple[Any, ...]:
        from furu_core._forms import _pack

        return _pack.reduce(self)


def _successors(identity: str) -> Iterable[str]:
    from furu_core._store import _successors  # only where a class cannot be found

    return _successors.importables(identity)


def _adopter(identity: str, fields: Mapping[str, Any]) -> tuple[type, Mapping[str, Any]] | None:
    from furu_core._upkeep import _adopted  # only where a config cannot be made

    return _adopted.adopted(identity, fields)


_class_names.successors.append(_successors)
_class_names.adopters.append(_adopter)


def _made(folder: str) -> Path:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise store_error(error, folder) from error
    return Path(folder)
