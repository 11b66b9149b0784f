"""P9: the code that a record names is the code that ran, however it was started and whatever was edited meanwhile.

Each test writes a small project, edits it while it is used, and then recomputes from the code that the record
names, in an empty folder: the same result must come out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from furu_core import use_settings
from furu_core._code import _checkout, _listings
from furu_core._code._listings import CodeListing

SITE = [path for path in sys.path if path.endswith(("site-packages", "src"))]
LEAF = """
    from furu_core import Furu

    from helper import VALUE

    class Leaf(Furu[int]):
        x: int = 0

        def _create(self) -> int:
            return VALUE
    """


class Lab:
    """A project, a store, and programs that run in the project.

    Args:
        folder: an empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.project = folder / "project"
        self.store = folder / "store"
        self.empty = folder / "empty"
        self.project.mkdir()
        self.paths: list[Path] = []

    def write(self, name: str, text: str, folder: Path | None = None) -> Path:
        """Write a file of the project."""
        path = (folder or self.project) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
        return path

    def run(self, *arguments: str, text: str = "", **variables: str) -> str:
        """What a program prints."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.project,
            env=self.environment(self.store, *self.paths) | variables,
            input=text,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def environment(self, store: Path, *paths: Path) -> dict[str, str]:
        """That of a program that uses a store, and finds modules in some folders."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("FURU_")}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        return env | {
            "FURU_PATH": str(store),
            "PYTHONPATH": os.pathsep.join([*map(str, paths), *SITE]),
        }

    def record(self, name: str = "Leaf") -> dict[str, Any]:
        """What the record of the one result of a class tells."""
        (path,) = (self.store / "data").rglob(f"{name}/*/.furu.json")
        first, second = path.read_bytes().splitlines()
        manifest, story = second.partition(b" ")[2].split(b"\t")
        return json.loads(first) | json.loads(manifest) | json.loads(story)

    def listing(self, name: str = "Leaf") -> CodeListing:
        """The code that made the one result of a class."""
        with use_settings(path=self.store):
            listing = _listings.read(self.record(name)["code"])
        assert listing is not None
        return listing

    def source(self, module: str, name: str = "Leaf") -> str:
        """The source of a module that made the one result of a class."""
        with use_settings(path=self.store):
            source = _listings.source_of(self.listing(name).modules[module])
        assert source is not None
        return source.decode()

    def proves(self, expected: object, name: str = "Leaf") -> None:
        """The result is the expected one, and the code that its record names makes it in an empty folder."""
        record = self.record(name)
        assert record["result"]["value"] == expected
        assert self.listing(name).unknown == {}
        with use_settings(path=self.store):
            made = _checkout.checkout(record["code"], str(self.empty))
        assert not made.missing
        module, _, cls = record["config"].get("import", record["class_name"]).partition(":")
        code = f"import {module}; print(repr({module}.{cls}().get()), {module}.{cls}().furu_hash)"
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],
            cwd=self.empty,
            env=self.environment(self.empty.with_suffix(".store"), *map(Path, made.roots)),
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [repr(expected), record["hash"]]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    return Lab(tmp_path)


# While the work waits or runs. The program of the run edits the module; workers import it before or after.

SUBMIT = """
    import sys, pathlib
    from furu_local import run_local
    from model import Leaf

    if __name__ == "__main__":
        run_local([Leaf()], worker=sys.argv[1], max_workers=1)
    """


@pytest.mark.parametrize("worker", ["inline", "thread", "process"])
def test_p9_code_that_was_edited_between_submission_and_start_is_named_as_it_ran(
    lab: Lab, worker: str
) -> None:
    lab.write("helper.py", "VALUE = 1")
    lab.write("model.py", LEAF)
    lab.write(
        "submit.py",
        SUBMIT.replace(
            "from model import Leaf", "from model import Leaf\n    edit = pathlib.Path('helper.py')"
        ).replace("run_local([", "edit.write_text('VALUE = 2'); run_local(["),
    )
    said = lab.run("submit.py", worker)
    assert lab.record().get("code_edited", []) == (["helper"] if worker == "process" else [])
    assert ("helper: edited since" in said) is (worker == "process")
    # Workers that are processes of their own import it anew; the others run what was imported before.
    expected = 2 if worker == "process" else 1
    assert lab.source("helper") == f"VALUE = {expected}"
    lab.proves(expected)


