"""Graphs of config objects as flat tables: dicts for JSON, bytes for other processes.

Each distinct object is in a table once and names the objects nested in it, so the cost is linear
however objects are shared, and nothing recurses however deep they nest.
"""

from __future__ import annotations

import io
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any

from furu_core._config._class_names import adopters, name_of, resolve, successor_of
from furu_core._config._identity import are_same, furu_hash, is_packed, nested, variant
from furu_core._config._objects import config_class
from furu_core._forms._tagged_json import Writer, read
from furu_core._text import error_text, shown
from furu_core.errors import FuruFormatError, FuruImportNameError, FuruValueError

if TYPE_CHECKING:
    from furu_core._config._class_record import ConfigClass

FORMAT = 1

# Beyond this, pickling nested objects one inside the other might exceed Python's recursion limit.
_SHALLOW = 30


def node_key(obj: Any) -> str:
    """An object's key in a table: its hash, and a text that tells it from others of that hash."""
    differs = variant(obj)
    return f"{furu_hash(obj)}~{differs}" if differs else furu_hash(obj)


def closure(obj: Any, known: Container[str] = ()) -> list[tuple[str, Any]]:
    """An object and all that is nested in it, each once, inner ones first, with their keys.

    Args:
        obj: the object.
        known: keys of objects to leave out, with all that is nested in them.
    """
    found: list[tuple[str, Any]] = []
    state: dict[str, bool] = {}  # False: its nested objects are on the stack; True: done
    stack = [(node_key(obj), obj)]
    while stack:
        key, current = stack[-1]
        done = state.get(key)
        if done is None and key not in known:
            state[key] = False
            stack.extend((node_key(child), child) for child in reversed(nested(current)))
            continue
        stack.pop()
        if done is False:
            state[key] = True
            found.append((key, current))
    return found


# ---- dicts ----


def to_dict(obj: Any) -> dict[str, Any]:
    """A config object and all that is nested in it as a table that JSON can hold."""
    nodes = {key: node_record(node, REFERRING) for key, node in closure(obj)}
    return {"furu": FORMAT, "root": node_key(obj), "nodes": nodes}


def shallow_dict(obj: Any) -> dict[str, Any]:
    """A config object alone, with nested objects given by hash and class.

    Nested ones that have no `_create`, and so never a record of their own, are written in it, unless
    they are many: a record must not hold a whole graph.
    """
    record = {"furu": FORMAT, "hash": furu_hash(obj), **node_record(obj, _NAMING)}
    inner = [child for child in nested(obj) if not _is_computed(child)]
    if inner:
        nodes: dict[str, Any] = {}
        while inner and len(nodes) <= _INLINED:
            child = inner.pop()
            if nodes.setdefault(furu_hash(child), child) is child:
                inner += [one for one in nested(child) if not _is_computed(one)]
        if len(nodes) <= _INLINED:
            record["nodes"] = {key: node_record(child, _NAMING) for key, child in nodes.items()}
    return record


_INLINED = 20


def _is_computed(obj: Any) -> bool:
    return not hasattr(type(obj)._create, "__furu_default__")


def node_record(obj: Any, writer: Writer) -> dict[str, Any]:
    """The class and fields of one object; `writer` decides how nested ones are named."""
    name = name_of(type(obj))
    record: dict[str, Any] = {"class": name.identity}
    if name.importable != name.identity:
        record["import"] = name.importable
    known = obj.__dict__
    compiled = config_class(obj)
    record["fields"] = {f.key: writer.write(known[f.name]) for f in compiled.fields}
    if compiled.removed:
        record["fields"] |= {key: writer.write(value) for key, value in compiled.removed.items()}
    return record


REFERRING = Writer(lambda obj: {"$ref": node_key(obj)}, exact=False)
_NAMING = Writer(
    lambda obj: {"$ref": furu_hash(obj), "class": name_of(type(obj)).identity}, exact=False
)


