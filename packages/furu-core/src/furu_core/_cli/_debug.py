"""`furu debug HASH`: computes a node here, in this process, with the terminal, under pdb."""

from __future__ import annotations

import bdb
import inspect
import os
import pdb
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final

import click

from furu_core._cli import _completing, _target
from furu_core._cli._output import FAILED, say, say_next
from furu_core._compute._debuggers import OWN
from furu_core._runs import _runs
from furu_core._settings._settings import use_settings
from furu_core._status import _stored_nodes
from furu_core._status._states import NodeState
from furu_core._status._stored_nodes import StoredNode
from furu_core._status._stored_objects import NotMade, StoredObjects
from furu_core._text import error_text, without_own_frames
from furu_core.errors import FuruError, FuruUsageError

_COMPUTED: Final = (NodeState.RUNNING, NodeState.QUEUED)


@click.command("debug", short_help="Compute a node here, and stop in pdb where it fails.")
@click.argument("name", metavar="HASH", shell_complete=_completing.a_node)
@click.option("--pdb", "from_the_start", is_flag=True, help="Stop at the first line of `_create`.")
def debug(name: str, from_the_start: bool) -> int:
    """Compute a node here, in this process, and stop in pdb where it fails.

    The object is made from the record in the store, and its class imported from the working directory. It is
    an attempt like any other: it computes what it needs and is not there, it is recorded, and if it succeeds, its
    result is published. Without a failure pdb appears only at a `breakpoint()`, or with --pdb.
    """
    node = _stored_nodes.find(name)
    _refuse(node)
    obj = _made(node)
    say(f"computing {node.name} here, in process {os.getpid()}", err=True)
    debugger = _Debugger()
    try:
        with use_settings(retry_failed=True), debugger.at_breakpoints():
            if from_the_start:
                debugger.stop_in(type(obj)._create)
            obj.get()
    except KeyboardInterrupt:
        if not debugger.quitting:
            raise
        say("pdb was left; nothing was published", err=True)
        return FAILED
    except Exception as error:  # noqa: BLE001 - whatever the user's code raises
        sys.settrace(None)
        return _post_mortem(node, error)
    finally:
        sys.settrace(None)
    say(f"{node.name} has its result now: {node.artifact}")
    say_next(f"`furu show {node.hash[:12]}` tells of it")
    return 0


def _refuse(node: StoredNode) -> None:
    """Raise where there is nothing to debug: the node has a result, or is computed elsewhere."""
    info = node.info()
    short = node.hash[:12]
    if info.state is NodeState.DONE:
        raise FuruUsageError(
            f"{node.name} has a result already",
            hint=f"to compute it again, put the result into the trash first: furu rm {short} "
            "(`furu rm --undo` puts it back)",
        )
    if info.state in _COMPUTED:
        raise FuruUsageError(
            f"{node.name} is computed by {info.holder}",
            hint=f"wait for it, or look at it: furu log -f {short}",
        )


def _made(node: StoredNode) -> Any:
    """The object of a node, by its record.

    Raises:
        FuruUsageError: the classes of today do not make it.
    """
    _target.import_from_working_directory()
    try:
        return StoredObjects().make(node.cls.name, node.hash)
    except NotMade as error:
        hint = "start furu in the folder of the project"
        run_id = node.record().get("run_id")
        with suppress(FuruUsageError):
            record = _runs.find_run(run_id).record if run_id else None
            if record is not None and record.cwd and record.cwd != os.getcwd():
                hint += f"; the run that computed it began in {record.cwd}"
        raise FuruUsageError(f"{node.name} cannot be made: {error}", hint=hint) from error


class _Debugger(pdb.Pdb):
    """Stops in one function, and at each `breakpoint()`; leaving it interrupts the node, as Ctrl-C would."""

    def __init__(self) -> None:
        super().__init__()
        self.quitting = False  # as `reset` has it, which is called when it first stops anywhere

    def stop_in(self, function: Any) -> None:
        """Stop at the first line of a function that this thread calls from now on."""
        code = inspect.unwrap(function).__code__
        self.reset()
        self.botframe = sys._getframe(1)  # noqa: SLF001 - nothing from there on is stepped into
        self.set_break(code.co_filename, code.co_firstlineno, temporary=True, funcname=code.co_name)
        self.set_continue()
        sys.settrace(self.trace_dispatch)

    @contextmanager
    def at_breakpoints(self) -> Iterator[None]:
        """Be what `breakpoint()` calls, unless the user has chosen another debugger."""
        before = sys.breakpointhook
        if before is sys.__breakpointhook__ and os.environ.get("PYTHONBREAKPOINT") in OWN:
            sys.breakpointhook = self._stop_here
        try:
            yield
        finally:
            sys.breakpointhook = before

    def _stop_here(self, *_args: Any, **_kwargs: Any) -> None:
        self.set_trace(sys._getframe(1))  # noqa: SLF001 - the one that called breakpoint()

    def trace_dispatch(self, frame: FrameType, event: str, arg: Any) -> Any:
        """As bdb does."""
        try:
            return super().trace_dispatch(frame, event, arg)
        except bdb.BdbQuit:
            raise KeyboardInterrupt from None


def _post_mortem(node: StoredNode, error: BaseException) -> int:
    """Show where the node's code failed, and let pdb look at it."""
    cause = error
    while isinstance(cause, FuruError) and cause.__cause__ is not None:
        cause = cause.__cause__
    trace = without_own_frames(cause)
    if trace is None and isinstance(error, FuruError):
        raise error  # its code did not run, or not to its end, for a reason of furu's own
    lines = traceback.format_exception(type(cause), cause.with_traceback(trace), trace)
    say("".join(lines), err=True, nl=False)
    say(
        f"{node.name} failed: {type(cause).__name__}: {error_text(cause)}; `q` leaves pdb", err=True
    )
    if trace is not None:
        pdb.post_mortem(trace)
    say_next(f"when it is mended: `furu debug {node.hash[:12]}` again, or the run that needs it")
    return FAILED
