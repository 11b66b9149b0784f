"""P2: the same file gives the same hash however it is started, or an error says why it cannot."""

from __future__ import annotations

import enum
import importlib
import itertools
import json
import os
import re
import subprocess
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import furu_core
from furu_core import Furu
from furu_core._config._class_names import name_of, reference, resolve, resolve_reference
from furu_core._config._module_names import file_identity, import_roots, may_be_called
from furu_core._config._objects import config_class
from furu_core.errors import FuruDefinitionError, FuruError, FuruImportNameError

TRAIN = """
    import enum, sys
    from furu_core import Furu

    class Kind(enum.Enum):
        A = 1

    class Split(Furu[int]):
        seed: int = 0

    class Train(Furu[int]):
        data: Split = Split()
        kind: Kind = Kind.A
        cls: type = Kind

        class Inner(Furu[int]):
            depth: int = 1

    def show():
        print(Train().furu_hash, Train.Inner().furu_hash, Train.__furu_class__.identity_name)

    if __name__ == "__main__":
        show()
"""


def run(
    *arguments: str, cwd: Path, path: tuple[Path, ...] = (), fails: bool = False, stdin: str = ""
) -> str:
    """What a fresh Python prints; with `fails`, the end of its traceback."""
    import attrs

    furu = [Path(furu_core.__file__).parents[1], Path(attrs.__file__).parents[1]]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env["PYTHONPATH"] = os.pathsep.join(str(entry) for entry in (*path, *furu))
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True,
        timeout=250, input=stdin,
    )  # fmt: skip
    assert (done.returncode != 0) == fails, done.stderr
    return done.stderr if fails else done.stdout.strip()


def write(file: Path, code: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(code))
    return file