@pytest.mark.parametrize("loaded", ["loaded", "not yet loaded"])
@pytest.mark.parametrize("worker", ["inline", "process"])
def test_p9_code_that_is_edited_while_the_node_runs_is_named_as_it_ran(
    lab: Lab, worker: str, loaded: str
) -> None:
    lab.write("helper.py", "VALUE = 1")
    edit = "pathlib.Path('helper.py').write_text('VALUE = 2')"
    before, after = ("from helper import VALUE", edit)[:: 1 if loaded == "loaded" else -1]
    lab.write(
        "model.py",
        f"""
        import pathlib
        from furu_core import Furu

        class Leaf(Furu[int]):
            def _create(self) -> int:
                if pathlib.Path("helper.py").exists():
                    {before}
                    {after}
                return VALUE
        """,
    )
    lab.write("submit.py", SUBMIT)
    lab.run("submit.py", worker)
    expected = 1 if loaded == "loaded" else 2
    assert lab.record()["result"]["value"] == expected
    assert lab.source("helper") == f"VALUE = {expected}"
    assert (lab.project / "helper.py").read_text() == "VALUE = 2"


def test_p9_two_edits_within_a_second_do_not_run_what_python_cached_of_the_first(lab: Lab) -> None:
    model = lab.write("model.py", LEAF)
    helper = lab.write("helper.py", "VALUE = 1")
    program = (
        "import pathlib, py_compile, os\n"
        "file = pathlib.Path('helper.py')\n"
        "os.utime(file, (1.7e9, 1.7e9)); py_compile.compile('helper.py')\n"
        "file.write_text('VALUE = 2'); os.utime(file, (1.7e9, 1.7e9))\n"
    )
    lab.run("-c", program)
    # Without furu Python runs the cached code of the first edit.
    assert lab.run("-c", "import helper; print(helper.VALUE)") == "1\n"
    assert lab.run("-c", "from model import Leaf; print(Leaf().get())").split()[0] == "2"
    lab.proves(2)
    assert helper.exists()
    assert model.exists()


# Where the code is


@pytest.mark.parametrize("way", [".pth", "finder"])
def test_p9_an_editable_install_is_named_as_it_ran(lab: Lab, way: str) -> None:
    source = lab.project.parent / "checkout" / "src"
    lab.write("lab/__init__.py", "", source)
    lab.write("lab/helper.py", "VALUE = 1", source)
    lab.write("lab/model.py", LEAF.replace("from helper", "from lab.helper"), source)
    site = lab.project.parent / "venv" / "site-packages"
    if way == ".pth":
        lab.write("__editable__.lab.pth", str(source), site)
    else:
        lab.write("__editable__.lab.pth", "import __editable___lab_finder as f; f.install()", site)
        finder = f"""
            import sys
            from importlib.util import spec_from_file_location

            class Finder:
                @classmethod
                def find_spec(cls, name, path=None, target=None):
                    if name == "lab":
                        return spec_from_file_location(
                            name, {str(source / "lab" / "__init__.py")!r},
                            submodule_search_locations=[{str(source / "lab")!r}],
                        )

            def install():
                sys.meta_path.append(Finder)
            """
        lab.write("__editable___lab_finder.py", finder, site)
    lab.write(
        "submit.py",
        f"""
        import pathlib, site, sys
        site.addsitedir({str(site)!r})
        from furu_local import run_local
        from lab.model import Leaf

        if __name__ == "__main__":
            pathlib.Path({str(source / "lab" / "helper.py")!r}).write_text("VALUE = 2")
            run_local([Leaf()], worker=sys.argv[1], max_workers=1)
        """,
    )
    lab.run("submit.py", "inline")
    assert {"lab", "lab.helper", "lab.model"} <= lab.listing().modules.keys()
    assert lab.source("lab.helper") == "VALUE = 1"
    lab.proves(1)


