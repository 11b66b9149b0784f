"""Nodes whose artifacts are judged by `_validate`, or damaged by a test."""

from __future__ import annotations

import threading
from typing import Any

from furu_core import Furu

calls: list[str] = []
verdict: dict[str, Any] = {}  # what `Judged._validate` returns or raises, by its field `name`


class Judged(Furu[str]):
    """Valid or not as a test wants it: a list holds one verdict for each call."""

    name: str = "a"

    def _create(self) -> str:
        calls.append("create")
        (self.furu_dir / "file.txt").write_text("0123456789")
        return f"value {calls.count('create')}"

    def _validate(self) -> Any:
        calls.append("validate")
        answer = verdict.get(self.name, True)
        if isinstance(answer, list):
            answer = answer.pop(0) if answer else True
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Unjudged(Furu[str]):
    """Has no `_validate`; only its manifest can tell damage."""

    name: str = "a"

    def _create(self) -> str:
        calls.append("create")
        (self.furu_dir / "file.txt").write_text("0123456789")
        return f"value {calls.count('create')}"


class Loads(Furu[str]):
    """Depends on another node."""

    of: Furu[Any]
    swallow: bool = False

    def _create(self) -> str:
        calls.append("loads")
        try:
            return f"loaded {self.of.get()}"
        except Exception:
            if self.swallow:
                return "swallowed"
            raise


class LooksAtItself(Furu[list[int]]):
    """Its `_validate` uses what it judges."""

    how: str

    def _create(self) -> list[int]:
        (self.furu_dir / "numbers.txt").write_text("1 2 3")
        return [1, 2, 3]

    def _validate(self) -> bool:
        calls.append(self.how)
        if self.how == "get":
            return self.get() == [1, 2, 3]
        if self.how == "get twice":
            return self.get() == type(self)(how=self.how).get()
        if self.how == "load":
            return self._load() == [1, 2, 3]
        if self.how == "exists":
            return bool(self.furu_dir)
        return (self.furu_dir / "numbers.txt").read_text() == "1 2 3"


class LoadsItself(Furu[int]):
    """The same with a `_load` of its own."""

    def _create(self) -> int:
        (self.furu_dir / "number.txt").write_text("42")
        return -1

    def _load(self) -> int:
        return int((self.furu_dir / "number.txt").read_text())

    def _validate(self) -> bool:
        calls.append("validate")
        return self.get() == 42 and threading.current_thread() is threading.main_thread()
