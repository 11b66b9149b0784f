"""A sound executor passes the conformance suite, as those of furu's packages do on every change.

Nothing of the product is its own, so `make test-all` runs it.
"""

from __future__ import annotations

from typing import ClassVar

from sound_executor import SoundExecutor

from furu_testing import ExecutorConformance


class TestSound(ExecutorConformance):
    executor = SoundExecutor
    own_code = ()
    options: ClassVar = {"max_workers": 2}
    command_options = ("-j", "2")
    depth = 60
    width = 40
