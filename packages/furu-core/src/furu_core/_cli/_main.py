"""The command group, and what becomes of errors: one paragraph, a hint, a truthful exit status."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final, NoReturn

import click

from furu_core._cli import _status
from furu_core._cli._group import LazyGroup
from furu_core.errors import (
    FuruError,
    FuruExecutorError,
    FuruPlatformError,
    FuruRunCancelled,
    FuruSettingsError,
    FuruUsageError,
)

_OUTPUT_ERRORS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_USAGE_ERRORS: Final = (FuruSettingsError, FuruUsageError, FuruExecutorError, FuruPlatformError)


def _version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"furu {version('furu-core')}")
        context.exit()


@click.group(
    cls=LazyGroup,
    commands_by_module={
        "executors": "furu_core._cli._executors",
        "log": "furu_core._cli._log",
        "ls": "furu_core._cli._ls",
        "plugins": "furu_core._cli._plugins",
        "rm": "furu_core._cli._rm",
        "run": "furu_core._cli._run",
        "show": "furu_core._cli._show",
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
    help="Show the version and exit.",
)  # fmt: skip
def furu() -> None:
    """Reproducible computation in plain Python.

    A HASH may be shortened while it is unambiguous, and written as logs write it: Train(3fa9c1).
    Settings are read from FURU_* variables and from [tool.furu] in pyproject.toml.
    """


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, and exit.

    Args:
        args: without the program's name; None takes those of the process.
    """
    sys.exit(run_and_report(args))


def run_and_report(args: Sequence[str] | None = None) -> int:
    """Run the command line, report any error on stderr, and return the exit status."""
    try:
        status = furu.main(
            None if args is None else list(args), prog_name="furu", standalone_mode=False
        )
        _flush()
        return status if isinstance(status, int) else 0
    except BrokenPipeError:
        _status.silence_stdout()
        return _status.BROKEN_PIPE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):  # Abort: Ctrl-C or no answer at a question
        click.echo("interrupted", err=True)
        return _status.INTERRUPTED
    except OSError as error:
        # Errors of files have their names, and those of the store are none of these.
        if error.filename is not None or error.errno not in _OUTPUT_ERRORS:
            raise
        _status.silence_stdout()
        reason = error.strerror or type(error).__name__
        report(
            FuruError(f"the output cannot be written: {reason}", hint="was it sent to a full disk?")
        )
        return _status.FAILED
    except FuruError as error:
        report(error)
        if isinstance(error, FuruRunCancelled):
            return _status.INTERRUPTED
        return _status.USAGE if isinstance(error, _USAGE_ERRORS) else _status.FAILED


def report(error: FuruError) -> None:
    """Say on stderr what went wrong and what to do; with FURU_LOG_LEVEL=DEBUG where as well."""
    if os.environ.get("FURU_LOG_LEVEL", "").upper() == "DEBUG":
        traceback.print_exception(error)
    click.echo(f"{click.style('error:', fg='red', bold=True)} {error.message}", err=True)
    if error.hint:
        click.echo(f"{click.style('hint:', fg='cyan')} {error.hint}", err=True)


def _flush() -> None:
    # What is still buffered meets a closed pipe only now; at exit Python would print a traceback.
    if sys.stdout is not None:
        sys.stdout.flush()