def test_p9_a_package_outside_of_the_project_is_named_as_it_ran(lab: Lab) -> None:
    outside = lab.project.parent / "outside"
    lab.write("helper.py", "VALUE = 1", outside)
    lab.write("model.py", LEAF)
    lab.write(
        "submit.py",
        SUBMIT.replace(
            "run_local([",
            f"pathlib.Path({str(outside / 'helper.py')!r}).write_text('VALUE = 2'); run_local([",
        ),
    )
    lab.paths = [outside]
    lab.run("submit.py", "process")
    assert lab.source("helper") == "VALUE = 2"
    lab.proves(2)


def test_p9_an_installed_package_with_config_classes_is_named(lab: Lab) -> None:
    site = lab.project.parent / "site-packages"
    lab.write("lab/__init__.py", "", site)
    lab.write("lab/helper.py", "VALUE = 1", site)
    lab.write("lab/model.py", LEAF.replace("from helper", "from lab.helper"), site)
    lab.write("plain/__init__.py", "", site)
    lab.paths = [site]
    wait_for_the_clock()
    lab.run("-c", "import plain; from lab.model import Leaf; Leaf().get()")
    assert sorted(lab.listing().modules) == ["lab", "lab.helper", "lab.model"]
    lab.proves(1)


def wait_for_the_clock() -> None:
    """Let so much time pass that a process that starts now is later than files that were just written."""
    deadline = time.time() + 0.1
    while time.time() < deadline:
        time.sleep(0.01)


@pytest.mark.parametrize("git", [True, False])
def test_p9_a_checkout_of_another_branch_is_named_as_it_ran(lab: Lab, git: bool) -> None:
    helper = lab.write("helper.py", "VALUE = 1\n")
    lab.write("model.py", LEAF)
    change = "pathlib.Path('helper.py').write_text('VALUE = 2\\n')"
    if git:
        for command in (
            "git init -q -b main", "git add .", "git commit -qm one", "git checkout -qb other",
        ):  # fmt: skip
            run_git(lab, command)
        helper.write_text("VALUE = 2\n")
        for command in ("git commit -qam two", "git checkout -q main"):
            run_git(lab, command)
        change = "__import__('subprocess').run(['git', 'checkout', '-q', 'other'], check=True)"
    lab.write("submit.py", SUBMIT.replace("run_local([", f"{change}; run_local(["))
    lab.run("submit.py", "process")
    assert lab.source("helper") == "VALUE = 2\n"
    lab.proves(2)


def run_git(lab: Lab, command: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *command.split()[1:]],
        cwd=lab.project, check=True, capture_output=True,
    )  # fmt: skip


# How it is started


@pytest.mark.parametrize("way", ["script", "-m", "imported", "run_path", "cProfile"])
def test_p9_a_script_is_named_the_same_however_it_is_started(lab: Lab, way: str) -> None:
    lab.write("pyproject.toml", "")
    lab.write("exp/helper.py", "VALUE = 7")
    lab.write(
        "exp/train.py",
        """
        from furu_core import Furu
        from exp.helper import VALUE

        class Leaf(Furu[int]):
            def _create(self) -> int:
                return VALUE

        if __name__ in ("__main__", "<run_path>"):
            Leaf().get()
        """,
    )
    lab.paths = [lab.project]
    started = {
        "script": ("exp/train.py",),
        "-m": ("-m", "exp.train"),
        "imported": ("-c", "from exp.train import Leaf; Leaf().get()"),
        "run_path": ("-c", "import runpy; runpy.run_path('exp/train.py')"),
        "cProfile": ("-m", "cProfile", "exp/train.py"),
    }
    lab.run(*started[way])
    assert sorted(lab.listing().modules) == ["exp.helper", "exp.train"]
    assert lab.listing().unknown == {}
    lab.proves(7)