def from_dict(record: Mapping[str, Any]) -> Any:
    """The object that `to_dict` described.

    Raises:
        FuruValueError: the record does not fit the present classes; the message says where.
        FuruFormatError: the record was written by a newer furu.
        FuruImportNameError: a class cannot be found.
    """
    try:
        version, root, nodes = record["furu"], record["root"], record["nodes"]
    except (KeyError, TypeError):
        raise FuruValueError(
            "the record describes no config object: it lacks 'furu', 'root' or 'nodes'",
            hint="give what `to_dict` returned",
        ) from None
    if version != FORMAT:
        raise FuruFormatError(
            f"the record has format version {version!r}, this furu reads up to {FORMAT}",
            hint="use the furu that wrote it, or a newer one",
        )
    built: dict[str, Any] = {}
    stack = [root]
    waiting: set[str] = set()
    moved = False  # whether an object has another hash now, since its class took over the old one's
    while stack:
        key = stack[-1]
        if key in built:
            stack.pop()
            continue
        if key not in nodes:
            raise FuruValueError(
                f"the record refers to {key}, which it does not hold",
                hint="the record is incomplete",
            )
        node = nodes[key]
        # The class first: values in fields may be of classes that its module imports.
        cls = _class_of(node["class"], node.get("import"))
        missing: list[str] = []
        fields = read_fields(node, built, missing)
        if missing:
            if key in waiting:
                raise FuruValueError(
                    f"in the record, {key} contains itself",
                    hint="config objects nest, they do not loop: the record is not of `to_dict`",
                )
            waiting.add(key)
            stack.extend(reversed(missing))
            continue
        stack.pop()
        built[key] = obj = _made(cls, node["class"], fields, None if moved else key)
        moved = moved or _is_another(obj, key)
    return built[root]


# Classes that were not found, and whose configs are of another one now: a search takes long.
_adopted: dict[str, FuruImportNameError] = {}


def _class_of(identity: str, importable: str | None) -> type | FuruImportNameError:
    """The class of a name, or why it is not found; then `_made` knows more."""
    missing = _adopted.get(identity)
    if missing is not None:
        return missing
    try:
        return resolve(identity, importable)
    except FuruImportNameError as error:
        return error  # not to be tried again: it may have executed half of a module


def _made(
    cls: type | FuruImportNameError, identity: str, fields: Mapping[str, Any], expected: str | None
) -> Any:
    """The object with these fields: of its class, or of the one that took over what it computed.

    Args:
        cls: its class, or why that is not found.
        identity: the name of its class in hashes.
        fields: the values, by their keys.
        expected: as for `build`.
    """
    try:
        if isinstance(cls, FuruImportNameError):
            raise cls
        return build(cls, fields, expected)
    except (FuruImportNameError, FuruValueError):
        for adopter in adopters:
            found = adopter(identity, fields)
            if found is not None:
                if isinstance(cls, FuruImportNameError):
                    _adopted[identity] = cls
                return build(*found)
        _adopted.pop(identity, None)
        raise


def _is_another(obj: Any, key: str) -> bool:
    return furu_hash(obj) != key.partition("~")[0]


def _made_otherwise(identity: str, fields: Mapping[str, Any]) -> Any | None:
    for adopter in adopters:
        found = adopter(identity, fields)
        if found is not None:
            return build(*found)
    return None


def read_fields(
    node: Mapping[str, Any], built: Mapping[str, Any], missing: list[str]
) -> dict[str, Any]:
    """The fields of a `node_record`; keys of nested objects not in `built` go to `missing`."""

    def object_hook(tag: str, payload: Any) -> Any:
        if tag != "ref":
            raise FuruValueError(
                f"the record of a {node['class']} holds an unknown tag ${tag}",
                hint="it may be the work of a newer furu",
            )
        found = built.get(payload)
        if found is None:
            missing.append(payload)
        return found

    fields: dict[str, Any] = {}
    for name, written in node["fields"].items():
        try:
            fields[name] = read(written, object_hook)
        except TypeError:
            # The placeholder of an object that is not built yet may be where it must be hashable.
            if not missing:
                raise
    return fields


