"""Models, of which some cannot be trained."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from exp.data import NAMES, Split, split
from furu_core import Furu, grid

SIZES = {"linear": 1_000, "tree": 5_000, "net": 20_000, "patient": 1}


class Train(Furu[dict[str, float]]):
    data: Split
    model: str
    lr: float

    def _create(self) -> dict[str, Any]:
        if self.lr > 1:
            raise ValueError(f"the loss is infinite with lr={self.lr}")
        if self.model == "huge":
            print("out of memory soon", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory runs out
        if self.model == "lazy":
            return {"accuracy": (number / 10 for number in range(3))}  # which nobody can store
        if self.model == "endless":
            signal.raise_signal(signal.SIGINT)  # as Ctrl-C does
        print(f"training {self.model}", flush=True)
        while self.model == "patient" and not Path("go").exists():
            time.sleep(0.02)
        (self.furu_dir / "weights.bin").write_bytes(bytes(SIZES[self.model]))
        data = self.data.get()
        skill = {"linear": 50, "tree": 60, "net": 70, "patient": 80}[self.model] + sum(data["test"])
        return {"accuracy": round(skill / 100 + self.lr / 4, 4), "loss": round(1 - self.lr, 4)}


class Pretrain(Furu[int]):
    epochs: int

    def _create(self) -> int:
        time.sleep(0.6 + 0.4 * self.epochs)
        return self.epochs


def models(seed: int = 0) -> list[Train]:
    data = [split(name, seed) for name in NAMES]
    return grid(Train, data=data, model=["linear", "tree", "net"], lr=[0.01, 0.1, 0.2])


def pretraining(epochs: tuple[int, ...] = (1, 2, 3, 4, 5)) -> list[Pretrain]:
    return [Pretrain(epochs=number) for number in epochs]


def one(model: str = "tree", lr: float = 0.1) -> Train:
    return Train(data=split("digits"), model=model, lr=lr)