def test_p9_a_script_that_edits_itself_is_named_as_it_ran(lab: Lab) -> None:
    script = lab.write(
        "train.py",
        """
        import pathlib
        from furu_core import Furu

        class Leaf(Furu[int]):
            def _create(self) -> int:
                return 1

        if __name__ == "__main__":
            file = pathlib.Path(__file__)
            file.write_text(file.read_text().replace("return 1", "return 2"))
            Leaf().get()
        """,
    )
    lab.run("train.py")
    assert "return 2" in script.read_text()
    lab.proves(1)


def test_p9_a_module_that_was_edited_before_furu_was_imported_is_unknown(lab: Lab) -> None:
    lab.write("helper.py", "VALUE = 1")
    lab.write("model.py", LEAF)
    lab.run(
        "-c",
        "import helper, pathlib; pathlib.Path('helper.py').write_text('VALUE = 2')\n"
        "from model import Leaf; assert Leaf().get() == 1",
    )
    assert list(lab.listing().unknown) == ["helper"]
    assert "before furu" in lab.listing().unknown["helper"]


def test_p9_a_module_that_was_imported_before_furu_is_known_if_its_file_is_older(lab: Lab) -> None:
    lab.write("helper.py", "VALUE = 1")
    lab.write("model.py", LEAF)
    wait_for_the_clock()
    lab.run("-c", "import helper; from model import Leaf; assert Leaf().get() == 1")
    lab.proves(1)


def test_p9_a_project_in_a_zip_file_is_named(lab: Lab) -> None:
    import zipfile

    with zipfile.ZipFile(lab.project / "code.zip", "w") as archive:
        archive.writestr("helper.py", "VALUE = 1")
    lab.write("model.py", LEAF)
    lab.paths = [lab.project / "code.zip"]
    wait_for_the_clock()
    lab.run("-c", "from model import Leaf; assert Leaf().get() == 1")
    assert lab.source("helper") == "VALUE = 1"
    lab.proves(1)


# Interactive sessions

SESSION = "import code; code.InteractiveConsole().interact('', '')"


def test_p9_a_module_of_an_interactive_session_is_named_as_it_was_reloaded(lab: Lab) -> None:
    lab.write(
        "model.py",
        LEAF.replace("from helper import VALUE", "import helper").replace("VALUE", "helper.VALUE"),
    )
    lab.write("helper.py", "VALUE = 1")
    lab.run(
        "-c",
        SESSION,
        text=dedent("""\
        import importlib, pathlib, helper, model
        _ = pathlib.Path("helper.py").write_text("VALUE = 22")
        _ = importlib.reload(helper)
        model.Leaf().get()
        """),
    )
    assert lab.source("helper") == "VALUE = 22"
    lab.proves(22)


@pytest.mark.parametrize(
    ("text", "keeps"),
    [
        ("VALUE = 22", "VALUE"),
        ("VALUE = 1\n\n\ndef more(): return 3", None),
        ("VALUE = True", "VALUE"),
    ],
)
def test_p9_a_reloaded_module_of_which_another_one_holds_older_values_is_unknown(
    lab: Lab, text: str, keeps: str | None
) -> None:
    lab.write("model.py", LEAF)
    lab.write("helper.py", "VALUE = 1")
    lab.run(
        "-c",
        SESSION,
        text=dedent(f"""\
        import importlib, pathlib, helper, model
        _ = pathlib.Path("helper.py").write_text({text!r})
        _ = importlib.reload(helper)
        model.Leaf().get()
        """),
    )
    assert lab.record()["result"]["value"] == 1
    if keeps is None:
        lab.proves(1)
    else:
        assert f"model still holds {keeps}" in lab.listing().unknown["helper"]


