"""The specs of a run, by spec key."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import furu_core
from furu_core.executors import OptionKind
from furu_plan import PlanNode
from furu_slurm._settings import SPECS, VARIABLE
from furu_slurm._spec import SlurmSpec, spec_from
from furu_slurm.errors import FuruSpecError

DEFAULT: Final = "default"
_SHOWN: Final = 3  # names of nodes in one message

Specs = Mapping[str, SlurmSpec]
GivenSpecs = Mapping[str, SlurmSpec | Mapping[str, Any]]

#: Of the option `specs` of an executor, whose values are `GivenSpecs`.
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
    """See that there is a spec for each node, before anything is submitted.

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
