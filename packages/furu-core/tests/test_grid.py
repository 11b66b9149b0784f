"""Sweeps, and the forms in which roots may be given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from furu_core import Furu, grid
from furu_core._config._grid import Roots, RootsShape, named_roots
from furu_core.errors import FuruDependencyError, FuruValueError


class Data(Furu[int]):
    seed: int = 0


class Train(Furu[float]):
    data: Data = Data()
    lr: float = 0.1
    name: str = "x"
    layers: Any = ()


def test_a_grid_is_the_product_of_its_axes_with_the_last_changing_fastest() -> None:
    made = grid(Train, lr=[0.1, 0.01], data=[Data(seed=s) for s in range(2)])
    assert [(t.lr, t.data.seed) for t in made] == [(0.1, 0), (0.1, 1), (0.01, 0), (0.01, 1)]


def test_strings_tuples_and_other_values_are_no_axes() -> None:
    (one,) = grid(Train, name="abc", layers=(1, 2), data=Data(seed=1))
    assert one == Train(name="abc", layers=(1, 2), data=Data(seed=1))
    assert [t.layers for t in grid(Train, layers=[[1, 2]])] == [[1, 2]]
    (one,) = grid(Train, layers={"a": 1})
    assert one.layers == {"a": 1}


@pytest.mark.parametrize(
    "axis", [range(3), iter([0, 1, 2]), (i for i in range(3)), {0: 1, 1: 1, 2: 1}.keys()]
)
def test_ranges_iterators_and_views_are_axes(axis: Any) -> None:
    assert [d.seed for d in grid(Data, seed=axis)] == [0, 1, 2]


def test_a_grid_without_axes_is_one_object_and_with_an_empty_one_none() -> None:
    assert grid(Data) == [Data()]
    assert grid(Data, seed=[]) == []


def test_an_array_as_axis_is_ambiguous() -> None:
    with pytest.raises(FuruValueError, match=r"lr=array\.tolist\(\)"):
        grid(Train, lr=np.logspace(-3, -1, 3))
    (one,) = grid(Train, lr=np.float64(0.5))
    assert one.lr == 0.5


def test_an_unknown_axis_is_an_error() -> None:
    with pytest.raises(TypeError, match="momentum"):
        grid(Train, momentum=[1, 2])


def test_roots_may_be_one_object_an_iterable_or_a_dict() -> None:
    a, b = Data(seed=1), Data(seed=2)
    assert named_roots(a) == Roots((a,), (0,), RootsShape.ONE)
    assert named_roots([a, b]) == Roots((a, b), (0, 1), RootsShape.LIST)
    assert named_roots(x for x in (a, b)).items == (a, b)
    assert named_roots({"x": a, "y": b}) == Roots((a, b), ("x", "y"), RootsShape.DICT)
    assert named_roots([]).items == ()
    assert named_roots(named_roots([a])) == named_roots([a])


def test_results_come_in_the_shape_of_the_roots() -> None:
    a, b = Data(seed=1), Data(seed=2)
    assert named_roots(a).shaped([5]) == 5
    assert named_roots((a, b)).shaped([5, 6]) == [5, 6]
    assert named_roots({"x": a, "y": b}).shaped([5, 6]) == {"x": 5, "y": 6}


@pytest.mark.parametrize(
    ("roots", "message"),
    [
        ([Data(), 3], r"roots\[1\] is of type int"),
        ({"x": Path("a")}, r"roots\['x'\] is of type \w*Path"),
        ([[Data()]], r"roots\[0\] is of type list"),
        (3, "roots is of type int"),
        ("abc", "roots is of type str"),
        (Data, r"roots is the class Data, .*Data\(\.\.\.\)"),
        ([Data], r"roots\[0\] is the class Data"),
    ],
)
def test_a_root_that_is_no_furu_object_is_named(roots: Any, message: str) -> None:
    with pytest.raises(FuruDependencyError, match=message):
        named_roots(roots)