@pytest.mark.parametrize(
    "held",
    [
        "{'value': helper.value}",
        "[(functools.partial(helper.value),)]",
        "(lambda found=helper.value: found())",
        "type('Registry', (), {'__init__': lambda self, f: setattr(self, 'f', f)})(helper.value)",
    ],
)
def test_p9_a_reloaded_module_of_which_another_one_holds_an_older_function_in_something_is_unknown(
    lab: Lab, held: str
) -> None:
    lab.write(
        "model.py",
        f"""
        from furu_core import Furu
        import functools
        import helper

        HELD = {held}

        class Leaf(Furu[int]):
            def _create(self) -> int:
                return 1
        """,
    )
    lab.write("helper.py", "def value(): return 1")
    lab.run(
        "-c",
        SESSION,
        text=dedent("""\
        import importlib, pathlib, helper, model
        _ = pathlib.Path("helper.py").write_text("def value(): return 2")
        _ = importlib.reload(helper)
        model.Leaf().get()
        """),
    )
    assert "model still holds HELD of before" in lab.listing().unknown["helper"]


def test_p9_of_several_reloaded_modules_each_is_unknown_of_which_something_older_is_held(
    lab: Lab,
) -> None:
    lab.write(
        "model.py",
        """
        from furu_core import Furu
        import first, second, third, fourth

        DEEP = [[[box := {"value": first.value}]]]  # too deep to be looked into; the box itself is not
        BOX = box
        del box
        SECOND = [second.value]
        inner = [*range(100), fourth.value, *map(float, range(9_850))]
        FAR = [inner, *map(complex, range(300))]  # so many that the end of the inner ones is not looked at
        NEAR = [inner]
        del inner

        class Leaf(Furu[int]):
            def _create(self) -> int:
                return 1
        """,
    )
    for name in ("first", "second", "third", "fourth"):
        lab.write(f"{name}.py", "def value(): return 1")
    lab.run(
        "-c",
        SESSION,
        text=dedent("""\
        import importlib, pathlib, first, second, third, fourth, model
        for module in (first, second, third, fourth):
            _ = pathlib.Path(module.__file__).write_text("def value(): return 2")
            _ = importlib.reload(module)

        model.Leaf().get()
        """),
    )
    unknown = lab.listing().unknown
    assert unknown.keys() == {"first", "second", "fourth"}
    assert "model still holds BOX of before" in unknown["first"]
    assert "model still holds SECOND of before" in unknown["second"]
    assert "model still holds NEAR of before" in unknown["fourth"]


def test_p9_a_reloaded_module_of_which_the_session_holds_an_older_function_is_unknown(
    lab: Lab,
) -> None:
    lab.write(
        "model.py",
        """
        from furu_core import Furu
        import helper

        class Leaf(Furu[int]):
            def _create(self) -> int:
                return helper.value()
        """,
    )
    lab.write("helper.py", "def value(): return 1")
    lab.run(
        "-c",
        SESSION,
        text=dedent("""\
        import importlib, pathlib, helper, model
        from helper import value
        _ = pathlib.Path("helper.py").write_text("def value(): return 2")
        _ = importlib.reload(helper)
        helper.value = value
        model.Leaf().get()
        """),
    )
    assert lab.record()["result"]["value"] == 1
    assert "value of before" in lab.listing().unknown["helper"]


def test_p9_a_module_that_was_replaced_by_one_from_a_spec_is_not_taken_for_the_one_that_was_imported(
    lab: Lab,
) -> None:
    lab.write(
        "model.py",
        LEAF.replace("from helper import VALUE", "import helper").replace("VALUE", "helper.VALUE"),
    )
    lab.write("helper.py", "VALUE = 1")
    lab.write(
        "go.py",
        """
        import importlib.util, pathlib, sys
        import furu_core
        import model

        pathlib.Path("helper.py").write_text("VALUE = 22")
        spec = importlib.util.spec_from_file_location("helper", "helper.py")
        model.helper = sys.modules["helper"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(model.helper)
        pathlib.Path("helper.py").write_text("VALUE = 333")
        model.Leaf().get()
        """,
    )
    lab.run("go.py")
    assert lab.record()["result"]["value"] == 22
    assert "helper" in lab.listing().unknown