def build(cls: type, fields: Mapping[str, Any], expected: str | None = None) -> Any:
    """An object with these values, as if it had been made with them.

    The constructor is not called: converters and validators ran when the first object was made, and
    may need what is not there any more, or not here. Values are fitted to their annotations, since
    a record may have been edited; `__attrs_post_init__` is called, since only fields are recorded.
    """
    compiled = config_class(cls)  # first: any class could be named in a record
    obj: Any = object.__new__(cls)
    known = obj.__dict__
    specs = compiled.fields
    for spec in specs:
        if spec.key in fields:
            known[spec.name] = spec.fit(fields[spec.key])
        elif spec.make_default is not None:
            known[spec.name] = spec.make_default()
        else:
            raise FuruValueError(
                f"the record of a {cls.__name__} lacks the field {spec.key!r}",
                hint="was the field added since? Give it a default and omit_default_from_hash=True",
            )
    if hasattr(cls, "__attrs_post_init__"):
        _finish(obj)
    if compiled.removed:
        fields = _without_removed(compiled, fields)
    if len(fields) != len(specs) or expected is not None:
        _check_build(cls, obj, fields, expected)
    return obj


def _finish(obj: Any) -> None:
    """Call `__attrs_post_init__`, which must set the fields as it did the first time."""
    cls, known = type(obj), obj.__dict__
    before = known.copy()
    try:
        obj.__attrs_post_init__()
        config_class(cls).refit(obj)
    except Exception as error:  # it is the user's code
        raise FuruValueError(
            f"{cls.__name__}.__attrs_post_init__ raised {type(error).__name__} when an equal object "
            f"was made from the fields of one: {error_text(error)}",
            hint="it is called in every process that is given the object: let it depend on the "
            "fields alone",
        ) from error
    for name, value in before.items():
        if known[name] is not value and not are_same(known[name], value):
            raise FuruValueError(
                f"{cls.__name__}.__attrs_post_init__ made {shown(known[name])} of "
                f"{shown(value)}, which it had made itself, in the field {name!r}",
                hint="let it change nothing in fields that it was given back, or keep what it "
                "derives in an attribute that is no field",
            )


