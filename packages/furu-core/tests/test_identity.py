"""P2 for configs: one hash everywhere, linear in distinct objects however deep, and mutation noticed."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import pickle
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from furu_core import Furu, field
from furu_core._config._identity import (
    changed_since_hashing,
    furu_hash,
    nested,
    omitted_defaults,
    watched,
)
from furu_core._config._objects import config_class
from furu_core._forms._pack import Packer, Unpacker, shallow_dict
from furu_core._forms._python_text import python_text
from furu_core._store import _manifest
from furu_core.errors import FuruFormatError, FuruValueError


class Flat(Furu[int]):
    count: int
    lr: float
    name: str = "x"
    flag: bool = True
    shape: tuple[int, ...] = (1, 2, 3)


class Link(Furu[int]):
    previous: Link | None = None
    number: int = 0

    def _create(self) -> int:
        return self.number


class Both(Furu[int]):
    left: Both | None = None
    right: Both | None = None
    tags: list[str] = field(factory=list)


class Many(Furu[int]):
    one: Link | None = None
    more: Any = ()
    last: Link | None = None


def chain(length: int) -> Link:
    link = Link()
    for number in range(1, length):
        link = Link(previous=link, number=number)
    return link


def diamond(levels: int) -> Both:
    both = Both()
    for _ in range(levels):
        both = Both(left=both, right=both)
    return both


@pytest.fixture
def encodings(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The objects that were encoded, in order."""
    from furu_core._config import _identity

    done: list[object] = []
    encode = _identity.encode

    def counting(obj: Any, seen: Any) -> bytes:
        done.append(obj)
        return encode(obj, seen)

    monkeypatch.setattr(_identity, "encode", counting)
    return done


# ---- one hash for one config ----


def test_p2_the_hash_of_a_config_never_changes_between_releases() -> None:
    # Changing the encoding throws away every result of every user: then raise its FORMAT.
    assert config_class(Flat).identity_name == "tests.test_identity:Flat"
    assert Flat(count=1, lr=0.5).furu_hash == "ca8f497ddb826f46af311997e65d5292"
    assert (
        Many(one=Link(), more={"a": [Link(number=1), Path("x")]}).furu_hash
        == "d2b6c1c44586a05b005be8e1d004637b"
    )


def test_p2_the_order_of_fields_and_arguments_changes_no_hash(tmp_path: Path, fresh: Any) -> None:
    results = []
    for number, order in enumerate(("a: int = 1\n    b: int = 2", "b: int = 2\n    a: int = 1")):
        folder = tmp_path / str(number)
        folder.mkdir()
        code = f"from furu_core import Furu\nclass C(Furu[int]):\n    {order}\n"
        (folder / "ordered.py").write_text(code)
        results.append(fresh.python("from ordered import C; print(C().furu_hash)", folder))
    assert results[0] == results[1]


def test_p2_names_of_classes_and_fields_are_part_of_the_hash() -> None:
    assert Link().furu_hash != Both().furu_hash
    assert Both(left=Both()).furu_hash != Both(right=Both()).furu_hash


def test_p2_an_int_given_to_a_float_field_is_that_float() -> None:
    assert Flat(count=1, lr=1) == Flat(count=1, lr=1.0)
    assert type(Flat(count=1, lr=1).lr) is float


class Versioned(Furu[int]):
    lr: float = 0.1
    workers: int = field(default=2, exclude_from_hash=True)
    momentum: float = field(default=0, omit_default_from_hash=True)
    layers: list[int] = field(factory=lambda: [1], omit_default_from_hash=True)
    base: Link = field(default=Link(number=3), omit_default_from_hash=True)


def test_an_excluded_field_is_in_no_hash_but_in_every_copy() -> None:
    assert Versioned(workers=3) == Versioned()
    for back in (
        pickle.loads(pickle.dumps(Versioned(workers=3))),
        Versioned.from_dict(Versioned(workers=3).to_dict()),
        copy.deepcopy(Versioned(workers=3)),
    ):
        assert back.workers == 3