def test_p9_a_reload_that_found_a_syntax_error_changes_nothing(lab: Lab) -> None:
    lab.write("model.py", LEAF)
    lab.write("helper.py", "VALUE = 1")
    lab.run(
        "-c",
        SESSION,
        text=dedent("""\
        import importlib, pathlib, model, helper
        _ = pathlib.Path("helper.py").write_text("VALUE = = 2")
        _ = importlib.reload(helper)
        model.Leaf().get()
        """),
    )
    lab.proves(1)


def test_p9_code_that_a_tool_asks_for_without_importing_it_is_not_taken_for_what_ran(
    lab: Lab,
) -> None:
    lab.write("model.py", LEAF)
    lab.write("helper.py", "VALUE = 1")
    lab.run(
        "-c",
        "import helper, runpy, pathlib, model\n"
        "pathlib.Path('helper.py').write_text('VALUE = 22')\n"
        "assert helper.__loader__.get_code('helper').co_consts[0] == 22\n"
        "assert runpy.run_module('helper')['VALUE'] == 22\n"
        "model.Leaf().get()".replace(
            "import helper, runpy", "from furu_core import Furu; import helper, runpy"
        ),
    )
    lab.proves(1)


def test_errors_of_modules_are_shown_without_what_observes_their_imports(lab: Lab) -> None:
    for text in ("x = = 1", "raise ValueError(3)", "import nowhere_to_be_found"):
        lab.write("broken.py", text)
        done = subprocess.run(
            [sys.executable, "-c", "import furu_core, broken"],
            cwd=lab.project, env=lab.environment(lab.store), capture_output=True, text=True,
        )  # fmt: skip
        assert "broken.py" in done.stderr
        assert "importlib" not in done.stderr
        assert "_observer" not in done.stderr


@pytest.mark.parametrize("mode", ["checked-hash", "unchecked-hash"])
def test_p9_cached_code_that_is_valid_by_a_digest_is_compared_with_the_source(
    lab: Lab, mode: str
) -> None:
    lab.write("model.py", LEAF)
    helper = lab.write("helper.py", "VALUE = 1")
    for value in (1, 2):
        if value == 1:
            mode_ = f"py_compile.PycInvalidationMode.{mode.upper().replace('-', '_')}"
            lab.run(
                "-c",
                f"import py_compile; py_compile.compile('helper.py', invalidation_mode={mode_})",
            )
        else:
            helper.write_text("VALUE = 2")
        lab.store = lab.store.with_name(f"store{value}")
        lab.empty = lab.empty.with_name(f"empty{value}")
        lab.run("-c", f"from model import Leaf; assert Leaf().get() == {value}")
        lab.proves(value)


# What is listed


def test_p9_editing_one_class_of_a_shared_worker_changes_nothing_of_another(lab: Lab) -> None:
    for name, value in (("One", 1), ("Two", 2)):
        lab.write(f"{name.lower()}_helper.py", f"VALUE = {value}")
        lab.write(
            f"{name.lower()}.py",
            LEAF.replace("helper", f"{name.lower()}_helper").replace("Leaf", name),
        )
    lab.write("shared.py", "import shared_too")
    lab.write("shared_too.py", "")
    with (lab.project / "one.py").open("a") as file:
        file.write("\nimport shared\n")
    with (lab.project / "two.py").open("a") as file:
        file.write("\nfrom shared import shared_too\n")
    lab.write("plot.py", "")
    lab.write(
        "submit.py",
        """
        import sys, plot
        from furu_local import run_local
        from one import One
        from two import Two

        if __name__ == "__main__":
            run_local([One(), Two()], worker=sys.argv[1], max_workers=1)
        """,
    )
    lab.run("submit.py", "process")
    assert sorted(lab.listing("One").modules) == ["one", "one_helper", "shared", "shared_too"]
    assert sorted(lab.listing("Two").modules) == ["shared", "shared_too", "two", "two_helper"]
    lab.store = lab.store.with_name("other")
    lab.run("submit.py", "inline")
    scripts = {name: one.is_script for name, one in lab.listing("One").modules.items()}
    assert scripts == {"plot": True, "submit": True} | dict.fromkeys(
        ["one", "one_helper", "shared", "shared_too"], False
    )


