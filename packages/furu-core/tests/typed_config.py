"""What a type checker knows of config classes by the class statement alone; `make types` checks it.

Each mistake is one that mypy must find: an unused ``type: ignore`` is an error.
"""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar, assert_type

from furu_core import Furu, field, grid

T = TypeVar("T")


class Data(Furu[list[int]]):
    seed: int = 0
    KIND: ClassVar[str] = "data"

    def _create(self) -> list[int]:
        return [self.seed]


class Train(Furu[float]):
    data: Data
    lr: float = 0.1
    layers: list[int] = field(factory=list)
    workers: int = field(default=2, exclude_from_hash=True)
    name: str = field()
    sizes: tuple[int, ...] = field(default=(), converter=tuple)

    def _create(self) -> float:
        assert_type(self.data.get(), list[int])
        return self.lr


class Box(Furu[T], Generic[T]):
    value: T

    def _create(self) -> T:
        return self.value


def knows_fields_and_results() -> None:
    train = Train(data=Data(seed=1), name="x", lr=1)
    assert_type(train.lr, float)
    assert_type(train.get(), float)
    assert_type(train.layers, list[int])
    assert_type(train.workers, int)
    assert_type(Box(value=3).get(), int)
    assert_type(grid(Train, lr=[1, 2]), list[Train])
    assert_type(Train.from_dict(train.to_dict()), Train)


def finds_mistakes(train: Train) -> None:
    Train(data=Data())  # type: ignore[call-arg]
    Train(data=3, name="x")  # type: ignore[arg-type]
    Train(Data(), name="x")  # type: ignore[call-arg]
    Train(data=Data(), name="x", more=1)  # type: ignore[call-arg]
    train.lr = 0.2  # type: ignore[misc]
    field(default=1, factory=int)  # type: ignore[call-overload]