LAYOUTS = {
    "pyproject": (("pyproject.toml",), "exp/train.py", "exp.train"),
    "package": (("pyproject.toml", "exp/__init__.py"), "exp/train.py", "exp.train"),
    "package without project": (("exp/__init__.py",), "exp/train.py", "exp.train"),
    "git": ((".git",), "exp/train.py", "exp.train"),
    "neither": ((), "exp/train.py", "train"),
    "src": (("pyproject.toml",), "src/exp/train.py", "exp.train"),
    "src package": (("pyproject.toml", "src/exp/__init__.py"), "src/exp/train.py", "exp.train"),
    "deep": (("pyproject.toml",), "a/b/exp/train.py", "a.b.exp.train"),
    "no module name": (("pyproject.toml",), "2024-05 a.b/exp/train.py", "2024-05 a%2Eb.exp.train"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_p2_the_same_file_gives_the_same_hash_however_it_is_started(
    tmp_path: Path, fresh: Any, layout: str
) -> None:
    marks, file, module = LAYOUTS[layout]
    project = tmp_path / "project"
    script = write(project / file, TRAIN)
    for mark in marks:
        write(project / mark, "")
    folder, above = script.parent, script.parent.parent
    found = {
        "script": run(file, cwd=project),
        "module": run("-m", "exp.train", cwd=above),
        "imported": fresh.python("import exp.train as t; t.show()", above).strip(),
        "imported by its own name": fresh.python("import train as t; t.show()", folder).strip(),
    }
    if layout in ("pyproject", "neither", "src package"):  # where a folder could mislead
        found |= {
            "script from its folder": run("train.py", cwd=folder),
            "script from elsewhere": run(str(script), cwd=tmp_path),
            "module from elsewhere": run("-m", "exp.train", cwd=tmp_path, path=(above,)),
        }
    assert len(set(found.values())) == 1, found
    assert found["script"].split(maxsplit=2)[2] == f"{module}:Train"


def test_p2_a_sibling_import_keeps_the_hash(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", "")
    write(
        tmp_path / "exp/features.py",
        """
        import dataclasses
        from furu_core import Furu
        @dataclasses.dataclass(frozen=True)
        class Options:
            scale: float = 1.0
        class Features(Furu[int]):
            options: Options = Options()
        """,
    )
    for number, line in enumerate(("from features import *", "from exp.features import *")):
        write(
            tmp_path / f"exp/train{number}.py",
            f"""
            {line}
            if __name__ == "__main__":
                print(Features().furu_hash)
            """,
        )
    hashes = {
        run("exp/train0.py", cwd=tmp_path),
        run("train0.py", cwd=tmp_path / "exp"),
        run("-m", "exp.train1", cwd=tmp_path),
        run("exp/train1.py", cwd=tmp_path, path=(tmp_path,)),
    }
    assert len(hashes) == 1


def test_a_project_marker_nearer_wins_and_installed_files_are_named_below_site_packages(
    tmp_path: Path,
) -> None:
    for mark in ("pyproject.toml", "inner/pyproject.toml"):
        write(tmp_path / mark, "")
    site = "venv/lib/python3.11/site-packages"
    names = {
        "train.py": "train",
        "inner/exp/train.py": "exp.train",
        f"{site}/single.py": "single",
        f"{site}/space/module.py": "space.module",
        f"{site}/src/module.py": "src.module",
        "exp/__init__.py": "exp",
        "exp/__main__.py": "exp.__main__",
        "exp/sub/__init__.py": "exp.sub",
        "src/__init__.py": "src",
        "src/models.py": "src.models",
        "a.b/c.d.py": "a%2Eb.c%2Ed",
    }
    for name in names:
        write(tmp_path / name, "")
    assert {name: file_identity(str(tmp_path / name))[0] for name in names} == names
    assert all(may_be_called(str(tmp_path / name), names[name]) for name in names)
    assert not may_be_called(str(tmp_path / "exp/test.py"), "exp.train")
    assert not may_be_called(str(tmp_path / "exp/__init__.py"), "train.__main__")


def test_no_loaded_module_is_passed_over_when_its_name_is_looked_for() -> None:
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    files = {file for file in files if isinstance(file, str) and file.endswith(".py")}
    assert {os.path.basename(file) for file in files} >= {"__init__.py", "test_class_names.py"}
    assert not [file for file in files if not may_be_called(file, file_identity(file)[0])]


CHILD = """
    import pickle, sys
    message = pickle.load(open(sys.argv[1], "rb"))
    sys.path[:] = message["path"]
    from furu_core.workers import Unpacker
    obj = Unpacker().unpack(message["packed"])
    again = pickle.loads(message["pickled"])
    assert type(obj) is type(again), (type(obj), type(again))
    print(obj.furu_hash == message["hash"], type(obj).__module__, obj.kind.name)
"""

PARENT = """
    if __name__ == "__main__":
        import pickle
        from furu_core.workers import Packer, import_roots
        obj = Train()
        message = {"packed": Packer().pack(obj), "pickled": pickle.dumps(obj), "path": import_roots()}
        with open(sys.argv[1], "wb") as file:
            pickle.dump({**message, "hash": obj.furu_hash}, file)
"""


@pytest.mark.parametrize(
    ("start", "cwd", "module"),
    [
        (["exp/train.py"], ".", "train"),
        (["train.py"], "exp", "train"),
        (["-m", "exp.train"], ".", "exp.train"),
        (["-P", "exp/train.py"], ".", "exp.train"),
    ],
)
def test_classes_of_the_script_can_be_sent_to_another_process(
    tmp_path: Path, start: list[str], cwd: str, module: str
) -> None:
    write(tmp_path / "pyproject.toml", "")
    without_classes = TRAIN.replace("cls: type = Kind\n", "\n")
    write(tmp_path / "exp/train.py", textwrap.dedent(without_classes) + textwrap.dedent(PARENT))
    message = str(tmp_path / "message")
    run(*start, message, cwd=tmp_path / cwd)
    child = write(tmp_path / "child/child.py", CHILD)
    assert run(str(child), message, cwd=tmp_path / "child") == f"True {module} A"


def test_p2_a_package_that_is_run_gives_one_hash(tmp_path: Path, fresh: Any) -> None:
    code = CLASS + "\nif __name__ != 'exp.__main__':\n    print(Train().furu_hash)\n"
    write(tmp_path / "exp/__init__.py", "")
    write(tmp_path / "exp/__main__.py", code)
    program = "import exp.__main__ as m; print(m.Train().furu_hash)"
    hashes = {
        run("-m", "exp", cwd=tmp_path),
        run("exp", cwd=tmp_path),
        run("exp/__main__.py", cwd=tmp_path),
        fresh.python(program, tmp_path).strip(),
    }
    assert len(hashes) == 1


def test_a_reloaded_module_brings_its_new_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "reloaded_module.py", CLASS)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("reloaded_module")
    record = module.Train(seed=3).to_dict()
    old = module.Train
    importlib.reload(module)
    assert module.Train is not old
    assert type(module.Train.from_dict(record)) is module.Train
    del sys.modules["reloaded_module"]


def test_a_module_that_imports_the_script_back_does_not_execute_it_again(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", "")
    write(
        tmp_path / "exp/train.py",
        """
        print("executed")
        from furu_core import Furu
        class Split(Furu[int]):
            seed: int = 0
        if __name__ == "__main__":
            import report
            print(report.Split is Split, report.Again is Split)
        """,
    )
    write(
        tmp_path / "exp/report.py",
        "from train import Split\nfrom exp.train import Split as Again\n",
    )
    done = run("exp/train.py", cwd=tmp_path, path=(tmp_path,))
    assert done.split() == ["executed", "True", "True"]


def test_classes_work_in_a_spawned_child_of_a_script(tmp_path: Path) -> None:
    code = """
        import multiprocessing
        from furu_core import Furu
        class Split(Furu[int]):
            seed: int = 0
        def work(obj):
            return obj.furu_hash, Split(seed=3).furu_hash, type(obj) is Split
        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.apply(work, (Split(seed=3),)) == (Split(seed=3).furu_hash,) * 2 + (True,))
    """
    write(tmp_path / "exp/train.py", code)
    write(tmp_path / "pyproject.toml", "")
    assert run("exp/train.py", cwd=tmp_path) == "True"
    assert run("-m", "exp.train", cwd=tmp_path) == "True"


CLASS = "from furu_core import Furu\nclass Train(Furu[int]):\n    seed: int = 0\n"


def test_a_class_in_text_given_to_python_says_what_to_do(tmp_path: Path) -> None:
    error = run("-c", f"{CLASS}\nprint(Train())\nTrain().furu_hash", cwd=tmp_path, fails=True)
    assert "the class Train is defined in the text after `python -c`" in error
    assert "move the class into a module" in error


def test_a_class_at_the_prompt_says_what_to_do(tmp_path: Path) -> None:
    code = f"{CLASS}\n\nTrain().furu_hash\n"
    env = {**os.environ, "PYTHONSTARTUP": "", "TERM": "dumb", "PYTHON_BASIC_REPL": "1"}
    done = subprocess.run(
        [sys.executable, "-i"], cwd=tmp_path, env=env, capture_output=True, text=True, input=code,
        timeout=250,
    )  # fmt: skip
    assert "the interactive prompt" in done.stderr
    assert "move the class into a module" in done.stderr


def test_a_class_from_standard_input_says_what_to_do(tmp_path: Path) -> None:
    error = run("-", cwd=tmp_path, fails=True, stdin=f"{CLASS}\nTrain().furu_hash")
    assert "move the class into a module" in error


def test_a_class_in_a_notebook_says_what_to_do(tmp_path: Path) -> None:
    code = f"import sys; sys.modules['ipykernel'] = sys\n{CLASS}\nTrain().furu_hash"
    error = run("-c", code, cwd=tmp_path, fails=True)
    assert "a notebook cell" in error


def test_a_local_class_says_what_to_do() -> None:
    class Local(Furu[int]):
        pass

    with pytest.raises(FuruImportNameError, match="top level of a module"):
        _ = Local().furu_hash


def test_a_script_whose_name_another_module_has_says_what_to_do(tmp_path: Path) -> None:
    write(tmp_path / "time.py", CLASS + "\nTrain().furu_hash")
    error = run("time.py", cwd=tmp_path, fails=True)
    assert "no module name leads to" in error
    assert "rename the file" in error


def test_two_files_with_one_name_are_an_error(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write(tmp_path / folder / "train.py", CLASS)
    code = """
        import importlib.util
        hashes = []
        for folder in "ab":
            spec = importlib.util.spec_from_file_location(f"train_{folder}", f"{folder}/train.py")
            module = importlib.util.module_from_spec(spec)
            import sys; sys.modules[spec.name] = module
            spec.loader.exec_module(module)
            hashes.append(module.Train().furu_hash)
        print(len(set(hashes)))
    """
    write(tmp_path / "both.py", code)
    error = run("both.py", cwd=tmp_path, fails=True)
    assert "two files give their classes the same name 'train'" in error
    assert "pyproject.toml" in error
    write(tmp_path / "pyproject.toml", "")
    assert run("both.py", cwd=tmp_path) == "2"


LAUNCHED = """
    import enum
    from dataclasses import dataclass
    from furu_core import Furu

    class Kind(enum.Enum):
        A = 1

    @dataclass(frozen=True)
    class Options:
        scale: float = 1.0

    class Job(Furu[str]):
        kind: Kind = Kind.A
        options: Options = Options()
        cls: type = Kind
        def _create(self):
            return "WORD"

    class Holder(Furu[list]):
        job: Job = Job()
        def _create(self):
            return [self.job.get(), Options(3.0), Job]

    def main():
        import json, pickle
        from furu_core._config._class_names import name_of
        job = Job()
        same = [
            pickle.loads(pickle.dumps(job)) == job,
            type(Job.from_dict(job.to_dict())) is Job,
            Holder().get()[1:] == [Options(3.0), Job],
            name_of(Job).importable == "WORD:Job",
        ]
        print("found", json.dumps([job.get(), job.furu_hash, Job.__furu_class__.identity_name, all(same)]))

    if __name__ in ("__main__", "<run_path>"):
        main()
"""

_AS_MODULE = "runpy.run_module({!r}, run_name='__main__', alter_sys=True)".format
_IN_GLOBALS = (
    "exec(compile(open(file).read(), file, 'exec'), {'__name__': '__main__', '__file__': file})"
)
LAUNCHERS = {
    "python": ([], "runpy.run_path(file, run_name='__main__')"),
    "python -m": ([], "runpy.run_module(file[:-3], run_name='__main__', alter_sys=True)"),
    "cProfile": (["-o", "profiled"], _AS_MODULE("cProfile")),
    "profile": (["-o", "profiled"], _AS_MODULE("profile")),
    "trace": (["--count", "-C", "traced"], _AS_MODULE("trace")),
    "pdb": (["-c", "continue"], _AS_MODULE("pdb")),
    "run_path": ([], "runpy.run_path(file)"),
    "exec": ([], _IN_GLOBALS),
    "by path": (
        [],
        (
            "spec = importlib.util.spec_from_file_location('plugin', file); "
            "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module); "
            "module.main()"
        ),
    ),
}


def launched(fresh: Any, folder: Path, file: str, launcher: str) -> Any:
    """What a script prints that is started by a launcher, in a process of its own."""
    options, code = LAUNCHERS[launcher]
    printed = fresh.python(
        f"import importlib.util, os, runpy, sys; file = {file!r}\n"
        f"sys.argv[:] = ['launcher', *{options!r}, file]\n"
        f"try:\n    {code}\nexcept SystemExit:\n    pass",
        folder,
    )
    return json.loads(re.findall(r"found (.*)", printed)[-1])


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_p2_two_scripts_with_one_class_name_never_share_a_result_whichever_launcher_runs_them(
    tmp_path: Path, fresh: Any, launcher: str
) -> None:
    for word in ("one", "two"):
        write(tmp_path / f"{word}.py", LAUNCHED.replace("WORD", word))
    imported = "import WORD; WORD.main()"
    for word in ("one", "two"):
        found = launched(fresh, tmp_path, f"{word}.py", launcher)
        assert found == [word, found[1], f"{word}:Job", True]
        again = fresh.python(imported.replace("WORD", word), tmp_path)
        assert json.loads(again.removeprefix("found ")) == found


@pytest.mark.parametrize(
    ("launcher", "says"),
    [
        ("exec(open(file).read(), {'__name__': '__main__'})", "without saying its file"),
        ("exec(open(file).read(), {'__name__': '__main__', '__file__': file})", "in <string>, not"),
        (
            (
                "exec(compile(open(file).read(), file, 'exec'), "
                "{'__name__': '__main__', '__file__': os.path.abspath('launch.py')})"
            ),
            "one.py, not in .*launch.py",
        ),
    ],
)
def test_p2_a_script_whose_launcher_does_not_say_its_file_gives_no_hash(
    tmp_path: Path, fresh: Any, launcher: str, says: str
) -> None:
    write(tmp_path / "launch.py", "")
    write(tmp_path / "one.py", CLASS + "print(Train().furu_hash)")
    printed = fresh.python(
        f"import os; file = 'one.py'\ntry:\n    {launcher}\n"
        f"except Exception as error:\n    print(type(error).__name__, error)",
        tmp_path,
    )
    assert printed.startswith("FuruImportNameError the class Train is defined in ")
    assert re.search(says, printed)


def test_p2_an_enum_of_a_launched_script_is_named_after_it_in_a_config_of_another_module(
    tmp_path: Path, fresh: Any
) -> None:
    write(
        tmp_path / "holder.py",
        "from furu_core import Furu\nclass Holder(Furu[int]):\n    kind: object\n",
    )
    for word in ("one", "two"):
        write(
            tmp_path / f"{word}.py",
            """
            import enum, json
            from holder import Holder
            class Kind(enum.Enum):
                A = 1
            def main():
                print("found", json.dumps(Holder(kind=Kind.A).furu_hash))
            main()
            """,
        )
    hashes = {
        launched(fresh, tmp_path, f"{word}.py", launcher)
        for word in ("one", "two")
        for launcher in ("exec", "python -m")
    }
    assert len(hashes) == 2


# Each ends with `classes`, of which those stay nameless that `nameless` names by their place.
NAMELESS = {
    "a factory called twice": (
        """
        def make(n):
            cls = type("Step", (Furu,), {"__module__": __name__})
            return cls
        First, Second = make(1), make(2)
        classes = First, Second
        """,
        {0, 1},
    ),
    "a class statement repeated": (
        """
        class Step(Furu[int]): ...
        First = Step
        class Step(Furu[int]): ...
        classes = First, Step
        """,
        {0},
    ),
    "another qualified name": (
        """
        class Step(Furu[int]): ...
        Step.__qualname__ = "Other"
        class Other(Furu[int]): ...
        classes = Step, Other
        """,
        {0},
    ),
    "another module": (
        """
        class Path(Furu[int]): ...
        Path.__module__ = "pathlib"
        classes = [Path]
        """,
        {0},
    ),
    "a deleted class": (
        """
        class Step(Furu[int]): ...
        classes = [Step]
        del Step
        """,
        {0},
    ),
    "a class inside another": (
        """
        class Outer(Furu[int]):
            class Inner(Furu[int]): ...
        inner = Outer.Inner
        class Outer(Furu[int]):
            class Inner(Furu[int]): ...
        classes = inner, Outer.Inner, Outer
        """,
        {0},
    ),
    "enums, dataclasses, named tuples, attrs classes and subclasses": (
        """
        def make():
            @dataclass(frozen=True)
            class Options:
                x: int = 1
            Options.__qualname__ = "Options"
            @attrs.frozen
            class Attrs:
                x: int = 1
            Attrs.__qualname__ = "Attrs"
            class Text(str): ...
            Text.__qualname__ = "Text"
            return [
                enum.Enum("Kind", {"A": 1}, module=__name__), Options,
                namedtuple("Point", "x", module=__name__), Attrs, Text,
            ]
        first, second = make(), make()
        Kind, Options, Point, Attrs, Text = first
        classes = first + second
        """,
        {5, 6, 7, 8, 9},
    ),
}


@pytest.mark.parametrize("case", NAMELESS)
def test_p2_a_class_whose_name_does_not_lead_back_to_it_has_no_hash_and_no_config_that_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    code, nameless = NAMELESS[case]
    head = (
        "import attrs, enum\nfrom collections import namedtuple\nfrom dataclasses import dataclass\n"
        "from furu_core import Furu\nclass Holder(Furu[int]):\n    value: object\n"
    )
    name = f"nameless_{list(NAMELESS).index(case)}"
    write(tmp_path / f"{name}.py", head + textwrap.dedent(code))
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module(name)
    for place, cls in enumerate(module.classes):
        made = next(iter(cls), None) if isinstance(cls, enum.EnumType) else None
        if made is None:
            made = cls(1) if issubclass(cls, str | tuple) else cls()
        for holder in (module.Holder(value=made), module.Holder(value=cls)):
            if place in nameless:
                with pytest.raises(FuruImportNameError, match="cannot be found by its name"):
                    _ = holder.furu_hash
            else:
                assert module.Holder.from_dict(holder.to_dict()) == holder
                assert resolve(name_of(cls).identity) is cls
    del sys.modules[name]


@pytest.mark.parametrize("base", ["Furu[int]", "enum.Enum"])
def test_p2_a_second_class_of_a_name_that_was_hashed_is_refused_in_one_execution_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    name = f"hashed_twice_{'furu' if base == 'Furu[int]' else 'enum'}"
    write(
        tmp_path / f"{name}.py",
        f"""
        import enum
        from furu_core import Furu
        class Holder(Furu[int]):
            value: object
        for _ in range(2):
            class Step({base}): ...
            Holder(value=Step).furu_hash
        """,
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(FuruError, match="Step") as caught:
        importlib.import_module(name)
    assert isinstance(caught.value, FuruDefinitionError | FuruImportNameError)
    assert "another name" in str(caught.value)


def test_a_shell_may_run_a_script_again_in_the_same_globals(tmp_path: Path) -> None:
    file = str(
        write(tmp_path / "again.py", CLASS + "import enum\nclass Kind(enum.Enum):\n    A = 1\n")
    )
    namespace: dict[str, Any] = {"__name__": "__main__", "__file__": file}
    hashes = set()
    for _ in range(2):
        exec(compile(Path(file).read_text(), file, "exec"), namespace)
        assert resolve(name_of(namespace["Kind"]).identity) is namespace["Kind"]
        hashes.add(namespace["Train"]().furu_hash)
        assert resolve(name_of(namespace["Train"]).identity) is namespace["Train"]
    assert len(hashes) == 1


class Scene:
    """A module in which classes come and go."""

    def __init__(self, number: int) -> None:
        self.name = f"scene_{number}"
        self.module = types.ModuleType(self.name)
        self.module.__dict__["Furu"] = Furu
        sys.modules[self.name] = self.module
        self.classes: list[type] = []

    def act(self, act: str, name: str, other: str) -> None:
        space = vars(self.module)
        if act == "config":
            try:
                exec(f"class {name}(Furu[int]): ...", space)
            except FuruDefinitionError:
                return
            self.classes.append(space[name])
        elif act == "value":
            space[name] = enum.Enum(name, {"A": 1}, module=self.name)
            self.classes.append(space[name])
        elif act == "inner" and isinstance(space.get(name), type):
            inner = type("Inner", (Furu,), {"__module__": self.name})
            inner.__qualname__ = f"{name}.Inner"
            space[name].Inner = inner
            self.classes.append(inner)
        elif act == "rebind" and name in space:
            space[other] = space[name]
        elif act == "delete":
            space.pop(name, None)
        elif act == "rename" and isinstance(space.get(name), type):
            space[name].__qualname__ = other


_SCENES = itertools.count()
_ACTS = st.sampled_from(["config", "value", "inner", "rebind", "delete", "rename", "name"])


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(_ACTS, st.sampled_from("AB"), st.sampled_from("AB")), max_size=8))
def test_p2_a_name_when_it_is_given_resolves_to_its_class_and_is_never_given_to_two(
    acts: list[tuple[str, str, str]],
) -> None:
    scene = Scene(next(_SCENES))
    given_to: dict[str, type] = {}
    try:
        for act, name, other in [*acts, ("name", "A", "A")]:
            scene.act(act, name, other)
            for cls in scene.classes if act == "name" else ():
                try:
                    identity = name_of(cls).identity
                except FuruImportNameError:
                    continue
                if identity not in given_to:
                    assert resolve(identity) is cls
                assert given_to.setdefault(identity, cls) is cls
    finally:
        del sys.modules[scene.name]


def test_a_module_that_has_the_name_of_one_of_pythons_is_named_by_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "pyproject.toml", "")
    write(tmp_path / "exp/antigravity.py", CLASS)
    monkeypatch.syspath_prepend(str(tmp_path / "exp"))
    module = importlib.import_module("antigravity")
    assert name_of(module.Train).identity == "exp.antigravity:Train"
    del sys.modules["antigravity"]


def test_a_class_is_found_by_its_names_and_by_its_reference() -> None:
    name = name_of(Top)
    assert name.identity == config_class(Top).identity_name
    assert name.relpath == "tests/test_class_names/Top"
    assert resolve(name.identity) is Top
    assert resolve_reference(reference(Top.Nested)) is Top.Nested
    assert resolve_reference(reference(dict)) is dict
    assert resolve_reference(reference(Path)) is Path
    assert name_of(Path).identity == "pathlib:Path"


class Top(Furu[int]):
    class Nested(Furu[int]):
        pass


def test_a_class_that_cannot_be_found_says_what_was_tried(tmp_path: Path) -> None:
    with pytest.raises(FuruImportNameError, match="No module named 'nowhere'"):
        resolve("nowhere.at_all:Train")
    with pytest.raises(FuruImportNameError, match="has no class Absent"):
        resolve("pathlib:Absent")


def test_import_roots_are_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["", "relative", *sys.path])
    assert all(os.path.isabs(entry) for entry in import_roots())
    assert import_roots()[0] == os.getcwd()
