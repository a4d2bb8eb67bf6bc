"""What each tenant has: the rows of `influxops status` and of the Ansible module's information."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from influxops.domain.database import DatabaseStats, Retention, Unknown, Unmanaged
from influxops.domain.durations import format_duration
from influxops.domain.finding import Kind
from influxops.domain.plan import TenantPlan, Verdict
from influxops.domain.record import State
from influxops.report.document import plain
from influxops.report.view import ReportView
from influxops.runtime.context import Context

if TYPE_CHECKING:
    from influxops.engine.engine import Engine


def tenant_status(engine: Engine, view: ReportView, context: Context) -> list[dict[str, Any]]:
    """Return what the databases of a report's tenants hold, and all that is known of them.

    Args:
        engine: Reads the counts.
        view: The view of the report of a dry run.
        context: That run.

    Returns:
        Plain data, one row a tenant: tenant, target, url, database, exists, marker, retention,
        desired (retention), telemetry_count, rows, tables, last_write, message, copies, since (when
        it was made or first found) and recorded (its state in the ledger). None is what is not
        known; target and URL are None where there is no database, or more than one. Retention
        periods are durations (`30d`), None where data is kept for ever, `unknown` or `unmanaged`.
    """
    names: defaultdict[str, list[str]] = defaultdict(list)
    for tenant in view.report.tenants:
        if tenant.before is not None and tenant.target is not None and not _copies(tenant):
            names[tenant.target].append(tenant.database)
    stats = engine.describe(names, context)
    return [
        _row(view, tenant, stats.get((tenant.target or "", tenant.database)))
        for tenant in view.report.tenants
    ]


def _copies(tenant: TenantPlan) -> list[dict[str, Any]]:
    if tenant.finding is None or tenant.finding.kind is not Kind.IN_TWO_TARGETS:
        return []
    return [dict(copy) for copy in tenant.finding.facts["copies"]]


def _row(view: ReportView, tenant: TenantPlan, known: DatabaseStats | None) -> dict[str, Any]:
    found = tenant.before
    exists = view.exists(tenant)
    copies = _copies(tenant)
    one = found is not None and not copies
    message = known.message if known else ""
    # What a guard refuses to change is no fault of what is there.
    if not message and not tenant.verdict.is_right:
        refused = tenant.verdict is Verdict.REFUSED and exists
        message = "" if refused else view.why(tenant)
    tried = _last_try(tenant)
    if exists is False and tried and tried not in message:
        message = "; ".join(filter(None, (message, f"the last try: {tried}")))
    complete: Any = found.complete if found else None
    if known is not None and not isinstance(known.complete, Unknown):
        complete = known.complete
    return {
        "tenant": tenant.tenant,
        "target": tenant.target if one else None,
        "url": view.url(tenant) if one else None,
        "database": tenant.database or None,
        "exists": exists,
        "marker": plain(complete) if found else False if exists is False else None,
        "retention": _retention(found.retention) if found and one else None,
        "desired": _retention(tenant.retention),
        "telemetry_count": known.telemetry_count if known else None,
        **(known or DatabaseStats("")).facts,
        "message": message,
        "copies": copies,
        "since": plain(tenant.record.made) if tenant.record else None,
        "recorded": tenant.record.state.value if tenant.record else None,
    }


def place(view: ReportView, tenant: TenantPlan) -> str | None:
    """Return the target that holds a tenant's database, or that the ledger has for it.

    Returns:
        None where neither is so: a server makes a database for any client that writes, so
        where it would be made is not where anything is to be written.
    """
    if view.exists(tenant):
        return tenant.target
    found = tenant.record
    if found is None or tenant.target not in (None, found.target):
        return None
    target = next((each for each in view.report.targets if each.name == found.target), None)
    if target is None:
        return None
    is_unread = found.state.is_promised and not target.reachable
    is_reserved = found.state in (State.RESERVED, State.UNCONFIRMED)
    return target.name if is_unread or is_reserved else None


def _last_try(tenant: TenantPlan) -> str:
    """Return why a tenant that waits for its database was not made, as the ledger has it."""
    record = tenant.record
    if record is None or record.state not in (State.WANTED, State.RESERVED):
        return ""
    return record.error


def _retention(value: Retention | Unknown | Unmanaged) -> str | None:
    if isinstance(value, Unknown | Unmanaged):
        return str(value.value)
    return None if value is None else format_duration(value)
