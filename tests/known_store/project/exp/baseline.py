"""What models have to be better than."""

from exp.data import Split, split
from furu_core import Furu


class Baseline(Furu[float]):
    data: Split

    def _create(self) -> float:
        data = self.data.get()
        return sum(data["test"]) / len(data["test"])


def baselines() -> list[Baseline]:
    return [Baseline(data=split(name)) for name in ("digits", "iris")]
