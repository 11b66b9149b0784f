"""`furu failures` ends in what to type next, and `furu rm --failed` forgets what failed."""

from __future__ import annotations

from typing import Any

FAILING = """
    from exp.train import Split
    from furu_core import Furu

    class Odd(Furu[int]):
        data: Split = Split()
        n: int
        def _create(self) -> int:
            if self.n % 2:
                raise ValueError(f"{self.n} is odd")
            return self.n

    numbers = [Odd(n=n) for n in range(4)]
"""


def hashes(project: Any) -> list[str]:
    return [node["hash"] for group in project.json("failures") for node in group["nodes"]]


def test_failures_end_in_the_command_that_tries_again_and_the_one_that_forgets(
    project: Any,
) -> None:
    project.write("odd.py", FAILING)
    project.shell("furu run --executor inline odd:numbers")
    (group,) = project.json("failures")
    (run,) = project.json("runs")
    assert group["runs"] == [run["run"]]
    short = [node["hash"][:12] for node in group["nodes"]]
    assert group["forget"] == f"furu rm --failed {' '.join(short)}"
    *_, again, forget = project.furu("failures").out.splitlines()
    told, _, command = again.partition(": ")
    assert told == "try again, computing only what is not there"
    assert command.endswith("run --executor inline odd:numbers")
    assert forget == f"forget that they failed, with their logs and checkpoints: {group['forget']}"
    off = project.furu("failures", FURU_RETRY_FAILED="0").out
    assert "not there (with FURU_RETRY_FAILED=1): " in off


def test_a_question_that_no_failure_can_answer_is_an_error_and_no_empty_answer(
    project: Any,
) -> None:
    project.write("odd.py", FAILING)
    project.furu("run", "--executor", "inline", "odd:numbers")
    assert project.json("failures", "--where", "n=1")[0]["nodes"][0]["config"]["n"] == 1
    assert project.json("failures", "--where", "result>0") == [], "others have a result"
    for command in ("failures", "du"):
        refused = project.furu(command, "--where", "m=1")
        assert (refused.status, refused.out) == (2, "")
        assert "no node has a column 'm'" in refused.err
    refused = project.furu("failures", "--state", "done")
    assert refused.status == 2
    assert "what is done has not failed" in refused.err


def test_failures_of_no_run_are_tried_again_when_they_are_needed(project: Any) -> None:
    project.write("odd.py", FAILING)
    project.python(
        "from odd import *\nfor one in numbers[1::2]:\n  try: one.get()\n  except Exception: pass"
    )
    lines = project.furu("failures", "Odd").out.splitlines()
    assert lines[-2] == "tried again by the next get() or run that needs them"


def test_rm_failed_takes_what_failed_and_nothing_else(project: Any) -> None:
    project.write("odd.py", FAILING)
    project.furu("run", "--executor", "inline", "odd:numbers")
    before = project.furu("ls", "--state", "done").out
    failed = hashes(project)
    assert len(failed) == 2
    kept = failed.pop()
    said = project.furu("rm", "--failed", "--yes", failed[0], "Split")
    assert (said.status, said.out.count("removed Odd(")) == (0, 1)
    assert hashes(project) == [kept]
    assert [one["hash"] for one in project.json("rm", "--failed", "--yes")] == [kept]
    assert project.furu("ls", "--state", "done").out == before
    assert project.furu("failures").out == "nothing has failed\n"
    assert "there is nothing to remove" in project.furu("rm", "--failed").err
    refused = project.furu("rm", "--failed", "--stale")
    assert (refused.status, "--failed chooses what has no result" in refused.err) == (2, True)
    assert project.furu("rm", "--undo").status == 0
    assert hashes(project) == [kept]
