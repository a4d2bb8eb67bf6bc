"""Groups: a finding that several tenants share is reported once, with the names of all."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from influxops.domain.finding import FindingKind, Severity
from influxops.domain.hint import Hint
from influxops.domain.text import one_line, pluralize, summarize


class FindingGroup(Struct, frozen=True):
    """One finding, and the tenants that share it."""

    kind: FindingKind
    severity: Severity
    message: str  # what is wrong, without the name of a tenant
    remedy: Hint  # what to do about it, as data
    advice: str  # the same as a sentence; empty where there is nothing to do
    labels: tuple[str, ...] = ()  # how people call the tenants or targets; empty for the run
    targets: tuple[str, ...] = ()  # the targets of the tenants that it is about
    tenants: tuple[str, ...] = ()  # the ids of the tenants that it is about

    @property
    def on(self) -> str:
        """Where its tenants' databases are: ` on eu1`; empty where that says nothing."""
        return f" on {summarize([one_line(name) for name in self.targets])}" if self.targets else ""

    def line(self, most: int = 4) -> str:
        """Return it as one sentence that names so many tenants first: its end may be cut off."""
        if not self.labels:
            return self.message
        if len(self.labels) == 1:
            return f"{self.labels[0]}{self.on}: {self.message}"
        which = f"{pluralize(len(self.labels), 'tenant')}{self.on} ({summarize(self.labels, most)})"
        return f"{which}: {self.message}"


def grouped(found: Iterable[FindingGroup]) -> list[FindingGroup]:
    """Return the findings of tenants that differ only by the tenant as one group, in order."""
    alike: dict[tuple[object, ...], list[FindingGroup]] = {}
    for one in found:
        alone = None if one.tenants else one.labels
        key = (one.kind, one.severity, one.message, one.advice, alone)
        alike.setdefault(key, []).append(one)
    return [_merged(these) for these in alike.values()]


def _merged(these: list[FindingGroup]) -> FindingGroup:
    return replace(
        these[0],
        labels=tuple(dict.fromkeys(label for one in these for label in one.labels)),
        targets=tuple(dict.fromkeys(target for one in these for target in one.targets)),
        tenants=tuple(dict.fromkeys(tenant for one in these for tenant in one.tenants)),
    )
