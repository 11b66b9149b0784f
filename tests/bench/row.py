"""One line of the table that benchmarks print."""

from __future__ import annotations

import attrs


@attrs.frozen
class Row:
    """One measurement.

    Attributes:
        name: what was done.
        measured: how long furu took in seconds, or how many `unit` it was.
        reference: the same for the bare reference, or the peer, that does the same work.
        target: the largest `ratio` that is wanted.
        limit: the most that is wanted of `measured`.
        unit: what is counted, unless it is seconds.
        peak_mib: peak memory of the process in MiB.
        limit_mib: the most memory that is wanted.
        note: what else a reader should know.
    """

    name: str
    measured: float
    reference: float | None = None
    target: float | None = None
    limit: float | None = None
    unit: str = ""
    peak_mib: float | None = None
    limit_mib: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times as long as the reference it took, or as much."""
        return self.measured / self.reference if self.reference else None

    @property
    def ok(self) -> bool | None:
        """Whether every target was reached; None where there is none."""
        met = [
            measured <= wanted
            for measured, wanted in [
                (self.ratio, self.target),
                (self.measured, self.limit),
                (self.peak_mib, self.limit_mib),
            ]
            if measured is not None and wanted is not None
        ]
        return all(met) if met else None

    def cells(self) -> list[str]:
        """The texts of the table's columns."""
        wanted = []
        if self.target is not None:
            wanted.append(f"{self.target:g} x")
        if self.limit is not None:
            wanted.append(self._figure(self.limit))
        if self.limit_mib is not None:
            wanted.append(f"{self.limit_mib:g} MiB")
        return [
            self.name,
            self._figure(self.measured),
            "" if self.reference is None else self._figure(self.reference),
            "" if self.ratio is None else f"{self.ratio:.2f} x",
            "" if self.peak_mib is None else f"{self.peak_mib:.0f} MiB",
            ", ".join(wanted),
            {True: "ok", False: "MISSED", None: ""}[self.ok],
            self.note,
        ]

    def _figure(self, value: float) -> str:
        return f"{value:g} {self.unit}" if self.unit else seconds(value)


HEADINGS = ["what", "furu", "reference", "ratio", "peak", "target", "", ""]


def seconds(value: float) -> str:
    """A duration in the unit that fits."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"
