"""The conformance suite itself: a sound executor passes it."""

from __future__ import annotations

from typing import ClassVar

from sound_executor import SoundExecutor

from furu_testing import ExecutorConformance


class TestSound(ExecutorConformance):
    executor = SoundExecutor
    options: ClassVar = {"max_workers": 2}
    command_options = ("-j", "2")
    depth = 60
    width = 40
