"""Tables for people: words, alignment, and what is done where the terminal is narrow."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from os import terminal_size
from typing import Any

import pytest

from furu_core._cli import _aligned

Print = Callable[..., list[str]]
NODE = "5ac09e" + "0" * 26


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Print:
    """Prints a table, on a terminal of some width if one is given, and returns its lines."""

    def lines(width: int | None = None, hidden: int = 0, **columns: list[Any]) -> list[str]:
        with monkeypatch.context() as patch:
            if width is not None:
                patch.setattr(sys.stdout, "isatty", lambda: True)
                patch.setattr(shutil, "get_terminal_size", lambda: terminal_size((width, 24)))
            named = {name.replace("__", "."): cells for name, cells in columns.items()}
            assert _aligned.print_table(named) == hidden
        return re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out).splitlines()

    return lines


def test_numbers_are_to_the_right_and_durations_and_sizes_in_words(printed: Print) -> None:
    assert printed(
        name=["a", "bcd"], n=[1, 100], took=[0.26, None], peak=[1536, 12], node=[NODE, NODE]
    ) == [
        "name    n    took     peak  node",
        "a       1  260 ms  1.5 KiB  5ac09e000000",
        "bcd   100             12 B  5ac09e000000",
    ]


@pytest.mark.parametrize(
    ("cells", "texts"),
    [
        ([0.1, 0.01], ["0.10", "0.01"]),
        ([1.0, 2.0], ["1.0", "2.0"]),
        ([0.978812345, 0.5], ["0.97881", "0.50000"]),
        ([10.123456, 0.5], ["10.123", " 0.500"]),
        ([100000.5, 1.0], ["100000", "   1.0"]),
        ([1e-9, 0.1], ["1e-09", "  0.1"]),
        ([0.5, 3, None, float("nan")], ["0.5", "  3", "   ", "nan"]),
    ],
)
def test_numbers_of_a_column_have_equally_many_decimals_unless_digits_would_be_lost(
    cells: list[Any], texts: list[str], printed: Print
) -> None:
    assert [line.ljust(len(texts[0])) for line in printed(x=cells)[1:]] == texts


def test_a_field_that_has_the_name_of_a_built_in_column_is_shown_as_it_is(printed: Print) -> None:
    assert printed(took=["long"], furu__took=[1.5]) == ["took  furu.took", "long      1.5 s"]


def test_long_texts_and_line_breaks_do_not_break_the_table(printed: Print) -> None:
    (_, line) = printed(message=["a\nb" + "c" * 100], n=[1])
    assert line.startswith("a bccc")
    assert line.endswith("c…  1")
    assert len(line) == 63


def test_on_a_narrow_terminal_heads_are_cut_and_then_columns_left_out(printed: Print) -> None:
    columns: dict[str, list[Any]] = {
        "data__split__seed": [0, 1], "data__split__name": ["x" * 30, "y"], "model__name": ["m", "n"],
        "result__acc": [0.5, 0.25], "node": [NODE, NODE],
    }  # fmt: skip
    wide = printed(200, **columns)
    assert wide[0].split() == [name.replace("__", ".") for name in columns]
    narrow = printed(70, **columns)
    assert narrow[0].split() == ["…seed", "…split.name", "model.name", "…acc", "node"]
    assert max(map(len, narrow)) <= 70
    assert "x" * 23 + "…" in narrow[1]
    (head, *_) = printed(17, hidden=4, **columns)
    assert head.split() == ["node"]
    (head, *_) = printed(24, hidden=3, **columns)
    assert head.split() == ["…acc", "node"]


def test_where_there_is_little_room_results_and_errors_stay_and_costs_go_first(
    printed: Print,
) -> None:
    columns: dict[str, list[Any]] = {
        "state": ["failed"], "lr": [0.5], "seed": [1], "result__acc": [0.25],
        "took": [1.0], "peak": [2048], "node": [NODE], "error": ["ValueError"],
    }  # fmt: skip
    (head, _) = printed(54, hidden=2, **columns)
    assert head.split() == ["state", "lr", "seed", "…acc", "node", "error"]
    (head, _) = printed(32, hidden=5, **columns)
    assert head.split() == ["…acc", "node", "error"]
