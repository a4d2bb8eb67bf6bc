"""What a move is for, and the way that each tenant takes."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from influxops.domain.plan import TenantPlan
from influxops.domain.record import Record, State
from influxops.domain.text import did_you_mean, quote
from influxops.errors import ConfigError


class MoveRequest(Struct, frozen=True):
    """What a move is for."""

    to: str | None = None  # the target that the tenants go to; None: where placement puts them
    away: str | None = None  # the target that all recorded tenants leave
    writers_paused: bool = False  # whether somebody says that nobody writes meanwhile
    cache_ttl: int = 60  # seconds for which clients may go on using a place
    retire_after: int = 7 * 86400  # seconds for which the old copy is kept
    #: Tables that do not keep a tenant from being cut over where they cannot be copied.
    without_tables: tuple[str, ...] = ()

    def refuse(self, targets: Collection[str]) -> None:
        """Refuse a target that is not configured.

        Raises:
            ConfigError: Then.
        """
        for name in filter(None, (self.to, self.away)):
            if name not in targets:
                raise ConfigError(
                    f"no target is called {quote(name)}",
                    hint=did_you_mean(name, targets) or f"targets: {', '.join(targets)}",
                )


class Route(Struct, frozen=True):
    """From where to where one tenant goes."""

    source: str
    target: str
    was_cut_over: bool = False  # whether it is on `target` already, and only the rest is to come
    is_cancelled: bool = False  # whether a move that was begun is given up: it stays on `source`


def route_of(plan: TenantPlan) -> Route:
    """Return the way that a planned move takes."""
    record = plan.record
    assert record is not None and record.target is not None
    change = plan.move
    assert change is not None
    if is_cut_over(record):
        assert record.secondary_target is not None
        return Route(record.secondary_target, record.target, was_cut_over=True)
    return Route(record.target, change.target, is_cancelled=record.target == change.target)


def is_cut_over(record: Record) -> bool:
    """Return whether a tenant that is moving is on its new target: what may be dropped is known."""
    return record.state is State.MOVING and record.drop_after is not None
