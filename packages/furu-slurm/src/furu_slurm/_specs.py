"""What jobs ask of Slurm: a spec, and the specs of a run, by spec key."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

import furu_core
from furu_core.executors import OptionKind, did_you_mean
from furu_plan import PlanNode
from furu_slurm._settings import SPECS, VARIABLE
from furu_slurm.errors import FuruSpecError

DEFAULT: Final = "default"
_SHOWN: Final = 3  # names of nodes in one message

# The options of sbatch that fields of a spec set, each with the field.
_FIELDS: Final = {
    "partition": "partition",
    "cpus_per_task": "cpus",
    "mem": "mem_gb",
    "time": "time_min",
    "setup": "setup",
}
# The options that furu itself sets, each with the reason or what to do instead.
_OWNED: Final = {
    "job_name": "furu finds jobs by their names",
    "array": "furu makes arrays by itself",
    "map_count": "furu makes arrays by itself",
    "output": "set FURU_SUBMITIT_PATH for another folder of logs",
    "error": "set FURU_SUBMITIT_PATH for another folder of logs",
    "open_mode": "furu appends to logs, so that those of earlier starts stay",
    "chdir": "jobs start in the folder where they were submitted",
    "requeue": "furu counts retries: see FURU_MAX_LOST_RETRIES",
    "no_requeue": "furu counts retries: see FURU_MAX_LOST_RETRIES",
    "signal": "say signal_delay_s for the seconds before the walltime ends",
    "kill_on_invalid_dep": "furu always has it on",
    "parsable": "furu reads what sbatch prints",
    "wait": "furu waits by itself",
    "test_only": "nothing would be submitted",
    "wrap": "furu writes the script",
}
_TASKS: Final = ("ntasks_per_node", "ntasks")


def _extra(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """A copy of the user's parameters, by submitit's names."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise FuruSpecError(
            f"extra is {given!r}, expected a dict of submitit's parameters",
            hint='for instance {"qos": "long"}',
        )
    extra: dict[str, Any] = {}
    for key, value in given.items():
        if not isinstance(key, str):
            raise FuruSpecError(
                f"extra has the key {key!r}, expected a name", hint='for instance {"qos": "long"}'
            )
        extra[key.removeprefix("slurm_")] = copy.deepcopy(value)
    return extra