def _without_removed(compiled: ConfigClass, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that the class still has, after a look whether the removed ones have the value that it says."""
    for key, value in compiled.removed.items():
        if key in fields and not are_same(fields[key], value):
            raise FuruValueError(
                f"the record of a {compiled.cls.__name__} has {key}={shown(fields[key])}, and the class "
                f"stands for results with {value!r}, as removed= in its class statement says",
                hint=f"to make this object, the class needs the field {key!r} again",
            )
    return {key: value for key, value in fields.items() if key not in compiled.removed}


def _check_build(cls: type, obj: Any, fields: Mapping[str, Any], expected: str | None) -> None:
    names = [spec.key for spec in config_class(cls).fields]
    unknown = sorted(fields.keys() - set(names))
    if unknown:
        raise FuruValueError(
            f"the record of a {cls.__name__} has fields that the class lacks: {', '.join(unknown)}",
            hint="were they removed or renamed since? A renamed field says so, "
            "field(formerly='...'), and a class with a removed one: removed={'...': value}",
        )
    if expected is None:
        return
    expected_hash = expected.partition("~")[0]
    if furu_hash(obj) != expected_hash:
        added = [name for name in names if name not in fields]
        why = f"; the record lacks {', '.join(added)}" if added else ""
        raise FuruValueError(
            f"{cls.__name__} was recorded with the hash {expected_hash}, and the class of today "
            f"gives the same values {furu_hash(obj)}{why}",
            hint="the class was edited since: mark added fields with omit_default_from_hash=True",
        )


# ---- bytes ----


def reduce(obj: Any) -> tuple[Any, ...]:
    """What ``__reduce__`` returns for a config object."""
    cls = type(obj)
    token: Any = cls
    try:
        if _height(obj) > _SHALLOW or is_packed(obj):
            return unpack_one, (Packer().pack(obj),)
        # By its names, which lead to the class also after it was renamed.
        name = name_of(cls)
        token = (name.identity, name.importable)
    except (FuruImportNameError, FuruValueError):
        pass  # it has no hash, so it is pickled as any object is
    known = obj.__dict__
    return restore, (token, {spec.key: known[spec.name] for spec in config_class(cls).fields})


def restore(token: Any, fields: Mapping[str, Any]) -> Any:
    """The object that `reduce` described; pickles refer to this function by name."""
    if isinstance(token, type):
        return build(successor_of(token), fields)
    identity, importable = token
    return _made(_class_of(identity, importable), identity, fields, None)


def unpack_one(data: bytes) -> Any:
    """The object of a deep graph that `reduce` packed; pickles refer to this function by name."""
    return Unpacker().unpack(data)


def _height(obj: Any) -> int:
    """How many levels nest below an object."""
    stack = [obj]
    while stack:
        current = stack[-1]
        if "_furu_height" in current.__dict__:
            stack.pop()
            continue
        children = nested(current)
        todo = [child for child in children if "_furu_height" not in child.__dict__]
        if todo:
            stack.extend(todo)
            continue
        stack.pop()
        heights = [child.__dict__["_furu_height"] for child in children]
        current.__dict__["_furu_height"] = 1 + max(heights, default=-1)
    height: int = obj.__dict__["_furu_height"]
    return height


def _pickling() -> Any:
    # Imported when first needed: pickle costs a tenth of the whole import of furu_core.
    from furu_core._forms import _node_pickle

    return _node_pickle


class Packer:
    """Turns config objects into bytes for one `Unpacker`, each distinct object once.

    Objects that were packed before are only referred to, so packing all nodes of a graph takes time
    linear in its size. Messages must be unpacked in the order in which they were packed.

    Example:
        >>> from furu_core.workers import Packer, Unpacker
        >>> from furu_testing.nodes import Leaf
        >>> Unpacker().unpack(Packer().pack(Leaf(x=3))) == Leaf(x=3)
        True
    """

    def __init__(self) -> None:
        self._sent: dict[str, int] = {}
        self._classes: dict[type, int] = {}

    def _number(self, obj: Any) -> int:
        return self._sent[node_key(obj)]

    def pack(self, obj: Any) -> bytes:
        """The bytes from which the other side's `Unpacker` makes an equal object.

        Raises:
            FuruImportNameError: an object's class cannot be imported elsewhere.
            FuruValueError: a field holds a value that has no stable hash.
        """
        stream = io.BytesIO()
        pickler = _pickling().NodePickler(stream, self._number)
        for key, node in closure(obj, self._sent):
            number = self._classes.get(type(node))
            if number is None:
                number = self._classes[type(node)] = len(self._classes)
                name = name_of(type(node))
                names = tuple(spec.key for spec in config_class(node).fields)
                pickler.dump((name.identity, name.importable, names))
            known = node.__dict__
            values = tuple(known[spec.name] for spec in config_class(node).fields)
            pickler.dump((number, key, values))
            self._sent[key] = len(self._sent)
        pickler.dump(self._number(obj))
        return stream.getvalue()


class Unpacker:
    """Turns the bytes of one `Packer` into objects again, in the order they were packed."""

    def __init__(self) -> None:
        self._objects: list[Any] = []
        self._classes: list[tuple[type | FuruImportNameError, str, tuple[str, ...]]] = []
        self._failed = False
        self._moved = False

    def unpack(self, data: bytes) -> Any:
        """The object that was packed.

        Raises:
            FuruImportNameError: a class cannot be imported here.
            FuruValueError: a class differs from the sender's, so that hashes differ; or an earlier
                message, to which this one refers, could not be unpacked.
        """
        if self._failed:
            raise FuruValueError(
                "an earlier message of the same packer could not be unpacked",
                hint="pack this one anew, by a new Packer and for a new Unpacker",
            )
        self._failed = True
        unpacked = self._unpack(data)
        self._failed = False
        return unpacked

    def _unpack(self, data: bytes) -> Any:
        unpickler = _pickling().NodeUnpickler(io.BytesIO(data), self._objects)
        while True:
            message = unpickler.load()
            if isinstance(message, int):
                return self._objects[message]
            if isinstance(message[0], str):
                identity, importable, names = message
                self._classes.append((_class_of(identity, importable), identity, names))
                continue
            number, key, values = message
            cls, identity, names = self._classes[number]
            fields = dict(zip(names, values, strict=True))
            obj = _made(cls, identity, fields, None if self._moved else key)
            self._moved = self._moved or _is_another(obj, key)
            self._objects.append(obj)
