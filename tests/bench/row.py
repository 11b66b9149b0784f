"""One line of the table that benchmarks print."""

from __future__ import annotations

import attrs


@attrs.frozen
class Row:
    """One measurement.

    Attributes:
        name: what was done.
        seconds: how long furu took.
        reference_seconds: how long the bare reference took that does the same work.
        target: the largest `ratio` that is wanted.
        limit_seconds: the most seconds that are wanted.
        peak_mib: peak memory of the process in MiB.
        limit_mib: the most memory that is wanted.
        note: what else a reader should know.
    """

    name: str
    seconds: float
    reference_seconds: float | None = None
    target: float | None = None
    limit_seconds: float | None = None
    peak_mib: float | None = None
    limit_mib: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times as long as the reference it took."""
        return self.seconds / self.reference_seconds if self.reference_seconds else None

    @property
    def ok(self) -> bool | None:
        """Whether every target was reached; None where there is none."""
        met = [
            measured <= wanted
            for measured, wanted in [
                (self.ratio, self.target),
                (self.seconds, self.limit_seconds),
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
        if self.limit_seconds is not None:
            wanted.append(seconds(self.limit_seconds))
        if self.limit_mib is not None:
            wanted.append(f"{self.limit_mib:g} MiB")
        return [
            self.name,
            seconds(self.seconds),
            "" if self.reference_seconds is None else seconds(self.reference_seconds),
            "" if self.ratio is None else f"{self.ratio:.2f} x",
            "" if self.peak_mib is None else f"{self.peak_mib:.0f} MiB",
            ", ".join(wanted),
            {True: "ok", False: "MISSED", None: ""}[self.ok],
            self.note,
        ]


HEADINGS = ["what", "furu", "bare", "ratio", "peak", "target", "", ""]


def seconds(value: float) -> str:
    """A duration in the unit that fits."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"
