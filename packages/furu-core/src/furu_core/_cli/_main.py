"""The command group `furu`, and how errors are reported: a paragraph, a hint, an exit status.

A command is imported when it is called, also one of a plugin.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from furu_core import _text
from furu_core._cli._output import (
    BROKEN_PIPE,
    FAILED,
    INTERRUPTED,
    USAGE,
    accept_all_text,
    say,
    say_error,
    silence_stdout,
)
from furu_core.errors import (
    FuruError,
    FuruExecutorError,
    FuruPlatformError,
    FuruRunCancelled,
    FuruSettingsError,
    FuruUsageError,
)

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from furu_core._cli._plugins import Commands

_OUTPUT_ERRORS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_COMPLETES: Final = "_FURU_COMPLETE"  # the variable that is set where a word is to be completed
_USAGE_ERRORS: Final = (FuruSettingsError, FuruUsageError, FuruExecutorError, FuruPlatformError)


# At the end of the help, each with the command that answers it; docs/tasks.md shows them at work. \b keeps the lines.
_QUESTIONS: Final = """\b
Questions, and the command that answers each:
  what is slow?                     furu ls -l --sort -took --top 5
  what failed, with what fields?    furu failures
  which results are the best?       furu table CLASS --sort -result.accuracy
  why would it be computed?         furu why MODULE:TARGET
  what is by older code?            furu code
  what takes up room?               furu du
  how do I get back what I removed? furu rm --undo
"""


class LazyGroup(click.Group):
    """A command group that imports a command when it is called, and takes commands of plugins.

    Args:
        modules: the module in this folder that defines it, for each of furu's own commands.
    """

    def __init__(self, *args: Any, modules: dict[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, those of plugins included."""
        return sorted({*self._modules, *self.plugins.names()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name; for a plugin that cannot be imported, a command that says so."""
        if cmd_name in self._modules:
            module = importlib.import_module(f"furu_core._cli.{self._modules[cmd_name]}")
            # `import` is a keyword of Python's, so the command's function has a line at its end.
            command = getattr(module, f"{cmd_name}_", None) or getattr(module, cmd_name)
            assert isinstance(command, click.Command)
            return command
        return self.plugins.command(cmd_name)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """As click does, but where the shell shows no descriptions, no command is imported for them."""
        if incomplete.startswith("-") or not os.environ.get(_COMPLETES, "").startswith("bash"):
            return super().shell_complete(ctx, incomplete)
        from furu_core._cli._completing import item

        return [item(name) for name in self.list_commands(ctx) if name.startswith(incomplete)]

    def invoke(self, ctx: click.Context) -> Any:
        """As click does, but a closed pipe ends the command as SIGPIPE would."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click would exit with 1, as if the command had failed
            silence_stdout()
            raise click.exceptions.Exit(BROKEN_PIPE) from None
        except Exception as error:
            if ctx.invoked_subcommand not in {None, *self._modules}:
                self.plugins.sign(error, str(ctx.invoked_subcommand))
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does, with a line about plugins whose commands cannot be used."""
        if self.plugins.broken():
            broken = "Some plugins are broken; `furu plugins` says why and what to do."
            self.epilog = f"{self.epilog}\n\n{broken}" if self.epilog else broken
        super().format_epilog(ctx, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; for an unknown command the error suggests a similar one."""
        if (
            args
            and not ctx.resilient_parsing
            and self.get_command(ctx, args[0]) is None
            and not args[0].startswith("-")
        ):
            likely = _text.nearest(args[0], self.list_commands(ctx))
            ctx.fail(
                f"No such command {args[0]!r}."
                + (f" Did you mean {likely[0]!r}?" if likely else "")
            )
        return super().resolve_command(ctx, args)

    @cached_property
    def plugins(self) -> Commands:
        """The commands of other distributions."""
        from furu_core._cli._plugins import Commands  # takes 20 ms, and most calls need none

        return Commands(frozenset(self._modules))


def _version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from importlib.metadata import version

        say(f"furu {version('furu-core')}")
        context.exit()


@click.group(
    cls=LazyGroup,
    modules={
        "accept": "_code",
        "adopt": "_adopt",
        "code": "_code",
        "completion": "_completion",
        "debug": "_debug",
        "diff": "_explain",
        "doctor": "_doctor",
        "du": "_space",
        "executors": "_plugins",
        "export": "_moving",
        "failures": "_run_status",
        "gc": "_collect",
        "import": "_moving",
        "log": "_nodes",
        "ls": "_listing",
        "pin": "_pin",
        "plugins": "_plugins",
        "rm": "_remove",
        "run": "_run",
        "runs": "_runs",
        "show": "_nodes",
        "status": "_run_status",
        "table": "_table",
        "unpin": "_pin",
        "upgrade": "_nodes",
        "verify": "_verify",
        "why": "_explain",
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_QUESTIONS,
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
    if _COMPLETES in os.environ:  # set by the scripts of `furu completion`
        from furu_core._cli import _shells

        return _shells.answer(furu)
    accept_all_text()
    try:
        status = furu.main(
            None if args is None else list(args), prog_name="furu", standalone_mode=False
        )
        _flush()
        return status if isinstance(status, int) else 0
    except BrokenPipeError:
        silence_stdout()
        return BROKEN_PIPE
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)  # it may tell of names in the store
        say(shown.getvalue(), err=True, nl=False)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):  # Abort: Ctrl-C or no answer at a question
        say("interrupted", err=True)
        return INTERRUPTED
    except OSError as error:
        # An error with a file name, or with another number, did not come from writing the output.
        if error.filename is not None or error.errno not in _OUTPUT_ERRORS:
            raise
        silence_stdout()
        reason = error.strerror or type(error).__name__
        report(
            FuruError(f"the output cannot be written: {reason}", hint="was it sent to a full disk?")
        )
        return FAILED
    except FuruError as error:
        report(error)
        if isinstance(error, FuruRunCancelled):
            return INTERRUPTED
        return USAGE if isinstance(error, _USAGE_ERRORS) else FAILED


def report(error: FuruError) -> None:
    """Print an error and its hint on stderr; with FURU_LOG_LEVEL=DEBUG the traceback as well."""
    if os.environ.get("FURU_LOG_LEVEL", "").upper() == "DEBUG":
        say("".join(traceback.format_exception(error)), err=True, nl=False)
    say_error(error.message, error.hint)


def _flush() -> None:
    # Buffered output may meet a closed pipe only now; at exit, Python would print a traceback.
    if sys.stdout is not None:
        sys.stdout.flush()
