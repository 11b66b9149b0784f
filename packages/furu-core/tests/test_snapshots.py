"""What is edited, deleted or checked out after a snapshot was made changes nothing for who imports from it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import furu_core
from furu_core import _files
from furu_core._code import _snapshot_files
from furu_core._code._snapshot import CodeSnapshot
from furu_core._code._snapshot_files import Tree, pattern_of, tree_of
from furu_core.errors import FuruStoreError, FuruUsageError
from furu_core.workers import take_snapshot
from furu_testing import Program

# What a submitter writes down for its jobs, and how a job begins.
SUBMITTER = """
import json, os, sys
from furu_core._code._snapshot import CODE_SNAPSHOT
from furu_core.workers import import_roots, take_snapshot

def submit(**more):
    message = {
        "cwd": os.getcwd(), "roots": import_roots(),
        "snapshot": CODE_SNAPSHOT.to_json(take_snapshot()), **more,
    }
    with open(os.environ["MESSAGE"], "w") as file:
        json.dump(message, file)
"""
JOB = """
import json, os, sys
from furu_core._code._snapshot import CODE_SNAPSHOT
from furu_core.workers import enter_snapshot
with open(os.environ["MESSAGE"]) as file:
    message = json.load(file)
os.chdir(message["cwd"])
sys.path[:] = list(dict.fromkeys([*message["roots"], *sys.path]))
enter_snapshot(CODE_SNAPSHOT.from_json(message["snapshot"]))
"""
CLASS = """
from furu_core import Furu

class Train(Furu[int]):
    seed: int = 0

    def _create(self) -> int:
        return self.seed
