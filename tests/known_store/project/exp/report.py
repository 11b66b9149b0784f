"""What is told in the end."""

from exp.train import Train, models, one
from furu_core import Furu


class Report(Furu[float]):
    models: list[Train]

    def _create(self) -> float:
        return max(model.get()["accuracy"] for model in self.models)


def study(seed: int = 0) -> Report:
    return Report(models=models(seed=seed))


def risky() -> list[Report]:
    return [
        Report(models=[one(model, lr) for model in ("linear", "tree", "net") for lr in (2.0, 4.0)]),
        Report(models=[one("huge"), one("linear")]),
    ]
