"""Writes to the ledger where single tenants stand, and tells reporters who gets no database.

Beside single.py: a program that has found out where tenants go may leave making them to another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from influxops.domain.database import UNMANAGED, Inventory
from influxops.domain.finding import Finding, FindingKind, Severity, blocked
from influxops.domain.plan import Plan, TenantPlan, TenantStatus
from influxops.domain.record import LedgerUpdate, Record, State
from influxops.errors import ExitCode, LedgerError
from influxops.reconcile.ledger.commit import record
from influxops.reconcile.request import RunRequest
from influxops.reconcile.single.look_up import Place, Step
from influxops.reconcile.state import Observed, RunState
from influxops.report.model import Report, RunOrigin
from influxops.runtime.context import RunContext

#: For so long a tenant that no source has may still come: it was wanted before it was registered.
_NOBODYS = timedelta(minutes=10)
#: States in which a tenant waits for its database; what else the ledger knows is not for this.
_WAITING = (State.PENDING, State.ALLOCATED)


def note(places: Sequence[Place], request: RunRequest, context: RunContext) -> dict[str, Record]:
    """Write to the ledger where tenants stand, as far as it does not say so.

    A place is reserved for who is to be made, so that whoever reads the ledger can make it. Who
    cannot be decided stays wanted, with the reason. A database that was found is recorded, and so
    is one that is lost.

    Args:
        places: The tenants, as they were looked up or tried.
        request: What the run is asked to do.
        context: The run.

    Returns:
        The record, as it stands now, of each tenant that waits and was written about. One that
        another run has changed meanwhile stands as that one left it.

    Raises:
        LedgerError: When the ledger cannot be written, or none is configured.
        Interrupted: When the run is over.
    """
    if request.ledger is None:
        raise LedgerError("there is no ledger to note anything in")
    for group in _by_target(place for place in places if _is_news(place)).values():
        _record_found(group, request, context)
    records = [after for place in places if (after := _noted(place)) is not None]
    return request.ledger.commit(LedgerUpdate(tuple(records)), context) if records else {}


def _is_news(place: Place) -> bool:
    found = place.record
    if place.is_lost:
        return found is not None and not found.is_claimed and found.state is not State.LOST
    if place.step is not Step.THERE or place.plan is None:
        return False
    is_seen = place.plan.before is not None and place.plan.before.complete is True
    return (
        found is None
        or found.state in _WAITING
        or (found.state is State.UNCONFIRMED and found.is_provisioned and is_seen)
    )


def _by_target(places: Iterable[Place]) -> Mapping[str | None, list[Place]]:
    groups: defaultdict[str | None, list[Place]] = defaultdict(list)
    for place in places:
        groups[place.target].append(place)
    return groups


def _noted(place: Place) -> Record | None:
    """Return a tenant's record as it is to be; None where there is nothing to write."""
    before = place.record or Record(place.tenant, State.PENDING)
    after = before
    if before.is_claimed or before.state not in (*_WAITING, State.RETIRED):
        return None
    match place.step:
        case Step.MAKE if place.target:
            after = replace(
                before,
                state=State.ALLOCATED,
                database=place.database,
                target=place.target,
                identity=_identity(place),
            )
        case Step.WAIT if before.state is State.ALLOCATED:
            after = replace(before, error=place.reason)  # its place stays taken
        case Step.WAIT | Step.NEVER:
            after = replace(before, state=State.PENDING, error=place.reason)
        case Step.UNKNOWN if _is_nobodys(before):
            after = replace(before, state=State.RETIRED, error="")
        case Step.UNKNOWN if place.record is not None and before.state in _WAITING:
            after = replace(before, state=State.PENDING, error=place.reason)
    is_new = place.record is None and place.step is not Step.UNKNOWN
    return after if after != before or (is_new and after.error) else None


