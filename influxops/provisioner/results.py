"""What an application gets, and what is known of it for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field

from influxops.domain.finding import FindingKind
from influxops.domain.plan import TenantPlan, TenantStatus
from influxops.domain.record import State


class EnsureStatus(StrEnum):
    """How a tenant's database was ensured."""

    EXISTING = "existing"
    CREATED = "created"
    QUEUED = "queued"  # missing, or unknown; retried automatically
    FAILED = "failed"  # missing, and it stays so before something else changes


class EnsureResult(Struct, frozen=True):
    """Where a tenant's database is, or why it is not there."""

    tenant: str  # its id
    status: EnsureStatus
    database: str = ""  # its database's name; empty where it is not known
    #: The name of the target that holds it, or that the ledger has for it; None where neither is
    #: so. A server makes a database for any client that writes: do not write anywhere else.
    target: str | None = None
    url: str = ""  # of that target; empty without one
    reason: str = ""  # why it is not there, or what else is to be said

    @property
    def is_ready(self) -> bool:
        """Whether the database is there, and may be written to."""
        return self.status in (EnsureStatus.EXISTING, EnsureStatus.CREATED)


class ProvisionerHealth(Struct, frozen=True):
    """How a Provisioner is, as far as this process knows."""

    pending: int = 0  # tenants that wait
    oldest: float | None = None  # for how many seconds the oldest of them waits
    last_error: str = ""  # why the last try failed
    #: What is wrong with each server that cannot be asked now, by its section.
    trouble: Mapping[str, str] = field(default_factory=dict)


#: Tenants that are remembered; beyond that, those go that were added first.
_MOST = 200_000
#: States in which the ledger has a target for a tenant whose database was not seen.
_RECORDED = (State.ALLOCATED, State.UNCONFIRMED, State.MOVING, State.RETIRING)
_STATUSES = {
    TenantStatus.OK: EnsureStatus.EXISTING,
    TenantStatus.CHANGED: EnsureStatus.CREATED,
    TenantStatus.PENDING: EnsureStatus.QUEUED,
    TenantStatus.UNKNOWN: EnsureStatus.QUEUED,
}


def result_of(plan: TenantPlan, urls: Mapping[str, str]) -> EnsureResult:
    """Return what a tenant's plan means for an application."""
    status = status_of(plan)
    target = _target(plan, status)
    why = plan.reason
    return EnsureResult(plan.tenant, status, plan.database, target, urls.get(target or "", ""), why)


def status_of(plan: TenantPlan) -> EnsureStatus:
    """Return what a tenant's plan means; one that no source has yet counts as failed."""
    if is_claimed(plan):
        return EnsureStatus.QUEUED
    return _STATUSES.get(plan.status, EnsureStatus.FAILED)


def is_claimed(plan: TenantPlan) -> bool:
    """Return whether another run has claimed a tenant, for a moment."""
    return plan.kind is FindingKind.CLAIMED


def is_unregistered(plan: TenantPlan) -> bool:
    """Return whether no source has a tenant, yet."""
    return plan.kind is FindingKind.UNKNOWN_TENANT


def _target(plan: TenantPlan, status: EnsureStatus) -> str | None:
    """Return the target that holds a tenant's database, or that the ledger has for it.

    What planning would choose is none: another target may be chosen when it is created, and a
    server makes a database for any client that writes.
    """
    if status in (EnsureStatus.EXISTING, EnsureStatus.CREATED):
        return plan.target
    found = plan.record
    is_final = status is EnsureStatus.FAILED and not is_unregistered(plan)
    if found is None or found.state not in _RECORDED or is_final:
        return None
    return found.target if plan.target in (None, found.target) else None


class LocationCache:
    """Remembers where databases are; may be used from any thread."""

    def __init__(self) -> None:
        # In the order in which they were added.
        self._found: dict[str, tuple[EnsureResult, float]] = {}
        self._lock = threading.Lock()

    def get(self, tenant: str) -> EnsureResult | None:
        """Return what is known of a tenant; None where its time is over."""
        entry = self._found.get(tenant)
        return entry[0] if entry is not None and entry[1] > time.monotonic() else None

    def add(self, found: EnsureResult, until: float) -> None:
        """Remember where a tenant's database is, until a time of the monotonic clock."""
        with self._lock:
            self._found.pop(found.tenant, None)
            self._found[found.tenant] = (found, until)
            if len(self._found) > _MOST:
                del self._found[next(iter(self._found))]
