"""Tries examples/furu-dask as a stranger would have it: from its wheel, in an environment of its own.

`make test-furu-dask` runs it; arguments go to pytest.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from release import build, outside
from wheelhouse import ROOT, WHEELHOUSE, call

DISTRIBUTION = ROOT / "examples" / "furu-dask"
TESTED_WITH = ("furu-testing", "pytest", "pytest-timeout", "pytest-xdist")
DIGITS_NEEDS = ("furu-local", "scikit-learn")

WHERE = """\
import sys, furu_dask, furu_testing
for module in (furu_dask, furu_testing):
    assert module.__file__.startswith(sys.prefix), module.__file__
"""


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="furu-dask-") as name:
        dist, env = Path(name, "dist"), Path(name, "env")
        build(dist, "--wheel")
        call(
            *(sys.executable, "-m", "uv", "build", "--quiet", "--offline", "--wheel"),
            *(f"--out-dir={dist}", DISTRIBUTION),
        )
        venv.create(env, symlinks=True)
        python = env / "bin" / "python"
        call(
            *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python),
            *("--offline", "--no-index", "--find-links", WHEELHOUSE, "--find-links", dist),
            *("furu-dask", *TESTED_WITH, *DIGITS_NEEDS),
        )
        # Tests start many processes, which find what is imported here compiled.
        outside(DISTRIBUTION, python, "-c", WHERE)
        try:
            options = ["-p", "no:cacheprovider", *sys.argv[1:]]
            outside(DISTRIBUTION, python, "-m", "pytest", *options, show=True)
        except subprocess.CalledProcessError as error:
            return error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
