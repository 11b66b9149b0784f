"""Which features and which model read handwritten digits best?

The 1,797 images of scikit-learn are split into a part to choose on and a test part. Two kinds of
features, three kinds of models with several settings and three seeds are compared by
cross-validation on the first part; the best combination is then measured once, on the test part.

    furu run digits:report -j 2

Each class below is one kind of step. What a step needs stands in its fields, other steps included,
and so the last line of the module describes the whole experiment.
"""

from __future__ import annotations

import os
import shutil
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from furu_core import Furu, grid
from furu_local import run_local

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

# NumPy and scikit-learn are imported inside `_create`: where everything is loaded, nobody waits for
# them. Each node computes with one thread, since several nodes are computed at once.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


# ---- models: plain frozen dataclasses, used as values in fields ----


@dataclass(frozen=True)
class SupportVectors:
    c: float
    gamma: float

    def build(self) -> Any:
        from sklearn.svm import SVC

        return SVC(C=self.c, gamma=self.gamma)


@dataclass(frozen=True)
class Neighbours:
    k: int

    def build(self) -> Any:
        from sklearn.neighbors import KNeighborsClassifier

        return KNeighborsClassifier(n_neighbors=self.k)


@dataclass(frozen=True)
class Logistic:
    c: float

    def build(self) -> Any:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=self.c, max_iter=2000)


Model = SupportVectors | Neighbours | Logistic


# ---- data ----


class Images(NamedTuple):
    """Images (n, 8, 8) with values from 0 to 1, or features (n, m); and the digits they show (n,)."""

    x: Array
    digit: Array


class Parts(NamedTuple):
    choose: Images
    test: Images


class Digits(Furu[Images]):
    """The images that scikit-learn brings along."""

    def _create(self) -> Images:
        from sklearn.datasets import load_digits

        data = load_digits()
        return Images(data.images / 16.0, data.target)


class Split(Furu[Parts]):
    """A part to choose on, and a part that no choice may see."""

    digits: Digits
    test_share: float = 0.2
    seed: int = 0

    def _create(self) -> Parts:
        from sklearn.model_selection import train_test_split

        images = self.digits.get()
        x, x_test, digit, digit_test = train_test_split(
            images.x,
            images.digit,
            test_size=self.test_share,
            stratify=images.digit,
            random_state=self.seed,
        )
        return Parts(Images(x, digit), Images(x_test, digit_test))


# ---- features ----


class Pixels(Furu[Parts]):
    """The pixels as they are."""

    split: Split

    def _create(self) -> Parts:
        return Parts(*(Images(x.reshape(len(x), -1), digit) for x, digit in self.split.get()))


class Gradients(Furu[Parts]):
    """In which directions brightness changes, in nine overlapping quarters of the image."""

    split: Split
    directions: int = 8

    def _create(self) -> Parts:
        return Parts(*(Images(self._histograms(x), digit) for x, digit in self.split.get()))

    def _histograms(self, x: Array) -> Array:
        import numpy as np

        down, right = np.gradient(x, axis=(1, 2))
        strength = np.hypot(down, right)
        direction = np.arctan2(down, right) / (2 * np.pi) * self.directions
        lower = np.floor(direction).astype(int)
        share = direction - lower  # of the next direction; the rest is the lower one's
        maps = np.zeros((*x.shape, self.directions))
        places = tuple(np.indices(x.shape))
        maps[(*places, lower % self.directions)] += strength * (1 - share)
        maps[(*places, (lower + 1) % self.directions)] += strength * share
        quarters = [
            maps[:, row : row + 4, column : column + 4].sum(axis=(1, 2))
            for row in (0, 2, 4)
            for column in (0, 2, 4)
        ]
        histograms = np.concatenate(quarters, axis=1)
        normed: Array = histograms / np.linalg.norm(histograms, axis=1, keepdims=True)
        return normed


Features = Pixels | Gradients


# ---- choosing ----


class Validate(Furu[float]):
    """Accuracy of a model in cross-validation, within the part to choose on."""

    features: Features
    model: Model
    seed: int = 0
    folds: int = 5

    def _create(self) -> float:
        from sklearn.model_selection import StratifiedKFold, cross_val_score

        x, digit = self.features.get().choose
        folds = StratifiedKFold(self.folds, shuffle=True, random_state=self.seed)
        scores = cross_val_score(self.model.build(), x, digit, cv=folds)
        print(f"accuracy of the folds: {scores.round(4).tolist()}")
        return float(scores.mean())


