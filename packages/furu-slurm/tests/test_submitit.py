"""What furu takes of submitit; where a release of it breaks that, the message says which and what."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
import submitit

from furu_slurm._submitit import SBATCH_NAMES, checked, known_parameters

RELEASE = f"submitit {version('submitit')}"
# Its own, and those that furu says in another way.
HANDLED = {
    *("additional_parameters", "array_parallelism", "dependency", "num_gpus", "setup"),
    *("signal_delay_s", "srun_args", "stderr_to_stdout", "teardown", "use_srun"),
}
# Options of sbatch, which furu passes on under their names.
PASSED_ON = {
    *("account", "comment", "constraint", "cpus_per_gpu", "cpus_per_task", "exclude", "exclusive"),
    *("gpus_per_node", "gpus_per_task", "gres", "job_name", "mail_type", "mail_user", "mem"),
    *("mem_per_cpu", "mem_per_gpu", "nodelist", "nodes", "ntasks_per_node", "partition", "qos"),
    *("time", "wckey"),
}


def test_its_parameters_are_those_that_furu_knows_what_to_do_with() -> None:
    known = known_parameters()
    added, gone = known - PASSED_ON - HANDLED, (PASSED_ON | HANDLED) - known
    assert not added, f"{RELEASE} has {added}: options of sbatch, or its own?"
    assert not gone, f"{RELEASE} has no {gone} any more"


def test_its_own_names_for_options_of_sbatch_are_those_that_furu_translates() -> None:
    names = submitit.SlurmExecutor._equivalence_dict()
    other = {key: name for key, name in names.items() if key != name}
    assert {**other, "num_gpus": "gpus_per_node"} == SBATCH_NAMES, RELEASE


def test_it_takes_parameters_where_there_is_no_slurm_and_gives_them_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    given = {"partition": "gpu", "time": "1:30", "mem": "512MB", "use_srun": False}
    assert checked(given, tmp_path) == given, f"{RELEASE} changes parameters"
    assert list(tmp_path.iterdir()) == [], f"{RELEASE} makes files for its parameters"
