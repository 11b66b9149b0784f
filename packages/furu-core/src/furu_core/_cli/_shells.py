"""Completion for bash, zsh and fish: their scripts, and how each tells the words and takes the answer.

The scripts call ``furu`` with ``_FURU_COMPLETE`` set, as click's do. They differ from click's in this: bash breaks words
at colons and equals signs, which targets and ``--set`` are full of; and a word that goes on is not followed by a space.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import click
from click.shell_completion import CompletionItem, ShellComplete, split_arg_string

from furu_core._cli._completing import item
from furu_core._cli._output import BROKEN_PIPE, silence_stdout
from furu_core._text import harmless

VARIABLE: Final = "_FURU_COMPLETE"
PROGRAM: Final = "furu"
_QUOTED: Final = re.compile(r"""(?:^|\s)(?:'[^']*|"[^"]*)$""")  # the last word, whose quote is open

_BASH: Final = r"""# Completion of furu for bash 4.4 and newer.
%(complete_func)s() {
    local kind
    COMPREPLY=()
    while IFS= read -r kind; do
        case $kind in
            =*) COMPREPLY+=("${kind:1}") ;;
            open) compopt -o nospace ;;
            files) compopt -o default ;;
        esac
    done < <(COMP_LINE=$COMP_LINE COMP_POINT=$COMP_POINT COMP_WORDBREAKS=$COMP_WORDBREAKS \
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_ZSH: Final = r"""#compdef %(prog_name)s
# Completion of furu for zsh.
%(complete_func)s() {
    local line value
    local -a parts closed open
    for line in "${(@f)$(COMP_LINE="${(j: :)words[1,CURRENT-1]} $PREFIX" \
        %(complete_var)s=zsh_complete "${words[1]}" 2>/dev/null)}"; do
        parts=("${(@s:	:)line}")
        case $parts[1] in
            closed) closed+=("${parts[2]//:/\\:}:$parts[3]") ;;
            open) open+=("${parts[2]//:/\\:}:$parts[3]") ;;
            files) _files ;;
        esac
    done
    (( $#closed )) && _describe -V %(prog_name)s closed
    (( $#open )) && _describe -V %(prog_name)s open -S ''
    return 0
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""

_FISH: Final = r"""# Completion of furu for fish.
function %(complete_func)s
    set -lx COMP_LINE (commandline -cp | string collect)
    set -lx %(complete_var)s fish_complete
    for line in (%(prog_name)s 2>/dev/null)
        if test "$line" = files
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete --no-files --keep-order --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


class _Shell(ShellComplete):
    """A shell, by the line that was typed up to the cursor."""

    next_step: str  # what remains to do when its script is installed

    @staticmethod
    def place() -> str:
        """The file in which it looks for the script."""
        raise NotImplementedError

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one that is completed, and that one."""
        line = self._line()
        words = split_arg_string(line)
        incomplete = "" if not words or line[-1:].isspace() else words.pop()
        for number, word in enumerate(words):
            if os.path.basename(word) == self.prog_name:  # variables may stand before it
                return words[number + 1 :], incomplete
        return words[1:], incomplete

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """As click does, but for two things.

        What shells would not show as it is, such as names with escape sequences, is left out. And a minus after
        ``--sort`` begins no option: it is the order from the highest down.
        """
        if incomplete.startswith("--sort=-"):
            args, incomplete = [*args, "--sort"], incomplete.removeprefix("--sort=")
        is_order = incomplete[:1] == "-" and args[-1:] == ["--sort"]
        found = super().get_completions(args, incomplete[1:] if is_order else incomplete)
        if is_order:
            found = [item(f"-{one.value}", one.help or "") for one in found]
        return [
            one
            for one in found
            if harmless(str(one.value)) == one.value and not set("\n\t") & set(one.value)
        ]

    def _line(self) -> str:
        return os.environ.get("COMP_LINE", "")


class Bash(_Shell):
    """Bash, which replaces what follows the last character at which it breaks words."""

    name = "bash"
    source_template = _BASH
    next_step = "new shells have it where bash-completion is loaded; elsewhere add to ~/.bashrc: source {path}"

    @staticmethod
    def place() -> str:
        """The file in which bash-completion looks."""
        own = os.environ.get("BASH_COMPLETION_USER_DIR")
        folder = own or f"{_folder('XDG_DATA_HOME', '~/.local/share')}/bash-completion"
        return f"{folder}/completions/furu"

    def _line(self) -> str:
        line = super()._line()
        with suppress(KeyError, ValueError):
            line = os.fsdecode(os.fsencode(line)[: int(os.environ["COMP_POINT"])])
        return line

    def complete(self) -> str:
        """The lines that the script reads."""
        args, incomplete = self.get_completion_args()
        found = self.get_completions(args, incomplete)
        breaks = re.escape("".join(set(os.environ.get("COMP_WORDBREAKS", "")) - set(" \t\n\"'")))
        quoted = _QUOTED.search(self._line()) is not None
        if quoted:
            breaks = ""
        typed = re.split(f"[{breaks}]", incomplete)[-1] if breaks else incomplete
        # Of an option that is given as --set=lr=0, click takes the part after the option's name as the word.
        word = incomplete
        if (
            word.startswith("--")
            and "=" in word
            and not any(i.value.startswith(word) for i in found)
        ):
            word = word.partition("=")[2]
        keep = len(word) - len(typed)
        lines = ["open"] if any(one.is_open for one in found) else []
        lines += [
            "files"
            if one.type in ("file", "dir")
            else f"={one.value[keep:] if quoted else _escaped(one.value[keep:])}"
            for one in found
        ]
        return "\n".join(lines)


class Zsh(_Shell):
    """Zsh, which shows descriptions."""

    name = "zsh"
    source_template = _ZSH
    next_step = "add to ~/.zshrc, unless it is there: fpath=(~/.zfunc $fpath); autoload -Uz compinit; compinit"

    @staticmethod
    def place() -> str:
        """A file in a folder that the user adds to `fpath`."""
        return os.path.expanduser("~/.zfunc/_furu")

    def format_completion(self, item: CompletionItem[str]) -> str:
        """A line that the script reads."""
        if item.type in ("file", "dir"):
            return "files"
        return "\t".join(["open" if item.is_open else "closed", item.value, _plain(item.help)])


class Fish(_Shell):
    """Fish, which shows descriptions and puts no space after ``=``, ``:`` and the like by itself."""

    name = "fish"
    source_template = _FISH
    next_step = "new shells have it"

    @staticmethod
    def place() -> str:
        """The file in which fish looks."""
        return f"{_folder('XDG_CONFIG_HOME', '~/.config')}/fish/completions/furu.fish"

    def format_completion(self, item: CompletionItem[str]) -> str:
        """A line that the script reads."""
        if item.type in ("file", "dir"):
            return "files"
        return f"{item.value}\t{_plain(item.help)}"


SHELLS: Final[dict[str, type[_Shell]]] = {shell.name: shell for shell in (Bash, Zsh, Fish)}


def script(group: click.Command, shell: str) -> str:
    """The script that has a shell complete the words of furu."""
    return SHELLS[shell](group, {}, PROGRAM, VARIABLE).source()


def _folder(variable: str, default: str) -> str:
    return os.environ.get(variable) or os.path.expanduser(default)


def answer(group: click.Command) -> int:
    """Complete what the environment tells, silently whatever happens; an exit status."""
    shell, _, instruction = os.environ[VARIABLE].partition("_")
    if shell not in SHELLS or instruction not in ("source", "complete"):
        return 1
    try:
        with _silence():
            asked = SHELLS[shell](group, {}, PROGRAM, VARIABLE)
            text = asked.source() if instruction == "source" else asked.complete()
        if text:
            sys.stdout.buffer.write(f"{text}\n".encode("utf-8", "surrogateescape"))
            sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()
        return BROKEN_PIPE
    except BaseException:  # noqa: BLE001 - somebody is typing: no word of a broken store, setting or plugin
        return 1
    return 0


@contextmanager
def _silence() -> Iterator[None]:
    """Have nothing printed: by plugins that are imported, or as warnings about the store."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    saved = os.dup(1), os.dup(2)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        for number, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)


def _escaped(text: str) -> str:
    """A word with backslashes before what bash would take for more than a letter."""
    return re.sub(r"([^\w@%+=:,./~^\[\]{}-])", r"\\\1", text)


def _plain(text: str | None) -> str:
    return harmless(" ".join((text or "").split()))
