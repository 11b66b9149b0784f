"""Where the numbers come from."""

from pathlib import Path

from furu_core import Furu

NAMES = ("digits", "faces", "iris", "wine")


class Download(Furu[list[int]]):
    name: str

    def _create(self) -> list[int]:
        return [int(line) for line in Path("downloads", self.name).read_text().split()]


class Split(Furu[dict[str, list[int]]]):
    raw: Download
    seed: int = 0

    def _create(self) -> dict[str, list[int]]:
        print(f"splitting {self.raw.name} with seed {self.seed}")
        numbers = self.raw.get()
        first = self.seed % len(numbers)
        turned = numbers[first:] + numbers[:first]
        return {"train": turned[:6], "test": turned[6:]}


def split(name: str, seed: int = 0) -> Split:
    return Split(raw=Download(name=name), seed=seed)
