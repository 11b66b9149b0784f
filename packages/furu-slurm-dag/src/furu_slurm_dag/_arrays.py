"""Which nodes share an array of jobs, and what their jobs wait for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import attrs

from furu_plan import PlanNode

# sbatch gets the dependencies as one argument, which Linux limits to 128 KB; Slurm was seen to accept
# half of that.
LONGEST: Final = 60_000


@attrs.frozen
class Group:
    """Nodes that may share an array: of one class and spec key, with the same dependencies.

    Attributes:
        nodes: in the order of the plan.
        waits_for: hashes of the dependencies that are not done, in the order of the fields.
    """

    nodes: tuple[PlanNode, ...]
    waits_for: tuple[str, ...]


def grouped(nodes: Iterable[PlanNode], pending: Collection[str]) -> list[Group]:
    """Nodes in groups, each after the groups of the nodes that it waits for.

    Nodes that wait for the same others cannot wait for each other, not even indirectly; so the first
    node of a group comes after all nodes that its group waits for.

    Args:
        nodes: the nodes to be submitted, dependencies first.
        pending: hashes of nodes that are not done yet.
    """
    groups: dict[tuple[type, str, frozenset[str]], list[PlanNode]] = {}
    for node in nodes:
        waits_for = frozenset(one for one in node.dependencies if one in pending)
        groups.setdefault((type(node.obj), node.spec_key, waits_for), []).append(node)
    return [
        Group(tuple(members), tuple(one for one in members[0].dependencies if one in waits_for))
        for (_, _, waits_for), members in groups.items()
    ]


def afterok(job_ids: Sequence[str], sizes: Mapping[str, int]) -> str:
    """The dependency on the success of jobs, in sbatch's format; empty for no jobs.

    Args:
        job_ids: the jobs.
        sizes: how many elements arrays have, by the array's number. An array all of whose elements
            are meant is named as one.

    Example:
        >>> afterok(["12", "13_0", "13_1", "14_1"], {"13": 2, "14": 2})
        'afterok:12:13:14_1'
    """
    elements: dict[str, dict[str, None]] = {}
    for job_id in job_ids:
        elements.setdefault(job_id.partition("_")[0], {})[job_id] = None
    names: list[str] = []
    for number, members in elements.items():
        names += [number] if len(members) == sizes.get(number) else members
    return f"afterok:{':'.join(names)}" if names else ""
