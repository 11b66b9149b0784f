"""Steps that need a device of their own, two devices, and steps that need none.

`Train` says that it is of the kind "gpu"; the run hands out two devices to that kind. At most two
trainings are computed at once, each in a process that sees one device, while other steps are not
held up. Nothing here needs a real GPU: the steps only report what `CUDA_VISIBLE_DEVICES` is in
their process, which is what PyTorch, JAX and TensorFlow go by.
"""

from __future__ import annotations

import os

from furu_core import Furu, grid
from furu_local import run_local


class Data(Furu[list[float]]):
    seed: int

    def _create(self) -> list[float]:
        return [float((7 * place + self.seed) % 5) for place in range(100)]


class Train(Furu[str]):
    _executor_spec_key = "gpu"

    data: Data
    lr: float

    def _create(self) -> str:
        mean = sum(self.data.get()) / 100
        return f"lr={self.lr} mean={mean} on device {os.environ.get('CUDA_VISIBLE_DEVICES')}"


trainings = grid(Train, data=[Data(seed=0), Data(seed=1)], lr=[0.1, 0.01])

if __name__ == "__main__":
    run = run_local(trainings, max_workers=3, devices={"gpu": ["0", "1"]})
    for line in run.results():
        print(line)
