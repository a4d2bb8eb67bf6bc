"""Groups: what several have in common is told once, with the names of all whom it is about."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from influxops.domain.finding import Finding, Kind, Severity
from influxops.domain.hint import Remedy
from influxops.domain.text import count, one_line, some_of


class Group(Struct, frozen=True):
    """One thing to tell, and all whom it is about: those that share it are told together."""

    kind: Kind
    severity: Severity
    message: str  # what is so, without naming whom it is about
    remedy: Remedy  # what to do about it, as data
    advice: str  # the same in the face's words; empty where there is nothing to do
    labels: tuple[str, ...] = ()  # whom it is about, as people call them; empty for the run
    targets: tuple[str, ...] = ()  # the targets of the tenants that it is about
    tenants: tuple[str, ...] = ()  # the ids of the tenants that it is about

    @property
    def on(self) -> str:
        """Where its tenants' databases are: ` on eu1`; empty where that says nothing."""
        return f" on {some_of([one_line(name) for name in self.targets])}" if self.targets else ""

    def line(self, most: int = 4) -> str:
        """Return it as one sentence, names first: what is cut off at its end is the least.

        Args:
            most: How many tenants are named.
        """
        if not self.labels:
            return self.message
        if len(self.labels) == 1:
            return f"{self.labels[0]}{self.on}: {self.message}"
        who = f"{count(len(self.labels), 'tenant')}{self.on} ({some_of(self.labels, most)})"
        return f"{who}: {self.message}"


class About(Struct):
    """A finding, and whom it is about, on the way to a group."""

    finding: Finding
    message: str  # what is so, safe to print
    advice: str  # what to do about it, in the face's words
    label: str = ""  # whom it is about, as people call it; empty for the run
    target: str | None = None  # where the tenant that it is about has its database
    is_tenant: bool = True  # whether it is told together with others that are alike


def grouped(found: Iterable[About]) -> list[Group]:
    """Return findings as groups: those of tenants that share all they say are one, in order.

    Args:
        found: The findings.
    """
    alike: dict[tuple[object, ...], list[About]] = {}
    for one in found:
        finding = one.finding
        alone = None if one.is_tenant else one.label
        key = (finding.kind, finding.severity, one.message, one.advice, alone)
        alike.setdefault(key, []).append(one)
    return [_group(these) for these in alike.values()]


def _group(these: list[About]) -> Group:
    first = these[0]
    ids = (one.finding.tenant for one in these)
    return Group(
        first.finding.kind,
        first.finding.severity,
        first.message,
        first.finding.remedy,
        first.advice,
        tuple(dict.fromkeys(one.label for one in these if one.label)),
        tuple(dict.fromkeys(one.target for one in these if one.target)),
        tuple(dict.fromkeys(id_ for id_ in ids if id_ is not None)),
    )


def listed(names: Iterable[str], characters: int) -> str:
    """Return as many names as are read at a glance, and how many more there are.

    Args:
        names: The names, fit to be shown.
        characters: How many characters they may take together; one is named in any case.
    """
    every, shown, length = list(names), 0, 0
    for name in every:
        length += len(name) + 2
        if shown and length > characters:
            break
        shown += 1
    more = len(every) - shown
    return ", ".join(every[:shown]) + (f" and {more:,} more" if more else "")
