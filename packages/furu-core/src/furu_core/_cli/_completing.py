"""What completion in the shell offers for a word: hashes, classes, runs, columns, targets, fields.

Each function here is what click calls as `shell_complete`. They read names of folders and the text of modules, a few
records at most; no code of the user's is imported, save an executor whose options are asked for. What they need is
imported when they are called.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click

from furu_core import _text
from furu_core._text import RUN_PREFIX

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from furu_core._cli._declared import TextField
    from furu_core._store._folders import ClassFolder

Items: TypeAlias = "list[CompletionItem[str]]"

_MOST: Final = 200  # of the things that are offered at once
_DIGITS: Final = 12  # of a hash
_SAMPLES: Final = 3  # nodes of a class whose columns are offered
_RECENT: Final = 50  # runs whose tags are offered
_CLASSES: Final = 20  # classes of which columns are offered
_HEX: Final = re.compile(r"[0-9a-f]+")
_OPERATOR: Final = re.compile(r"[=<>!~]")
_NO_MODULES: Final = frozenset({"__pycache__", "__init__.py", "__main__.py", "node_modules"})


def item(value: str, said: str = "", *, is_open: bool = False) -> CompletionItem[str]:
    """Something to offer.

    Args:
        value: the whole word.
        said: a description, which some shells show.
        is_open: whether the word goes on after it, so that no space follows.
    """
    from click.shell_completion import CompletionItem  # most commands complete nothing

    return CompletionItem(value, help=said or None, is_open=is_open)


# What is in the store


def a_node(_ctx: click.Context, _param: click.Parameter, word: str) -> Items:
    """Hashes, each with its class, and classes that have one node."""
    folders = list(_folders())
    few = [folder for folder in folders if len(folder.names) <= _MOST]
    single = [folder for folder in few if len(_hashes_in(folder.names, "")) == 1]
    return [*_classes(single, word), *_hashes(folders, word)]


def a_class(_ctx: click.Context, _param: click.Parameter, word: str) -> Items:
    """Classes that have nodes, by the shortest name that means one only."""
    return _classes(list(_folders()), word)


def a_class_or_node(_ctx: click.Context, _param: click.Parameter, word: str) -> Items:
    """Classes, and hashes once a digit was typed."""
    folders = list(_folders())
    return [*_classes(folders, word), *(_hashes(folders, word) if word else [])]


def a_selection(ctx: click.Context, param: click.Parameter, word: str) -> Items:
    """What chooses nodes: classes, hashes, ``run:`` and the ids of runs."""
    if word.startswith(RUN_PREFIX):
        return [
            item(f"{RUN_PREFIX}{one.value}", one.help or "")
            for one in a_run(ctx, param, word.removeprefix(RUN_PREFIX))
        ]
    runs = (
        [item(RUN_PREFIX, "nodes that a run computed", is_open=True)]
        if RUN_PREFIX.startswith(word)
        else []
    )
    return [*a_class_or_node(ctx, param, word), *runs]


def a_run_or_selection(ctx: click.Context, param: click.Parameter, word: str) -> Items:
    """The ids of runs, and what else chooses nodes."""
    return [*a_run(ctx, param, word), *a_selection(ctx, param, word)]


def a_run(_ctx: click.Context, _param: click.Parameter, word: str) -> Items:
    """The ids of runs, the newest first, each with the command that began it."""
    from furu_core._store._folders import run_ids
    from furu_core._store._layout import runs_dir

    folder = runs_dir()
    ids = [one for one in run_ids() if one.startswith(word)]
    shown = [*ids[: _MOST - 1], ids[-1]] if len(ids) > _MOST else ids
    return [item(one, _command(f"{folder}/{one}")) for one in shown]


def a_plan(_ctx: click.Context, _param: click.Parameter, word: str) -> Items:
    """The ids of plans of `furu gc`."""
    from furu_core._settings import _settings

    with suppress(OSError):
        names = sorted(os.listdir(f"{_settings.settings().path}/gc"))
        ids = [name.removesuffix(".json") for name in names if name.endswith(".json")]
        return [item(one) for one in ids if one.startswith(word)]
    return []


def a_tag(_ctx: click.Context, _param: click.Parameter, word: str) -> Items:
    """``NAME=VALUE`` of tags, as the newest runs have them."""
    from furu_core._store._folders import run_ids
    from furu_core._store._layout import runs_dir

    name, equals, value = word.partition("=")
    found: dict[str, None] = {}
    for one in run_ids()[:_RECENT]:
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            tags = _run_record(f"{runs_dir()}/{one}")["tags"].items()
            if not equals:
                found |= dict.fromkeys(f"{tag}=" for tag, _ in tags if tag.startswith(word))
            else:
                values = [said for tag, said in tags if tag == name and said.startswith(value)]
                found |= dict.fromkeys(f"{name}={said}" for said in values)
    return [item(one, is_open=not equals) for one in found]


def an_attempt(ctx: click.Context, _param: click.Parameter, word: str) -> Items:
    """The numbers of the attempts at the node on the command line, as far as they are on disk."""
    from furu_core._attempts import _attempts
    from furu_core._status import _stored_nodes

    found = [_attempts.numbers(_stored_nodes.find(name)) for name in _typed(ctx, "name")]
    numbers = map(str, sorted(*found))
    return [item(one) for one in numbers if one.startswith(word)]


def an_executor(_ctx: click.Context, _param: click.Parameter, word: str) -> Items:
    """The names of installed executors."""
    from furu_core import _plugins

    found = _plugins.registered(_plugins.EntryPointGroup.EXECUTORS)
    return [item(one.name, one.origin) for one in found if one.name.startswith(word)]


def an_executor_option(ctx: click.Context, _param: click.Parameter, word: str) -> Items:
    """``KEY=VALUE`` for the executor on the command line, whose plugin is imported: its options, and their choices."""
    from furu_core._executors._options import options_of
    from furu_core._executors._registry import load_executor

    options = options_of(load_executor([*_typed(ctx, "executor"), "local"][0]))
    name, equals, value = word.partition("=")
    if not equals:
        found = [(one, told) for one, told in options.items() if one.startswith(word)]
        return [item(f"{one}=", told.help, is_open=True) for one, told in found]
    choices = options[name].kind.choices if name in options else ()
    return [item(f"{name}={one}") for one in choices if one.startswith(value)]


# What a command takes otherwise


def a_file(_ctx: click.Context, _param: click.Parameter, word: str) -> Items:
    """Files, which shells complete by themselves."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(word, type="file")]


