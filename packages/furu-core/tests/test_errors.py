"""Errors tell who, what and the next step; they survive pickling, and stand in one drawn tree."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from furu_core import errors
from furu_core.errors import FuruError, NodeCancelled

CLASSES = [getattr(errors, name) for name in errors.__all__]
FURU_ERRORS = [cls for cls in CLASSES if issubclass(cls, FuruError)]

# What each parameter of a constructor is given.
VALUES: dict[str, Any] = {
    "message": "Train(3fa9c1) went wrong",
    "hint": "mend it",
    "path": Path("/data/furu"),
    "node": "Train(3fa9c1)",
    "hash": "3fa9c1" + 26 * "0",
    "log": Path("/data/furu/furu.log"),
    "holder": "process 7 on host",
    "owner": "ada",
    "waited": 2.5,
    "asker": "Report(aaaaaa)",
    "cycle": ("A(1)", "B(2)", "A(1)"),
    "failures": ("one", "two"),
    "run_id": "run-1",
    "reason": "it is empty",
    "found": 2,
    "known": 1,
}


def made(cls: type[FuruError]) -> FuruError:
    """An error with all of its attributes set."""
    names = [name for name in inspect.signature(cls).parameters if name != "message"]
    return cls(VALUES["message"], **{name: VALUES[name] for name in names})


def drawn_tree() -> list[tuple[str, str, str | None]]:
    """Each class in the drawing: its name, its further base, and the class it hangs below."""
    assert errors.__doc__ is not None
    found: list[tuple[str, str, str | None]] = []
    above: list[str] = []
    for line in errors.__doc__.splitlines():
        match = re.fullmatch(r"    ((?:[│ ]   )*)(?:[├└]── )?(\w+)(?: \((\w+)\))?(?:  .*)?", line)
        if match is None or not match[2][0].isupper():
            continue
        level = len(match[1]) // 4 + ("── " in line)
        del above[level:]
        found.append((match[2], match[3] or "", above[-1] if above else None))
        above.append(match[2])
    return found


def test_the_drawn_tree_is_the_tree_of_classes() -> None:
    drawn = drawn_tree()
    assert sorted(name for name, _, _ in drawn) == sorted(cls.__name__ for cls in FURU_ERRORS)
    for name, further, parent in drawn:
        cls = getattr(errors, name)
        bases = [base.__name__ for base in cls.__bases__]
        assert bases == [parent or "Exception", *([further] if further else [])], name


def test_the_drawing_says_what_each_class_means() -> None:
    assert errors.__doc__ is not None
    for cls in FURU_ERRORS[1:]:
        if cls is not FuruError:
            line = next(
                line for line in errors.__doc__.splitlines() if f"── {cls.__name__}" in line
            )
            assert re.search(r"\S  +\S", line.partition("── ")[2]), line


def test_every_error_of_the_module_is_public() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, BaseException)
    }
    assert defined == set(errors.__all__)
    assert errors.__all__ == sorted(errors.__all__)


@pytest.mark.parametrize("cls", FURU_ERRORS, ids=lambda cls: cls.__name__)
def test_an_error_ends_in_the_next_step(cls: type[FuruError]) -> None:
    error = made(cls)
    assert str(error) == "Train(3fa9c1) went wrong; mend it"
    assert error.message == "Train(3fa9c1) went wrong"
    assert error.hint == "mend it"


@pytest.mark.parametrize("cls", FURU_ERRORS, ids=lambda cls: cls.__name__)
def test_an_error_survives_pickling_with_all_it_knows(cls: type[FuruError]) -> None:
    error = made(cls)
    error.add_note("a note")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps(error, protocol))
        assert type(back) is cls
        assert str(back) == str(error)
        assert back.args == error.args
        assert vars(back) == vars(error)
        for name in inspect.signature(cls).parameters:
            assert getattr(back, name) == VALUES[name]
    assert vars(copy.copy(error)) == vars(error)


def test_an_error_survives_the_way_through_another_process() -> None:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        error = made(errors.FuruMissingArtifact)
        assert vars(pool.submit(copy.copy, error).result()) == vars(error)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_an_error_has_a_sentence_about_itself(cls: type[BaseException]) -> None:
    assert cls.__doc__
    assert cls.__doc__.splitlines()[0].endswith(".")


def test_being_cancelled_is_no_error_that_code_could_swallow() -> None:
    assert not issubclass(NodeCancelled, Exception)
    assert str(pickle.loads(pickle.dumps(NodeCancelled("why")))) == "why"


SOURCES = sorted(Path(errors.__file__).parent.rglob("*.py"))


def test_every_error_that_is_raised_has_a_next_step() -> None:
    """Calls of the constructors in furu's own code give a hint, save where one is passed on."""
    import ast

    names = {cls.__name__ for cls in FURU_ERRORS}
    without: list[str] = []
    for source in SOURCES:
        for call in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Name)
                and call.func.id in names
                and not any(word.arg in ("hint", None) for word in call.keywords)
            ):
                without.append(f"{source.name}:{call.lineno} {call.func.id}")
    assert without == []
