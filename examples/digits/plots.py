"""The plots of the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure  # not pyplot: worker processes have no display

if TYPE_CHECKING:
    from digits import Candidate


def confusion(counts: Any, path: Path) -> Path:
    """How often each digit was read as which; counts (10, 10)."""
    figure = Figure(figsize=(5.2, 5), layout="constrained")
    axes = figure.subplots()
    wrong = counts.copy()
    wrong[range(10), range(10)] = 0  # or the diagonal would hide the errors
    axes.imshow(wrong, cmap="Reds", vmax=max(1, wrong.max()) * 2)
    for row in range(10):
        for column in range(10):
            if counts[row, column]:
                weight = "bold" if row == column else "normal"
                axes.text(column, row, counts[row, column], ha="center", va="center", weight=weight)
    axes.set(
        xticks=range(10),
        yticks=range(10),
        xlabel="read as",
        ylabel="digit",
        title=f"Test images: {wrong.sum()} of {counts.sum()} read wrong",
    )
    return _saved(figure, path)


def accuracies(candidates: list[Candidate], path: Path) -> Path:
    """One panel for each kind of model: accuracy by its settings and by the features.

    A bar goes from the lowest to the highest of the seeds, the dot is their mean.
    """
    panels: dict[str, dict[str, list[Candidate]]] = {}  # by kind of model, by setting
    for candidate in sorted(candidates, key=lambda candidate: _setting(candidate.model)):
        kind = type(candidate.model).__name__
        panels.setdefault(kind, {}).setdefault(_label(candidate.model), []).append(candidate)
    widths = [len(settings) for settings in panels.values()]
    figure = Figure(figsize=(1.1 * sum(widths), 4), layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharey=True, width_ratios=widths)
    for axes, (kind, settings) in zip(all_axes, panels.items(), strict=True):
        for shift, color, features in (
            (-0.08, "tab:blue", "Pixels"),
            (0.08, "tab:orange", "Gradients"),
        ):
            for place, group in enumerate(settings.values()):
                (found,) = [c for c in group if type(c.features).__name__ == features]
                bar = [[found.mean - min(found.accuracies)], [max(found.accuracies) - found.mean]]
                label = features if place == 0 else None
                axes.errorbar(
                    place + shift, found.mean, bar, fmt="o", capsize=3, color=color, label=label
                )
        axes.set(title=kind, xlim=(-0.5, len(settings) - 0.5))
        axes.set_xticks(range(len(settings)), list(settings))
        axes.grid(axis="y", alpha=0.3)
    all_axes[0].set_ylabel("accuracy in cross-validation")
    all_axes[-1].legend(loc="lower right")
    return _saved(figure, path)


def _setting(model: Any) -> tuple[str, tuple[float, ...]]:
    return type(model).__name__, tuple(vars(model).values())


def _label(model: Any) -> str:
    return "\n".join(f"{name}={value:g}" for name, value in vars(model).items())


def _saved(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=120)
    return path