class Candidate(NamedTuple):
    """A combination to choose from, and its accuracies in cross-validation, one for each seed."""

    features: Features
    model: Model
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.mean(self.accuracies)


class Ranking(Furu[list[Candidate]]):
    """All combinations, the best first."""

    trials: tuple[Validate, ...]

    def _create(self) -> list[Candidate]:
        groups: dict[tuple[Features, Model], list[float]] = {}
        for trial in self.trials:
            groups.setdefault((trial.features, trial.model), []).append(trial.get())
        found = [Candidate(*key, tuple(accuracies)) for key, accuracies in groups.items()]
        return sorted(found, key=lambda candidate: candidate.mean, reverse=True)


# ---- the final evaluation ----


@dataclass(frozen=True)
class Evaluation:
    accuracy: float
    confusion: Array  # (10, 10): how often the digit of the row was read as that of the column


class FinalTest(Furu[Evaluation]):
    """The best combination, trained on the part to choose on and measured on the test part."""

    ranking: Ranking

    def _create(self) -> Evaluation:
        from sklearn.metrics import accuracy_score, confusion_matrix

        best = self.ranking.get()[0]
        parts = best.features.get()
        model = best.model.build().fit(*parts.choose)
        read = model.predict(parts.test.x)
        return Evaluation(
            accuracy=float(accuracy_score(parts.test.digit, read)),
            confusion=confusion_matrix(parts.test.digit, read),
        )


# ---- the report ----


class ConfusionPlot(Furu[Path]):
    """Writes a file below `furu_dir` and returns its path."""

    test: FinalTest

    def _create(self) -> Path:
        import plots

        return plots.confusion(self.test.get().confusion, self.furu_dir / "confusion.png")


class AccuracyPlot(Furu[Path]):
    ranking: Ranking

    def _create(self) -> Path:
        import plots

        return plots.accuracies(self.ranking.get(), self.furu_dir / "accuracies.png")


class Report(Furu[Path]):
    """Markdown with its plots in one folder."""

    ranking: Ranking
    test: FinalTest
    plots: tuple[ConfusionPlot | AccuracyPlot, ...]

    def _create(self) -> Path:
        ranking, test = self.ranking.get(), self.test.get()
        lines = [
            "# Reading handwritten digits",
            "",
            f"Best in cross-validation: **{name_of(ranking[0])}**.",
            f"Its accuracy on the {test.confusion.sum()} test images: **{test.accuracy:.4f}**.",
            "",
            "| features and model | cross-validation | from | to |",
            "|---|---|---|---|",
        ]
        for candidate in ranking:
            lowest, highest = min(candidate.accuracies), max(candidate.accuracies)
            lines.append(
                f"| {name_of(candidate)} | {candidate.mean:.4f} | {lowest:.4f} | {highest:.4f} |"
            )
        for plot in self.plots:
            picture = shutil.copy(plot.get(), self.furu_dir)
            lines += ["", f"![{Path(picture).stem}]({Path(picture).name})"]
        path = self.furu_dir / "report.md"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path


def name_of(candidate: Candidate) -> str:
    return f"{type(candidate.features).__name__} {candidate.model}"


# ---- the experiment ----

split = Split(digits=Digits())
models: list[Model] = [
    *(SupportVectors(c=c, gamma=gamma) for c in (1.0, 10.0) for gamma in (0.1, 0.5)),
    *(Neighbours(k=k) for k in (1, 3, 5)),
    *(Logistic(c=c) for c in (1.0, 10.0)),
]
trials = grid(
    Validate, features=[Pixels(split=split), Gradients(split=split)], model=models, seed=range(3)
)
ranking = Ranking(trials=tuple(trials))
test = FinalTest(ranking=ranking)
report = Report(
    ranking=ranking,
    test=test,
    plots=(AccuracyPlot(ranking=ranking), ConfusionPlot(test=test)),
)

if __name__ == "__main__":
    run_local(report, max_workers=2)
    print(f"The report: {report.get()}")
