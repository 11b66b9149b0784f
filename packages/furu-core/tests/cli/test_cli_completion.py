"""Completion in the shell: what is offered, in the words of each shell, and that nothing else happens."""

from __future__ import annotations

import json
import os
import pty
import select
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import COMMAND

STUDY = '''
    """A study."""
    from __future__ import annotations
    import enum
    import missing_module_that_would_not_be_found
    from dataclasses import dataclass
    from pathlib import Path
    from typing import Literal, Optional
    import furu_core
    from exp.base import *
    from .base import Base as Basis

    open("imported.txt", "w").write("somebody imported it")

    @dataclass(frozen=True)
    class Opt:
        lr: float = 0.1
        nesterov: bool = False

    class Fit(Basis):
        """Fits it."""
        opt: Opt = Opt()
        size: Optional[Size] = None
        how: Literal["fast", "exact"] = "fast"  # what matters

    class Other(furu_core.Furu[int]):
        fit: "Fit"

    class Plain:
        x: int = 0

    _hidden = Fit()
    fits = [Fit(seed=seed) for seed in range(3)]
    best = Fit(seed=1)
    number = 3
    here = Path(".")

    def sweep(n: int, *, size: Size = None):
        """Some fits."""

    async def no_target():
        """None."""
'''

BASE = """
    import enum
    from furu_core import Furu

    class Size(enum.Enum):
        SMALL = 1
        LARGE = 2

    class Base(Furu[int]):
        seed: int = 0
"""


def offered(project: Any, line: str, shell: str = "bash", **environ: str) -> list[str]:
    """What a shell is offered at the end of a line."""
    said = project.furu(
        _FURU_COMPLETE=f"{shell}_complete",
        COMP_LINE=line,
        COMP_POINT=str(len(os.fsencode(line))),
        COMP_WORDBREAKS=" \t\n\"'@><=;|&(:",
        **environ,
    )
    assert said.err == ""
    lines: list[str] = said.out.splitlines()
    return lines


@pytest.fixture
def study(project: Any) -> Any:
    """A project with modules that nobody may import."""
    project.write("exp/study.py", STUDY)
    project.write("exp/base.py", BASE)
    return project


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("furu run ", ["open", "=exp."]),
        ("furu run ex", ["open", "=exp."]),
        ("furu run exp.", ["open", "=exp.base:", "=exp.study:", "=exp.train:"]),
        ("furu run exp/s", ["open", "=exp/study.py:"]),
        ("furu run exp.study:", ["=Fit", "=Other", "=fits", "=best", "=sweep"]),
        ("furu plan exp/study.py:s", ["=sweep"]),
        ("furu why exp.base:", ["=Base"]),
        ("furu run exp.study:Fit --set ", ["open", "=seed=", "=opt.", "=size=", "=how="]),
        ("furu run exp.study:Fit --set=opt.", ["open", "=opt.lr=", "=opt.nesterov="]),
        ("furu run exp.study:Fit --set opt.nesterov=t", ["=true"]),
        ("furu run exp.study:Fit --set size=", ["=SMALL", "=LARGE", "=none"]),
        ("furu run exp.study:Fit --set size=SMALL,", ["=SMALL,LARGE", "=SMALL,none"]),
        ("furu why exp.study:best --set how=f", ["=fast"]),
        ("furu run exp.study:sweep --set ", ["open", "=n=", "=size="]),
        ("furu run exp.study:Other --set fit.", ["open", *(f"=fit.{n}" for n in ("seed=", "opt.", "size=", "how="))]),
        ("furu run 'exp.study:F", ["=exp.study:Fit"]),
        ("furu run exp.study:Fit --set nothing=", []),
        ("furu run nowhere:", []),
        ("furu run exp.study:Fit --exe", ["=--executor"]),
        ("furu comp", ["=completion"]),
        ("furu hel", ["=hello"]),
        ("furu ls --state f", ["=failed"]),
        ("furu completion ", ["=bash", "=fish", "=zsh"]),
    ],
)  # fmt: skip
def test_targets_and_fields_are_read_from_the_text_of_modules(
    study: Any, line: str, expected: list[str]
) -> None:
    assert offered(study, line) == expected
    assert not (study.folder / "imported.txt").exists()


