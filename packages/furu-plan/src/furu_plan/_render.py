"""A plan as JSON, as a tree, and as Graphviz DOT."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from furu_plan._node import PlanNode, Status

VERSION: Final = 1

_COLOURS: Final = {
    Status.DONE: "palegreen",
    Status.IN_PROGRESS: "lightskyblue",
    Status.TODO: "white",
    Status.FAILED: "lightcoral",
}


def to_json(roots: Sequence[str], nodes: Mapping[str, PlanNode]) -> dict[str, Any]:
    """The plan as JSON values."""
    counts = dict.fromkeys((status.words for status in Status), 0)
    for node in nodes.values():
        counts[node.status.words] += 1
    return {
        "version": VERSION,
        "roots": list(roots),
        "counts": counts,
        "nodes": [_node_to_json(node) for node in nodes.values()],
    }


def _node_to_json(node: PlanNode) -> dict[str, Any]:
    record: dict[str, Any] = {
        "hash": node.hash,
        "name": node.name,
        "class": f"{type(node.obj).__module__}:{node.class_name}",
        "status": node.status.words,
        "state": node.info.told.value,
        "spec_key": node.spec_key,
        "dependencies": list(node.dependencies),
    }
    if node.rerun:
        record["rerun"] = True
    if node.holder is not None:
        record["holder"] = str(node.holder)
    if node.failure is not None:
        failure = node.failure
        record["failure"] = {
            "kind": failure.kind.value,
            "error_type": failure.error_type,
            "message": failure.message,
            "log": None if failure.log is None else str(failure.log),
        }
    return record


def to_tree(
    roots: Sequence[str], nodes: Mapping[str, PlanNode], *, max_depth: int, max_lines: int
) -> str:
    """The plan as an indented tree."""
    lines: list[str] = []
    drawn: set[str] = set()
    # Frames of (children still to draw, their indent). A list instead of recursion: chains are deep.
    stack: list[tuple[Iterator[str], str]] = [(iter(roots), "")]
    ahead: list[str | None] = [_next(stack[0][0])]
    while stack:
        children, indent = stack[-1]
        node_hash = ahead[-1]
        if node_hash is None:
            stack.pop()
            ahead.pop()
            continue
        if len(lines) >= max_lines:
            lines.append(f"... {len(nodes) - len(drawn)} more nodes")
            break
        ahead[-1] = _next(children)
        last = ahead[-1] is None
        node = nodes[node_hash]
        branch = "" if len(stack) == 1 else indent + ("└── " if last else "├── ")
        below = "" if len(stack) == 1 else indent + ("    " if last else "│   ")
        if node_hash in drawn:
            more = " (above)" if node.dependencies else ""
            lines.append(f"{branch}{_line(node)}{more}")
            continue
        drawn.add(node_hash)
        if node.dependencies and len(stack) > max_depth:
            lines.append(f"{branch}{_line(node)} ... (deeper ones are not drawn)")
            continue
        lines.append(f"{branch}{_line(node)}")
        if node.dependencies:
            stack.append((iter(node.dependencies), below))
            ahead.append(_next(stack[-1][0]))
    return "\n".join(lines)


def _next(hashes: Iterator[str]) -> str | None:
    return next(hashes, None)


def _line(node: PlanNode) -> str:
    text = f"{node.name} {node.status.words}"
    if node.status is Status.IN_PROGRESS and node.holder is not None:
        text += f" ({node.holder})"
    elif node.failure is not None:
        text += f" (last time: {node.failure.reason})"
    elif node.rerun:
        text += " (again)"
    return text


def to_dot(roots: Sequence[str], nodes: Mapping[str, PlanNode]) -> str:
    """The plan in Graphviz' DOT language."""
    tops = set(roots)
    lines = ["digraph plan {", "  rankdir=LR;", "  node [shape=box, style=filled];"]
    for node in nodes.values():
        label = _quote(f"{node.name}\n{node.status.words}")
        edge = ", penwidth=2" if node.hash in tops else ""
        lines.append(f'  "{node.hash}" [label={label}, fillcolor={_COLOURS[node.status]}{edge}];')
    for node in nodes.values():
        lines += [f'  "{node_hash}" -> "{node.hash}";' for node_hash in node.dependencies]
    lines.append("}")
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
