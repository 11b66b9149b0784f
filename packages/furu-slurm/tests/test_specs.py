"""What jobs ask for: a spec is checked when it is made, a set of them before anything is submitted."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

import furu_core
from furu_plan import build_plan
from furu_slurm import (
    SlurmSpec,
    check_spec_keys,
    configured_specs,
    node_log_folder,
    resolve_specs,
    submitit_root,
    worker_log_folder,
)
from furu_slurm._specs import spec_from
from furu_slurm.errors import FuruSlurmError, FuruSpecError
from furu_testing.nodes import Step


@pytest.mark.parametrize(
    "fields",
    [
        {"partition": ""},
        {"partition": 3},
        {"gpus": -1},
        {"gpus": 1.5},
        {"gpus": True},
        {"cpus": 0},
        {"mem_gb": -1},
        {"mem_gb": "16G"},
        {"time_min": 0},
        {"time_min": float("inf")},
        {"setup": "module load cuda"},
        {"setup": ["two\nlines"]},
        {"extra": ["qos"]},
        {"extra": {1: 2}},
        {"extra": {"additional_parameters": "qos=long"}},
    ],
)
def test_a_value_that_makes_no_sense_is_an_error_when_the_spec_is_made(fields: Any) -> None:
    with pytest.raises(FuruSpecError) as caught:
        SlurmSpec(**fields)
    assert "expected" in str(caught.value)


@pytest.mark.parametrize(
    "extra",
    [
        {"tasks_per_node": 2},
        {"ntasks_per_node": 2},
        {"slurm_ntasks_per_node": 4},
        {"additional_parameters": {"ntasks": 2}},
        {"additional_parameters": {"ntasks-per-node": "8"}},
        {"slurm_additional_parameters": {"ntasks": "many"}},
        {"use_srun": True, "nodes": 2},
    ],
)
def test_a_job_that_would_compute_its_node_more_than_once_is_refused(extra: dict[str, Any]) -> None:
    with pytest.raises(FuruSpecError, match=r"more than once|on each of them"):
        SlurmSpec(extra=extra)


@pytest.mark.parametrize(
    ("extra", "instead"),
    [
        ({"partition": "gpu"}, "partition='gpu'"),
        ({"slurm_time": 5}, "time_min=5"),
        ({"timeout_min": 5}, "time_min=5"),
        ({"mem_gb": 5}, "mem_gb=5"),
        ({"cpus_per_task": 5}, "cpus=5"),
        ({"job_name": "mine"}, "leave it out"),
        ({"name": "mine"}, "leave it out"),
        ({"additional_parameters": {"requeue": True}}, "FURU_MAX_LOST_RETRIES"),
        ({"additional_parameters": {"output": "/tmp/x"}}, "FURU_SUBMITIT_PATH"),
        ({"qso": "long"}, "did you mean 'qos'"),
        ({"gpus_per_node": 2}, "leave gpus out"),
    ],
)
def test_extra_says_nothing_that_a_field_or_furu_says(extra: dict[str, Any], instead: str) -> None:
    with pytest.raises(FuruSpecError) as caught:
        SlurmSpec(gpus=1, extra=extra)
    assert instead in str(caught.value)


def test_a_spec_does_not_change_with_the_dict_it_was_made_from() -> None:
    extra = {"slurm_additional_parameters": {"reservation": "mine"}}
    spec = SlurmSpec(extra=extra)
    extra["slurm_additional_parameters"]["reservation"] = "another"
    assert spec.extra == {"additional_parameters": {"reservation": "mine"}}
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_a_spec_for_default_is_required() -> None:
    with pytest.raises(FuruSpecError, match=r"no spec for 'default'.*configured: 'gpu'"):
        resolve_specs({"gpu": SlurmSpec()})


def test_a_bad_spec_is_named_by_its_key() -> None:
    with pytest.raises(FuruSpecError, match=r"'gpu' has no field 'gpu'; did you mean 'gpus'"):
        resolve_specs({"default": SlurmSpec(), "gpu": {"gpu": 1}})
    with pytest.raises(FuruSpecError, match=r"the spec 'gpu': cpus is 0"):
        resolve_specs({"default": SlurmSpec(), "gpu": {"cpus": 0}})
    with pytest.raises(FuruSpecError, match="expected a SlurmSpec"):
        resolve_specs({"default": 3})  # type: ignore[dict-item]


def test_specs_live_in_pyproject_and_those_given_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[tool.furu.slurm.specs.default]\ncpus = 2\n"
        '[tool.furu.slurm.specs.gpu]\ngpus = 1\nextra = { qos = "long" }\n'
    )
    monkeypatch.chdir(tmp_path)
    furu_core_settings = furu_core.settings().extra
    assert "FURU_SLURM" not in furu_core_settings  # they were read before this folder was entered
    from furu_core._settings import _settings

    read = _settings.read({}, tmp_path)
    with furu_core.use_settings(extra=read.extra):
        assert configured_specs() == {
            "default": SlurmSpec(cpus=2),
            "gpu": SlurmSpec(gpus=1, extra={"qos": "long"}),
        }
        resolved = resolve_specs({"gpu": SlurmSpec(gpus=4)})
        assert (resolved["default"].cpus, resolved["gpu"].gpus) == (2, 4)


def test_keys_without_a_spec_are_named_with_the_nodes_that_need_them(furu_store: Path) -> None:
    plan = build_plan(
        [Step(label="light"), *(Step(label=f"heavy {n}", key="big") for n in range(5))]
    )
    with pytest.raises(FuruSpecError) as caught:
        check_spec_keys({"default": SlurmSpec()}, plan.nodes.values())
    assert "'big' (needed by Step(" in str(caught.value)
    assert "and 2 more" in str(caught.value)
    check_spec_keys({"default": SlurmSpec(), "big": SlurmSpec()}, plan.nodes.values())


def test_logs_are_below_the_store_unless_configured(furu_store: Path, tmp_path: Path) -> None:
    assert submitit_root() == furu_store / "submitit"
    with furu_core.use_settings(extra={"FURU_SUBMITIT_PATH": str(tmp_path / "logs")}):
        assert submitit_root() == tmp_path / "logs"
        assert submitit_root(tmp_path / "mine") == tmp_path / "mine"
    root = submitit_root()
    assert node_log_folder(root, "gpu", "r1") == root / "nodes" / "gpu" / "r1"
    assert worker_log_folder(root, "a/b%c", "r1") == root / "workers" / "a=2Fb=25c" / "r1"
    assert node_log_folder(root, "..", "r1") == root / "nodes" / "=2E." / "r1"
    for name in ("100%", "back\\slash", "new\nline", "tab\t"):
        with pytest.raises(FuruSlurmError, match="takes no") as caught:
            submitit_root(tmp_path / name)
        assert repr(f"{tmp_path}/{name}") in caught.value.message
        assert "FURU_SUBMITIT_PATH" in caught.value.hint


def test_a_relative_folder_of_logs_counts_from_where_it_was_said(tmp_path: Path) -> None:
    from furu_core._settings import _settings

    read = _settings.read({"FURU_SUBMITIT_PATH": "logs"}, tmp_path)
    assert read.extra["FURU_SUBMITIT_PATH"] == os.fspath(tmp_path / "logs")


def test_a_spec_may_say_that_there_is_nothing_more() -> None:
    assert SlurmSpec(extra=None, setup=None) == SlurmSpec()
    assert spec_from({"extra": None}, "default") == SlurmSpec()
