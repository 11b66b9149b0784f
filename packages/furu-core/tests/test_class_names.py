"""P2: the same file gives the same hash however it is started, or an error says why it cannot."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import furu_core
from furu_core import Furu
from furu_core._class_names import (
    file_identity,
    import_roots,
    name_of,
    reference,
    resolve,
    resolve_reference,
)
from furu_core._config_class import config_class
from furu_core.errors import FuruImportNameError

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
    }
    for name in names:
        write(tmp_path / name, "")
    assert {name: file_identity(str(tmp_path / name))[0] for name in names} == names


CHILD = """
    import pickle, sys
    message = pickle.load(open(sys.argv[1], "rb"))
    sys.path[:] = message["path"]
    from furu_core.executors import Unpacker
    obj = Unpacker().unpack(message["packed"])
    again = pickle.loads(message["pickled"])
    assert type(obj) is type(again), (type(obj), type(again))
    print(obj.furu_hash == message["hash"], type(obj).__module__, obj.kind.name)
"""

PARENT = """
    if __name__ == "__main__":
        import pickle
        from furu_core.executors import Packer, import_roots
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
