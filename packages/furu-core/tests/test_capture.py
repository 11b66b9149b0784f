"""Whatever a node prints or logs ends up in its own log, by whichever way it is written.

The scripts run in processes of their own, so that descriptors 1 and 2 are real.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import pty
import shlex
import subprocess
import sys
import textwrap
import threading
import tracemalloc
from pathlib import Path

import pytest
from logged import node_log

from furu_core._output import _capture

NODES = str(Path(__file__).parent / "nodes")
PRELUDE = (
    f"NODES = {NODES!r}"
    """
import atexit, logging, multiprocessing, os, subprocess, sys, threading
sys.path.insert(0, NODES)
from logged import node_log
"""
)


def run(
    folder: Path, body: str, *, shell: str = "", check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a script in `folder`, optionally with shell redirections after its command."""
    script = folder / "script.py"
    script.write_text(PRELUDE + textwrap.dedent(body))
    return subprocess.run(
        ["sh", "-c", f"exec {shlex.quote(sys.executable)} {shlex.quote(str(script))} {shell}"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        capture_output=True,
        text=True,
        check=check,
        timeout=200,
    )


NATIVE = """
def work(name):
    print(name, "print")
    print(name, "print to stderr", file=sys.stderr)
    os.write(1, f"{name} native\\n".encode())
    os.write(2, f"{name} native stderr\\n".encode())
    subprocess.run(["echo", name, "child"])
    logging.getLogger("exp").info("%s record", name)
"""
KINDS = ["print", "print to stderr", "native", "native stderr", "child"]


def test_prints_native_output_children_and_records_go_to_the_log_and_nowhere_else(
    tmp_path: Path,
) -> None:
    done = run(
        tmp_path,
        NATIVE
        + """
print("before")
with node_log("a.log", echo=False):
    work("A")
print("after")
""",
    )
    log = (tmp_path / "a.log").read_text()
    for kind in KINDS:
        assert f"A {kind}\n" in log
    assert "INFO exp: A record\n" in log
    assert done.stdout == "before\nafter\n"
    assert done.stderr == ""


def test_with_echo_the_console_shows_the_same_output(tmp_path: Path) -> None:
    done = run(tmp_path, NATIVE + 'with node_log("a.log", echo=True):\n    work("A")\nprint("end")')
    log = (tmp_path / "a.log").read_text()
    for kind in KINDS:
        assert log.count(f"A {kind}\n") == 1
        assert (done.stdout + done.stderr).count(f"A {kind}\n") == 1
    assert done.stdout == "A print\nend\n"  # nothing native: a stdout that leads to a file is data
    assert "record" in log
    assert "record" not in done.stderr  # Python shows no INFO records unless it is asked to


def test_on_a_terminal_echoed_output_keeps_its_order(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        PRELUDE
        + textwrap.dedent("""
        print("before")
        with node_log("a.log", echo=True):
            for i in range(20):
                print("python", i)
                os.write(1, b"native %d\\n" % i)
        print("after")
        """)
    )
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(script)], cwd=tmp_path, stdout=follower, stderr=follower
    )
    os.close(follower)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end is closed
        while chunk := os.read(leader, 4096):
            shown += chunk
    os.close(leader)
    assert process.wait(200) == 0
    lines = shown.decode().split("\r\n")[:-1]
    inner = [line for i in range(20) for line in (f"python {i}", f"native {i}")]
    assert lines == ["before", *inner, "after"]
    assert (tmp_path / "a.log").read_text().splitlines() == inner


