"""The interface for packages that add checks to `furu doctor`.

Such a package declares an entry point of the group ``furu.checks``. Its name becomes an option of `furu doctor`, and
its object is a function that is given how many seconds it may wait, and yields results.

Example:
    >>> from furu_core.checks import CheckLevel, CheckResult
    >>> def checks(wait_secs):
    ...     yield CheckResult("queue", CheckLevel.WARNING, "it is full", "qstat")
    >>> next(checks(1.0)).level.value
    'warning'
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from furu_core._doctor._checkup import store_checks as store_checks
    from furu_core._doctor._filesystem import clock_offsets as clock_offsets
    from furu_core._doctor._installation import installed_packages as installed_packages
    from furu_core._doctor._probe_folder import probe_folder as probe_folder
    from furu_core._doctor._results import CheckLevel as CheckLevel
    from furu_core._doctor._results import CheckResult as CheckResult
else:
    from furu_core import _late

    __all__, __getattr__, __dir__ = _late.late_imports(
        __name__,
        {
            "._doctor._checkup": "store_checks",
            "._doctor._filesystem": "clock_offsets",
            "._doctor._installation": "installed_packages",
            "._doctor._probe_folder": "probe_folder",
            "._doctor._results": "CheckLevel CheckResult",
        },
    )