def _identity(place: Place) -> str | None:
    """Return the identity of the server that a tenant's target leads to."""
    inventories = place.observed.inventories if place.observed is not None else {}
    inventory = inventories.get(place.target or "")
    return inventory.identity if inventory is not None else None


def observed_of(places: Iterable[Place], records: Mapping[str, Record]) -> Observed:
    """Return what was read where tenants were looked up, with their records.

    Args:
        places: The tenants.
        records: Their records, by id; of others nothing is written.
    """
    observed = next((p.observed for p in places if p.observed is not None), Observed())
    view = replace(observed.ledger_view, is_configured=True, records=records)
    return replace(observed, ledger_view=view)


def _is_nobodys(record: Record) -> bool:
    """Return whether a tenant that no source has was wanted so long ago that none will have it."""
    if record.state is not State.PENDING or record.state_since is None:
        return False
    return datetime.now(UTC) - record.state_since > _NOBODYS


def _record_found(places: Sequence[Place], request: RunRequest, context: RunContext) -> None:
    """Record databases of one target that were there, or are lost, as any run does."""
    plans, records = {}, {}
    for place in places:
        assert place.plan is not None
        before = place.plan.before
        finding = blocked(FindingKind.LOST, place.reason, "") if place.is_lost else None
        plans[place.tenant] = replace(
            place.plan,
            status=TenantStatus.BLOCKED if place.is_lost else TenantStatus.OK,
            finding=finding,
            changes=(),
            after=before,
        )
        if place.record is not None:
            records[place.tenant] = place.record
    observed = observed_of(places, records)
    state = record(RunState(observed, Plan(plans)), request, context, at_end=True, with_seen=True)
    if state.notes:
        raise LedgerError(state.notes[-1].message, hint=state.notes[-1].remedy)


def confirm(
    places: Sequence[Place], seen: Inventory, request: RunRequest, context: RunContext
) -> None:
    """Write to the ledger that databases were seen to be complete.

    Args:
        places: The tenants, all of one target.
        seen: What their target holds of them.
        request: What the run is asked to do.
        context: The run.

    Raises:
        LedgerError: When it cannot be read or written.
        Interrupted: When the run is over.
    """
    if request.ledger is None or not places:
        return
    memory = request.ledger.load_records([place.tenant for place in places], context)
    known = {place.tenant: (place.target, place.database) for place in places}
    records = tuple(
        replace(record, state=State.READY, last_seen_at=memory.now, error="", attempts=0)
        for record in memory.records.values()
        if record.state is State.UNCONFIRMED
        and not record.is_claimed
        and (record.target, record.database) == known[record.tenant]
        and record.identity == seen.identity
    )
    if records:
        request.ledger.commit(LedgerUpdate(records), context)


def trouble(
    places: Sequence[Place], request: RunRequest, context: RunContext, origin: RunOrigin
) -> Report:
    """Return a report of tenants that get no database until somebody decides.

    Args:
        places: The tenants.
        request: What the run is asked to do.
        context: The run.
        origin: Who runs it.
    """
    return Report(
        run_id=context.id,
        started=context.started,
        seconds=context.seconds,
        dry_run=False,
        origin=origin,
        # No targets: of none was all read that it holds.
        ledger=request.ledger.state() if request.ledger is not None else None,
        tenants=tuple(map(_failed, places)),
        exit_code=ExitCode.FAILED,
        is_limited=True,
    )


def _failed(place: Place) -> TenantPlan:
    plan = place.plan or TenantPlan(place.tenant, place.database, UNMANAGED)
    if plan.finding is not None and (place.is_lost or plan.finding.message == place.reason):
        return plan
    finding = Finding(
        FindingKind.LOST if place.is_lost else FindingKind.CHANGE_FAILED,
        Severity.ERROR,
        place.reason,
        "`influxops plan` tells more",
        place.tenant,
        place.target,
        place.database,
    )
    return replace(plan, status=TenantStatus.FAILED, finding=finding, changes=(), after=None)
