"""Node classes that child processes can import, and sessions of workers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from furu_core.workers import WorkerContext, worker_session
from furu_testing import Host, Said

NODES = Path(__file__).parent / "nodes"
collect_ignore = ["nodes"]  # collected, they would be imported a second time under other names

if str(NODES) not in sys.path:
    sys.path.insert(0, str(NODES))


Session = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def session() -> Session:
    """Makes this process a worker: ``with session(spec_key="gpu"): ...``."""

    def enter(spec_key: str = "default", **fields: object) -> AbstractContextManager[None]:
        return worker_session(
            WorkerContext(executor="test", run_id="run-1", spec_key=spec_key, **fields)  # type: ignore[arg-type]
        )

    return enter


class Fresh:
    """Processes without settings of furu, forked from a warm one in place of fresh interpreters.

    Args:
        folder: where their output goes.
        host: what they are forked from.
    """

    def __init__(self, folder: Path, host: Host) -> None:
        self._streams = [folder / name for name in ("in", "out", "err")]
        self._host = host

    def furu(
        self, args: tuple[str, ...], cwd: Path, *, stdin: str = "", path: Path | None = None,
        **variables: str,
    ) -> Said:  # fmt: skip
        """Run the command.

        Args:
            args: its arguments.
            cwd: where.
            stdin: what it can read there.
            path: a further folder where it finds modules.
            variables: of its environment.
        """
        return self._run("furu", list(args), cwd, stdin, path, variables)

    def python(self, code: str, cwd: Path, *, path: Path | None = None) -> str:
        """Run code as ``python -c`` does, and return what it prints."""
        done = self._run("python", code, cwd, "", path, {})
        assert done.status == 0, done
        return done.out

    def _run(
        self, what: str, argument: object, cwd: Path, stdin: str, path: Path | None,
        variables: dict[str, str],
    ) -> Said:  # fmt: skip
        for stream in self._streams:
            stream.write_text(stdin if stream.name == "in" else "")
        env = {name: value for name, value in os.environ.items() if not name.startswith("FURU_")}
        env["PYTHONPATH"] = os.pathsep.join(
            filter(None, [path and str(path), env.get("PYTHONPATH")])
        )
        streams = [str(stream) for stream in self._streams]
        status = self._host.run(f"fresh:{what}", argument, str(cwd), {**env, **variables}, streams)
        return Said(status, *(stream.read_text() for stream in self._streams[1:]))


@pytest.fixture(scope="session")
def fresh() -> Iterator[Fresh]:
    """Runs Python code and the `furu` command in processes that know nothing of the test's."""
    commands = [
        f"furu_core._cli.{name}"
        for name in ("_run", "_nodes", "_listing", "_table", "_verify", "_doctor")
    ]
    with (
        TemporaryDirectory() as folder,
        Host(Path(folder, "store"), modules=["fresh", *commands], sys_path=[NODES]) as host,
    ):
        yield Fresh(Path(folder), host)
