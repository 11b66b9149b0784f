"""Which devices the nodes of a spec key may use, within what the user's own environment allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import attrs

from furu_core.errors import FuruUsageError
from furu_core.executors import count

VARIABLE: Final = "CUDA_VISIBLE_DEVICES"

#: What a user may give for one spec key: the number of devices, or a list of them.
DeviceRequest: TypeAlias = "int | Sequence[str | int]"


@attrs.frozen
class Slot:
    """A device, or part of one, for one node at a time.

    Attributes:
        visible: the value of ``CUDA_VISIBLE_DEVICES`` in the worker of this slot.
        ordinal: distinguishes the slots of a device that was named more than once.
    """

    visible: str
    ordinal: int = 0


def resolve_devices(
    devices: Mapping[str, DeviceRequest], visible: str | None
) -> dict[str, tuple[Slot, ...]]:
    """The slots of each spec key.

    Args:
        devices: spec key to a number of devices, or to a list of them. An index counts within
            `visible`, as it would for CUDA itself; a UUID stays as it is; ``"0,1"`` is two devices
            for one node; a device named twice takes two nodes at a time. Spec keys that name the
            same device take turns.
        visible: the user's own ``CUDA_VISIBLE_DEVICES``; None when it is not set.

    Raises:
        FuruUsageError: something else was given, or more than `visible` allows.

    Example:
        >>> [slot.visible for slot in resolve_devices({"gpu": 2}, "4,6,7")["gpu"]]
        ['4', '6']
    """
    allowed = None if visible is None else _allowed(visible)
    return {key: _slots(key, request, allowed, visible) for key, request in devices.items()}


def _allowed(visible: str) -> tuple[str, ...]:
    """The devices that CUDA sees: it ignores the list from the first invalid entry on."""
    entries = []
    for entry in (part.strip() for part in visible.split(",")):
        if not entry or entry.startswith("-") or entry == "NoDevFiles":
            break
        entries.append(entry)
    return tuple(entries)


def _slots(
    key: str, request: DeviceRequest, allowed: tuple[str, ...] | None, visible: str | None
) -> tuple[Slot, ...]:
    wanted: list[object] = []
    if isinstance(request, int) and not isinstance(request, bool):
        wanted += range(request)
    elif isinstance(request, Sequence) and not isinstance(request, str):
        wanted += request
    if not wanted:
        raise _bad_request(key, request)
    counts: dict[str, int] = {}
    slots = []
    for entry in wanted:
        if isinstance(entry, bool) or not isinstance(entry, str | int) or entry == "":
            raise _bad_request(key, request)
        parts = [part.strip() for part in str(entry).split(",")]
        if not all(parts) or any(part.startswith("-") for part in parts):
            raise _bad_request(key, request)
        name = ",".join(_within(key, request, part, allowed, visible) for part in parts)
        slots.append(Slot(name, counts.get(name, 0)))
        counts[name] = counts.get(name, 0) + 1
    return tuple(slots)


def _within(
    key: str,
    request: DeviceRequest,
    device: str,
    allowed: tuple[str, ...] | None,
    visible: str | None,
) -> str:
    if allowed is None:
        return device
    if device.isdigit():
        if int(device) < len(allowed):
            return allowed[int(device)]
    else:
        uuids = [entry for entry in allowed if not entry.isdigit()]
        # CUDA lets UUIDs be shortened, on either side; an index says nothing about a UUID.
        if (allowed and not uuids) or any(
            entry.startswith(device) or device.startswith(entry) for entry in uuids
        ):
            return device
    raise FuruUsageError(
        f"devices[{key!r}] asks for {request!r}, but {VARIABLE}={visible!r} in the environment"
        f" allows {count(len(allowed), 'device')}",
        hint=f"ask for less, or set {VARIABLE} to what the run may use",
    )


def _bad_request(key: str, request: object) -> FuruUsageError:
    return FuruUsageError(
        f"devices[{key!r}] is {request!r}",
        hint='give a number of devices (2) or a list of them (["0", "1"])',
    )