def test_p9_a_module_that_only_another_class_imports_by_name_is_listed_where_one_is_imported_by_a_computed_name(
    lab: Lab,
) -> None:
    lab.write("plug.py", "def value():\n    return 1\n")
    node = "from furu_core import Furu\nclass {}(Furu[int]):\n    name: str = 'plug'\n    def _create(self):\n"
    lab.write(
        "other.py", f"{node.format('Other')}        import plug\n        return plug.value()\n"
    )
    lab.write(
        "leaf.py",
        f"import importlib\n{node.format('Leaf')}        return importlib.import_module(self.name).value()\n",
    )
    lab.run("-c", "import other, leaf; other.Other().get(); leaf.Leaf().get()")
    assert {"plug", "leaf"} <= set(lab.listing("Leaf").modules)
    assert "leaf" not in lab.listing("Other").modules
    lab.proves(1)


def test_p9_the_code_of_configs_in_a_config_is_listed_however_deep(lab: Lab) -> None:
    lab.write("helper.py", "VALUE = 1")
    lab.write("model.py", LEAF)
    lab.write(
        "outer.py",
        """
        from typing import Any
        from furu_core import Furu

        class Outer(Furu[int]):
            inner: Furu[Any]

            def _create(self) -> int:
                return self.inner.get() + 1
        """,
    )
    lab.run(
        "-c",
        "from outer import Outer; from model import Leaf; Outer(inner=Outer(inner=Leaf())).get()",
    )
    (first, second) = {
        json.loads(path.read_bytes().partition(b"\t")[2])["code"]
        for path in (lab.store / "data").rglob(".furu.json")
    }
    with use_settings(path=lab.store):
        listings = [_listings.read(digest) for digest in (first, second)]
    names = {tuple(sorted(one.modules)) for one in listings if one is not None}
    assert names == {("helper", "model"), ("helper", "model", "outer")}


def test_p9_a_source_above_the_limit_is_not_kept_and_the_listing_says_so(lab: Lab) -> None:
    lab.write("helper.py", "VALUE = 1\n" + "# padding\n" * 100)
    lab.write("model.py", LEAF)
    lab.run("-c", "from model import Leaf; Leaf().get()", FURU_CODE_LIMIT="500")
    omitted = {name: one.is_omitted for name, one in lab.listing().modules.items()}
    assert omitted == {"helper": True, "model": False}
    with use_settings(path=lab.store):
        made = _checkout.checkout(lab.record()["code"], str(lab.empty))
    assert list(made.missing) == ["helper"]
    assert "FURU_CODE_LIMIT" in made.missing["helper"]


def test_p9_the_listing_is_the_same_in_every_checkout(lab: Lab) -> None:
    digests = set()
    for number in range(2):
        lab.project = lab.project.with_name(f"project{number}")
        lab.write("helper.py", "VALUE = 1")
        lab.write("model.py", LEAF)
        lab.store = lab.store.with_name(f"store{number}")
        lab.run("-c", "from model import Leaf; Leaf().get()")
        digests.add(lab.record()["code"])
    assert len(digests) == 1


def test_p9_a_result_that_was_given_names_no_code(lab: Lab) -> None:
    lab.write("helper.py", "VALUE = 1")
    lab.write("model.py", LEAF)
    lab.run("-c", "from model import Leaf; Leaf().put(3)")
    assert "code" not in lab.record()


def test_p9_code_that_cannot_be_recorded_costs_no_result(lab: Lab) -> None:
    lab.write("helper.py", "VALUE = 1")
    lab.write("model.py", LEAF)
    lab.store.mkdir()
    (lab.store / "code").write_text("no folder")
    lab.run("-c", "from model import Leaf; assert Leaf().get() == 1")
    assert "code" not in lab.record()
