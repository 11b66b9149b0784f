"""How jobs stand: one squeue for many, sacct for what it forgot, and no answer is no information."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import attrs
import pytest
from fake_slurm import FakeSlurm

from furu_core.executors import Liveness, Submission
from furu_slurm import (
    ANY_RESTART,
    JobInfo,
    JobState,
    LocalCluster,
    SlurmCluster,
    liveness,
    reasons,
    reasons_text,
)
from furu_slurm._commands import Reply
from furu_slurm._job_names import job_name, token_of
from furu_slurm._squeue import Queue, parse_sacct, parse_squeue

LISTING = """\
CLUSTER: big
12_3|PENDING|2|0|Dependency|Train(3fa9c1).k3v9x0|
12_4|RUNNING|0|0|None|Train(3fa9c1).k3v9x0|
13|FAILED|0|768|NonZeroExitCode|odd | name.tok|
14|FAILED|0|9|(null)|x.y|
15|OUT_OF_MEMORY|0|0:125|OutOfMemory|x.y|
16|A_NEW_STATE|0|0|None|x.y|
slurm_load_jobs: something else
"""


def dag(submission_id: str, restarts: int = 0) -> Submission:
    return Submission("slurm-dag", submission_id, restarts)


def test_listings_are_read_and_what_is_no_job_is_passed_over() -> None:
    infos = {info.job_id: info for info in parse_squeue(LISTING)}
    assert list(infos) == ["12_3", "12_4", "13", "14", "15", "16"]
    assert infos["12_3"] == JobInfo(
        "12_3", "Train(3fa9c1).k3v9x0", JobState.PENDING, 2, "Dependency", None
    )
    assert infos["12_3"].token == "k3v9x0"
    assert (infos["13"].name, infos["13"].exit_code) == ("odd | name.tok", 3)
    assert infos["14"].exit_code == 128 + 9
    assert infos["15"].state.ended
    assert infos["16"].state is JobState.UNKNOWN
    assert infos["16"].state.live


def test_the_accounting_is_read_with_the_reason_for_a_state() -> None:
    text = "12_[3-9]|PENDING|0:0|x.y\n12_1|CANCELLED by 1000|0:15|x.y\n7|FAILED|3:0|a|b.tok\n"
    infos = {info.job_id: info for info in parse_sacct(text)}
    assert list(infos) == ["12_1", "7"]
    assert infos["12_1"].state is JobState.CANCELLED
    assert (infos["7"].exit_code, infos["7"].token) == (3, "tok")


@pytest.mark.parametrize("state", JobState)
def test_every_state_is_live_or_ended(state: JobState) -> None:
    assert state.live != state.ended
    assert not (state.waiting and state.ended)
    assert JobState.parse(state.value) is state


def pending(*why: str) -> list[JobInfo]:
    lines = [f"{number}|PENDING|0|0|{reason}|x.y|" for number, reason in enumerate(why)]
    return list(parse_squeue("\n".join(lines)))


def test_p6_a_job_that_can_never_run_is_told_from_one_that_waits_for_what_may_come() -> None:
    never = ["PartitionConfig", "InvalidQOS", "AssocMaxWallDurationPerJobLimit"]
    never += ["AssocMaxCpuPerJobLimit", "AssocMaxGRESPerJob", "QOSMaxWallDurationPerJobLimit"]
    never += ["QOSMaxCpuPerNode", "QOSMinCpuNotSatisfied"]
    assert [info.reason for info in pending(*never) if not info.unschedulable] == []
    # Others end, somebody lets it go, a node or partition comes back.
    later = ["Priority", "Resources", "AssocGrpCpuLimit", "QOSMaxCpuPerUserLimit", "JobHeldUser"]
    later += ["PartitionDown", "Reservation", "ReqNodeNotAvail, UnavailableNodes:n1", "None"]
    assert [info.reason for info in pending(*later) if info.unschedulable] == []


def test_p6_why_jobs_wait_is_said_in_slurms_words_the_most_frequent_first() -> None:
    infos = pending(*3 * ["Dependency"], *2 * ["Resources"], "JobHeldUser", "None", "a", "b")
    text = reasons_text(reasons(infos))
    assert text == "Resources (2), JobHeldUser (1), a (1), ..."
    assert reasons_text(reasons(infos[:4])) == "Resources (1), Dependency (3)"
    assert reasons_text(reasons([attrs.evolve(infos[5], state=JobState.RUNNING)])) == ""


def test_a_job_that_slurm_has_set_aside_is_told_from_one_that_somebody_holds() -> None:
    reasons = ["launch failed requeued held", "JobHoldMaxRequeue", "JobHeldUser", "JobHeldAdmin"]
    lines = [f"{n}|PENDING|0|0|{why}|x.y|" for n, why in enumerate(reasons)]
    dropped = [info.dropped for info in parse_squeue("\n".join(lines))]
    assert dropped == [True, True, False, False]


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time passes between two looks, however slow the machine is."""
    monkeypatch.setattr("furu_slurm._squeue.time", FrozenTime())


