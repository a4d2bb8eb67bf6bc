"""The cases: each is a module whose `run` measures one, at one size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.cases import (
    application,
    doors,
    exports,
    fleet,
    ledger,
    moving,
    registry,
    starts,
    status,
    tenants,
    trigger,
)
from bench.place import Place


def _tenants(place: Place) -> Sequence[int]:
    """Give the sizes that real servers hold; the largest one that they hold where none fits."""
    room = min(place.rooms.values(), default=max(place.sizes.tenants))
    fits = [size for size in place.sizes.tenants if size <= room]
    return [*(fits or [room]), *(size for size in place.sizes.tenants if size > room)]


def _once(place: Place) -> Sequence[int]:
    return (0,)


def _last(place: Place) -> Sequence[int]:
    return place.sizes.ledger[-1:]


@dataclass(frozen=True)
class Case:
    """What is measured by a process of its own."""

    name: str
    title: str
    run: Callable[[Place, int], None]
    #: Seconds for one size.
    limit: int
    #: The sizes; 0 is for a case without.
    sizes: Callable[[Place], Sequence[int]] = _once

    def label(self, size: int) -> str:
        return f"{self.title}, {size:,}" if size else self.title


CASES = (
    Case("starts", starts.START, starts.run, 240),
    Case("doors", doors.TITLE, doors.run, 240),
    Case("tenants", tenants.MISSING, tenants.run, 900, _tenants),
    Case("targets", fleet.TARGETS, fleet.targets, 300, lambda place: place.sizes.fleet),
    Case("workers", fleet.WORKERS, fleet.workers, 300, lambda place: place.sizes.fleet),
    Case("slow", fleet.SLOW, fleet.slow_store, 600, lambda place: place.sizes.slow),
    Case("placing", fleet.PLACING, fleet.full_servers, 300),
    Case("status", status.TITLE, status.run, 600, lambda place: place.sizes.status),
    Case("registry", registry.WHOLE, registry.run, 300, lambda place: (place.sizes.devices,)),
    Case("application", application.TITLE, application.run, 180, _last),
    Case("trigger", trigger.MANY, trigger.run, 240, lambda place: (place.sizes.trigger,)),
    Case("ledger", ledger.TITLE, ledger.run, 180, lambda place: place.sizes.ledger),
    Case("moving", moving.ROWS, moving.run, 600, lambda place: place.sizes.rows),
    Case("tables", moving.TABLES, moving.run_small, 240, lambda place: (place.sizes.small,)),
    Case("exports", exports.TITLE, exports.run, 300, lambda place: place.sizes.rows[:1]),
)