def _setup(given: Sequence[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    if isinstance(given, str) or not all(isinstance(line, str) for line in given):
        raise FuruSpecError(
            f"setup is {given!r}, expected a list of shell commands",
            hint='for instance ("module load cuda",)',
        )
    return tuple(given)


@attrs.frozen(kw_only=True)
class SlurmSpec:
    """What a job asks of Slurm: one node of the cluster, one task on it.

    Attributes:
        partition: None leaves it to Slurm, or to `SBATCH_PARTITION`.
        gpus: number of GPUs. For a certain model write ``extra={"gpus_per_node": "a100:2"}``.
        cpus: number of processors.
        mem_gb: memory in GB; 0 stands for all that a node has, None leaves it to Slurm.
        time_min: walltime in minutes.
        extra: any other parameter of submitit's `SlurmExecutor`, such as ``qos``, ``account`` or
            ``constraint``; options that it has no name for go into ``additional_parameters``. A
            ``dependency`` applies in addition to those that furu makes. ``use_srun`` is off unless
            it is set here: without it the job's processes belong to its batch step, and start also
            while Slurm's controller is away.
        setup: shell commands that run before Python starts.

    Raises:
        FuruSpecError: a value makes no sense, `extra` sets an option that a field sets, or the job
            would have more than one task and so compute a node more than once.

    Example:
        >>> from furu_slurm import SlurmSpec
        >>> SlurmSpec(partition="gpu", gpus=1, time_min=24 * 60, extra={"qos": "long"})
        SlurmSpec(partition='gpu', gpus=1, cpus=4, mem_gb=16, time_min=1440, extra={'qos': 'long'}, setup=())
    """

    partition: str | None = None
    gpus: int = 0
    cpus: int = 4
    mem_gb: float | None = 16
    time_min: float = 60
    extra: Mapping[str, Any] = attrs.field(factory=dict, converter=_extra)
    setup: tuple[str, ...] = attrs.field(default=(), converter=_setup)

    def __attrs_post_init__(self) -> None:
        partition: Any = self.partition
        if partition is not None and not (isinstance(partition, str) and partition.strip()):
            raise _bad("partition", partition, "a name, or None")
        _check_number("gpus", self.gpus, 0, whole=True)
        _check_number("cpus", self.cpus, 1, whole=True)
        if self.mem_gb is not None:
            _check_number("mem_gb", self.mem_gb, 0)
        _check_number("time_min", self.time_min, 1)
        if any("\n" in line for line in self.setup):
            raise _bad("setup", self.setup, "one command in each line")
        if self.extra:
            _check_extra(self)


def spec_from(given: SlurmSpec | Mapping[str, Any], key: str) -> SlurmSpec:
    """A spec from a `SlurmSpec` or from a table of its fields.

    Raises:
        FuruSpecError: as `SlurmSpec`; it names the spec key.
    """
    if isinstance(given, SlurmSpec):
        return given
    if not isinstance(given, Mapping):
        raise FuruSpecError(
            f"the spec {key!r} is {given!r}, expected a SlurmSpec",
            hint="write SlurmSpec(partition=..., gpus=...)",
        )
    known = [field.name for field in attrs.fields(SlurmSpec)]
    for name in given:
        if name not in known:
            raise FuruSpecError(
                f"the spec {key!r} has no field {name!r}{did_you_mean(str(name), known)}",
                hint=f"fields are {', '.join(known)}; other parameters of submitit go into extra",
            )
    try:
        return SlurmSpec(**given)
    except FuruSpecError as error:
        raise FuruSpecError(f"the spec {key!r}: {error.message}", hint=error.hint) from None


# The specs of a run


Specs = Mapping[str, SlurmSpec]
GivenSpecs = Mapping[str, SlurmSpec | Mapping[str, Any]]

#: The kind of the option `specs` of an executor, whose values are `GivenSpecs`.
SPECS_KIND: Final = OptionKind('JSON such as {"default": {"partition": "cpu"}}')


def configured_specs() -> dict[str, SlurmSpec]:
    """The specs in ``[tool.furu.slurm.specs.<key>]`` of the project's `pyproject.toml`.

    Raises:
        FuruSpecError: one of them makes no sense.
    """
    tables = json.loads(furu_core.settings().extra.get(VARIABLE, "{}")).get(SPECS, {})
    return {key: spec_from(table, key) for key, table in tables.items()}


def resolve_specs(specs: GivenSpecs | None) -> dict[str, SlurmSpec]:
    """The specs of a run: those that are given, and for other keys those that are configured.

    Args:
        specs: spec key to its spec, or to a dict of the spec's fields.

    Raises:
        FuruSpecError: one of them makes no sense, or there is none for ``"default"``.

    Example:
        >>> from furu_slurm import SlurmSpec, resolve_specs
        >>> resolve_specs({"default": SlurmSpec(), "gpu": {"gpus": 1}})["gpu"].gpus
        1
    """
    if specs is not None and not isinstance(specs, Mapping):
        raise FuruSpecError(
            f"specs are {specs!r}, expected a dict of SlurmSpecs by spec key",
            hint='write {"default": SlurmSpec(...)}',
        )
    given = {key: spec_from(spec, key) for key, spec in (specs or {}).items()}
    resolved = {**configured_specs(), **given}
    if DEFAULT not in resolved:
        known = ", ".join(map(repr, sorted(resolved))) or "none"
        raise FuruSpecError(
            f"there is no spec for {DEFAULT!r}; specs given or configured: {known}",
            hint=f'write {{"{DEFAULT}": SlurmSpec(...)}}, or [tool.furu.slurm.specs.{DEFAULT}] in '
            "pyproject.toml",
        )
    return resolved


def check_spec_keys(specs: Specs, nodes: Iterable[PlanNode]) -> None:
    """Check that there is a spec for each node, before anything is submitted.

    Args:
        specs: spec key to its spec.
        nodes: what is to be computed.

    Raises:
        FuruSpecError: it names the keys without a spec, and the nodes that need them.
    """
    missing: dict[str, list[PlanNode]] = {}
    for node in nodes:
        if node.spec_key not in specs:
            missing.setdefault(node.spec_key, []).append(node)
    if not missing:
        return
    parts = []
    for key, needing in sorted(missing.items()):
        names = ", ".join(node.name for node in needing[:_SHOWN])
        more = f" and {len(needing) - _SHOWN} more" if len(needing) > _SHOWN else ""
        parts.append(f"{key!r} (needed by {names}{more})")
    raise FuruSpecError(
        f"there is no spec for {', '.join(parts)}; there are specs for "
        f"{', '.join(map(repr, sorted(specs)))}",
        hint="add a SlurmSpec for each, or mend _executor_spec_key of these classes",
    )


# Checks


def _check_number(name: str, value: Any, least: int, *, whole: bool = False) -> None:
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value < math.inf:
        kind = "a whole number" if whole else "a number"
        raise _bad(name, value, f"{kind} from {least} on")


def _bad(name: str, value: Any, expected: str) -> FuruSpecError:
    return FuruSpecError(f"{name} is {value!r}, expected {expected}", hint="correct the spec")


def _check_extra(spec: SlurmSpec) -> None:
    # Imported here, because submitit takes a while to import, and most specs have no `extra`.
    from furu_slurm._submitit import SBATCH_NAMES, known_parameters

    known = {*known_parameters(), *SBATCH_NAMES}
    nested = spec.extra.get("additional_parameters") or {}
    if not isinstance(nested, Mapping):
        raise _bad("extra['additional_parameters']", nested, "a dict of options of sbatch")
    for name in spec.extra:
        if name not in known and name not in _OWNED:
            raise FuruSpecError(
                f"extra has {name!r}, which is no parameter of submitit"
                f"{did_you_mean(name, sorted(known))}",
                hint="options of sbatch that submitit has no name for go into "
                "extra={'additional_parameters': {...}}",
            )
    for where, table in (("extra", spec.extra), ("additional_parameters", nested)):
        for name, value in table.items():
            option = SBATCH_NAMES.get(name, name).replace("-", "_")
            _check_one(where, option, name, value)
    if spec.gpus and "gpus_per_node" in spec.extra:
        raise FuruSpecError(
            f"{spec.extra['gpus_per_node']!r} GPUs are asked for in extra, {spec.gpus} in gpus",
            hint="leave gpus out",
        )
    nodes = _number(spec.extra.get("nodes", nested.get("nodes")))
    if spec.extra.get("use_srun") and nodes > 1:
        raise FuruSpecError(
            "with use_srun on several cluster nodes the job would compute its node on each of them",
            hint="leave use_srun out, and call srun in the node's own code",
        )


def _check_one(where: str, option: str, name: str, value: Any) -> None:
    if option in _FIELDS:
        raise FuruSpecError(
            f"{where} has {name!r}", hint=f"say {_FIELDS[option]}={value!r} of the spec instead"
        )
    if option in _OWNED:
        raise FuruSpecError(
            f"{where} has {name!r}, which is not for specs to say",
            hint=f"leave it out: {_OWNED[option]}",
        )
    if option in _TASKS and _number(value) != 1:
        raise FuruSpecError(
            f"{where} has {name}={value!r}, but a job computes one node in one task, and with more "
            "it would compute it more than once",
            hint="leave it out; ask for more with cpus, or call srun in the node's own code",
        )


def _number(value: Any) -> float:
    """The number in a value; a value that is no number counts as many."""
    try:
        return 1 if value is None else int(value)
    except (TypeError, ValueError):
        return math.inf
