"""Every example runs, and shows what its text says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Programs that start workers, on a machine that may be busy; several in one test.
pytestmark = pytest.mark.timeout(900)

EXAMPLES = Path(__file__).parent.parent / "examples"
DIGITS = EXAMPLES / "digits"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """The environment of a user with a store of their own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FURU_")}
    return {**kept, "FURU_PATH": str(tmp_path / "store"), "PYTHONDONTWRITEBYTECODE": "1"}


def run(
    *command: str, env: dict[str, str], cwd: Path = EXAMPLES, expected: int = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=600)
    assert done.returncode == expected, done.stdout + done.stderr
    return done


def python(script: str, *, env: dict[str, str], expected: int = 0) -> str:
    return run(sys.executable, script, env=env, expected=expected).stdout


def test_every_short_example_is_listed_and_tested() -> None:
    found = {path.name for path in EXAMPLES.glob("*.py")}
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    here = Path(__file__).read_text(encoding="utf-8")
    assert found
    for name in found:
        assert f"]({name})" in readme
        assert f'"{name}"' in here


def test_files_are_written_once_and_their_paths_lead_to_them(env: dict[str, str]) -> None:
    first = python("files.py", env=env)
    second = python("files.py", env=env)
    assert "writing chapter 3" in first
    assert "writing" not in second
    assert "1. Beginning\n2. Middle\n3. End\n" in first
    assert second.splitlines()[-1] == first.splitlines()[-1]
    folder = Path(second.splitlines()[-1].removeprefix("The files are in "))
    assert sorted(path.name for path in folder.iterdir()) == ["01.txt", "02.txt", "03.txt"]


def test_p7_a_killed_step_goes_on_from_its_checkpoint(env: dict[str, str]) -> None:
    killed = python("checkpoint.py", env=env, expected=-signal.SIGKILL)
    resumed = python("checkpoint.py", env=env)
    loaded = python("checkpoint.py", env=env)
    assert re.findall(r"epoch (\d+)", killed) == ["1", "2", "3", "4", "5"]
    assert re.findall(r"epoch (\d+)", resumed) == ["6", "7", "8", "9", "10"]
    assert loaded == "loss 0.1074\n"


def test_each_step_of_the_kind_gpu_sees_one_device(env: dict[str, str]) -> None:
    env.pop("CUDA_VISIBLE_DEVICES", None)
    lines = python("gpu.py", env=env).splitlines()
    assert len(lines) == 4
    assert {line.rpartition(" ")[2] for line in lines} <= {"0", "1"}


def test_p5_a_flaky_step_is_tried_again_within_its_bound(env: dict[str, str]) -> None:
    assert python("flaky.py", env=env) == "the page at https://example.org, on attempt 3\n"


def test_p8_a_flaky_step_beyond_its_bound_ends_the_run_with_its_last_words(
    env: dict[str, str],
) -> None:
    done = run(sys.executable, "flaky.py", env={**env, "FURU_MAX_COMPUTE_RETRIES": "1"}, expected=1)
    assert done.stdout == ""
    assert "does not answer (attempt 2)" in done.stderr
    assert "furu.log" in done.stderr


def test_loading_digits_imports_nothing_heavy(env: dict[str, str]) -> None:
    code = "import sys, digits; print({'numpy', 'sklearn', 'matplotlib'} & set(sys.modules))"
    assert run(sys.executable, "-c", code, env=env, cwd=DIGITS).stdout == "set()\n"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_digits_are_read_well_and_the_second_run_computes_nothing(env: dict[str, str]) -> None:
    furu = [str(Path(sys.executable).with_name("furu")), "run", "digits:report", "-j", "2"]
    first = run(*furu, env=env, cwd=DIGITS).stdout
    total = re.search(r"(\d+) nodes: (\d+) computed, 0 loaded, 0 failed", first)
    assert total is not None, first
    assert total[1] == total[2]
    assert 40 <= int(total[1]) <= 100

    second = run(*furu, env=env, cwd=DIGITS).stdout
    assert ": 0 computed, 1 loaded, 0 failed" in second

    code = "from digits import report; print(report.get())"
    path = Path(run(sys.executable, "-c", code, env=env, cwd=DIGITS).stdout.strip())
    assert str(path.parent) in first
    text = path.read_text(encoding="utf-8")
    accuracy = re.search(r"on the 360 test images: \*\*([\d.]+)\*\*", text)
    assert accuracy is not None
    assert float(accuracy[1]) >= 0.97
    pictures = re.findall(r"!\[.*\]\((.*)\)", text)
    assert sorted(pictures) == ["accuracies.png", "confusion.png"]
    for picture in pictures:
        assert (path.parent / picture).read_bytes().startswith(b"\x89PNG")
