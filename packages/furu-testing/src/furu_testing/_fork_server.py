"""A warm process that forks children which may be killed; `furu_testing.Host` talks to it.

It reads one JSON request a line and answers each with one line::

    {"do": "start", "call": "module:function", "args": [...], "settings": {...}, "die": ...}
    {"do": "wait", "pid": 7, "seconds": 20.0}
    {"do": "kill after", "pid": 7, "seconds": 0.01}
    {"do": "signal", "pid": 7, "signal": 9}

Forking costs milliseconds where a new interpreter costs a third of a second, and the server runs no
thread, so that no child inherits a lock that nobody will release.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from types import FrameType
from typing import IO, Any, Final

import furu_core
from furu_core.workers import preload


def main() -> None:
    """Serve requests until the control pipe closes."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)  # what nodes print must not look like an answer
    _warm_up(sys.argv[1:])
    with tempfile.TemporaryDirectory() as scratch:
        _answer(answers, {"pid": os.getpid()})
        for line in requests:
            request = json.loads(line)
            what: str = request.pop("do")
            match what:
                case "start":
                    pid = os.fork()
                    if pid == 0:
                        requests.close()
                        answers.close()
                        _run_child(request, scratch)
                    _answer(answers, {"pid": pid})
                case "wait":
                    _answer(answers, _wait(request["pid"], request["seconds"], scratch))
                case "kill after":
                    if not _ends_within(request["pid"], request["seconds"]):
                        os.kill(request["pid"], signal.SIGKILL)
                    _answer(answers, {})
                case _:
                    os.kill(request["pid"], request["signal"])
                    _answer(answers, {})


def _warm_up(modules: list[str]) -> None:
    preload()
    for module in modules:
        importlib.import_module(module)
    gc.freeze()  # lest each child copies what the collector of the server touches


def _answer(answers: IO[bytes], answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.flush()


def _ends_within(pid: int, seconds: float) -> bool:
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(1000 * seconds))
    finally:
        os.close(descriptor)


def _wait(pid: int, seconds: float, scratch: str) -> dict[str, Any]:
    if not _ends_within(pid, seconds):
        return {"ended": False}
    _, status = os.waitpid(pid, 0)
    answer = {"ended": True, "status": os.waitstatus_to_exitcode(status)}
    path = f"{scratch}/{pid}"
    if os.path.exists(path):
        with open(path, "rb") as file:
            answer |= json.loads(file.read())
        os.unlink(path)
    return answer


def _run_child(request: dict[str, Any], scratch: str) -> None:
    """Run a request's function and leave, without the exit handlers that belong to the server."""
    status = 1
    answer: dict[str, Any] = {}
    try:
        module, _, name = request["call"].partition(":")
        function = getattr(importlib.import_module(module), name)
        furu_core.configure(**request["settings"])
        died = _count_or_die(request["die"])
        answer["value"] = function(*request["args"])
        answer["steps"] = died()
        status = 0
    except BaseException as error:
        answer["error"] = type(error).__name__
        answer["message"] = str(error)
        answer["traceback"] = traceback.format_exc()
    finally:
        with open(f"{scratch}/{os.getpid()}.new", "w", encoding="utf-8") as file:
            json.dump(answer, file)
        os.rename(f"{scratch}/{os.getpid()}.new", f"{scratch}/{os.getpid()}")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _count_or_die(die: dict[str, Any] | None) -> Callable[[], int]:
    """Arrange this process's death; the returned function disarms it and tells the steps seen."""
    if die is None:
        return lambda: 0
    if "at_event" in die:
        return _die_at_event(die["at_event"], die["below"])
    return _die_at_line(die["at_line"], frozenset(die["files"]))


_CHANGES: Final = frozenset(
    {
        "open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link",
        "os.utime", "os.truncate", "os.chmod", "os.listdir", "os.scandir", "shutil.rmtree",
    }
)  # fmt: skip


def _die_at_event(fatal: int, below: str) -> Callable[[], int]:
    """Die right before the file system below a folder is asked for the `fatal`-th time."""
    seen = 0
    armed = True

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal seen
        if not armed or event not in _CHANGES:
            return
        by_descriptor = event in ("os.remove", "os.rmdir") and args[-1] != -1
        if by_descriptor or any(str(arg).startswith(below) for arg in args):
            seen += 1
            if seen == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

    def disarm() -> int:
        nonlocal armed
        armed = False
        return seen

    sys.addaudithook(hook)
    return disarm


def _die_at_line(fatal: int, files: frozenset[str]) -> Callable[[], int]:
    """Die right before the `fatal`-th line of some files that is new in this process."""
    seen: set[tuple[str, int]] = set()

    def on_line(frame: FrameType, event: str, _arg: object) -> Any:
        if event == "line":
            where = (frame.f_code.co_filename, frame.f_lineno)
            if where not in seen:
                seen.add(where)
                if len(seen) == fatal:
                    os.kill(os.getpid(), signal.SIGKILL)
        return on_line

    def on_call(frame: FrameType, _event: str, _arg: object) -> Any:
        return on_line if frame.f_code.co_filename in files else None

    def disarm() -> int:
        sys.settrace(None)
        return len(seen)

    sys.settrace(on_call)
    return disarm


if __name__ == "__main__":
    main()
