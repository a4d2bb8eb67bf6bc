"""The rows of `influxops status` and of the Ansible module's information: a database each."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from influxops.domain.database import DatabaseStats, Retention, Unknown, Unmanaged
from influxops.domain.durations import format_duration
from influxops.domain.finding import FindingKind
from influxops.domain.plan import TenantPlan, TenantStatus
from influxops.domain.record import Record, State
from influxops.report.document import plain
from influxops.report.view import ReportView
from influxops.runtime.context import RunContext

if TYPE_CHECKING:
    from influxops.engine.engine import Engine


def tenant_status(engine: Engine, view: ReportView, context: RunContext) -> list[dict[str, Any]]:
    """Return a row of plain data for each tenant of a dry run: what its database holds.

    None is what is not known; `target` and `url` are None where there is no database, or more than
    one. `retention` and `desired` are durations (`30d`), None where data is kept for ever,
    `unknown` or `unmanaged`; `created_at` is when the database was created or first found,
    `ledger_state` the tenant's state in the ledger.
    """
    names: defaultdict[str, list[str]] = defaultdict(list)
    for tenant in view.report.tenants:
        if tenant.before is not None and tenant.target is not None and not copies_of(tenant):
            names[tenant.target].append(tenant.database)
    stats = engine.describe(names, context)
    return [
        _row(view, tenant, stats.get((tenant.target or "", tenant.database)))
        for tenant in view.report.tenants
    ]


def orphan_status(engine: Engine, view: ReportView, context: RunContext) -> list[dict[str, Any]]:
    """Return a row of plain data for each recorded tenant that is in no source."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    held = {target.name for target in view.report.targets if target.reachable}
    for record in view.report.orphans:
        if record.state.is_provisioned and record.target in held:
            names[record.target].append(record.database)
    stats = engine.describe(names, context)
    return [
        {
            "tenant": record.tenant,
            "target": record.target,
            "database": record.database or None,
            "ledger_state": record.state.value,
            **stats.get((record.target or "", record.database), DatabaseStats("")).facts,
            "created_at": plain(record.created_at),
        }
        for record in view.report.orphans
    ]


def copies_of(tenant: TenantPlan) -> list[dict[str, Any]]:
    """Return what is known of each copy of a database that is on more than one target."""
    if tenant.finding is None or tenant.finding.kind is not FindingKind.IN_TWO_TARGETS:
        return []
    return [dict(copy) for copy in tenant.finding.facts["copies"]]


def _row(view: ReportView, tenant: TenantPlan, known: DatabaseStats | None) -> dict[str, Any]:
    found = tenant.before
    exists = view.exists(tenant)
    copies = copies_of(tenant)
    one = found is not None and not copies
    message = known.message if known else ""
    # What a guard refuses to change is no fault of the database.
    if not message and not tenant.status.is_ok:
        refused = tenant.status is TenantStatus.GUARDED and exists
        message = "" if refused else view.reason_text(tenant)
    notes = [note.message for note in tenant.notes if note.kind is FindingKind.INVALID_RETENTION]
    message = "; ".join(filter(None, (message, *notes)))
    record = tenant.record
    waits = record is not None and record.state in (State.PENDING, State.ALLOCATED)
    if record and waits and exists is False and record.error not in message:
        message = "; ".join(filter(None, (message, f"the last try: {record.error}")))
    complete: Any = found.complete if found else None
    if known is not None and not isinstance(known.complete, Unknown):
        complete = known.complete
    return {
        "tenant": tenant.tenant,
        "target": tenant.target if one else None,
        "url": view.target_url(tenant.target) if one else None,
        "planned_target": None if found or copies else tenant.target or tenant.pin,
        "database": tenant.database or None,
        "exists": exists,
        "marker": plain(complete) if found else False if exists is False else None,
        "retention": _retention(found.retention) if found and one else None,
        "desired": _retention(tenant.retention),
        "telemetry_count": known.telemetry_count if known else None,
        **(known or DatabaseStats("")).facts,
        "message": message,
        "copies": copies,
        "created_at": plain(record.created_at) if record else None,
        "ledger_state": record.state.value if record else None,
        "moving_to": _moving_to(record),
    }


def _moving_to(record: Record | None) -> str | None:
    if record is None or record.state is not State.MOVING:
        return None
    return record.secondary_target if record.drop_after is None else record.target


def place(view: ReportView, tenant: TenantPlan) -> str | None:
    """Return the target that holds a tenant's database, or that the ledger has for it.

    None where neither is so: a server creates a database for any client that writes, so where it
    would be created is not where anything is to be written.
    """
    if view.exists(tenant):
        return tenant.target
    found = tenant.record
    if found is None or tenant.target not in (None, found.target):
        return None
    target = view.report.target(found.target)
    if target is None:
        return None
    is_unread = found.state.is_provisioned and not target.reachable
    is_reserved = found.state in (State.ALLOCATED, State.UNCONFIRMED)
    return target.name if is_unread or is_reserved else None


def _retention(value: Retention | Unknown | Unmanaged) -> str | None:
    if isinstance(value, Unknown | Unmanaged):
        return str(value.value)
    return None if value is None else format_duration(value)
