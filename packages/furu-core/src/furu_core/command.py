"""The interface for packages that add a command to `furu`.

Such a package declares an entry point of the group ``furu.commands``, which has the command's name
and whose object is a click command. A `FuruError` that it raises is shown as for furu's commands.

Example:
    >>> import click
    >>> from furu_core.command import TargetCommand, resolve_roots, say, target_options
    >>> @click.command(cls=TargetCommand)
    ... @target_options
    ... def count(target, assignments):
    ...     say(len(resolve_roots(target, assignments).items))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from furu_core._cli._completing import a_class, a_node, a_run, a_target
from furu_core._cli._output import json_option, only_json, print_json, rerun_option, say, say_next
from furu_core._cli._target import rerunning, resolve_roots
from furu_core._cli._target_command import TargetCommand, command_with, set_option
from furu_core._status import _stored_nodes
from furu_core._status._stored_nodes import StoredClass, StoredNode
from furu_core._text import duration, harmless, size

F = TypeVar("F", bound=Callable[..., Any])

__all__ = [
    "StoredClass",
    "StoredNode",
    "TargetCommand",
    "a_class",
    "a_node",
    "a_run",
    "command_with",
    "duration",
    "harmless",
    "json_option",
    "only_json",
    "print_json",
    "rerun_option",
    "rerunning",
    "resolve_roots",
    "say",
    "say_next",
    "size",
    "stored_classes",
    "stored_node",
    "target_options",
]


def stored_classes(name: str | None = None) -> list[StoredClass]:
    """The classes that have nodes in the current store; their code is not imported.

    Args:
        name: only the classes with this name, given with as much of the module as is needed.

    Raises:
        FuruUsageError: the store has none of that name.

    Example:
        >>> sizes = {cls.name: len(cls.published()) for cls in stored_classes()}
    """
    return list(_stored_nodes.classes()) if name is None else _stored_nodes.classes_called(name)


def stored_node(name: str) -> StoredNode:
    """The node in the current store that a name means; the code of its class is not imported.

    Args:
        name: a hash, the beginning of one, a short name such as ``Train(3fa9c1)``, or the name of a
            class that has one node only.

    Raises:
        FuruUsageError: it means none, or several; the error names them, or similar ones.
    """
    return _stored_nodes.find(name)


def target_options(command: F) -> F:
    """Give a command the argument ``MODULE:TARGET`` and the option ``--set FIELD=VALUE``.

    With ``click.command(cls=TargetCommand)`` its ``--help`` tells of the target that stands before it.

    Args:
        command: gets them as `target` and `assignments`, and passes them to `resolve_roots`.
    """
    return click.argument("target", metavar="MODULE:TARGET", shell_complete=a_target)(
        set_option(command)
    )