def test_hashes_classes_runs_and_columns_are_those_of_the_store(project: Any) -> None:
    report = project.json("run", "--executor", "inline", "exp.train:several")
    record = project.store / "runs" / report["run"] / "run.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "tags": {"sweep": "lr"}}))
    hashes = [root["hash"] for root in report["roots"]]
    split = next(
        name for name in os.listdir(project.store / "data/exp/train/Split") if len(name) == 32
    )
    every = sorted(f"={one[:12]}" for one in [*hashes, split])
    assert offered(project, "furu show ") == ["=Split", *every]
    assert offered(project, f"furu log {split[:5]}") == [f"={split[:12]}"]
    assert offered(project, f"furu rm {split[:14]}") == [f"={split}"]
    assert offered(project, "furu show zz") == []
    assert offered(project, "furu table ") == [
        "open",
        f"={report['run']}",
        "=Split",
        "=Train",
        "=run:",
    ]
    assert offered(project, "furu verify exp.train:T") == ["=Train"]
    assert offered(project, "furu ls run:2") == [f"={report['run']}"]
    assert offered(project, "furu status ") == [f"={report['run']}"]
    assert offered(project, "furu run exp.train:one --rerun S") == ["=Split"]
    assert offered(project, "furu table Split --where s") == [
        "open", "=seed=", "=state=", "=size=", "=started=", "=spec_key=",
    ]  # fmt: skip
    assert offered(project, "furu table Train --columns lr,data.") == ["=lr,data.seed"]
    assert offered(project, "furu table Train --sort -data.") == ["=-data.seed"]
    assert offered(project, "furu ls --sort -to") == ["=-took"]
    assert offered(project, "furu ls --sort=-to") == ["=-took"]
    assert offered(project, "furu ls --cou") == ["=--count"], "it is no order"
    assert offered(project, "furu runs --sort -fail") == ["=-failed"]
    assert offered(project, "furu runs --tag sweep=") == ["=lr"]
    assert offered(project, "furu runs --tag sweep=l") == ["=lr"], "bash breaks words at ="
    assert offered(project, "furu runs --where exec") == ["open", "=executor="]
    assert offered(project, "furu run exp.train:one --executor inl") == ["=inline"]
    with_help = offered(project, f"furu show {split[:5]}", "zsh")
    assert with_help == [f"closed\t{split[:12]}\texp.train:Split"]
    (told,) = offered(project, "furu status 2", "fish")
    assert told.partition("\t")[0] == report["run"]
    assert told.partition("\t")[2]  # the command that began it


def test_values_of_options_are_those_that_were_given_or_that_there_are(project: Any) -> None:
    tags = ("--tag", "sweep=lr", "--tag", "who=me and you", "--tag", "evil=a\x1b[2J\nb")
    project.furu("run", "exp.train:one", *tags)
    project.furu("run", "exp.train:one", "--tag", "sweep=seed")
    for command in ("runs", "run exp.train:one"):
        offers = {"open", "=sweep=", "=who=", "=evil="}
        assert set(offered(project, f"furu {command} --tag ")) == offers
        assert offered(project, f"furu {command} --tag sw") == ["open", "=sweep="]
        assert set(offered(project, f"furu {command} --tag sweep=")) == {"=seed", "=lr"}
        assert offered(project, f"furu {command} --tag=sweep=l") == ["=lr"]
        assert offered(project, f"furu {command} --tag who=m") == [r"=me\ and\ you"]
        assert offered(project, f"furu {command} --tag evil=") == []
        assert offered(project, f"furu {command} --tag no=") == []
    options = offered(project, "furu run exp.train:one -o ")
    assert {"open", "=max_workers=", "=worker="} <= set(options)
    assert offered(project, "furu run exp.train:one -o worker=t") == ["=thread"]
    assert offered(project, "furu run exp.train:one -o keep_going=") == ["=1", "=0"]
    assert offered(project, "furu run exp.train:one -o nothing=") == []
    assert offered(project, "furu run exp.train:one --executor gone -o ") == []
    assert "=detach=" not in options
    pool = offered(project, "furu run exp.train:one --executor slurm-pool -o det")
    assert pool == ["open", "=detach="]
    (told,) = offered(project, "furu run exp.train:one -o wor", "zsh")
    assert told.split("\t") == ["open", "worker=", "what computes nodes"]
    assert offered(project, "furu run exp.train:one --window ") == ["=dfs", "=bfs"]
    assert offered(project, "furu export Train -o ") == ["files"]
    assert offered(project, "furu import ") == ["files"]


def test_attempts_and_fields_of_a_class_that_is_gone_are_those_of_its_records(project: Any) -> None:
    project.furu("run", "exp.train:broken", FURU_MAX_COMPUTE_RETRIES="0")
    project.furu("run", "exp.train:broken", FURU_MAX_COMPUTE_RETRIES="0")
    project.furu("run", "exp.train:one")
    assert offered(project, "furu log Broken --attempt ") == ["=1", "=2"]
    assert offered(project, "furu log Nothing --attempt ") == []
    fields = ["=data=", "=lr=", "=note=", "=kind=", "=layers="]
    project.write("exp/new.py", BASE + "\n    class New(Furu[int]):\n        rate: float = 0.1\n")
    line = "furu adopt Train exp.new:New"
    assert sorted(offered(project, f"{line} --drop ")) == sorted(["open", *fields])
    assert offered(project, f"{line} --map l") == ["open", "=lr=", "=layers="]
    assert offered(project, f"{line} --map lr=") == ["=rate"]
    assert offered(project, f"{line} --set ") == ["open", "=rate="]


