"""The interface for authors of executors: executors, runs and their files, and scheduler's jobs.

The names for workers are in `furu_core.workers`, those for planners in `furu_core.planning`; both
can be imported from here as well, where they once were. `furu-plan` and `furu-local` use these
names and no others, and so can a package of yours.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from furu_core._attempts._outcomes import Failure as Failure
    from furu_core._attempts._outcomes import FailureKind as FailureKind
    from furu_core._attempts._submissions import note_submission as note_submission
    from furu_core._attempts._submissions import remove_submission as remove_submission
    from furu_core._attempts._submissions import submission_of as submission_of
    from furu_core._config._grid import Roots as Roots
    from furu_core._config._grid import named_roots as named_roots
    from furu_core._context._submission import JobTimes as JobTimes
    from furu_core._context._submission import Submission as Submission
    from furu_core._executors._executor import Executor as Executor
    from furu_core._executors._executor import Liveness as Liveness
    from furu_core._executors._executor import RunOutlook as RunOutlook
    from furu_core._executors._options import COUNT as COUNT
    from furu_core._executors._options import FLAG as FLAG
    from furu_core._executors._options import SECONDS as SECONDS
    from furu_core._executors._options import TEXT as TEXT
    from furu_core._executors._options import OptionKind as OptionKind
    from furu_core._executors._options import one_of as one_of
    from furu_core._executors._options import option as option
    from furu_core._executors._options import parse_pairs as parse_pairs
    from furu_core._executors._outline import Prospect as Prospect
    from furu_core._executors._outline import write_outline as write_outline
    from furu_core._executors._registry import installed_executors as installed_executors
    from furu_core._executors._registry import liveness as liveness
    from furu_core._executors._registry import load_executor as load_executor
    from furu_core._executors._registry import submit as submit
    from furu_core._executors._run import Event as Event
    from furu_core._executors._run import EventKind as EventKind
    from furu_core._executors._run import EventLog as EventLog
    from furu_core._executors._run import Run as Run
    from furu_core._executors._run import RunState as RunState
    from furu_core._executors._run import RunStatus as RunStatus
    from furu_core._executors._run import new_run_folder as new_run_folder
    from furu_core._executors._run import read_events as read_events
    from furu_core._executors._run import refuse_nested_run as refuse_nested_run
    from furu_core._executors._run import runs_folder as runs_folder
    from furu_core._files import LineFile as LineFile
    from furu_core._files import create_file as create_file
    from furu_core._files import filesystem_time as filesystem_time
    from furu_core._files import is_local_folder as is_local_folder
    from furu_core._files import list_folder as list_folder
    from furu_core._files import move_file as move_file
    from furu_core._files import once_visible as once_visible
    from furu_core._files import read_file as read_file
    from furu_core._files import read_lines as read_lines
    from furu_core._files import replace_file as replace_file
    from furu_core._files import store_error as store_error
    from furu_core._files import store_errors as store_errors
    from furu_core._late import late_imports as late_imports
    from furu_core._locks import excluding as excluding
    from furu_core._output._console import console as console
    from furu_core._output._logging import console_through as console_through
    from furu_core._plugins import InstalledPlugin as InstalledPlugin
    from furu_core._record_format import RecordFormat as RecordFormat
    from furu_core._text import count as count
    from furu_core._text import did_you_mean as did_you_mean
    from furu_core._text import duration as duration
    from furu_core._text import harmless as harmless
    from furu_core._text import nearest as nearest
    from furu_core._text import size as size
    from furu_core._trust import OWNER_WRITES as OWNER_WRITES
    from furu_core._trust import read_trusted as read_trusted
    from furu_core._waker import Waker as Waker
    from furu_core.planning import *  # noqa: F403
    from furu_core.workers import *  # noqa: F403
else:
    from furu_core import _late

    __all__, __getattr__, __dir__ = _late.late_imports(
        __name__,
        {
            "._attempts._outcomes": "Failure FailureKind",
            "._attempts._submissions": "note_submission remove_submission submission_of",
            "._config._grid": "Roots named_roots",
            "._context._submission": "JobTimes Submission",
            "._executors._executor": "Executor Liveness RunOutlook",
            "._executors._options": "COUNT FLAG SECONDS TEXT OptionKind one_of option parse_pairs",
            "._executors._outline": "Prospect write_outline",
            "._executors._registry": "installed_executors liveness load_executor submit",
            "._executors._run": "Event EventKind EventLog Run RunState RunStatus new_run_folder "
            "read_events refuse_nested_run runs_folder",
            "._files": "LineFile create_file filesystem_time is_local_folder list_folder "
            "move_file once_visible read_file read_lines replace_file store_error store_errors",
            "._late": "late_imports",
            "._locks": "excluding",
            "._output._console": "console",
            "._output._logging": "console_through",
            "._plugins": "InstalledPlugin",
            "._record_format": "RecordFormat",
            "._trust": "OWNER_WRITES read_trusted",
            "._waker": "Waker",
            "._text": "count did_you_mean duration harmless nearest size",
        },
        forwards_to=("furu_core.planning", "furu_core.workers"),
    )
