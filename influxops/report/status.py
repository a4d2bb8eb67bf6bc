"""What each tenant has: the rows of `influxops status` and of the Ansible module's information."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from influxops.context import Context
from influxops.durations import format_duration
from influxops.engine import Engine
from influxops.findings import Kind
from influxops.model import UNKNOWN, UNMANAGED, DatabaseStats, TenantPlan, Verdict
from influxops.report.document import plain
from influxops.report.view import ReportView


def tenant_status(engine: Engine, view: ReportView, context: Context) -> list[dict[str, Any]]:
    """Count what the databases of a report's tenants hold, and return all that is known of them.

    Args:
        engine: Reads the counts.
        view: The report of a dry run.
        context: That run.

    Returns:
        Plain data, one row a tenant, as `$defs/status_row` of docs/report.schema.json has it:
        tenant, target, url, database, exists, marker, retention, desired (retention),
        telemetry_count, last_write, copies, message.
    """
    names: defaultdict[str, list[str]] = defaultdict(list)
    for tenant in view.report.tenants:
        if tenant.before is not None and tenant.target is not None:
            names[tenant.target].append(tenant.database)
    stats = engine.describe(names, context)
    return [
        _row(tenant, view, stats.get((tenant.target or "", tenant.database)))
        for tenant in view.report.tenants
    ]


def _row(tenant: TenantPlan, view: ReportView, known: DatabaseStats | None) -> dict[str, Any]:
    found, exists = tenant.before, view.exists(tenant)
    return {
        "tenant": tenant.tenant,
        "target": tenant.target if found else None,
        "url": view.url(tenant) if found else None,
        "database": tenant.database,
        "exists": exists,
        "marker": _complete(tenant, known, exists),
        "retention": _retention(found.retention) if found else None,
        "desired": _retention(tenant.retention),
        "telemetry_count": known.telemetry_count if known else None,
        "last_write": plain(known.last_write) if known else None,
        "copies": _copies(tenant),
        "message": (known.message if known else "") or _message(tenant, view),
    }


def _complete(tenant: TenantPlan, known: DatabaseStats | None, exists: bool | None) -> Any:
    """Return whether a database is complete; what its own data shows counts for more."""
    if tenant.before is None:
        return False if exists is False else None
    if known is not None and known.complete is not UNKNOWN:
        return known.complete
    return plain(tenant.before.complete)


def _message(tenant: TenantPlan, view: ReportView) -> str:
    # What a guard refuses to change is no fault of what is there.
    refused = tenant.verdict is Verdict.REFUSED and tenant.before is not None
    return "" if refused or view.is_right(tenant) else view.why(tenant)


def _copies(tenant: TenantPlan) -> list[Any]:
    """Return a tenant's databases where it has more than one."""
    for finding in tenant.findings:
        if finding.kind is Kind.IN_TWO_TARGETS:
            copies: list[Any] = plain(finding.facts.get("copies", ()))
            return copies
    return []


def _retention(value: Any) -> str | None:
    """Return a retention period as text; None where data is kept for ever, as in a report."""
    if value is UNKNOWN or value is UNMANAGED:
        return str(value.value)
    return None if value is None else format_duration(value)