def test_what_is_wrong_while_somebody_types_is_no_word_on_the_screen(project: Any) -> None:
    for line in (
        "furu show ",
        "furu ls run:",
        "furu table --where ",
        "furu status ",
        "furu gc ",
        "furu runs --tag ",
    ):
        offered(project, line)  # there is no store
        offered(project, line, FURU_LEASE_SECS="soon")
    assert not project.store.exists()
    run = project.store / "runs" / "20261128-153300-000000"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{")
    damaged = project.store / "data" / "exp" / "train" / "Split" / ("a" * 32)
    damaged.mkdir(parents=True)
    (project.store / "data" / "a file").write_text("")
    assert offered(project, "furu status 2") == [f"={run.name}"]
    assert offered(project, "furu runs --tag ") == []
    assert offered(project, "furu show a") == [f"={'a' * 12}"]
    assert "=seed=" not in offered(project, "furu table --where ")
    project.write("bad.py", "def f(:")
    assert offered(project, "furu run bad:") == []
    assert offered(project, "furu no-such-command x ") != ["open"]
    assert offered(project, "furu broken-one ") == []
    assert offered(project, "furu run 'x:\udcff") == []
    for instruction in ("csh_complete", "bash", "bash_nothing"):
        said = project.furu(_FURU_COMPLETE=instruction)
        assert (said.status, said.out, said.err) == (1, "", "")


def test_modules_in_src_are_named_without_it_where_they_can_be_imported_so(project: Any) -> None:
    project.write("src/package/study.py", BASE)
    assert offered(project, "furu run ") == ["open", "=exp.", "=src/"]
    assert offered(project, "furu run src/package/study.py:B") == ["=Base"]
    path = str(project.folder / "src")
    assert "=package.study:" in offered(project, "furu run package.", PYTHONPATH=path)


def test_a_class_that_imports_itself_in_a_circle_ends(project: Any) -> None:
    project.write("one.py", "from two import Thing\nclass A(Thing): ...\n")
    project.write("two.py", "from one import Thing\nfrom one import *\n")
    assert offered(project, "furu run one:") == []
    assert offered(project, "furu run two:Thing --set ") == []


def test_the_script_is_printed_and_installed(project: Any, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_DATA_HOME": "", "XDG_CONFIG_HOME": ""}
    places = {
        "bash": ".local/share/bash-completion/completions/furu",
        "zsh": ".zfunc/_furu",
        "fish": ".config/fish/completions/furu.fish",
    }
    for shell, place in places.items():
        printed = project.furu("completion", shell)
        said = project.furu("completion", shell, "--install", **home)
        assert said.status == 0
        assert said.out.splitlines()[0] == f"wrote {tmp_path / place}"
        assert (tmp_path / place).read_text() == printed.out
    refused = project.furu("completion", "bash", "--install", XDG_DATA_HOME="/proc")
    assert refused.status == 2
    assert (
        "hint: have the shell read it when it starts: source <(furu completion bash)" in refused.err
    )


@pytest.fixture
def typed(project: Any, tmp_path: Path) -> dict[str, str]:
    """The environment of a shell in which ``furu`` is the command."""
    program = tmp_path / "bin" / "furu"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -c '{COMMAND}' \"$@\"\n")
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    return {**project.env, "PATH": path, "TERM": "dumb", "HOME": str(tmp_path)}


def read_until(terminal: int, mark: bytes) -> bytes:
    """What a terminal shows until a mark is there."""
    shown = b""
    deadline = time.monotonic() + 60
    while mark not in shown:
        assert time.monotonic() < deadline, shown
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 4096)
    return shown


@pytest.mark.parametrize(
    ("shell", "set_up"),
    [
        ("bash --norc --noprofile -i", "bind 'set enable-bracketed-paste off'"),
        ("zsh -f -i", "autoload -Uz compinit; compinit -u -D"),
    ],
)
def test_a_word_is_completed_in_a_real_shell(
    project: Any, typed: dict[str, str], shell: str, set_up: str
) -> None:
    name, *options = shell.split()
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [name, *options], cwd=project.folder, env=typed,
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        start = f"PS1='> '; {set_up}; source <(furu completion {name}); echo rea''dy\n"
        os.write(ours, start.encode())
        read_until(ours, b"ready\r\n")
        os.write(ours, b"furu run exp.train:Tr\t")
        read_until(ours, b"exp.train:Train ")
        os.write(ours, b"--set kind=L\t")
        read_until(ours, b"kind=LARGE ")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_fish_completes(project: Any, typed: dict[str, str]) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    line = "furu run exp.train:Train --set kind="
    done = subprocess.run(
        ["fish", "-N", "-c", f"furu completion fish | source; complete -C {shlex.quote(line)}"],
        cwd=project.folder, env=typed, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["kind=SMALL", "kind=LARGE"], done.stderr