class FrozenTime:
    """Stands for the module `time` where only one of its clocks is read."""

    def monotonic(self) -> float:
        return 1000.0


def test_one_look_serves_everybody_for_a_while(fake: FakeSlurm, moment: None) -> None:
    fake.queue("5|RUNNING|0|0|None|a.tok|")
    cluster, other = SlurmCluster(), SlurmCluster()
    for _ in range(10):
        assert cluster.jobs().job("5") == other.jobs().job("5")
    assert len(fake.calls("squeue")) == 1


def test_who_wants_a_fresh_look_gets_one(fake: FakeSlurm) -> None:
    cluster = SlurmCluster()
    cluster.jobs()
    cluster.jobs(fresh=True)
    assert len(fake.calls("squeue")) == 2


def test_threads_that_ask_at_once_share_a_look(fake: FakeSlurm, moment: None) -> None:
    queue = Queue()
    threads = [threading.Thread(target=queue.look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fake.calls("squeue")) == 1


def test_a_slow_squeue_is_asked_less_often(fake: FakeSlurm) -> None:
    fake.command("squeue", "sleep 0.3")
    queue = Queue(interval=0.0)
    for _ in range(5):
        queue.look()
    assert len(fake.calls("squeue")) <= 2  # one more where the machine stalls


@pytest.mark.parametrize(("status", "longest"), [(0, 20.0), (1, 9.0)])
def test_p6_a_controller_that_was_away_is_asked_again_soon(
    monkeypatch: pytest.MonkeyPatch, status: int, longest: float
) -> None:
    now = [100.0]
    asked: list[float] = []

    def call(*_: object, **__: object) -> Reply:
        asked.append(now[0])
        now[0] += 9.0  # squeue tried to reach it for that long
        return Reply(status, "", "connect failure", 9.0)

    monkeypatch.setattr("furu_slurm._squeue.call", call)
    monkeypatch.setattr("furu_slurm._squeue.time.monotonic", lambda: now[0])
    queue = Queue()
    while len(asked) < 2:
        queue.look()
        now[0] += 0.5
    assert asked[1] - asked[0] - 9.0 <= longest + 0.5


def test_after_a_submission_the_last_look_is_forgotten(fake: FakeSlurm, tmp_path: Path) -> None:
    from furu_slurm import JobPayload, SlurmSpec

    cluster = SlurmCluster()
    cluster.jobs()
    fake.command(
        "sbatch", "echo 'Submitted batch job 5'; echo '5|PENDING|0|0|a|b.c|' > $FAKE/queue"
    )
    (job_id,) = cluster.submit(
        spec=SlurmSpec(),
        token="tok",
        name="x",
        folder=tmp_path,
        payload=JobPayload("a:b", tmp_path, [None]),
    )
    assert cluster.jobs().job(job_id) is not None


@pytest.mark.parametrize(
    "body", ["echo broken >&2; exit 1", "exec sleep 30", "exit 127"], ids=["fails", "hangs", "dies"]
)
def test_no_answer_is_no_information_and_never_gone_P5(body: str, fake: FakeSlurm) -> None:
    fake.command("squeue", body)
    snapshot = Queue().look(["5"], timeout=0.5)
    assert not snapshot.known
    assert snapshot.problem
    if "sleep" not in body:
        assert liveness([dag("5")]) == {dag("5"): Liveness.UNKNOWN}


def test_without_slurms_commands_nothing_is_known(fake: FakeSlurm) -> None:
    fake.remove("squeue")
    assert liveness([dag("5")]) == {dag("5"): Liveness.UNKNOWN}


def test_the_end_of_jobs_that_squeue_forgot_is_asked_once_for_whole_arrays(fake: FakeSlurm) -> None:
    fake.queue("9|RUNNING|0|0|None|a.tok|")
    fake.command(
        "sacct", "for i in 0 1 2; do echo \"7_$i|TIMEOUT|0:15|a.t\"; done; echo '8|RUNNING|0:0|b'"
    )
    queue = Queue(interval=0.0)
    for _ in range(3):
        snapshot = queue.look(["7_0", "7_1", "7_2", "9"])
        assert [snapshot.job(f"7_{i}").state for i in range(3)] == [JobState.TIMEOUT] * 3  # type: ignore[union-attr]
    assert [call.split()[-1] for call in fake.calls("sacct")] == ["--jobs=7"]
    assert queue.look(["8"]).gone("8")  # the accounting is late: the controller knows better


def test_elements_of_one_array_that_are_asked_for_one_by_one_are_one_question(
    fake: FakeSlurm,
) -> None:
    """As a run does that waits for nodes which another user's jobs compute."""
    fake.command("sacct", 'for i in 0 1 2; do echo "7_$i|RUNNING|0:0|a.t"; done')
    record = RECORD.format(7, "ArrayJobId=7 ArrayTaskId=0-2 ", "RUNNING", "None", 0, "0:0")
    fake.command("scontrol", f'echo "{record}"')
    queue = Queue(interval=60.0)
    for index in range(3):
        assert not queue.look([f"7_{index}"]).gone(f"7_{index}")
    assert [len(fake.calls(name)) for name in ("squeue", "sacct", "scontrol")] == [1, 1, 1]


def test_a_cluster_without_accounting_is_not_asked_again_and_again(fake: FakeSlurm) -> None:
    queue = Queue(interval=0.0)
    for number in range(5):
        snapshot = queue.look([str(number)])
        assert snapshot.known
        assert snapshot.gone(str(number))
    assert len(fake.calls("sacct")) == 1


def test_all_questions_are_asked_in_plain_english_whatever_the_user_configured(
    fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQUEUE_FORMAT", "%i")
    monkeypatch.setenv("SQUEUE_STATES", "RUNNING")
    monkeypatch.setenv("SBATCH_CLUSTERS", "big")
    monkeypatch.setenv("SLURM_JOB_ID", "3")
    SlurmCluster().jobs()
    seen = fake.environment("squeue")
    assert not {"SQUEUE_FORMAT", "SQUEUE_STATES", "SLURM_JOB_ID"} & seen.keys()
    assert (seen["SLURM_CLUSTERS"], seen["LC_ALL"]) == ("big", "C")


def test_many_jobs_are_judged_by_one_look(fake: FakeSlurm) -> None:
    fake.queue(
        *(f"12_{i}|RUNNING|0|0|None|Train.aaa|" for i in range(500)), "13|PENDING|1|0|None|x.bbb|"
    )
    submissions = [dag(f"12_{i}") for i in range(500)]
    assert set(liveness(submissions).values()) == {Liveness.ALIVE}
    assert len(fake.calls("squeue")) == 1
    assert not fake.calls("scontrol")


def test_liveness_knows_job_ids_and_restarts(fake: FakeSlurm) -> None:
    fake.queue(
        "12_0|RUNNING|0|0|None|Train.aaa|",
        "12_1|COMPLETED|0|0|None|Train.aaa|",
        "13|PENDING|1|0|BeginTime|x.bbb|",
        "14|COMPLETING|0|0|None|x.ccc|",
        "15|A_NEW_STATE|0|0|None|x.ddd|",
    )
    expected = {
        dag("12_0"): Liveness.ALIVE,
        dag("12_1"): Liveness.GONE,
        dag("12_2"): Liveness.GONE,
        dag("r1/aaa:0"): Liveness.UNKNOWN,  # no id of a job
        dag("13", 1): Liveness.ALIVE,
        dag("13", 0): Liveness.GONE,  # that start is over: the job was put back into the queue
        dag("13", ANY_RESTART): Liveness.ALIVE,
        dag("14"): Liveness.ALIVE,
        dag("15"): Liveness.UNKNOWN,
    }
    assert liveness(list(expected)) == expected


RECORD = (
    "JobId={} {}JobName=odd name UserId=ann(7) GroupId=x(1) QOS=normal JobState={} Reason={} "
    "Dependency=(null) Requeue=1 Restarts={} BatchFlag=1 Reboot=0 ExitCode={} RunTime=00:00:00 "
)


def test_p4_of_a_job_that_squeue_does_not_show_the_controllers_word_about_its_id_counts(
    fake: FakeSlurm,
) -> None:
    """Its listing may come from a cache, or another user's job is not in it."""
    jobs = {
        "5": RECORD.format(5, "", "RUNNING", "None", 1, "0:0"),
        "6": RECORD.format(6, "", "FAILED", "NonZeroExitCode", 0, "3:0"),
        "7": "\n".join(
            [
                RECORD.format(7, "ArrayJobId=7 ArrayTaskId=3-8:5,9%4 ", "PENDING", "x_y", 0, "0:0"),
                RECORD.format(8, "ArrayJobId=7 ArrayTaskId=0 ", "RUNNING", "None", 0, "0:0"),
            ]
        ),
    }
    cases = " ".join(f'*"show job {job}") echo "{text}"; exit 0;;' for job, text in jobs.items())
    fake.command("scontrol", f'case "$*" in {cases} esac; {fake.NO_JOB}')
    expected = {
        dag("5", 1): Liveness.ALIVE,
        dag("5", 0): Liveness.GONE,
        dag("6"): Liveness.GONE,
        dag("7_0"): Liveness.ALIVE,
        dag("7_1"): Liveness.GONE,  # its array goes on without it
        dag("7_8"): Liveness.ALIVE,
        dag("7_9"): Liveness.ALIVE,
        dag("9"): Liveness.GONE,
    }
    assert liveness(list(expected)) == expected
    assert liveness(list(expected)) == expected
    assert len(fake.calls("scontrol")) == 4  # each number once, for a while
    snapshot = SlurmCluster().jobs(["6", "7_3"])
    failed, waits = snapshot.job("6"), snapshot.job("7_3")
    assert failed == JobInfo("6", "odd name", JobState.FAILED, 0, "NonZeroExitCode", 3)
    assert waits == JobInfo("7_3", "odd name", JobState.PENDING, 0, "x y")


CONFIG = "*'show config') echo 'ClusterName             = alpha'; echo 'PrivateData = {}'; exit 0;;"


def test_p4_a_job_is_asked_for_on_the_cluster_that_took_it_and_on_no_other(fake: FakeSlurm) -> None:
    """Two clusters on one filesystem have jobs of the same numbers."""
    fake.command("scontrol", f'case "$*" in {CONFIG.format("none")} esac; {fake.NO_JOB}')
    fake.queue("5|RUNNING|0|0|None|a.aaa|", "6|FAILED|0|256|None|b.bbb|")
    user = os.getuid()
    expected = {
        dag(f"5@alpha:{user}"): Liveness.ALIVE,
        dag(f"6@alpha:{user}"): Liveness.GONE,
        dag(f"7@alpha:{user}"): Liveness.GONE,
        dag(f"5@beta:{user}"): Liveness.UNKNOWN,
        dag(f"6@beta:{user}"): Liveness.UNKNOWN,
        dag(f"7@beta:{user}"): Liveness.UNKNOWN,
    }
    assert liveness(list(expected)) == expected
    assert fake.calls("scontrol") == ["show config", "--oneliner --all show job 7"]
    cluster = SlurmCluster()
    assert cluster.home() == f"alpha:{user}"
    wanted = [f"6@alpha:{user}", f"6@beta:{user}", "local-7-1-abc"]
    there = cluster.jobs(wanted)
    assert [info.elsewhere for info in map(there.job, wanted) if info] == [False, True, True]
    assert [there.gone(one) for one in wanted] == [True, False, False]
    assert not LocalCluster().jobs(["6"]).gone("6")
    cluster.cancel(["5", *wanted])
    assert fake.calls("scancel") == ["--quiet 5 6"]


@pytest.mark.parametrize("hidden", ["none", "accounts,jobs"])
def test_p4_that_another_users_job_is_none_counts_where_users_are_shown_each_others(
    hidden: str, fake: FakeSlurm
) -> None:
    fake.command("scontrol", f'case "$*" in {CONFIG.format(hidden)} esac; {fake.NO_JOB}')
    own, other = (dag(f"7@alpha:{os.getuid() + one}") for one in range(2))
    assert liveness([own, other]) == {
        own: Liveness.GONE,
        other: Liveness.GONE if hidden == "none" else Liveness.UNKNOWN,
    }


@pytest.mark.parametrize(
    "body",
    [
        "echo 'Unable to contact slurm controller' >&2; exit 1",
        "exit 127",
        "echo 'in words of a Slurm to come'",
    ],
)
def test_p4_a_job_that_nobody_says_anything_about_is_not_gone(body: str, fake: FakeSlurm) -> None:
    fake.command("scontrol", body)
    assert liveness([dag("5")]) == {dag("5"): Liveness.UNKNOWN}
    snapshot = SlurmCluster().jobs(["5"])
    assert (snapshot.known, snapshot.gone("5")) == (True, False)
    assert "scontrol" in snapshot.problem


def test_p4_an_element_that_a_list_cut_short_does_not_show_is_not_gone(fake: FakeSlurm) -> None:
    record = RECORD.format(7, "ArrayJobId=7 ArrayTaskId=1,3,... ", "PENDING", "None", 0, "0:0")
    fake.command("scontrol", f'echo "{record}"')
    assert set(liveness([dag("7_3"), dag("7_5")]).values()) == {Liveness.ALIVE, Liveness.UNKNOWN}


def test_names_of_jobs_end_in_their_token_whatever_they_are_called() -> None:
    name = job_name("A class\nwith $pecial; names" * 9, "tok")
    assert token_of(name) == "tok"
    assert len(name) < 80
    assert not set(name) & set(" \n$;|'\"%/")
    assert job_name("", "tok") == "furu.tok"


def test_processes_of_another_machine_are_not_called_gone() -> None:
    snapshot = LocalCluster().jobs(["local-5-99-00000000"])
    info = snapshot.job("local-5-99-00000000")
    assert info is not None
    assert info.state is JobState.UNKNOWN
    assert liveness([Submission("slurm-pool", "local-5-99-00000000")]) == {
        Submission("slurm-pool", "local-5-99-00000000"): Liveness.UNKNOWN
    }


def test_jobs_are_those_of_the_user(fake: FakeSlurm) -> None:
    SlurmCluster().jobs()
    assert f"--user={os.getuid()}" in fake.calls("squeue")[0]
