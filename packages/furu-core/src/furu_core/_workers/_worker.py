"""Functions for an executor's worker in its session: run nodes, and report the results."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from furu_core._attempts import _attempts
from furu_core._attempts._attempts import Attempt, holder_of
from furu_core._attempts._outcomes import Failure, FailureKind, Holder, NodeResult, Outcome
from furu_core._code import _loaded
from furu_core._compute import _acquire, _compute, _reruns
from furu_core._config._objects import short_name
from furu_core._output import _logging
from furu_core._store._layout import NodeRef, ref_of
from furu_core.errors import (
    FuruComputeError,
    FuruInvalidDependency,
    FuruSuperseded,
    NodeCancelled,
    NodeLost,
)

if TYPE_CHECKING:
    from furu_core._furu import Furu


def run_node(
    obj: Furu[Any],
    *,
    rerun: bool = False,
    ending: Callable[[], NodeCancelled | None] | None = None,
) -> NodeResult:
    """Make one attempt at a node, in the session of the calling worker.

    It never raises for what the node's code does, except that `KeyboardInterrupt` is raised again
    after it was recorded.

    Args:
        obj: the node; its dependencies are there.
        rerun: compute it although its artifact is there.
        ending: called when the node's code has failed, before that is recorded: returns the
            cancellation if the calling process and all that the node's code started are being
            ended, which then explains the failure.
    """
    began = time.monotonic()
    ref = ref_of(obj)
    attempt: int | None = None
    failure: Failure | None = None
    culprit: str | None = None
    holder: Holder | None = None
    try:
        claimed = _acquire.acquire(obj, ref, suspect=True, rerun=rerun)
        if isinstance(claimed, Attempt):
            attempt = claimed.record.number
            # The run's events tell it as well, but whoever looks after a job reads the job's log.
            level = logging.INFO if claimed.record.submission is not None else logging.DEBUG
            _logging.event("get", short_name(obj), "missing", "create", level)
            published = _compute.compute(obj, claimed, rerun=rerun, ending=ending)
            outcome = Outcome.COMPUTED if published else Outcome.LOADED
            if rerun:
                _reruns.note_rerun(obj.furu_hash)
        elif claimed is None:
            outcome = Outcome.LOADED
        else:
            outcome, holder = Outcome.BUSY, holder_of(claimed)
    except FuruSuperseded:
        newest = _attempts.latest(ref, lease_secs=0.0)
        outcome = Outcome.BUSY
        holder = None if newest is None else holder_of(newest)
    except FuruInvalidDependency as error:
        outcome, culprit = Outcome.INVALID_DEPENDENCY, error.hash
        failure = _failure(obj, ref, error, attempt)
    except NodeCancelled as error:
        outcome = Outcome.FAILED if isinstance(error, NodeLost) else Outcome.CANCELLED
        failure = _failure(obj, ref, error, attempt)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever the node's code raised, the worker goes on
        outcome = Outcome.FAILED
        failure = _failure(obj, ref, error, attempt)
    return NodeResult(
        hash=obj.furu_hash,
        outcome=outcome,
        attempt=attempt,
        failure=failure,
        seconds=time.monotonic() - began,
        culprit=culprit,
        holder=holder,
        edited=_loaded.edited_modules(),
    )


def _failure(obj: Furu[Any], ref: NodeRef, error: BaseException, attempt: int | None) -> Failure:
    kind = _compute.classify(error)[1] or FailureKind.COMPUTE
    told = error
    if isinstance(error, FuruComputeError) and error.__cause__ is not None:
        told = error.__cause__  # the summary names what the node's code raised
    log = None if attempt is None else _attempts.kept_log(ref.attempt(attempt))
    return Failure.of(
        kind,
        told,
        node=short_name(obj),
        hash=obj.furu_hash,
        log=log,
    )