def test_objects_of_one_hash_that_differ_in_excluded_fields_stay_apart_in_one_table() -> None:
    class_of = Many(more=[Versioned(workers=3), Versioned(workers=4), Versioned(workers=3)])
    packer, unpacker = Packer(), Unpacker()
    for back in (
        Many.from_dict(json.loads(json.dumps(class_of.to_dict()))),
        pickle.loads(pickle.dumps(class_of)),
        unpacker.unpack(packer.pack(class_of)),
    ):
        assert [item.workers for item in back.more] == [3, 4, 3]
    assert len(class_of.to_dict()["nodes"]) == 4  # with their common base


def test_a_field_that_is_omitted_at_its_default_keeps_the_hash_from_before(
    tmp_path: Path, fresh: Any
) -> None:
    hashes = []
    for number, lines in enumerate(
        (
            "lr: float = 0.1",
            "lr: float = 0.1\n    new: list = field(factory=list, omit_default_from_hash=True)",
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "grown.py").write_text(
            f"from furu_core import Furu, field\nclass C(Furu[int]):\n    {lines}\n"
        )
        program = (
            "import json; from grown import C; print(C().furu_hash, json.dumps(C().to_dict()))"
        )
        hashes.append(fresh.python(program, folder).strip())
    before, after = hashes
    assert before.split()[0] == after.split()[0]
    # What was recorded before the field was added can still be read.
    record = before.partition(" ")[2]
    program = f"import json; from grown import C; print(C.from_dict(json.loads({record!r})).new)"
    assert fresh.python(program, tmp_path / "1") == "[]\n"


def test_an_omitted_default_is_compared_as_the_constructor_makes_it() -> None:
    assert Versioned(momentum=0.0, layers=[1], base=Link(number=3)) == Versioned()
    assert Versioned(momentum=0.5) != Versioned()
    assert Versioned(layers=[2]) != Versioned()
    assert Versioned(base=Link()) != Versioned()


OMITTING = """
from furu_core import Furu, field
class Metric(Furu[str]):
    name: str = field(default={metric!r}, omit_default_from_hash=True)
    def _create(self):
        (self.furu_dir / "name.txt").write_text(self.name)
        return self.name
class Score(Furu[str]):
    metric: Metric = field(default=Metric(), omit_default_from_hash=True){more}
    def _create(self):
        return "score of " + self.metric.get()
"""


@pytest.fixture
def edited(tmp_path: Path, fresh: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Evaluates an expression as a program does whose classes have these defaults."""
    (tmp_path / "pyproject.toml").touch()

    def evaluate(expression: str, metric: str = "auc", more: str = "") -> str:
        (tmp_path / "omitting.py").write_text(OMITTING.format(metric=metric, more=more))
        code = (
            f"import os, sys; os.environ['FURU_PATH'] = {str(tmp_path / 'store')!r}\n"
            "sys.dont_write_bytecode = True\n"
            "from furu_core.errors import FuruError\n"
            "from furu_core.planning import *\n"
            "from furu_core.workers import *\n"
            "from omitting import Metric, Score\n"
            "def worker(node):\n"
            "    with worker_session(WorkerContext(executor='test', run_id='1', spec_key='default')):\n"
            "        return run_node(node).failure\n"
            f"try: print({expression}, sep='; ')\n"
            "except FuruError as error: print(type(error).__name__, error)\n"
        )
        said: str = fresh.python(code, tmp_path)
        return said.strip()

    return evaluate


def test_p2_a_result_is_refused_when_the_default_of_a_field_that_its_hash_leaves_out_was_another(
    edited: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    auc = edited("Metric().furu_hash")
    assert edited("Metric(name='auc').get(), Score().get()") == "auc; score of auc"
    refusal = (
        f"FuruResultError Metric({auc[:6]}) was computed when the default of "
        "omitting:Metric.name, which its hash leaves out, was 'auc'; now it is 'acc'; put"
    )
    assert edited("Metric(name='acc').get()", "acc").startswith(refusal)
    assert edited("Metric().furu_dir", "acc").startswith(refusal), "nor its files"
    assert edited("Metric(name='auc').get()", "acc") == "auc", "the hash tells it now"
    assert "omitting:Metric.name" in edited("Score().get()", "acc"), "nested, and so used by it"
    assert edited("invalidate_if_bad(Score())", "acc").startswith("FuruResultError Score("), (
        "a run would call it done"
    )
    assert edited("worker(Metric()).kind", "acc") == "FailureKind.PROTOCOL"
    assert edited("Metric().get(), Score().get()") == "auc; score of auc"
    # The next step that the error names.
    assert edited("Metric().delete(), Metric().get()", "acc") == "True; acc"
    assert edited("Score().delete(), Score().get()", "acc") == "True; score of acc"
    excluded = OMITTING.replace("{metric!r}, omit_default", "{metric!r}, exclude")
    assert excluded != OMITTING
    monkeypatch.setitem(globals(), "OMITTING", excluded)
    assert edited("Metric().get(), Score().get()") == "acc; score of acc"


def test_a_field_that_was_added_at_a_default_keeps_results_whose_other_defaults_stand(
    edited: Any,
) -> None:
    assert edited("Score().get()") == "score of auc"
    more = "\n    top: int = field(default=5, omit_default_from_hash=True)"
    assert edited("Score().get()", more=more) == "score of auc"
    assert "Metric.name" in edited("Score().get()", "acc", more)


def test_p2_what_omitted_defaults_cost_is_linear_in_a_deep_chain() -> None:
    top: Any = None
    for _ in range(3000):
        top = Omits(below=top)
    (name,) = omitted_defaults(top)
    assert name == "tests.test_identity:Omits.width"
    assert omitted_defaults(top) is omitted_defaults(top.below)


def test_p2_the_folder_of_an_artifact_is_compared_with_the_defaults_of_today_once(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `_load` asks for it with each of its files: a hit of 5,000 files took a minute."""
    looked: list[str] = []
    read = _manifest.read
    monkeypatch.setattr(_manifest, "read", lambda at: [looked.append(at), read(at)][1])
    node = Omits()
    for _ in range(2):
        node.get()
        looked.clear()
        assert [node.furu_dir.name for _ in range(10)] == [node.furu_hash] * 10
        assert len(looked) == 1
        node.delete()  # of another artifact it is asked anew


class Omits(Furu[int]):
    below: Any = None
    width: int = field(default=1, omit_default_from_hash=True)

    def _create(self) -> int:
        return self.width


# What each config of nodes/golden_values.py has as its hash, for good.
GOLDEN: dict[str, dict[str, str]] = json.loads(
    (Path(__file__).parent / "golden" / "hashes.json").read_text("ascii")
)


def libraries(folder: Path) -> Path:
    """A folder with the pure-Python packages that furu_core imports, for other interpreters."""
    folder.mkdir()
    site = Path(attrs.__file__).parent.parent
    for name in (
        "attr", "attrs", "click", "rich", "markdown_it", "mdurl",
        "pygments", "typing_extensions.py",
    ):  # fmt: skip
        if (site / name).exists():
            (folder / name).symlink_to(site / name)
    return folder


def run_python(arguments: list[str], cwd: Path, python: str = sys.executable, **env: str) -> str:
    import furu_core

    source = Path(furu_core.__file__).parents[1]
    paths = [str(source), env.pop("extra_path", ""), str(Path(attrs.__file__).parents[1])]
    if python != sys.executable:
        paths.pop()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        **env,
    }
    done = subprocess.run(
        [python, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


OTHERS = [
    version for version in ("3.11", "3.12", "3.13") if version != f"3.{sys.version_info.minor}"
]


def interpreter(version: str) -> str | None:
    """An interpreter of a version of Python, if this machine has one that starts."""
    candidates = [
        Path(folder) / f"python{version}" for folder in os.environ["PATH"].split(os.pathsep)
    ]
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    candidates += sorted(versions.glob(f"{version}.*/bin/python{version}"))
    return next((str(c) for c in candidates if c.exists() and starts(c)), None)


def starts(python: Path) -> bool:
    # A pyenv shim exists for versions that are installed but not selected, and then fails.
    try:
        return subprocess.run([python, "-c", ""], capture_output=True, timeout=200).returncode == 0
    except OSError:
        return False


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the golden values, and the libraries that other interpreters need."""
    project = tmp_path_factory.mktemp("versions")
    (project / "pyproject.toml").touch()
    shutil.copy(Path(__file__).parent / "nodes" / "golden_values.py", project)
    libraries(project / "libraries")
    return project


@pytest.mark.parametrize("seed", ["0", "1", "random"])
def test_p2_golden_hashes_hold_whatever_the_hash_seed(values: Path, seed: str) -> None:
    hashes = json.loads(run_python(["golden_values.py"], values, PYTHONHASHSEED=seed))
    assert hashes == GOLDEN


def test_p2_no_two_golden_values_have_one_hash_but_those_that_are_equal() -> None:
    named: dict[str, list[str]] = {}
    for hashes in GOLDEN.values():
        for name, value in hashes.items():
            named.setdefault(value, []).append(name)
    equal = [names for names in named.values() if len(names) > 1]
    assert equal == [["Enum", "Enum alias"], ["array f8", "array column-major"]]


@pytest.mark.parametrize("version", OTHERS)
def test_p2_golden_hashes_hold_under_every_other_python(values: Path, version: str) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no interpreter of Python {version} on this machine")
    path = str(values / "libraries")
    hashes = json.loads(run_python(["golden_values.py"], values, python, extra_path=path))
    assert hashes["plain"] == GOLDEN["plain"]
    assert hashes.get("of_numpy", GOLDEN["of_numpy"]) == GOLDEN["of_numpy"]  # if it has NumPy


def test_p2_many_threads_that_hash_one_object_agree() -> None:
    for _ in range(20):
        top = chain(200)
        barrier = threading.Barrier(4)
        found: list[str] = []

        def work(obj: Link, start: threading.Barrier, into: list[str]) -> None:
            start.wait(120)
            into.append(obj.furu_hash)

        threads = [threading.Thread(target=work, args=(top, barrier, found)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert found == [chain(200).furu_hash] * 4


# ---- deep and shared ----


def test_p2_a_deep_chain_costs_a_constant_number_of_encodings_each(
    encodings: list[object],
) -> None:
    top = chain(10_000)
    assert len(top.furu_hash) == 32
    assert len(encodings) <= 2 * 10_000
    assert top.furu_hash == chain(10_000).furu_hash
    assert top.furu_hash != chain(9_999).furu_hash


@pytest.mark.parametrize("length", [1, 2, 30, 31, 32, 33, 100])
def test_p2_the_order_in_which_nested_configs_are_hashed_makes_no_difference(length: int) -> None:
    before = Link()
    for number in range(1, length):
        assert before.furu_hash
        before = Link(previous=before, number=number)
    assert chain(length).furu_hash == before.furu_hash


def test_p2_a_hash_needs_little_of_the_stack() -> None:
    def down(frames: int) -> str:
        return down(frames - 1) if frames else chain(25).furu_hash

    frame, used = sys._getframe(), 0
    while frame.f_back is not None:
        frame, used = frame.f_back, used + 1
    assert down(sys.getrecursionlimit() - used - 60) == chain(25).furu_hash


def test_a_config_that_was_put_into_itself_is_refused() -> None:
    config = Listed(values=[1])
    config.values.append(Listed(inner=config))
    with pytest.raises(FuruValueError, match="contains itself, through a list"):
        _ = config.furu_hash


def test_p2_a_diamond_costs_as_many_encodings_as_it_has_objects(encodings: list[object]) -> None:
    assert len(diamond(60).furu_hash) == 32
    assert len(encodings) <= 2 * 61


def test_p2_a_hash_is_computed_once(encodings: list[object]) -> None:
    top = chain(10)
    for _ in range(3):
        assert top.furu_hash
        assert nested(top) == (top.previous,)
    count = len(encodings)
    assert Link(previous=top).furu_hash
    assert len(encodings) == count + 1


# More levels than Python recurses.
@pytest.mark.parametrize("obj", [chain(2_000), diamond(60)], ids=["chain", "diamond"])
def test_p2_deep_and_shared_configs_come_back_from_everywhere(obj: Furu[int]) -> None:
    blob = pickle.dumps(obj)
    text = json.dumps(obj.to_dict())
    packed = Packer().pack(obj)
    python = python_text(obj)
    namespace: dict[str, Any] = {}
    exec("\n".join(python.imports), namespace)
    for back in (
        pickle.loads(blob),
        type(obj).from_dict(json.loads(text)),
        Unpacker().unpack(packed),
        copy.copy(obj),
        copy.deepcopy(obj),
        eval(python.expression, namespace),
    ):
        assert back == obj
        assert hash(back) == hash(obj)
    count = len(obj.to_dict()["nodes"])
    assert len(blob) < 200 + 400 * count
    assert len(text) < 200 + 400 * count
    assert len(packed) < 200 + 400 * count
    assert len(python.expression) < 200 + 150 * count
    assert len(repr(obj)) < 200


def test_from_dict_takes_the_nodes_in_any_order() -> None:
    record = chain(2_000).to_dict()
    record["nodes"] = dict(sorted(record["nodes"].items()))
    assert Link.from_dict(json.loads(json.dumps(record, sort_keys=True))) == chain(2_000)


def test_pickling_many_roots_stores_what_they_share_once() -> None:
    shared = chain(20)
    one = len(pickle.dumps([Many(one=shared, more=0)]))
    hundred = len(pickle.dumps([Many(one=shared, more=i) for i in range(100)]))
    assert hundred < one + 100 * 60


def test_a_record_of_one_config_does_not_hold_what_is_nested() -> None:
    record = shallow_dict(chain(1000))
    assert len(json.dumps(record)) < 500
    assert record["fields"]["previous"]["$ref"] == chain(999).furu_hash


def test_python_text_for_the_record_is_bounded_and_says_that_it_is_abbreviated() -> None:
    text = python_text(chain(1000), limit_chars=500)
    assert text.abbreviated
    assert text.expression.endswith(f"Link(previous=<Link {chain(999).furu_hash}>, number=999)")
    assert len(python_text(Many(more=[1] * 100_000), limit_chars=500).expression) < 600
    assert not python_text(chain(5), limit_chars=500).abbreviated


def test_destroying_a_deep_chain_does_not_crash(tmp_path: Path) -> None:
    (tmp_path / "deep.py").write_text(
        textwrap.dedent(
            """
            from __future__ import annotations
            import copy, gc, pickle, resource
            from furu_core import Furu
            # With an eighth of the usual stack, an eighth of the levels is as deep.
            hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
            resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, hard))
            class Link(Furu[int]):
                previous: Link | None = None
                number: int = 0
            def chain():
                link = Link()
                for number in range(10_000):
                    link = Link(previous=link, number=number)
                return link
            unhashed = chain()
            del unhashed
            hashed = chain()
            assert hashed.furu_hash
            del hashed
            looped = chain()
            back = pickle.loads(pickle.dumps(looped))
            looped.__dict__["_furu_loop"] = looped
            del looped, back
            gc.collect()
            print("alive")
            """
        )
    )
    assert run_python(["deep.py"], tmp_path) == "alive"


# ---- nested objects ----


def test_nested_objects_are_found_in_every_container_in_the_order_of_the_fields() -> None:
    a, b, c, d, e = (Link(number=number) for number in range(5))
    many = Many(one=a, more={"x": [b, (c,)], "y": {"z": d}}, last=e)
    assert nested(many) == (a, b, c, d, e)
    assert nested(Many(one=a, more=[a, a], last=a)) == (a,)
    assert nested(Link()) == ()
    assert Many(more=[a, b]) != Many(more=[b, a])
    assert Many(more={a, b}) == Many(more={b, a})


def test_a_nested_object_in_an_excluded_field_is_a_dependency_but_not_in_the_hash() -> None:
    assert nested(WithHelper(helper=Link(number=1))) == (Link(number=1),)
    assert WithHelper(helper=Link(number=1)) == WithHelper(helper=Link(number=2))


class WithHelper(Furu[int]):
    helper: Link = field(exclude_from_hash=True)


class Defaults(Furu[int]):
    number: Any = 1
    ratio: Any = 0.0
    name: Any = "adam"
    sizes: Any = (1, 2)


def test_p2_a_default_and_an_equal_value_of_its_type_have_one_hash() -> None:
    default = Defaults()
    text = "".join(["ad", "am"])
    given = Defaults(number=int("1"), ratio=float("0"), name=text, sizes=(1, *[2]))
    assert given.name is not default.name
    assert given.furu_hash == default.furu_hash
    assert default.furu_hash == "6d77cc41d0595c37f7fcd3d02a1fd990"


@pytest.mark.parametrize(
    "given",
    [
        {"number": True},
        {"number": 1.0},
        {"ratio": -0.0},
        {"ratio": 0},
        {"name": b"adam"},
        {"sizes": (True, 2)},
        {"sizes": [1, 2]},
    ],
    ids=str,
)
def test_p2_an_equal_value_of_another_type_has_another_hash_than_the_default(
    given: dict[str, Any],
) -> None:
    assert Defaults(**given).furu_hash != Defaults().furu_hash


# ---- mutation ----


class Listed(Furu[int]):
    values: Any = ()
    inner: Any = None


def changed(obj: Furu[Any]) -> Any:
    """The object that was changed, of all that are looked at before `obj` is published."""
    return changed_since_hashing(watched(obj))


def test_a_config_mutated_after_hashing_is_noticed() -> None:
    values = [1, 2]
    config = Listed(values={"x": (values,)})
    assert config.furu_hash
    assert changed(config) is None
    values.append(3)
    assert changed(config) is config
    values.pop()
    assert changed(config) is None
    values.append(lambda: 0)
    assert changed(config) is config


def test_a_mutation_of_a_nested_config_is_noticed_and_named() -> None:
    array = np.zeros(3)
    bottom = Listed(values=array)
    top = Listed(inner=Listed(inner=[Link(), bottom]))
    assert top.furu_hash
    assert changed(top) is None
    array[1] = 1
    assert changed(top) is bottom


def test_a_config_put_into_a_list_after_hashing_is_noticed() -> None:
    config = Listed(values=[Link()])
    assert config.furu_hash
    config.values.append(chain(50))
    assert changed(config) is config


@pytest.mark.parametrize("level", [0, 1, 2, 50])
def test_p2_a_frozen_field_that_was_set_after_hashing_is_noticed_and_named(level: int) -> None:
    top = chain(100)
    assert top.furu_hash
    link = top
    for _ in range(level):
        assert link.previous is not None
        link = link.previous
    object.__setattr__(link, "number", 7)
    assert changed(top) is link
    object.__setattr__(link, "number", 99 - level)
    assert changed(top) is None
    object.__setattr__(link, "previous", Link(number=-1))
    assert changed(top) is link


def test_looking_for_mutations_costs_no_more_the_deeper_a_config_is(
    encodings: list[object],
) -> None:
    top = Listed(inner=chain(1000), values=[1])
    assert top.furu_hash
    assert watched(top)[:2] == [top, top.inner]
    assert len(watched(top)) == 102
    deep = Listed(values=[1])
    for _ in range(300):
        deep = Listed(inner=deep)
    assert deep.furu_hash
    assert len(watched(deep)) == 103, "and the one that holds a list"
    encodings.clear()
    assert changed(top) is None
    assert encodings == [top], "all others hold the same values that cannot change"
    wide = Many(more=[Link(number=number) for number in range(300)])
    assert wide.furu_hash
    object.__setattr__(wide.more[-1], "number", 0)
    assert changed(wide) is wide.more[-1], "as it stands in a field"


@pytest.mark.parametrize(
    ("before", "after"),
    [(1, True), (1, 1.0), (0.0, -0.0), ("a", Path("a")), ((1,), (True,)), (None, 0)],
    ids=str,
)
def test_p2_a_field_that_was_set_to_an_equal_value_of_another_hash_is_noticed(
    before: Any, after: Any
) -> None:
    config = Listed(values=before)
    holder = Listed(inner=config)
    assert holder.furu_hash
    object.__setattr__(config, "values", after)
    assert changed(holder) is config


@dataclasses.dataclass(frozen=True)
class Fixed:
    size: int


class Label(str):
    pass


def test_p2_an_attribute_that_was_set_in_a_frozen_value_is_noticed() -> None:
    for value, name in ((Fixed(1), "size"), (Label("a"), "note")):
        config = Listed(values=({"x"}, (value,)))
        plain = Listed(values=(value,))
        assert config.furu_hash
        assert plain.furu_hash
        assert changed(plain) is None
        object.__setattr__(value, name, 2)
        assert changed(plain) is plain
        assert changed(config) is config


def test_p2_fields_that_were_exchanged_are_noticed() -> None:
    config = Listed(values=1, inner=2)
    assert config.furu_hash
    values = vars(config)
    values["values"], values["inner"] = 2, 1
    assert changed(config) is config
    values["values"], values["inner"] = 1, 2
    assert changed(config) is None
    del values["values"]
    values["values"] = 1
    assert changed(config) is None, "the same values in another order"
    values["values"] = 2
    assert changed(config) is config


def test_an_excluded_field_that_was_set_is_no_mutation() -> None:
    config = WithHelper(helper=Link(number=1))
    assert config.furu_hash
    object.__setattr__(config, "helper", Link(number=2))
    assert changed(config) is None


# ---- equality, copies, memos ----


def test_configs_compare_and_hash_by_class_and_hash() -> None:
    assert {Link(number=1), Link(number=1), Link(number=2)} == {Link(number=2), Link(number=1)}
    assert Link() != 0
    assert Link() != Both()


def test_memos_are_in_no_copy() -> None:
    config = Listed(values=[1], inner=chain(3))
    assert config.furu_hash
    assert pickle.dumps(config)
    copies = (
        copy.copy(config),
        copy.deepcopy(config),
        attrs.evolve(config),
        pickle.loads(pickle.dumps(config)),
    )
    for made in copies:
        assert not [name for name in made.__dict__ if name.startswith("_furu_")]
        assert made == config
    changed = attrs.evolve(config, values=[2])
    assert changed.furu_hash != config.furu_hash
    assert copy.deepcopy(config).values is not config.values


def test_repr_is_short_and_never_fails() -> None:
    config = Many(one=chain(3), more=[Link(), {"a": Link()}])
    assert repr(config) == (
        f"Many(one=Link({chain(3).furu_hash[:6]}), more=[Link({Link().furu_hash[:6]}), "
        f"{{'a': Link({Link().furu_hash[:6]})}}], last=None)"
    )
    assert len(repr(Many(more="x" * 10_000))) < 300

    class Local(Furu[int]):
        inner: Any = None

    assert repr(Local(inner=Local())) == "Local(inner=Local(...))"


# ---- records that do not fit ----


def test_from_dict_names_what_does_not_fit() -> None:
    record = Link(previous=Link()).to_dict()

    def broken(**changes: Any) -> dict[str, Any]:
        made = json.loads(json.dumps(record))
        made["nodes"][made["root"]]["fields"].update(changes)
        return made

    with pytest.raises(FuruValueError, match="fields that the class lacks: extra, more"):
        Link.from_dict(broken(extra=1, more=2))
    with pytest.raises(FuruValueError, match=rf"recorded with the hash {record['root']}"):
        Link.from_dict(broken(number=7))
    missing = Flat(count=1, lr=1).to_dict()
    del missing["nodes"][missing["root"]]["fields"]["count"]
    with pytest.raises(FuruValueError, match="lacks the field 'count'"):
        Flat.from_dict(missing)
    with pytest.raises(FuruFormatError, match="format version 99"):
        Link.from_dict({**record, "furu": 99})
    with pytest.raises(FuruValueError, match="no config object"):
        Link.from_dict({})
    with pytest.raises(FuruValueError, match="which it does not hold"):
        Link.from_dict({**record, "root": "0" * 32})
    looped = broken(previous={"$ref": record["root"]})
    with pytest.raises(FuruValueError, match="contains itself"):
        Link.from_dict(looped)


def test_a_packer_sends_each_object_once() -> None:
    packer, unpacker = Packer(), Unpacker()
    sizes = []
    link = Link()
    for number in range(1, 200):
        link = Link(previous=link, number=number)
        data = packer.pack(link)
        sizes.append(len(data))
        assert unpacker.unpack(data) == link
    assert max(sizes[10:]) < 2 * min(sizes[10:])
    assert unpacker.unpack(packer.pack(link)) is unpacker.unpack(packer.pack(link))


def test_p8_after_a_message_that_could_not_be_unpacked_the_next_one_says_so() -> None:
    packer, unpacker = Packer(), Unpacker()
    first, second = packer.pack(Link()), packer.pack(Link(previous=Link(), number=1))
    with pytest.raises(EOFError):
        unpacker.unpack(first[:-1])
    with pytest.raises(FuruValueError, match=r"an earlier message .* could not be unpacked"):
        unpacker.unpack(second)


def test_hashing_does_not_need_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = sys.getrecursionlimit()
    depth = len(__import__("inspect").stack())
    top = chain(5_000)
    sys.setrecursionlimit(depth + 60)
    try:
        found = furu_hash(top)
    finally:
        sys.setrecursionlimit(limit)
    assert found == chain(5_000).furu_hash