"""


class Project:
    """A project, a submitter in it, and jobs that begin later."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        self.message = folder / "message"
        self.environment = {
            **{name: text for name, text in os.environ.items() if name != "PYTHONPATH"},
            "FURU_PATH": str(self.folder / "furu-data"),
            "MESSAGE": str(self.message),
        }
        self.environment.pop("FURU_CODE", None)

    def write(self, path: str, text: str = "") -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        return file

    def run(self, *arguments: str, cwd: str = ".", **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder / cwd,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def submit(self, *imports: str, **options: str) -> None:
        """Submit as a program that has imported these."""
        code = "".join(f"import {name}\n" for name in imports)
        self.run("-c", f"{code}{SUBMITTER}submit()", **options)

    def job(self, code: str, *arguments: str, **environment: str) -> str:
        """What a job that begins now prints."""
        return self.run("-P", "-c", JOB + textwrap.dedent(code), *arguments, **environment)

    @property
    def snapshots(self) -> list[Path]:
        return sorted((self.folder / "furu-data/code/snapshots").glob("[!.]*"))


@pytest.fixture
def project(tmp_path: Path, furu_environment: None) -> Project:
    return Project(tmp_path)


def snapshot_of(*roots: Path | str) -> CodeSnapshot:
    found = take_snapshot([str(root) for root in roots])
    assert found is not None
    return found


@pytest.fixture
def snapshots(furu_store: Path) -> Iterator[Path]:
    """The folder of snapshots of a store."""
    with furu_core.use_settings(code="snapshot"):
        yield furu_store / "code" / "snapshots"


# Names and hashes

STARTS: list[Any] = [
    pytest.param([], "train.py", ["train.py"], ".", id="a script in a plain folder"),
    pytest.param(["pyproject.toml"], "train.py", ["train.py"], ".", id="beside a pyproject"),
    pytest.param(["pyproject.toml"], "exp/train.py", ["exp/train.py"], ".", id="a sub-folder"),
    pytest.param(["pyproject.toml"], "exp/train.py", ["train.py"], "exp", id="from the sub-folder"),
    pytest.param([".git"], "exp/deep/train.py", ["exp/deep/train.py"], ".", id="only git"),
    pytest.param([".git"], "exp/train.py", ["-m", "exp.train"], ".", id="a namespace package"),
    pytest.param(["exp/__init__.py"], "exp/train.py", ["-m", "exp.train"], ".", id="a package"),
    pytest.param(["exp/__init__.py"], "exp/train.py", ["exp/train.py"], ".", id="its script"),
    pytest.param(["exp/__init__.py"], "exp/train.py", ["train.py"], "exp", id="from inside"),
    pytest.param(
        ["pyproject.toml", "src/exp/__init__.py"],
        "src/exp/train.py",
        ["src/exp/train.py"],
        ".",
        id="a src layout",
    ),
    pytest.param(
        ["pyproject.toml", "sub/pyproject.toml"],
        "sub/lib/train.py",
        ["sub/lib/train.py"],
        ".",
        id="a project in a project",
    ),
    pytest.param(
        ["pyproject.toml"],
        "../elsewhere/lib/train.py",
        ["../elsewhere/lib/train.py"],
        ".",
        id="outside of the project that the store is in",
    ),
    pytest.param(
        [".git", "part/.git"], "part/lib/train.py", ["part/lib/train.py"], ".", id="a submodule"
    ),
]


@pytest.mark.parametrize(("others", "file", "start", "cwd"), STARTS)
def test_p2_a_class_has_the_same_name_and_hash_in_a_snapshot(
    project: Project, others: list[str], file: str, start: list[str], cwd: str
) -> None:
    """Also where the store with the snapshot is in a project, as it is by default."""
    store = "../store" if "pyproject.toml" in others and ".." not in file else "furu-data"
    for other in others:
        project.write(other)
    main = (
        "if __name__ == '__main__':\n    submit(hash=Train().furu_hash, name=Train().to_dict())\n"
    )
    project.write(file, CLASS + SUBMITTER + main)
    environment = {"FURU_PATH": os.path.abspath(project.folder / store)}
    project.run(*start, cwd=cwd, **environment)
    shutil.move(project.folder / file, project.folder / "moved.txt")  # so it cannot be read
    found = json.loads(
        project.job(
            """
            from furu_core import Furu
            obj = Furu.from_dict(message["name"])
            told = sys.modules[type(obj).__module__].__file__
            print(json.dumps([obj.furu_hash, obj.to_dict(), told, message]))
            """,
            **environment,
        )
    )
    furu_hash, name, told, message = found
    assert furu_hash == message["hash"]
    assert name == message["name"]
    assert told.startswith(f"{environment['FURU_PATH']}/code/snapshots/")
    assert told.endswith(f"/{file.rpartition('/')[2]}")


# Which code

WORK = """
    import train
    print(train.value())
"""


def write_two(project: Project, text: str) -> None:
    """A module that a submitter imports, and one that a job is the first to import."""
    project.write("train.py", f"def value():\n    import later\n    return '{text}', later.value\n")
    project.write("later.py", f"value = '{text}'\n")


def test_p9_jobs_run_the_code_at_submission_whatever_is_edited_and_removed_meanwhile(
    project: Project,
) -> None:
    write_two(project, "at submission")
    project.submit("train")
    expected = "('at submission', 'at submission')"
    write_two(project, "edited")
    assert project.job(WORK) == expected
    (project.folder / "train.py").unlink()
    (project.folder / "later.py").unlink()
    assert project.job(WORK) == expected
    assert project.job(WORK) == expected  # from its __pycache__


def test_p9_code_that_is_edited_while_a_job_runs_is_not_what_it_imports_later(
    project: Project,
) -> None:
    write_two(project, "at submission")
    project.submit("train")
    found = project.job(
        """
        import train
        open("later.py", "w").write("value = 'edited'")
        open("train.py", "w").write("edited")
        print(train.value())
        import importlib
        print(importlib.reload(train).value())
        """
    )
    assert found.splitlines() == ["('at submission', 'at submission')"] * 2


def test_p9_a_checkout_of_another_branch_changes_nothing(project: Project) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        subprocess.run(
            ["git", *who, *arguments], cwd=project.folder, check=True, capture_output=True
        )

    git("init", "-b", "main")
    project.write(".gitignore", "furu-data\n")
    project.write("conf/__init__.py")
    project.write("conf/lr.yaml", "lr: 1")
    write_two(project, "of main")
    git("add", "-A")
    git("commit", "-m", "main")
    git("checkout", "-b", "other")
    write_two(project, "of the other branch")
    project.write("conf/lr.yaml", "lr: 2")
    git("commit", "-am", "other")
    git("checkout", "main")
    project.submit("train")
    git("checkout", "other")
    settings = """
        from importlib.resources import files
        print((files("conf") / "lr.yaml").read_text())
    """
    assert project.job(textwrap.dedent(WORK) + textwrap.dedent(settings)).splitlines() == [
        "('of main', 'of main')",
        "lr: 1",
    ]
    # Commands of git find the repository from the snapshot as well.
    asked = "import train, subprocess; print(subprocess.check_output(['git', '-C', "
    asked += "os.path.dirname(train.__file__), 'rev-parse', '--abbrev-ref', 'HEAD'], text=True))"
    assert project.job(asked) == "other"


def test_p9_a_package_outside_of_the_projects_folder_is_in_the_snapshot(project: Project) -> None:
    project.write("../elsewhere/lab/__init__.py", "value = 'at submission'")
    project.write("main.py")
    path = str(project.folder.parent / "elsewhere")
    project.submit("main", PYTHONPATH=path)
    project.write("../elsewhere/lab/__init__.py", "value = 'edited'")
    shows = """
        import lab, subprocess
        print(lab.value)
        # And for the processes that the job's code starts.
        print(subprocess.check_output([sys.executable, "-c", "import lab; print(lab.value)"], text=True))
    """
    assert project.job(shows, PYTHONPATH=path).split("\n") == ["at submission"] * 2


def editable(project: Project, kind: str) -> tuple[str, dict[str, str]]:
    """An editable install of a package in an environment of its own; its interpreter's site-packages."""
    site = project.folder.parent / "env" / "site-packages"
    site.mkdir(parents=True)
    source = project.folder.parent / "lab-project" / ("code" if kind == "renamed" else "src/lab")
    project.write(f"{source}/__init__.py", "value = 'at submission'")
    project.write(f"{source}/late.py", "value = 'at submission'")
    project.write(
        f"{source}/../../pyproject.toml" if kind != "renamed" else f"{source}/../pyproject.toml"
    )
    if kind == "pth":
        (site / "lab.pth").write_text(str(source.parent))
    elif kind == "link":
        (site / "lab").symlink_to(source)
    else:
        (site / "__editable___lab_finder.py").write_text(FINDER.replace("PLACE", str(source)))
        (site / "lab.pth").write_text("import __editable___lab_finder as f; f.install()")
    return str(source), {"SITE": str(site)}


# As setuptools writes it.
FINDER = """
import sys
from importlib.util import spec_from_file_location
MAPPING = {"lab": "PLACE"}
class _EditableFinder:
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        if fullname in MAPPING:
            place = MAPPING[fullname]
            return spec_from_file_location(
                fullname, place + "/__init__.py", submodule_search_locations=[place]
            )
def install():
    sys.meta_path.append(_EditableFinder)
"""
SITE = "import os, site; site.addsitedir(os.environ['SITE'])\n"


@pytest.mark.parametrize(
    ("kind", "imported"),
    [
        ("pth", ""),
        ("finder", ""),
        ("finder", "import lab"),
        ("renamed", ""),
        ("link", "import lab"),
    ],
)
def test_p9_an_editable_install_is_in_the_snapshot_also_where_only_the_job_imports_it(
    project: Project, kind: str, imported: str
) -> None:
    source, environment = editable(project, kind)
    project.run("-c", f"{SITE}{imported}\n{SUBMITTER}submit()", **environment)
    for name in ("__init__", "late"):
        project.write(f"{source}/{name}.py", "value = 'edited'")
    found = project.run(
        "-P", "-c", f"{SITE}{JOB}\nimport lab, lab.late; print(lab.value, lab.late.value)",
        **environment,
    )  # fmt: skip
    assert found == "at submission at submission"
    assert not [one for one in project.snapshots if not (one / "lab-project").is_dir()]


def test_p9_a_folder_of_the_project_that_the_code_adds_to_its_path_is_that_of_the_snapshot(
    project: Project,
) -> None:
    project.write("pyproject.toml")
    project.write("tools/tool.py", "value = 'at submission'")
    project.write(
        "train.py", "import sys\nsys.path.insert(0, 'tools')\nimport tool\nvalue = tool.value"
    )
    project.submit("train")
    project.write("tools/tool.py", "value = 'edited'")
    assert project.job("import train; print(train.value)") == "at submission"


def test_an_environment_in_the_projects_folder_stays_where_it_is(project: Project) -> None:
    project.write("pyproject.toml")
    project.write("train.py", "import tool")
    installed = project.write("env/lib/python3/site-packages/tool.py")
    project.submit("train", PYTHONPATH=str(installed.parent))
    path = {"PYTHONPATH": str(installed.parent)}
    found = project.job("import tool; print(tool.__file__)", **path)
    assert found == str(installed)


def test_p9_a_spawned_child_of_the_jobs_code_imports_from_the_snapshot(project: Project) -> None:
    project.write(
        "train.py",
        """
        import multiprocessing
        VALUE = "at submission"
        def tell(queue):
            queue.put((VALUE, __file__))
        def ask():
            context = multiprocessing.get_context("spawn")
            queue = context.Queue()
            child = context.Process(target=tell, args=(queue,))
            child.start()
            found = queue.get(timeout=60)
            child.join()
            return found
        """,
    )
    project.submit("train")
    project.write("train.py", "VALUE = 'edited'")
    value, file = eval(project.job("import train; print(train.ask())"))
    assert value == "at submission"
    assert "/code/snapshots/" in file


def test_a_traceback_names_the_file_in_the_snapshot_and_a_failure_that_of_the_project(
    project: Project,
) -> None:
    project.write("pyproject.toml")
    project.write("exp/train.py", "def fail():\n    raise ValueError('why')  # at submission\n")
    project.submit()
    project.write("exp/train.py", "edited")
    shown = project.job(
        """
        import traceback
        from exp import train
        from furu_core.executors import Failure, FailureKind
        try:
            train.fail()
        except ValueError as error:
            print(traceback.format_exc())
            print("at", Failure.of(FailureKind.COMPUTE, error).at)
        """
    )
    assert '/project/exp/train.py", line 2, in fail' in shown
    assert "/code/snapshots/" in shown.partition("\nat ")[0]
    assert shown.partition("\nat ")[2] == f"{project.folder}/exp/train.py:2"
    assert "raise ValueError('why')  # at submission" in shown


# What is copied, and what is linked


def test_data_and_built_extensions_are_reached_through_links_to_the_project(
    project: Project,
) -> None:
    import _json

    project.write("pyproject.toml")
    project.write("exp/__init__.py")
    project.write("exp/x.csv", "1,2")
    project.write("data/deep/y.csv", "3,4")
    extension = getattr(_json, "__file__", None)
    if extension:
        shutil.copy(extension, project.folder / "exp" / os.path.basename(extension))
    project.write(
        "exp/train.py",
        """
        from importlib.resources import files
        from pathlib import Path

        def values():
            here = Path(__file__)
            yield here.with_name("x.csv").read_text()
            yield (files("exp") / "x.csv").read_text()
            yield (here.parents[1] / "data/deep/y.csv").read_text()
        """,
    )
    project.submit("exp.train")
    project.write("exp/x.csv", "7,8")
    code = "from exp import train\nprint(*train.values())\n"
    if extension:
        code += "from exp import _json\nprint(_json.__name__)"
    found = project.job(code).splitlines()
    assert found[0] == "7,8 7,8 3,4"
    assert found[1:] == (["exp._json"] if extension else [])
    (snapshot,) = project.snapshots
    inside = snapshot / "project"
    assert (inside / "data").is_symlink()
    assert not (inside / "exp").is_symlink()
    assert os.readlink(inside / "exp/x.csv") == str(project.folder / "exp/x.csv")
    assert os.readlink(inside / "furu-data") == str(project.folder / "furu-data")


def test_folders_without_code_of_the_project_are_one_link_each(
    tmp_path: Path, snapshots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    files = {
        ".gitignore": "outputs/\ngenerated/\n",
        "train.py": "",
        "outputs/copy/train.py": "",
        "generated/__init__.py": "",
        "env/pyvenv.cfg": "",
        "env/lib/module.py": "",
        "node_modules/gyp.py": "",
        "old-store/furu.json": "",
        "old-store/module.py": "",
        "six.py": "",
        "six-1.16.dist-info/RECORD": "six.py,,\ntoml/__init__.py,,\n",
        "toml/__init__.py": "",
        ".hidden/module.py": "",
        "conf/lr.yaml": "",
        "lib/deep/module.py": "",
        "lib/deep/lr.yaml": "",
        "lib/__pycache__/module.cpython-311.pyc": "",
        "lib/data/x.csv": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    tree = Path(snapshot_of(tmp_path).trees[str(tmp_path)])
    inside = {str(path.relative_to(tree)): path for path in tree.rglob("*")}
    links = {name for name, path in inside.items() if path.is_symlink()}
    copies = {name for name, path in inside.items() if path.is_file() and name not in links}
    assert copies == {
        *(".git", "train.py", "generated/__init__.py"),
        *("lib/deep/module.py", "lib/deep/lr.yaml"),
    }
    assert links == {
        *("outputs", "env", "node_modules", ".hidden", "conf", ".gitignore"),
        *("lib/data", "furu-store", "old-store", "six.py", "six-1.16.dist-info", "toml"),
    }


def test_links_in_the_project_lead_to_the_same_code_and_circles_end(
    tmp_path: Path, snapshots: Path
) -> None:
    project, other = tmp_path / "project", tmp_path / "other"
    for file in (project / "pkg/module.py", other / "lab/module.py", other / "single.py"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("value = 1")
    (project / "pyproject.toml").touch()
    (project / "alias").symlink_to("pkg")
    (project / "lab").symlink_to(other / "lab")
    (project / "single.py").symlink_to(other / "single.py")
    (project / "pkg" / "circle").symlink_to(project)
    (project / "pkg" / "itself").symlink_to("itself")
    (project / "pkg" / "above").symlink_to(tmp_path)
    (project / "pkg" / "nowhere.py").symlink_to("not there")
    snapshot = snapshot_of(project)
    tree = Path(snapshot.trees[str(project)])
    for file in (project / "pkg/module.py", other / "lab/module.py", other / "single.py"):
        file.write_text("value = 2")
    for name in ("pkg/module.py", "alias/module.py", "lab/module.py", "single.py"):
        assert (tree / name).read_text() == "value = 1", name
    assert (tree / "pkg/circle/pkg/module.py").read_text() == "value = 1"
    assert os.readlink(tree / "pkg/above") == str(project / "pkg/above")


def test_what_is_too_large_is_a_link_and_the_largest_files_are_named(
    tmp_path: Path, snapshots: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, size in {"small.py": 10, "table.py": 2000, "a.py": 900, "b.py": 901}.items():
        (tmp_path / name).write_bytes(b"#" * size)
    with furu_core.use_settings(snapshot_limit=100_000):
        tree = Path(snapshot_of(tmp_path).trees[str(tmp_path)])
    assert [path.name for path in sorted(tree.iterdir()) if path.suffix and path.is_symlink()] == [
        "table.py"
    ]
    assert "1 file" in caplog.text
    assert f"{tmp_path}/table.py (2.0 KiB)" in caplog.text
    caplog.clear()
    for number in range(100):
        (tmp_path / f"m{number}.py").write_bytes(b"#" * 990)
    with furu_core.use_settings(snapshot_limit=99_000):
        tree = Path(snapshot_of(tmp_path).trees[str(tmp_path)])
    assert not (tree / "small.py").is_symlink()
    assert "FURU_SNAPSHOT_LIMIT is" in caplog.text


def test_of_a_folder_with_too_much_in_it_the_modules_and_packages_are_taken(
    tmp_path: Path,
    snapshots: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such as a home folder in which a script lies."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("train.py", "pkg/__init__.py", "pkg/module.py", "stuff/script.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    tree = Path(snapshot_of(tmp_path).trees[str(tmp_path)])
    assert not (tree / "train.py").is_symlink()
    assert not (tree / "pkg/module.py").is_symlink()
    assert (tree / "stuff").is_symlink()
    assert f"{tmp_path} is no folder of code alone" in caplog.text


def test_p8_too_much_beside_the_code_is_an_error_that_names_the_folder(
    tmp_path: Path, snapshots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_snapshot_files, "_MOST_LINKS", 20)
    (tmp_path / "train.py").touch()
    for number in range(30):
        (tmp_path / f"{number}.png").touch()
    with pytest.raises(FuruUsageError, match=rf"{tmp_path} .*31 files.*FURU_CODE=live"):
        snapshot_of(tmp_path)


# By content


def test_the_same_code_is_one_snapshot_and_other_code_shares_the_files_that_did_not_change(
    tmp_path: Path, snapshots: Path
) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(f"value = '{name}'")
    first = snapshot_of(tmp_path)
    os.utime(tmp_path / "a.py", (1, 1))
    (tmp_path / "results.csv").touch()
    assert snapshot_of(tmp_path) == first
    tree = Path(first.trees[str(tmp_path)])
    assert (tree / "results.csv").is_symlink()  # what came since is reached as well
    assert stat.S_IMODE(tree.stat().st_mode) == 0o555  # nothing else comes into it
    assert stat.S_IMODE((tree / "a.py").stat().st_mode) & 0o222 == 0
    assert stat.S_IMODE((tree / "__pycache__").stat().st_mode) == 0o755
    (tmp_path / "a.py").write_text("value = 'edited'")
    second = snapshot_of(tmp_path)
    assert second.digest != first.digest
    assert os.path.samefile(tree / "b.py", Path(second.trees[str(tmp_path)], "b.py"))
    (tmp_path / "a.py").write_text("value = 'a.py'")
    assert snapshot_of(tmp_path) == first
    shutil.rmtree(second.folder)
    (tmp_path / "a.py").write_text("value = 'more'")
    snapshot_of(tmp_path)
    assert len([one for one in snapshots.iterdir() if one.name[0] != "."]) == 2


def test_a_file_that_changes_within_the_same_moment_is_read_again(
    tmp_path: Path, snapshots: Path
) -> None:
    file = tmp_path / "a.py"
    digests = set()
    for number in range(10):
        file.write_text(f"value = {number}")
        os.utime(file, (1, 1))
        digests.add(snapshot_of(tmp_path).digest)
    assert len(digests) == 10


def test_two_submitters_at_once_make_one_snapshot(tmp_path: Path, snapshots: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    for number in range(300):
        (project / f"m{number}.py").write_text(f"value = {number}")
    code = f"from furu_core.workers import take_snapshot; print(take_snapshot([{str(project)!r}]).digest)"
    environment = {**os.environ, "FURU_CODE": "snapshot"}
    programs = [Program(tmp_path, "-c", code, environment=environment) for _ in range(4)]
    said = [program.finish() for program in programs]
    assert len({one.out for one in said}) == 1, said
    (snapshot,) = [one for one in snapshots.iterdir() if not one.name.startswith(".last-")]
    assert len(list((snapshot / "project").glob("*.py"))) == 300


def test_p7_a_submitter_that_is_killed_leaves_nothing_that_harms(
    tmp_path: Path, snapshots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    for number in range(50):
        (project / f"m{number}.py").write_text(f"value = {number}")
    code = f"""
import os, signal
from furu_core import _files
from furu_core.workers import take_snapshot
write, written = _files.write_file, []
def write_file(path, data, **options):
    written.append(path)
    if len(written) == 25:
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, data, **options)
_files.write_file = write_file
take_snapshot([{str(project)!r}])
"""
    killed = Program(tmp_path, "-c", code, environment={**os.environ, "FURU_CODE": "snapshot"})
    assert killed.finish().status == -signal.SIGKILL
    (left,) = snapshots.iterdir()
    assert left.name.startswith(".new-")
    snapshot = snapshot_of(project)
    assert len(list(Path(snapshot.trees[str(project)]).glob("*.py"))) == 50
    os.utime(left, (1, 1))  # long ago
    (project / "more.py").touch()
    snapshot_of(project)
    assert not left.exists()


def test_p8_a_snapshot_that_cannot_be_written_is_an_error_that_says_what_helps(
    tmp_path: Path, snapshots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.py").touch()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_files, "write_file", full)
    with pytest.raises(FuruStoreError, match=r"snapshot of the code.*full.*FURU_CODE=live"):
        snapshot_of(tmp_path)
    assert not [one for one in snapshots.iterdir() if one.name[0] != "."]
    assert not list(snapshots.glob(".new-*"))


def test_p9_a_snapshot_is_not_half_of_a_checkout(
    tmp_path: Path, snapshots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("value = 'before'")
    read = _files.read_file
    changes = iter([True])

    def read_file(path: str | os.PathLike[str]) -> bytes:
        data = read(path)
        if str(path).endswith("a.py") and next(changes, False):
            for name in ("a.py", "b.py"):
                (tmp_path / name).write_text("value = 'after it'")
        return data

    monkeypatch.setattr(_files, "read_file", read_file)
    tree = Path(snapshot_of(tmp_path).trees[str(tmp_path)])
    assert {(tree / name).read_text() for name in ("a.py", "b.py")} == {"value = 'after it'"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_p8_a_snapshot_of_a_user_who_is_not_trusted_is_not_used(
    tmp_path: Path, snapshots: Path
) -> None:
    (tmp_path / "train.py").touch()
    theirs = snapshot_of(tmp_path)
    os.chown(theirs.folder, 54321, 54321)
    assert snapshot_of(tmp_path) == theirs
    with furu_core.use_settings(trust_pickles="own"):
        ours = snapshot_of(tmp_path)
    assert ours.folder == f"{theirs.folder}-0"
    assert ours.digest == theirs.digest
    assert os.stat(ours.folder).st_uid == 0


def test_p8_a_job_whose_snapshot_is_gone_says_so(project: Project) -> None:
    project.write("train.py")
    project.submit("train")
    shutil.rmtree(project.snapshots[0])
    with pytest.raises(AssertionError, match=r"FuruStoreError: the snapshot.*is not there"):
        project.job("import train")


def test_installed_packages_and_furu_itself_are_in_no_snapshot(
    snapshots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = str(tmp_path.parent)  # other tests may have left modules of theirs
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(others):
            monkeypatch.delitem(sys.modules, name)
    installed = [os.path.dirname(os.__file__), os.path.dirname(os.path.dirname(pytest.__file__))]
    own = os.path.dirname(os.path.dirname(furu_core.__file__))
    assert take_snapshot([*installed, own]) is None


def test_a_search_for_code_ends_after_so_many_files(tmp_path: Path) -> None:
    for name in ("train.py", "pkg/__init__.py", "data/deep/script.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    for number in range(30):
        (tmp_path / "data" / f"{number}.png").touch()

    def tree(most: int) -> Tree:
        live = str(tmp_path)
        return tree_of(
            live, [live], loaded=[], whole=True, pattern=pattern_of([]), store="/store", most=most
        )

    assert not tree(100).partly
    assert list(tree(100).copies) == ["data/deep/script.py", "pkg/__init__.py", "train.py"]
    assert tree(20).partly
    assert list(tree(20).copies) == ["pkg/__init__.py", "train.py"]
    with pytest.raises(FuruUsageError, match=rf"{tmp_path} .*more than 2 files.*FURU_CODE=live"):
        tree(2)
