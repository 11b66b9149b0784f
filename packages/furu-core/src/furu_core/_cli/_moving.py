"""`furu export` and `furu import`: results that go to another store, and come from one."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from furu_core import _text
from furu_core._cli import _completing
from furu_core._cli._output import (
    is_terminal,
    json_option,
    only_json,
    print_json,
    say,
    say_next,
    show_progress,
)
from furu_core._cli._selection import selection_options
from furu_core._cli._tables import lined_up
from furu_core.errors import FuruUsageError

if TYPE_CHECKING:
    from furu_core._moving._archive import ArchivedNode
    from furu_core._moving._exporting import Exported
    from furu_core._moving._importing import Imported
    from furu_core._status._stored_nodes import StoredNode

_PIPE: Final = "-"
_OTHER_FORMATS: Final = frozenset({".zip", ".7z", ".rar", ".zst", ".lz4", ".z"})  # suffixes
_SHOWN: Final = 5
_REFRESH_SECS: Final = 0.2


@click.command("export", short_help="Write results, with all they need, into one file.")
@selection_options
@click.option(
    "-o", "output", required=True, metavar="FILE", shell_complete=_completing.a_file,
    help="The archive: x.tar, or x.tar.gz, .bz2, .xz; - for standard output.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--skip-damaged", is_flag=True, help="Leave damaged results out.")
@json_option
def export(
    output: str,
    force: bool,
    skip_damaged: bool,
    as_json: bool,
    names: tuple[str, ...],
    **selection: Any,
) -> int:
    """Write results, and all that they depend on, into one file for `furu import`.

    Results are chosen as by `furu ls`, or by MODULE:TARGET as for `furu run`, for which alone code is imported.
    Each file is compared with what was published. The file appears when it is whole.
    """
    from furu_core._moving import _exporting

    piped = output == _PIPE
    if piped and as_json:
        raise click.UsageError("--json and -o - exclude each other")
    if piped and (sys.stdout is None or is_terminal(1)):
        raise click.UsageError(
            "-o - writes an archive, and not to a terminal: send it to a pipe or file"
        )
    other = os.path.splitext(output)[1].lower()
    if other in _OTHER_FORMATS:
        raise FuruUsageError(
            f"{output} would be no {other[1:]} file: furu writes tar files",
            hint="name it x.tar, or x.tar.gz, .bz2 or .xz to have it compressed",
        )
    with only_json(active=as_json or piped):
        done = _exporting.gather(_chosen(names, selection), skip_damaged=skip_damaged)
        with _progress(done.index.bytes, quiet=as_json) as progress:
            if not piped:
                _exporting.write_file(done, output, replace=force, progress=progress)
    if piped:
        assert sys.stdout is not None
        _exporting.write(done, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    if as_json:
        print_json(_exported_as_json(done, output))
        return 0
    _say_exported(done, output)
    return 0


def _chosen(names: tuple[str, ...], selection: dict[str, Any]) -> list[StoredNode]:
    """The results that are asked for."""
    from furu_core._status._states import NodeState
    from furu_core._tables._selection import Selection

    targets = [name for name in names if _is_target(name)]
    others = [name for name in names if name not in targets]
    found: list[StoredNode] = []
    for target in targets:
        found += _results_of(target)
    if others or not targets:
        if not others and not any(selection.values()):
            raise click.UsageError("Missing argument: what to export, a class, a hash or run:ID")
        chosen = Selection.of(others, **selection)
        there = chosen.nodes_and_states()
        found += [node for node, state in there if state is NodeState.DONE]
        lacking = [node.name for node in chosen.nodes if not os.path.isdir(node.artifact)]
        if lacking:
            raise FuruUsageError(
                f"{lacking[0]} has no result", hint="`furu show` tells how it stands"
            )
    return found


def _is_target(name: str) -> bool:
    """Whether a name is MODULE:TARGET, and no class in the store, which needs no code."""
    from furu_core._cli._explain import is_target
    from furu_core._status import _stored_nodes

    if not is_target(name) or name.startswith("run:"):
        return False
    return all(cls.name != name for cls in _stored_nodes.classes())


def _results_of(target: str) -> list[StoredNode]:
    from furu_core._cli import _target
    from furu_core._status import _stored_nodes

    nodes = [_stored_nodes.node_of(root) for root in _target.resolve_roots(target, ()).items]
    lacking = [node for node in nodes if not os.path.isdir(node.artifact)]
    if lacking:
        raise FuruUsageError(
            f"{len(lacking)} of {_text.count(len(nodes), 'root')} of {target} "
            f"{'has' if len(lacking) == 1 else 'have'} no result: {lacking[0].name}",
            hint=f"`furu run {target}` computes them; or export those that are there by class or hash",
        )
    return nodes


def _say_exported(done: Exported, output: str) -> None:
    index = done.index
    others = len(index.nodes) - len(index.roots)
    along = f" ({len(index.roots)} chosen, {others} that they depend on)" if others else ""
    where = "standard output" if output == _PIPE else output
    say(
        f"exported {_text.count(len(index.nodes), 'result')}{along}, {_text.size(index.bytes)}, to {where}",
        err=output == _PIPE,
    )
    for name, why in list(done.left_out.items())[:_SHOWN]:
        say(f"left out, as it is damaged: {name}: {why}", err=True)
    if len(done.left_out) > _SHOWN:
        say(f"and {len(done.left_out) - _SHOWN} more are left out (see --json)", err=True)
    if index.missing:
        names = ", ".join(one[:12] for one in index.missing[:_SHOWN])
        say(
            f"{_text.count(len(index.missing), 'result')} that they depend on "
            f"{'is' if len(index.missing) == 1 else 'are'} not in this store: {names}",
            err=True,
        )
    if output != _PIPE:
        say_next(f"`furu import {output}` where they are to go; `--list` tells what is in it")


def _exported_as_json(done: Exported, output: str) -> dict[str, Any]:
    return {
        "file": output,
        "roots": list(done.index.roots),
        "nodes": [_told(node) for node in done.index.nodes],
        "bytes": done.index.bytes,
        "missing": list(done.index.missing),
        "left_out": done.left_out,
    }


def _told(node: ArchivedNode) -> dict[str, Any]:
    return {
        "hash": node.hash,
        "class": node.class_name,
        "bytes": node.bytes,
        "files": len(node.files),
    }


@click.command("import", short_help="Take in results that `furu export` wrote.")
@click.argument("file", metavar="FILE", shell_complete=_completing.a_file)
@click.option("--list", "listing", is_flag=True, help="Tell what is in it, and change nothing.")
@click.option(
    "--trust", is_flag=True, help="Say that code in its results, pickles, may run as you."
)
@json_option
def import_(file: str, listing: bool, trust: bool, as_json: bool) -> int:
    """Take results from a file that `furu export` wrote into this store; - reads standard input.

    Everything is compared with the digests in the file before anything appears. What is there already stays as it
    is. Pickles of imported results are not loaded unless --trust says so.
    """
    from furu_core._moving import _importing

    if listing and trust:
        raise click.UsageError("--list and --trust exclude each other")
    with _opened(file) as stream:
        if listing:
            found = _importing.look(stream)
        else:
            source = file if file == _PIPE else os.path.abspath(file)
            with _progress(0, quiet=as_json) as progress:
                found = _importing.take_in(stream, source, trust=trust, progress=progress)
    if as_json:
        print_json(_imported_as_json(found, listing=listing))
    elif listing:
        _say_listed(found, file)
    else:
        _say_imported(found, file)
    return 0


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == _PIPE:
        if sys.stdin is None or sys.stdin.isatty():
            raise click.UsageError(
                "- reads an archive, and not from a terminal: give a file or a pipe"
            )
        yield sys.stdin.buffer
        return
    try:
        stream = os.fdopen(os.open(file, os.O_RDONLY | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise FuruUsageError(
            f"{file} cannot be read: {error.strerror or type(error).__name__}",
            hint="name a file that `furu export` wrote, or - for standard input",
        ) from None
    with stream:
        yield stream


def _say_listed(found: Imported, file: str) -> None:
    new = Counter(node.class_name for node in found.new)
    there = Counter(node.class_name for node in (*found.there, *found.differing))
    sizes: Counter[str] = Counter()
    for node in found.index.nodes:
        sizes[node.class_name] += node.bytes
    rows = [["class", "new", "there", "size"]]
    rows += [
        [name, f"{new[name]:,}", f"{there[name]:,}", _text.size(sizes[name])]
        for name in sorted(sizes)
    ]
    for line in lined_up(rows, right=(1, 2, 3)):
        say(line)
    _say_differing(found)
    if found.new:
        say_next(
            f"`furu import {file}` brings it; nothing was changed, and nothing but its index read"
        )
    else:
        say("all of it is there")


def _say_imported(found: Imported, file: str) -> None:
    there = f"; {len(found.there):,} were there" if found.there else ""
    brought = sum(node.bytes for node in found.new)
    say(f"imported {_text.count(len(found.new), 'result')}, {_text.size(brought)}{there}")
    _say_differing(found)
    if found.pickled and not found.trusted:
        one = len(found.pickled) == 1
        say(
            f"{len(found.pickled):,} of them {'is a pickle' if one else 'are pickles'}, and not loaded, as that would "
            f"run code; if you trust where {'it comes' if one else 'they come'} from: `furu import --trust {file}`"
        )
    if found.trusted:
        say("code in these results may run as you when they are loaded, as --trust says")
    for root in found.index.roots[:1]:
        say_next(f"`furu show {root[:12]}` tells of one, `furu ls` lists all")


def _say_differing(found: Imported) -> None:
    if found.differing:
        names = ", ".join(node.name for node in found.differing[:_SHOWN])
        more = (
            "" if len(found.differing) <= _SHOWN else f" and {len(found.differing) - _SHOWN} more"
        )
        verb = "is" if len(found.differing) == 1 else "are"
        say(
            f"{len(found.differing):,} {verb} here with another record, and stay{'s' if verb == 'is' else ''} as "
            f"{'it is' if verb == 'is' else 'they are'}: {names}{more}"
        )


def _imported_as_json(found: Imported, *, listing: bool) -> dict[str, Any]:
    return {
        "imported": not listing,
        "trusted": found.trusted,
        "roots": list(found.index.roots),
        "new": [_told(node) for node in found.new],
        "there": [_told(node) for node in found.there],
        "differing": [_told(node) for node in found.differing],
        "pickled": [node.hash for node in found.pickled],
        "missing": list(found.index.missing),
        "bytes": found.index.bytes,
    }


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Any]:
    """What tells people on a terminal how far it is; None where nobody watches."""
    if quiet or not is_terminal(2):
        yield None
        return
    drawn = time.monotonic()

    def show(done: Any) -> None:
        nonlocal drawn
        if time.monotonic() - drawn > _REFRESH_SECS:
            drawn = time.monotonic()
            whole = _text.size(total or done.index.bytes)
            show_progress(f"{_text.size(done.bytes)} of {whole}")

    try:
        yield show
    finally:
        show_progress()