def test_echoed_native_output_is_shown_while_the_node_still_runs(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        PRELUDE
        + 'with node_log("a.log", echo=True):\n    os.write(1, b"soon\\n"); sys.stdin.readline()\n'
    )
    with subprocess.Popen(
        [sys.executable, str(script)],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        assert process.stderr.readline() == b"soon\n"  # the node waits for what follows here
        process.stdin.write(b"go on\n")
        process.stdin.close()
        assert process.wait(200) == 0


def test_the_output_of_a_nested_node_goes_to_its_own_log(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        NATIVE
        + """
for echo in (False, True):
    with node_log(f"a{echo}.log", echo=echo):
        work("A1")
        with node_log(f"b{echo}.log", echo=echo):
            work("B")
        work("A2")
""",
    )
    for echo in (False, True):
        outer, inner = ((tmp_path / f"{name}{echo}.log").read_text() for name in "ab")
        assert inner.count("B ") == 6
        assert "B " not in outer
        assert "A" not in inner
        assert outer.count("A1 ") == outer.count("A2 ") == 6
    assert (done.stdout + done.stderr).count("B ") == 5


def test_inside_a_node_without_echo_no_nested_node_echoes(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        with node_log("a.log", echo=False):
            with node_log("b.log", echo=True):
                print("B")
        """,
    )
    assert done.stdout == done.stderr == ""
    assert (tmp_path / "b.log").read_text() == "B\n"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_child_processes_write_to_the_log_of_the_node_that_starts_them_and_to_no_other(
    tmp_path: Path, method: str
) -> None:
    """P1: a fork server keeps the output of the node that started it, whose log is published."""
    done = run(
        tmp_path,
        f"""
        def child(name):
            print("from the child of", name)
            os.write(1, b"natively of %s\\n" % name.encode())
            logging.getLogger("exp").info("a record of %s", name)

        def start(name):
            context = multiprocessing.get_context("{method}")
            process = context.Process(target=child, args=(name,))
            process.start(); process.join()
            assert process.exitcode == 0

        if __name__ == "__main__":
            for name in ("quiet", "echoed"):
                with node_log(f"{{name}}.log", echo=name == "echoed"):
                    start(name)
            start("nobody")
        """,
    )
    console = done.stdout + done.stderr
    logs = [(tmp_path / f"{name}.log").read_text() for name in ("quiet", "echoed")]
    for name, log in zip(("quiet", "echoed", "nobody"), (*logs, console), strict=True):
        for said in (f"from the child of {name}\n", f"natively of {name}\n"):
            assert log.count(said) == 1
            assert "".join(logs).count(said) == (name != "nobody")
            assert console.count(said) == (name != "quiet")
        assert log.count(f"INFO exp: a record of {name}\n") == (name != "nobody")


def test_a_child_that_sets_up_logging_itself_has_its_way(tmp_path: Path) -> None:
    child = "import furu_core._output._capture, logging; logging.basicConfig(format='mine: %(message)s')"
    run(
        tmp_path,
        f"""
        code = "{child}; logging.warning('hello')"
        with node_log("a.log", echo=False):
            subprocess.run([sys.executable, "-c", code], check=True)
        assert "FURU_EXEC_LOG" not in os.environ
        """,
    )
    assert (tmp_path / "a.log").read_text() == "mine: hello\n"


def test_threads_of_the_node_write_to_the_log(tmp_path: Path) -> None:
    run(
        tmp_path,
        NATIVE
        + """
with node_log("a.log", echo=False):
    threads = [threading.Thread(target=work, args=(f"T{i}",)) for i in range(4)]
    [t.start() for t in threads]; [t.join() for t in threads]
""",
    )
    log = (tmp_path / "a.log").read_text()
    for i in range(4):
        assert log.count(f"T{i}") == 6  # threads may print between the words of another's line


BARS = [
    (b"plain\n\nlines\n", b"plain\n\nlines\n"),
    (b"a line of Windows\r\n", b"a line of Windows\n"),
    (b"before\n" + b"".join(b"\r%4d of 200" % n for n in range(201)) + b"\nafter\n", b"before\n 200 of 200\nafter\n"),
    (b"".join(b"%4d of 200\r" % n for n in range(201)), b" 200 of 200\r"),
    (b"\r50 %\r100 %\r        \rdone\n", b"done\n"),
    (b"10 %\r20 %\r\r\nError: \xff\r\xfe\n\r\r\nend", b"20 %\n\xfe\n\nend"),
    (b"first\n1\r2", b"first\n2"),
]  # fmt: skip


@pytest.mark.parametrize("chunk", [1, 2, 7, 1 << 20])
@pytest.mark.parametrize(("written", "kept"), BARS)
def test_of_a_line_that_was_written_over_the_last_state_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: bytes, kept: bytes, chunk: int
) -> None:
    monkeypatch.setattr(_capture, "_CHUNK", chunk)
    path = tmp_path / "a.log"
    for echo in (False, True):
        with node_log(path, echo=echo, scope="thread") as log, open(log.path, "ab") as native:
            native.write(b"an earlier line\n")
            native.write(written)
            native.flush()
        assert path.read_bytes() == b"an earlier line\n" + kept


def test_of_a_line_without_end_no_more_is_held_than_a_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each chunk was searched with all of the line before it: 100 MB took 20 s, 1 GB half an hour."""
    monkeypatch.setattr(_capture, "_CHUNK", 1 << 12)
    path = tmp_path / "a.log"
    line = b"x" * (1 << 20) + b"\r" + b"y" * (1 << 18)
    try:
        with node_log(path, echo=False, scope="thread") as log:
            Path(log.path).write_bytes(line)
            tracemalloc.start()
        assert tracemalloc.get_traced_memory()[1] < 1 << 16
    finally:
        tracemalloc.stop()
    assert path.read_bytes() == b"y" * (1 << 18)


def test_a_child_that_outlives_a_progress_bar_goes_on_writing_below_it(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    with node_log(path, echo=False, scope="thread") as log:
        child = subprocess.Popen(
            ["sh", "-c", f"exec >> {shlex.quote(log.path)}; echo ready; read x; echo; echo late"],
            stdin=subprocess.PIPE,
            text=True,
        )
        while "ready" not in Path(log.path).read_text():
            assert child.poll() is None
        for number in range(101):
            print(f"\r{number} %", end="")
    child.communicate("on\n", timeout=200)
    assert path.read_bytes() == b"ready\n100 %\nlate\n"


def test_a_grandchild_that_outlives_the_node_disturbs_nobody(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        os.mkfifo("go")
        with node_log("a.log", echo=True) as log:
            grandchild = subprocess.Popen(["sh", "-c", "echo early; read x < go; echo late"])
            atexit.register(grandchild.kill)  # also where something below fails
            while b"early" not in open(log.path, "rb").read(): pass
        os.rename("a.log", "published.log")
        with node_log("b.log", echo=False):
            with open("go", "w") as go: go.write("on\\n")
            assert grandchild.wait() == 0  # neither SIGPIPE nor a full pipe
        """,
    )
    assert (tmp_path / "published.log").read_text() == "early\nlate\n"
    assert not (tmp_path / "b.log").exists()
    assert "late" not in done.stdout + done.stderr


@pytest.mark.parametrize("shell", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "| true"])
def test_a_closed_or_broken_console_fails_no_node(tmp_path: Path, shell: str) -> None:
    body = """
    for echo in (False, True):
        with node_log(f"a-{echo}.log", echo=echo):
            for i in range(2000): print("line", i)
        with node_log(f"b-{echo}.log", echo=echo):
            print("again"); print("on stderr", file=sys.stderr)
    open("reached", "w").close()
    """
    run(tmp_path, body, shell=shell, check=False)
    assert (tmp_path / "reached").exists()
    for echo in (False, True):
        assert (tmp_path / f"a-{echo}.log").read_text().count("line") == 2000
        assert (tmp_path / f"b-{echo}.log").read_text() == "again\non stderr\n"


def test_a_descriptor_that_is_not_standard_output_is_left_alone(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        fd = os.open("data", os.O_WRONLY | os.O_CREAT)
        assert fd == 1  # as happens to daemons
        with node_log("a.log", echo=False):
            print("a print")
            os.write(1, b"data")
        """,
        shell=">&-",
    )
    assert (tmp_path / "data").read_text() == "data"
    assert (tmp_path / "a.log").read_text() == "a print\n"


def test_prints_survive_a_kill_of_the_process(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        with node_log("a.log", echo=False):
            print("last words")
            os.kill(os.getpid(), 9)
        """,
        check=False,
    )
    assert done.returncode == -9
    (output,) = (tmp_path / "output").iterdir()
    assert output.read_text() == "last words\n"


def test_a_library_that_logs_through_its_own_stream_handler_is_logged_once(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        logging.basicConfig(level=logging.INFO, format="mine: %(message)s")
        for echo in (False, True):
            with node_log(f"{echo}.log", echo=echo):
                logging.info("hello %s", echo)
        """,
    )
    for echo in (False, True):
        assert (tmp_path / f"{echo}.log").read_text() == f"mine: hello {echo}\n"
    assert done.stderr == "mine: hello True\n"


def test_a_warning_is_shown_as_python_shows_it_without_configuration(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        with node_log("a.log", echo=True):
            logging.warning("look here")
        assert not logging.getLogger().handlers
        assert logging.getLogger().level == logging.WARNING
        """,
    )
    assert "WARNING root: look here" in done.stderr
    assert (tmp_path / "a.log").read_text().count("look here") == 1


def test_two_nodes_in_two_threads_of_one_process_do_not_mix_their_prints(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        barrier = threading.Barrier(2)

        def node(name, scope):
            with node_log(f"{name}.log", echo=False, scope=scope):
                barrier.wait()
                for i in range(50): print(name, i)
                logging.getLogger("exp").info("record of %s", name)
                thread = threading.Thread(target=print, args=(name, "in a thread"))
                thread.start(); thread.join()
                barrier.wait()

        for scope in ("thread", "process"):
            threads = [threading.Thread(target=node, args=(n + scope, scope)) for n in "AB"]
            [t.start() for t in threads]; [t.join() for t in threads]
        print("end")
        """,
    )
    names = [f"{name}{scope}" for name in "AB" for scope in ("thread", "process")]
    for name in names:
        log = (tmp_path / f"{name}.log").read_text()
        assert log.count(f"{name} ") == 51
        assert f"record of {name}" in log
        assert not any(other in log for other in names if other != name)
    assert done.stdout == "end\n"


class NotebookStream(io.StringIO):
    """A stream that leads to no descriptor, as in a notebook."""

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


@pytest.mark.parametrize("echo", [False, True])
def test_streams_without_a_descriptor_are_captured_and_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, echo: bool
) -> None:
    out, err = NotebookStream(), NotebookStream()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with node_log(tmp_path / "a.log", echo=echo):
        print("to stdout")
        print("to stderr", file=sys.stderr)
    assert sys.stdout is out
    assert sys.stderr is err
    assert (tmp_path / "a.log").read_text() == "to stdout\nto stderr\n"
    assert out.getvalue() == ("to stdout\n" if echo else "")
    assert err.getvalue() == ("to stderr\n" if echo else "")


def test_it_works_below_the_capture_of_pytest(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with node_log(tmp_path / "a.log", echo=False):
        print("a print")
        os.write(1, b"native\n")
        logging.getLogger("exp").warning("a record")
    print("outside")
    log = (tmp_path / "a.log").read_text()
    assert "a print\n" in log
    assert "native\n" in log
    assert "a record" in log
    assert capfd.readouterr().out == "outside\n"
    assert "a record" in caplog.text


def test_a_node_may_replace_stdout_itself(tmp_path: Path) -> None:
    mine = io.StringIO()
    with node_log(tmp_path / "a.log", echo=False):
        with contextlib.redirect_stdout(mine):
            print("kept")
            with node_log(tmp_path / "b.log", echo=False):
                print("inner")
            print("kept too")
        print("logged")
    assert mine.getvalue() == "kept\nkept too\n"
    assert (tmp_path / "a.log").read_text() == "logged\n"
    assert (tmp_path / "b.log").read_text() == "inner\n"


def test_a_thread_that_outlives_its_node_prints_to_where_it_would_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go = threading.Event()
    with node_log(tmp_path / "a.log", echo=False, scope="thread"):
        thread = threading.Thread(target=lambda: (go.wait(120), print("late")))
        thread.start()
    go.set()
    thread.join(120)
    assert not (tmp_path / "a.log").exists()
    assert capsys.readouterr().out == "late\n"


def test_a_node_that_raises_gives_everything_back(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        # By itself: what earlier tests left behind may close or open descriptors at any time.
        def descriptors():
            return os.listdir("/proc/self/fd")

        with node_log("warm.log", echo=True):  # from then on a spool stays open
            pass
        before = (sys.stdout, sys.stderr, os.fstat(1), os.fstat(2), descriptors())
        try:
            with node_log("a.log", echo=True):
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
        assert (sys.stdout, sys.stderr) == before[:2]
        assert os.fstat(1).st_ino == before[2].st_ino
        assert os.fstat(2).st_ino == before[3].st_ino
        assert descriptors() == before[4], (descriptors(), before[4])
        """,
    )


def test_a_log_that_cannot_be_opened_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    before = (sys.stdout, os.fstat(1).st_ino)
    (tmp_path / "no").touch()
    with pytest.raises(NotADirectoryError), node_log(tmp_path / "no" / "a.log", echo=True):
        pass
    assert (sys.stdout, os.fstat(1).st_ino) == before


def test_capturing_opens_no_log_and_neither_sleeps_nor_starts_a_process(tmp_path: Path) -> None:
    """It is a small part of a short node; told by what it does, since a busy disk takes its time."""
    run(
        tmp_path,
        """
        events = []
        mine = threading.get_ident()

        def hook(event, args):
            if threading.get_ident() == mine and counting:
                events.append(event)

        counting = False
        sys.addaudithook(hook)
        for echo in (False, True):
            events.clear()
            with node_log("warm.log", echo=echo):
                pass
            before = threading.active_count()
            counting = True
            for number in range(100):
                with node_log(f"{number}.log", echo=echo):
                    pass
            counting = False
            assert threading.active_count() <= before, threading.enumerate()
            often = {event: events.count(event) for event in events}
            assert often == {
                "fcntl.fcntl": 200,  # where descriptors 1 and 2 led
                "os.putenv": 100,  # for child processes
                "os.unsetenv": 100,
            }
        """,
    )


KEEPS = """
from furu_core import use_settings
from furu_core._output import _capture, _spool

def node(name, body):
    with use_settings(path=os.getcwd()):
        spool = _spool.take()
        try:
            with _capture.node_log(spool, name + ".log", echo=False):
                body()
        finally:
            _spool.give_back(spool.name)
    return spool

def says(text):
    def body():
        print(text)
        os.write(2, b"native " + text.encode() + b"\\n")
        logging.getLogger("app").info("logged %s", text)
    return body
"""


def test_a_worker_that_keeps_its_descriptors_gives_each_node_its_own_log_and_lets_go_again(
    tmp_path: Path,
) -> None:
    done = run(
        tmp_path,
        KEEPS
        + """
_capture.keep_between_nodes()
first = node("a", says("one"))
assert os.path.samestat(os.fstat(1), os.fstat(first.fd)), "it stays with the spool"
node("silent", lambda: None)
node("b", says("two"))
_capture.let_go()
print("between")
logging.getLogger("app").info("nobody hears this")
_capture.keep_between_nodes()
node("c", says("three"))
_capture.let_go()
assert not logging.getLogger().handlers
print("after")
""",
    )
    assert done.stdout == "between\nafter\n"
    assert done.stderr == ""
    for name, text in (("a", "one"), ("b", "two"), ("c", "three")):
        log = (tmp_path / f"{name}.log").read_text()
        assert log.startswith(f"{text}\nnative {text}\n")
        assert log.endswith(f"logged {text}\n")
    assert not (tmp_path / "silent.log").exists()


def test_p1_nothing_printed_between_nodes_goes_to_the_log_of_one_that_has_ended(
    tmp_path: Path,
) -> None:
    done = run(
        tmp_path,
        KEEPS
        + """
_capture.keep_between_nodes()
node("large", lambda: print("x" * 200_000))  # its file is renamed, not copied
print("between")
node("b", says("two"))
_capture.let_go()
""",
    )
    assert (tmp_path / "large.log").read_text() == "x" * 200_000 + "\n"
    assert done.stdout == "between\n"
    assert "between" not in (tmp_path / "b.log").read_text()
