"""Tests core, plan and local with the lowest versions that they require: `python tools/lowest.py [PYTEST ARGUMENT ...]`.

Each requirement of theirs, `attrs>=23.1`, is installed as its lower bound, `attrs==23.1`, beside the locked
versions of what tests are written with. pip resolves the rest, with the index and the settings that
`setup.py` uses as well.
"""

import subprocess
import sys
import tomllib
import venv

from packaging.requirements import Requirement
from wheelhouse import ROOT, WHEELHOUSE, WheelhouseError, call, locked_version, pip, say

LOWEST_PYTHON = (3, 11)  # newer ones have no wheels of them
ENV = ROOT / ".venv-lowest"
STAMP = ENV / "requirements.txt"
TESTED = ("furu-core", "furu-plan", "furu-local")
KIT = "furu-testing"
# The newest, as for all other tests: of these it is not the lowest that is in question.
TESTED_WITH = ("pytest", "pytest-xdist", "pytest-timeout", "hypothesis")
TESTS = [f"packages/{name}/tests" for name in TESTED] + ["packages/furu-core/src"]


def main() -> int:
    if sys.version_info[:2] != LOWEST_PYTHON:
        say(
            "the lowest versions are tested with the lowest Python, which this is not; nothing done"
        )
        return 0
    try:
        make_env(
            "\n".join([*lowest(), *(f"{name}=={locked_version(name)}" for name in TESTED_WITH)])
        )
    except (WheelhouseError, subprocess.CalledProcessError) as error:
        say(str(error))
        return 1
    python = ENV / "bin" / "python"
    options = sys.argv[1:]
    named = any((ROOT / option.partition("::")[0]).exists() for option in options)
    done = subprocess.run(
        [python, "-m", "pytest", *options, *([] if named else TESTS)], cwd=ROOT, check=False
    )
    return done.returncode


def lowest() -> list[str]:
    """The lower bounds of all that the tested distributions require of others, extras included."""
    found = set()
    for name in TESTED:
        with (ROOT / "packages" / name / "pyproject.toml").open("rb") as file:
            project = tomllib.load(file)["project"]
        extras = project.get("optional-dependencies", {}).values()
        for text in [*project["dependencies"], *(text for extra in extras for text in extra)]:
            requirement = Requirement(text)
            if not requirement.name.startswith("furu-"):
                bounds = [
                    bound.version for bound in requirement.specifier if bound.operator == ">="
                ]
                if len(bounds) != 1:
                    raise WheelhouseError(f"{name} requires {text!r}; expected one lower bound, >=")
                found.add(f"{requirement.name}=={bounds[0]}")
    return sorted(found)


def make_env(requirements: str) -> None:
    """Make the environment, unless it is there with just these requirements."""
    if STAMP.exists() and STAMP.read_text("utf-8") == requirements:
        return
    say(f"making {ENV.name} with {', '.join(lowest())}")
    venv.create(ENV, clear=True, with_pip=True, symlinks=True)
    python = ENV / "bin" / "python"
    # Of what is installed tests import a part, which Python compiles then.
    options = (
        *("--only-binary=:all:", "--no-compile", "--progress-bar=off"),
        f"--find-links={WHEELHOUSE}",
    )
    pip(python, "install", *options, *requirements.splitlines())
    ours = [part for name in (*TESTED, KIT) for part in ("--editable", f"packages/{name}")]
    uv = ("-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--no-config")
    call(sys.executable, *uv, "--python", python, *ours)
    STAMP.write_text(requirements, "utf-8")


if __name__ == "__main__":
    sys.exit(main())
