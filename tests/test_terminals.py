"""What a store holds may come from anywhere: on a terminal each command shows it, and the terminal obeys none of it."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Final

import click
import pytest

from furu_core._cli._main import furu as group
from furu_core._text import harmless

# A title, the clipboard, a link, the cursor, a cleared screen, a bell, reports that are typed as an answer; then the
# same by U+009B; and text that is written backwards.
EVIL: Final = (
    "\x1b]0;owned\x07", "\x1b]52;c;b3duZWQ=\x07", "\x1b]8;;http://owned\x1b\\", "\x1b[3A", "\x1b[2J", "\x1b[6n",
    "\x1bP+q\x1b\\", "\x9b2J", "\x9d0;owned\x9c", "\u202edenwo",
)  # fmt: skip
EVERY: Final = "".join(EVIL)
COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
# What tells how far a command is, and what is drawn again while a run goes on.
OUR_OWN: Final = re.compile(r"\r?\x1b\[(\?25[lh]|1A|2?K)")

PROJECT: Final = """
    import os
    from furu_core import Furu
    from furu_local import run_local

    EVERY = os.environ["EVERY"]

    class Result(Furu[dict]):
        text: str
        number: int
        def _create(self):
            print("said", EVERY)
            return {"part" + EVERY: "value" + EVERY, "number": self.number}

    class Fails(Furu[int]):
        text: str
        def _create(self):
            if "QUIET" not in os.environ:
                print("said", EVERY)
            raise ValueError("message" + EVERY)

    class Loads(Furu[int]):
        result: Result = Result(text=EVERY, number=1)
        def _create(self):
            return self.result.get()["number"]

    good = [Loads(), Result(text=EVERY, number=2)]
    bad = Fails(text=EVERY)
    new = Result(text=EVERY, number=4)
    def odd():
        raise ValueError("message" + EVERY)

    def run():
        run_local([*good, bad], max_workers=1, keep_going=True, note="note" + EVERY, tags={"tag": EVERY})
