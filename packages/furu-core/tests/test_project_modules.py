"""Which modules are the project's."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import attr
import pytest

import furu_core
import furu_testing
from furu_core._code import _project


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("/home/ann/exp/train.py", True),
        ("/home/ann/exp/src/exp/train.py", True),
        ("/usr/src/exp/train.py", True),
        ("/home/ann/lib/python_tools/train.py", True),
        ("/home/ann/exp/train.pyc", False),
        ("/home/ann/exp/fast.cpython-311-x86_64-linux-gnu.so", False),
        ("/home/ann/exp/.venv/lib/python3.12/site-packages/numpy/__init__.py", False),
        ("/home/ann/exp/.venv/lib/python3.12/site-packages/six.py", False),
        ("/usr/lib/python3/dist-packages/numpy/core/fromnumeric.py", False),
        (os.__file__, False),
        (attr.__file__, False),
        (f"{sysconfig.get_path('stdlib')}/json/decoder.py", False),
        (f"{sysconfig.get_path('platstdlib')}/anything.py", False),
        (f"{sysconfig.get_path('purelib')}/anything/inside.py", False),
        (furu_core.__file__, False),
        (furu_testing.__file__, False),
        (__file__, True),
    ],
)
def test_a_module_is_the_projects_if_its_source_is_outside_of_installers_folders(
    file: str, expected: bool
) -> None:
    assert _project.is_of_project(file) is expected


def test_a_project_may_be_its_own_virtual_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert _project.is_of_project(f"{tmp_path}/train.py")
    assert _project.is_of_project(f"{tmp_path}/lib/python_tools/train.py")
    assert not _project.is_of_project(f"{tmp_path}/lib/python3.12/train.py")


def test_a_link_to_a_package_is_an_editable_install(tmp_path: Path) -> None:
    (tmp_path / "exp" / "inner").mkdir(parents=True)
    site = tmp_path / "site-packages"
    (site / "other").mkdir(parents=True)
    (site / "exp").symlink_to(tmp_path / "exp")
    assert _project.is_of_project(f"{site}/exp/train.py")
    assert _project.is_of_project(f"{site}/exp/inner/train.py")
    assert not _project.is_of_project(f"{site}/other/train.py")


def test_what_was_installed_into_a_target_folder_is_not_the_projects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "six-1.16.dist-info" / "RECORD"
    record.parent.mkdir()
    record.write_text("six.py,sha256=abc,10\ntoml/__init__.py,,\nsix-1.16.dist-info/RECORD,,\n")
    (tmp_path / "broken.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    names = ("six.py", "toml/__init__.py", "toml/inner/deep.py", "train.py", "exp/train.py")
    found = [_project.is_of_project(f"{tmp_path}/{name}") for name in names]
    assert found == [False, False, False, True, True]


def test_the_package_of_an_installed_config_class_is_the_projects(tmp_path: Path) -> None:
    lab = tmp_path / "site-packages" / "lab"
    lab.mkdir(parents=True)
    (lab / "__init__.py").write_text("")
    (lab / "train.py").write_text(
        "from furu_core import Furu\nclass Train(Furu[int]):\n    x: int = 1\n"
    )
    code = (
        "from furu_core._code import _project\n"
        "print(sorted(_project.packages_of_classes()))\n"
        "import lab.train\n"
        "packages = _project.packages_of_classes()\n"
        "print(sorted(packages))\n"
        "print(_project.is_project_module('lab', lab.__file__, packages))\n"
        "import attr\n"
        "print(_project.is_project_module('attr', attr.__file__, packages))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=lab.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n") == ["[]", "['lab']", "True", "False", ""]
