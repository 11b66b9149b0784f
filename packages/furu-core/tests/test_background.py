"""Threads that serve the whole process."""

from __future__ import annotations

import threading

from furu_core._background import Background


def test_a_tracer_of_the_program_does_not_see_what_background_threads_do() -> None:
    seen: list[str] = []
    ran = threading.Event()

    def serve() -> None:
        ran.set()

    threading.settrace(lambda frame, event, arg: seen.append(frame.f_code.co_name))
    try:
        Background(serve, "test").ensure()
        assert ran.wait(60)
    finally:
        threading.settrace(None)  # type: ignore[arg-type]
    assert "serve" not in seen
