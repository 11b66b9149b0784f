"""Starting a new interpreter that computes nodes: its origin, which sets it up, and its orders."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import attrs

from furu_core import _provenance
from furu_core._code._project import interpreter_folders
from furu_core._config._module_names import import_roots
from furu_core._forms._pack import Packer
from furu_core._processes._child_process import ChildProcess
from furu_core._processes._watchdog import interpreter
from furu_core._settings import _settings
from furu_core._settings._settings import Settings
from furu_core._workers._worker_session import WorkerContext

if TYPE_CHECKING:
    from furu_core._furu import Furu

# The empty root marks the place of the interpreter's own folders. Collecting garbage while furu is
# imported would find none, and take a tenth of the time; `main` turns it on again.
_BOOT: Final = (
    "import gc, sys; collects = gc.isenabled(); gc.disable(); "
    "roots = [*sys.argv[2:], '']; at = roots.index(''); "
    "sys.path[:] = filter(None, dict.fromkeys([*roots[:at], *sys.path, *roots[at:]])); "
    "from furu_core._processes._node_server import main; main(int(sys.argv[1]), collects)"
)


@attrs.frozen
class Origin:
    """What another process must take over to compute a node as a process of this program would.

    Attributes:
        settings: the settings, as environment variables.
        roots: folders where the user's code is imported from; an empty one stands for those of the
            interpreter, which are another process's own.
        folder: the working directory; None when it was deleted.
        argv: the command line.
        provenance: the provenance of the program that started the run; None for that of the program
            that starts the process.
        flags: command-line flags of the interpreter.
    """

    settings: Mapping[str, str]
    roots: tuple[str, ...]
    folder: str | None
    argv: tuple[str, ...]
    provenance: Mapping[str, Any] | None
    flags: tuple[str, ...] = ()


@attrs.frozen
class NodeOrder:
    """An order for one attempt, to be made by a process elsewhere.

    Attributes:
        packed: the node, packed.
        hash: its hash.
        worker: the executor, run and spec key that the process works for meanwhile.
        rerun: compute it although its artifact is there.
    """

    packed: bytes
    hash: str
    worker: WorkerContext
    rerun: bool = False


def origin_here(settings: Settings | None = None, *, for_here: bool = False) -> Origin:
    """This process as the origin of others.

    Args:
        settings: settings for the others; default: the current ones.
        for_here: they are all started by this process; then they import from where it does, and
            where results come from is found out while the first of them starts.

    Example:
        >>> from furu_core.workers import origin_here
        >>> "FURU_PATH" in origin_here().settings
        True
    """
    roots = import_roots()
    if not for_here:
        roots = ["" if root.startswith(interpreter_folders()) else root for root in roots]
    folder: str | None = None
    with suppress(OSError):
        folder = os.getcwd()
    return Origin(
        settings=_settings.settings_to_env(_settings.settings() if settings is None else settings),
        roots=tuple(dict.fromkeys(roots)),
        folder=folder,
        argv=tuple(sys.argv),
        provenance=None if for_here else _provenance.process_provenance().record,
        flags=tuple(interpreter_flags()),
    )


def node_order(obj: Furu[Any], worker: WorkerContext, *, rerun: bool = False) -> NodeOrder:
    """The order of an attempt at `obj`, for a `NodeProcess` elsewhere.

    Args:
        obj: the node; its dependencies are there when the attempt begins.
        worker: the executor, run and spec key that the process works for meanwhile.
        rerun: compute it although its artifact is there.

    Raises:
        FuruImportNameError: no other process could import a class of it.
    """
    return NodeOrder(Packer().pack(obj), obj.furu_hash, worker, rerun)


def interpreter_flags() -> list[str]:
    """The flags of this interpreter that another one needs to behave the same.

    Example:
        >>> from furu_core.workers import interpreter_flags
        >>> isinstance(interpreter_flags(), list)
        True
    """
    flags = sys.flags
    options: dict[str, str | bool] = dict(sys._xoptions)  # noqa: SLF001 - documented so
    if flags.dev_mode:  # these two may also have been set by a variable that `-E` hides
        options.setdefault("dev", True)
    if flags.utf8_mode:
        options.setdefault("utf8", True)
    return [
        *(["-" + "O" * flags.optimize] if flags.optimize else []),
        *(["-I"] if flags.isolated else []),
        *(["-s"] if flags.no_user_site and not flags.isolated else []),
        *(["-E"] if flags.ignore_environment and not flags.isolated else []),
        *(["-B"] if flags.dont_write_bytecode else []),
        *(f"-W{option}" for option in sys.warnoptions),
        *(f"-X{key}" if value is True else f"-X{key}={value}" for key, value in options.items()),
    ]


def spawn(origin: Origin, environment: Mapping[str, str], log: Path | None) -> ChildProcess:
    """Start a new interpreter for an origin; it waits for its `Setup`.

    Args:
        origin: the origin.
        environment: its environment, without the settings.
        log: a file for what it prints that belongs to no node; None for the standard error.

    Raises:
        OSError: no process can be started.
        FuruPlatformError: the interpreter's path is unknown.
    """
    python = interpreter()
    others = {name: environment[name] for name in environment if not name.startswith("FURU_")}
    ours, theirs = socket.socketpair()
    try:
        with _opened(log) as output:
            process = subprocess.Popen(
                [
                    # -P, since `Setup` sends the paths; without it Python 3.13 needs a working
                    # directory for each missing attribute.
                    *(python, "-P", *origin.flags, "-c", _BOOT),
                    *(str(theirs.fileno()), *origin.roots),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                # So a Ctrl-C of the terminal reaches only the parent, which decides; and so all
                # processes that the node's code starts can be found.
                start_new_session=True,
                cwd=origin.folder if origin.folder and os.path.isdir(origin.folder) else None,
                env={**others, **origin.settings},
            )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    process.returncode = 0  # so that `Popen` does not wait for it: `ChildProcess` does
    return ChildProcess(process.pid, ours)


def _opened(log: Path | None) -> IO[bytes]:
    """The file that a process prints to: not stdout, where a program may print results."""
    with suppress(OSError):  # nodes report a full disk themselves, if it matters to them
        return open(os.dup(2) if log is None else log, "ab")
    return open(os.devnull, "ab")
