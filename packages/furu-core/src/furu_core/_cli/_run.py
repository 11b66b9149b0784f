"""`furu run MODULE:TARGET`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from furu_core._cli import _completing
from furu_core._cli._output import (
    FAILED,
    INTERRUPTED,
    json_option,
    only_json,
    print_json,
    rerun_option,
    say,
    say_error,
    say_next,
)
from furu_core._cli._target_command import TargetCommand, set_option
from furu_core._text import count
from furu_core.errors import FuruRunCancelled, FuruRunError, FuruUsageError

if TYPE_CHECKING:
    from furu_core._config._grid import Roots
    from furu_core._executors._run import Run

_SHOWN_ROOTS: Final = 20


@click.command("run", cls=TargetCommand)
@click.argument("target", metavar="MODULE:TARGET", shell_complete=_completing.a_target)
@click.option(
    "--executor",
    default="local",
    show_default=True,
    help="`furu executors` lists them.",
    shell_complete=_completing.an_executor,
)
@click.option("-j", "--max-workers", metavar="N", help="Nodes to compute at once.")
@set_option
@click.option(
    "--keep-going", is_flag=True, help="When a node fails, compute what does not need it."
)
@click.option(
    "--window",
    metavar="dfs|bfs|K",
    help="Roots to work on at once: one, all, or K.",
    shell_complete=_completing.words("dfs", "bfs"),
)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="NAME=VALUE",
    help="A tag, for `furu runs`.",
    shell_complete=_completing.a_tag,
)
@click.option("--note", metavar="TEXT", help="A note, for `furu runs`.")
@rerun_option
@click.option(
    "-o",
    "pairs",
    multiple=True,
    metavar="KEY=VALUE",
    help="Option of the executor.",
    shell_complete=_completing.an_executor_option,
)
@json_option
def run(
    target: str,
    executor: str,
    max_workers: str | None,
    assignments: tuple[str, ...],
    keep_going: bool,
    window: str | None,
    tags: tuple[str, ...],
    note: str | None,
    rerun: tuple[str, ...],
    pairs: tuple[str, ...],
    as_json: bool,
) -> int:
    """Compute a target and everything it depends on.

    MODULE is a module, or a path such as exp/train.py. TARGET in it is a Furu object, a Furu class
    (with --set for its fields), a list or dict of objects, or a function that returns any of these
    (with --set for its arguments). `furu run MODULE:TARGET --help` tells of these.
    """
    options = _options(max_workers, keep_going, window, pairs) | _labels(tags, note)
    with only_json(as_json):
        roots, run, error = _run(target, assignments, executor, options, rerun)
        report = _report(roots, run, error)
    if as_json:
        print_json(report)
    else:
        _print(report)
        if report["ok"] and report["roots"]:
            say_next(_after(report))
    if error is not None:
        # A `SystemExit` means that only the waiting was interrupted, not the run.
        interrupted = isinstance(error, FuruRunCancelled | SystemExit)
        return INTERRUPTED if interrupted else FAILED
    return 0


def _run(
    target: str,
    assignments: tuple[str, ...],
    executor: str,
    options: dict[str, Any],
    rerun: tuple[str, ...],
) -> tuple[Roots, Run, FuruRunError | None]:
    from furu_core._cli import _target
    from furu_core._executors import _registry

    chosen = _registry.load_executor(executor).from_options(options)
    roots = _target.resolve_roots(target, assignments)
    with _target.rerunning(rerun):
        run = _registry.submit(chosen, roots)
    try:
        run.wait()
    except FuruRunError as error:
        return roots, run, error
    except KeyboardInterrupt:
        run.cancel()
        raise
    return roots, run, _missing(roots, run)


def _missing(roots: Roots, run: Run) -> FuruRunError | None:
    """An error if a run that ended well left a root out: the exit status must be right even then."""
    from furu_core._config._objects import short_name
    from furu_core._status._state_reader import StateReader

    reader = StateReader()
    absent = [short_name(root) for root in roots.items if not reader.done(root)]
    if not absent:
        return None
    return FuruRunError(
        f"run {run.id} ended without an error, but {', '.join(absent[:10])} is not there",
        run_id=run.id,
        hint="was it deleted meanwhile? run the same command again",
    )


def _labels(tags: tuple[str, ...], note: str | None) -> dict[str, Any]:
    """The options that tell what a run is called."""
    pairs = {}
    for text in tags:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise FuruUsageError(f"--tag {text!r} is no NAME=VALUE", hint="write --tag sweep=lr")
        pairs[name.strip()] = value.strip()
    told: dict[str, Any] = {"tags": pairs} if pairs else {}
    return told if note is None else {**told, "note": note}


def _options(
    max_workers: str | None, keep_going: bool, window: str | None, pairs: tuple[str, ...]
) -> dict[str, str]:
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise FuruUsageError(f"-o {pair!r} is no KEY=VALUE", hint="write -o key=value")
        options[key.strip().replace("-", "_")] = value
    if max_workers is not None:
        options["max_workers"] = max_workers
    if keep_going:
        options["keep_going"] = "1"
    if window is not None:
        options["window_size"] = window
    return options


def _report(roots: Roots, run: Run, error: FuruRunError | None) -> dict[str, Any]:
    from furu_core._config._objects import short_name
    from furu_core._status._state_reader import StateReader
    from furu_core._store._layout import ref_of
    from furu_core._store._published import found_ref

    status = run.status()
    reader = StateReader()
    failures = status.failures or (error.failures if error is not None else ())
    return {
        "run": run.id or None,  # of a run that is not recorded
        "folder": str(run.folder) if run.id else None,
        "state": status.state.value,
        "ok": error is None,
        "roots": [
            {
                "key": name,
                "name": short_name(root),
                "hash": root.furu_hash,
                "done": reader.done(root),
                "path": (found_ref(ref_of(root)) or ref_of(root)).artifact,
            }
            for name, root in zip(roots.names, roots.items, strict=True)
        ],
        "nodes": {
            "total": status.total,
            "computed": status.computed,
            "loaded": status.loaded,
            "failed": status.failed,
        },
        "failures": [
            {
                "kind": failure.kind.value,
                "node": failure.node,
                "hash": failure.hash,
                "error_type": failure.error_type,
                "message": failure.message,
                "log": None if failure.log is None else str(failure.log),
            }
            for failure in failures
        ],
        "error": None if error is None else error.message,
        "hint": None if error is None else error.hint,
    }


def _after(report: dict[str, Any]) -> str:
    """What to type next when all is there."""
    if len(report["roots"]) == 1:
        return f"`furu show {report['roots'][0]['hash'][:12]}` tells of it"
    classes = sorted({root["name"].rpartition("(")[0] for root in report["roots"]})
    return f"`furu table {' '.join(classes)}` shows results beside each other"


def _print(report: dict[str, Any]) -> None:
    roots = report["roots"]
    for root in roots[:_SHOWN_ROOTS]:
        named = f"{root['key']}: " if isinstance(root["key"], str) else ""
        say(f"{named}{root['name']}  {root['path'] if root['done'] else 'not there'}")
    if len(roots) > _SHOWN_ROOTS:
        absent = sum(not root["done"] for root in roots)
        say(f"... {len(roots)} roots in all, {absent} of them not there; see `furu ls`")
    nodes = report["nodes"]
    say(
        f"{count(nodes['total'], 'node')}: {nodes['computed']} computed, "
        f"{nodes['loaded']} loaded, {nodes['failed']} failed"
    )
    if report["error"]:
        say_error(report["error"], report["hint"])
    if report["failures"]:
        say_next(f"`furu failures {report['run']}` groups what failed, with what to type next")