def words(*known: str) -> Callable[[click.Context, click.Parameter, str], Items]:
    """What offers some words."""
    return lambda _ctx, _param, word: [item(one) for one in known if one.startswith(word)]


def _folders() -> Iterator[ClassFolder]:
    from furu_core._store._folders import class_folders

    return class_folders(lambda _unreadable: None)


def _hashes_in(names: list[str], word: str) -> set[str]:
    """The hashes that begin with a word, by names in a class's folder; also of nodes that have attempts only."""
    from furu_core._store._layout import attempted_in, is_hash

    if word:
        names = [name for name in names if name.startswith((word, f".{word}"))]
    return {name for name in names if is_hash(name)} | attempted_in(names)


def _hashes(folders: Iterable[ClassFolder], word: str) -> Items:
    if word and not _HEX.fullmatch(word):
        return []
    found: dict[str, str] = {}
    for folder in folders:
        some = folder.names if word else folder.names[:_MOST]
        found |= dict.fromkeys(_hashes_in(some, word), folder.name)
    digits = _DIGITS if len(word) <= _DIGITS else 32
    return [item(one[:digits], found[one]) for one in _some(sorted(found))]


def _some(found: list[str]) -> list[str]:
    """At most so many, from the first to the last, so that they begin as all of them do."""
    if len(found) <= _MOST:
        return found
    return [found[number * (len(found) - 1) // (_MOST - 1)] for number in range(_MOST)]


def _classes(folders: Iterable[ClassFolder], word: str) -> Items:
    names = [folder.name for folder in folders]
    found = {}
    for name in names:
        short = name.rpartition(":")[2]
        value = short if len(_text.meant(short, names)) == 1 and short.startswith(word) else name
        if value.startswith(word):
            found[value] = name
    return [item(value, name) for value, name in sorted(found.items())]


def _command(folder: str) -> str:
    from furu_core._runs._runs import command_text

    with suppress(ValueError, TypeError):
        return command_text(tuple(_run_record(folder).get("command", ())))
    return ""


def _run_record(folder: str) -> dict[str, Any]:
    """The record of a run; empty where it cannot be read."""
    from furu_core._executors._run import RUN_FILE
    from furu_core._files import read_file

    with suppress(OSError, ValueError):
        told = json.loads(read_file(f"{folder}/{RUN_FILE}"))
        return told if isinstance(told, dict) else {}
    return {}


# Columns


def a_column(ctx: click.Context, _param: click.Parameter, word: str) -> Items:
    """Columns of nodes; of several with commas between them, the last one."""
    before, comma, last = word.rpartition(",")
    return [item(f"{before}{comma}{name}") for name in _columns(ctx) if name.startswith(last)]


def a_condition(ctx: click.Context, _param: click.Parameter, word: str) -> Items:
    """Columns of nodes, to be followed by an operator and a value."""
    if _OPERATOR.search(word):
        return []
    return [item(f"{name}=", is_open=True) for name in _columns(ctx) if name.startswith(word)]


def _columns(ctx: click.Context) -> list[str]:
    """The columns of a few nodes of the classes on the command line, or of all classes, and built-in ones."""
    from furu_core._status._stored_nodes import StoredClass, StoredNode
    from furu_core._tables._columns import BUILTIN, ColumnReader
    from furu_core._tables._facts import facts_of

    named = [*_typed(ctx, "names"), *_typed(ctx, "class_names")]
    folders = list(_folders())
    all_names = [folder.name for folder in folders]
    meant = {one for name in named for one in _text.meant(name, all_names)}
    chosen = [folder for folder in folders if not meant or folder.name in meant]
    reader = ColumnReader()
    names: dict[str, None] = {}
    for folder in chosen[:_CLASSES]:
        for one in sorted(_hashes_in(folder.names[:_MOST], ""))[:_SAMPLES]:
            with suppress(Exception):  # a column less is better than none
                node = StoredNode(StoredClass(folder.name, folder.path), one)
                names |= dict.fromkeys(reader.row(facts_of(node)))
    return [*names, *(name for name in BUILTIN if name not in names)]


# Targets


def a_target(_ctx: click.Context, _param: click.Parameter, word: str) -> Items:
    """``MODULE:TARGET``: modules and files of the working directory, and what their text has for `furu run`."""
    module, colon, name = word.partition(":")
    if not colon:
        return _modules(word)
    from furu_core._cli._declared import targets_in
    from furu_core._cli._module_text import text_of

    text = text_of(module)
    return [
        item(f"{module}:{one.name}", one.said or one.kind)
        for one in (() if text is None else targets_in(text))
        if one.name.startswith(name)
    ]


def a_target_or_node(ctx: click.Context, param: click.Parameter, word: str) -> Items:
    """A target, or a node in the store."""
    return [*a_target(ctx, param, word), *a_node(ctx, param, word)]


def _modules(word: str) -> Items:
    """Files and folders that may be modules: with dots, or where a slash was typed, as paths."""
    if word.startswith("src.") or os.sep in word or not os.path.isdir("src"):
        return _modules_in("", word)
    here = [one for one in _modules_in("", word) if one.value != "src."]
    if os.path.abspath("src") in sys.path:  # as of a project that is installed to be edited
        here += _modules_in("src", word)
    elif "src".startswith(word):
        here.append(item(f"src{os.sep}", is_open=True))
    return sorted(here, key=lambda one: one.value)


def _modules_in(top: str, word: str) -> Items:
    is_path = os.sep in word
    folder, _, begun = word.rpartition(os.sep if is_path else ".")
    place = os.path.join(os.curdir, top, folder if is_path else folder.replace(".", os.sep))
    if is_path and word.startswith(os.sep):
        place = folder or os.sep
    before = word[: len(word) - len(begun)]
    found = []
    with suppress(OSError), os.scandir(os.path.expanduser(place)) as scan:
        for entry in scan:
            name = entry.name
            if not name.startswith(begun) or name.startswith(".") or name in _NO_MODULES:
                continue
            stem = name.removesuffix(".py")
            if not stem.isidentifier() and not is_path:
                continue
            if entry.is_dir():
                if _may_have_modules(entry.path):
                    found.append(item(f"{before}{name}{'/' if is_path else '.'}", is_open=True))
            elif stem != name:
                found.append(item(f"{before}{name if is_path else stem}:", is_open=True))
    if not is_path and folder:  # `train.p` may become a file
        found += [item(f"{name}:", is_open=True) for name in _files_called(word)]
    return sorted(found, key=lambda one: one.value)


def _files_called(word: str) -> list[str]:
    with suppress(OSError):
        return [name for name in os.listdir() if name.startswith(word) and name.endswith(".py")]
    return []


def _may_have_modules(folder: str) -> bool:
    """Whether a folder has a module, or folders that may have some."""
    with suppress(OSError), os.scandir(folder) as scan:
        names = {entry.name: entry for entry in scan}
        if any(name.endswith(".py") for name in names):
            return True
        return any(
            name.isidentifier() and name not in _NO_MODULES and entry.is_dir()
            for name, entry in names.items()
        ) and not {"data", "runs"}.issubset(names)  # a store
    return False


def an_assignment(ctx: click.Context, _param: click.Parameter, word: str) -> Items:
    """``FIELD=VALUE`` for the target on the command line: its fields or arguments, and values of enums and the like."""
    from furu_core._cli._declared import fields_in, nested_fields, options_of
    from furu_core._cli._module_text import text_of

    places = ("target", "name", "new")  # of the target: of `furu run`, `furu why` and `furu adopt`
    target = [*(one for place in places for one in _typed(ctx, place)), ""][0]
    module, _, path = target.partition(":")
    text = text_of(module) if path else None
    fields = [] if text is None else fields_in(text, path)
    name, equals, value = word.partition("=")
    *inside, last = name.split(".")
    for one in inside:
        fields = [inner for field in fields if field.name == one for inner in nested_fields(field)]
    before = name[: len(name) - len(last)]
    if not equals:
        return [
            item(
                f"{before}{one.name}{'.' if nested_fields(one) else '='}", _told(one), is_open=True
            )
            for one in fields
            if one.name.startswith(last)
        ]
    earlier, comma, begun = value.rpartition(",")
    return [
        item(f"{name}={earlier}{comma}{option}")
        for field in fields
        if field.name == last
        for option in options_of(field)
        if option.startswith(begun) and option not in earlier.split(",")
    ]


def a_former_field(ctx: click.Context, _param: click.Parameter, word: str) -> Items:
    """Fields of the class OLD on the command line, as a few of its records have them, to be followed by a value."""
    from furu_core._status._stored_objects import config_of

    if "=" in word:
        return []
    folders = list(_folders())
    old = _text.meant([*_typed(ctx, "old"), ""][0], [folder.name for folder in folders])
    names: dict[str, None] = {}
    for folder in (folder for folder in folders if folder.name in old):
        for one in sorted(_hashes_in(folder.names[:_MOST], ""))[:_SAMPLES]:
            names |= dict.fromkeys((config_of(folder.name, one) or {"fields": {}})["fields"])
    return [item(f"{name}=", is_open=True) for name in names if name.startswith(word)]


def a_renaming(ctx: click.Context, param: click.Parameter, word: str) -> Items:
    """``OLD=NEW``: a field of the class OLD, and one of NEW."""
    old, equals, new = word.partition("=")
    if not equals:
        return a_former_field(ctx, param, word)
    fields = [one.value.rstrip("=.") for one in an_assignment(ctx, param, new)]
    return [item(f"{old}={name}") for name in fields]


def _typed(ctx: click.Context, name: str) -> list[str]:
    """What the command line gives to a parameter.

    Click gives no arguments where the last word is an option whose value is about to be typed.
    """
    found = ctx.params.get(name)
    if not found and ctx.parent is not None:
        words = list(ctx.parent.args)
        if words and words[-1].startswith("-"):
            words.pop()
        found = ctx.command.make_parser(ctx).parse_args(words)[0].get(name)
    if isinstance(found, str):
        return [found]
    return list(found) if isinstance(found, tuple | list) else []


def _told(field: TextField) -> str:
    default = "" if field.default is None else f" = {field.default}"
    return "  ".join(part for part in (f"{field.annotation}{default}", field.said) if part)