"""

# What is asked, and whether the answer tells something of what is evil there.
ASKED: Final = {
    "status": True,
    "status -f": True,
    "accept exp:Result WORDS": False,
    "adopt exp:Result exp:Loads": False,
    "code": False,
    "code --diff RESULT": True,
    "completion bash": False,
    "debug FAILED": True,
    "diff RESULT OTHER": True,
    "diff RESULT OTHER --json": False,
    "doctor": False,
    "du": True,
    "executors": False,
    "export RESULT -o ARCHIVE": False,
    "failures": True,
    "failures --csv": True,
    "import ARCHIVE --dry-run": False,
    "import NO_ARCHIVE": False,
    "log RESULT": True,
    "log -f RESULT": True,
    "log FAILED": True,
    "ls": True,
    "ls --json": False,
    "ls --csv": True,
    "ls -l": True,
    "ls --where WORDS": True,
    "pin RESULT": False,
    "pin": False,
    "plan exp:bad": True,
    "plan exp:good --tree": False,
    "plugins": False,
    "pool status": False,
    "rm FAILED --yes": False,
    "rm --trash": False,
    "gc": False,
    "run exp:bad": True,
    "run exp:odd": True,
    "run exp:good": False,
    "run exp:WORDS": True,
    "runs": True,
    "runs --csv": True,
    "show RESULT": True,
    "show EVIL_CLASS": True,
    "show WORDS": True,
    "table Result": True,
    "table Result --csv": True,
    "table Result --json": False,
    "table Result --sort WORDS": True,
    "unpin RESULT": False,
    "upgrade": False,
    "verify": True,
    "why exp:new": False,
}  # fmt: skip


class HostileStore:
    """A project whose store says to terminals whatever it can.

    Args:
        folder: where.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "furu-data"
        self.env = {
            name: value for name, value in os.environ.items() if not name.startswith("FURU_")
        }
        self.env |= {"EVERY": EVERY, "PYTHONPATH": str(folder), "TERM": "xterm", "COLUMNS": "2000"}
        (folder / "pyproject.toml").write_text("")
        code = textwrap.dedent(PROJECT)
        (folder / "exp.py").write_text(code)
        made = self.python("import contextlib, exp\nwith contextlib.suppress(Exception): exp.run()")
        assert made.returncode == 0, made.stderr
        (folder / "exp.py").write_text(
            code.replace('"number": self', f"# {EVERY}\n        'number': 1 * self")
        )
        listed = map(json.loads, self.furu("ls", "--json").stdout.splitlines())
        self.nodes = {one["class"].partition(":")[2] + one["state"]: one for one in listed}
        self.words = {
            "RESULT": self.nodes["Resultdone"]["hash"],
            "OTHER": self.nodes["Loadsdone"]["hash"],
            "FAILED": self.nodes["Failsfailed"]["hash"],
            "EVIL_CLASS": "e" * 32,
            "WORDS": f"words{EVERY}",
            "ARCHIVE": str(folder / "archive.tar"),
            "NO_ARCHIVE": str(folder / f"none{EVERY.replace('/', '')}"),
        }
        Path(self.words["NO_ARCHIVE"]).write_text("nothing")
        self.add_class()

    def add_class(self) -> None:
        """Give the store a result of a class that no Python has, and whose record is broken."""
        result = Path(self.nodes["Resultdone"]["path"])
        evil = result.parent.parent / f"Evil{EVERY.replace('/', '')}" / self.words["EVIL_CLASS"]
        shutil.copytree(result, evil)

    def python(self, code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def furu(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run the command; its output goes to pipes."""
        return self.python(f"from furu_core._cli import main; main({list(args)!r})")

    def on_terminal(self, *args: str) -> str:
        """What a terminal gets of the command, in whose place it is for stdin, stdout and stderr."""
        ours, theirs = pty.openpty()
        code = f"from furu_core._cli import main; main({list(args)!r})"
        command = [sys.executable, "-c", code]
        child = subprocess.Popen(
            command, cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
        )  # fmt: skip
        os.close(theirs)
        shown = b""
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            try:
                while data := terminal.read(1 << 16):
                    shown += data
            except OSError:  # Linux says so where the last one has closed the other side
                pass
        child.wait(timeout=120)
        return shown.decode().replace("\r\n", "\n")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> HostileStore:
    """A store that says evil things, for all tests here."""
    return HostileStore(tmp_path_factory.mktemp("hostile"))


def test_a_terminal_obeys_nothing_that_stands_in_a_store(hostile: HostileStore) -> None:
    hostile.env["QUIET"] = "1"  # what code prints while it runs here is the terminal's, as ever
    said = {
        line: hostile.on_terminal(
            *(hostile.words.get(word, word) for word in evil_words(line, hostile))
        )
        for line in ASKED
    }
    obeyed = {line: what for line, text in said.items() if (what := evil_in(text))}
    assert not obeyed
    told = {line for line, text in said.items() if r"\x1b]0;owned" in text}
    missing = {line for line, tells in ASKED.items() if tells} - told
    assert not missing, "\n".join(f"$ furu {line}\n{said[line]}" for line in sorted(missing))
    broken = {
        line: text for line, text in said.items() if re.search("Traceback(.|\n)*/furu_core/", text)
    }
    assert not broken


def evil_words(line: str, hostile: HostileStore) -> list[str]:
    return [word.replace("WORDS", hostile.words["WORDS"]) for word in line.split()]


def evil_in(shown: str) -> list[str]:
    """The control characters in what a terminal gets, with what stands around, apart from colours and lines."""
    shown = COLOURS.sub("", OUR_OWN.sub("", shown))
    return [
        shown[max(0, at - 20) : at + 20]
        for at, one in enumerate(shown)
        if one not in "\n\t" and harmless(one) != one
    ]


def test_all_commands_are_asked() -> None:
    asked = {line.split()[0] for line in ASKED}
    assert asked == set(group.list_commands(click.Context(group)))


def test_what_nodes_printed_goes_to_a_pipe_byte_for_byte(hostile: HostileStore) -> None:
    found = hostile.furu("log", hostile.words["RESULT"])
    assert found.stdout == f"said {EVERY}\n"
    followed = hostile.furu("log", "-f", hostile.words["RESULT"])
    assert followed.stdout == found.stdout


def test_on_a_terminal_what_nodes_printed_keeps_its_colours_and_progress_bars(
    hostile: HostileStore,
) -> None:
    result = Path(hostile.nodes["Loadsdone"]["path"])
    log = result / ".furu.log"
    half = "\x1b[1;31"  # at the border of two reads
    text = "x" * ((1 << 16) - len(half)) + half + "mred\nstill red\n 10%\r 20%\x1b[2K\xe4\x1b["
    log.write_text(text, newline="")
    found = hostile.furu("log", "--path", hostile.words["OTHER"])
    assert found.stdout.strip() == str(log)
    for options in ([], ["-f"]):
        shown = hostile.on_terminal("log", *options, hostile.words["OTHER"])
        assert shown == text.replace("\x1b[2K", r"\x1b[2K").removesuffix("\x1b[") + "\\x1b[\x1b[0m"


def test_completions_have_no_escape_sequences(hostile: HostileStore) -> None:
    hostile.env |= {"_FURU_COMPLETE": "fish_complete", "COMP_LINE": "furu ls "}
    try:
        found = hostile.furu()
    finally:
        del hostile.env["_FURU_COMPLETE"], hostile.env["COMP_LINE"]
    assert "Result" in found.stdout
    assert not evil_in(found.stdout)


def test_code_is_shown_to_a_pipe_as_it_is(hostile: HostileStore) -> None:
    found = hostile.furu("code", "--diff", hostile.words["RESULT"])
    assert EVERY in found.stdout
