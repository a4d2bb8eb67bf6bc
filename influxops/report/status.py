"""What each tenant has: the rows of `influxops status` and of the Ansible module's information."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from influxops.document import plain
from influxops.durations import format_duration
from influxops.engine import Engine
from influxops.model import UNKNOWN, UNMANAGED, DatabaseStats
from influxops.report import Report, TenantResult, TenantState
from influxops.run import Run

#: Why planning holds a tenant after it found no database of its on any target that it could read.
_HELD_WHEN_MISSING = ("over-capacity", "draining", "case")


def tenant_status(engine: Engine, report: Report, run: Run) -> list[dict[str, Any]]:
    """Count what the databases of a report's tenants hold, and tell all that is known of them.

    Args:
        engine: Reads the counts.
        report: The report of a dry run.
        run: That run.

    Returns:
        Plain data, one row a tenant: tenant, target, url, database, exists, marker, retention,
        desired (retention), telemetry_count, last_write, message. None is what is not known;
        target and URL are None where there is no database.
    """
    names: defaultdict[str, list[str]] = defaultdict(list)
    for result in report.tenants:
        if result.before is not None and result.target is not None:
            names[result.target].append(result.database)
    stats = engine.describe(names, run)
    return [
        _row(
            result,
            report.plan.retentions.get(result.tenant),
            stats.get((result.target or "", result.database)),
            exists=tenant_exists(result, report),
        )
        for result in report.tenants
    ]


def tenant_exists(result: TenantResult, report: Report) -> bool | None:
    """Tell whether a tenant has its database.

    Args:
        result: The tenant.
        report: The report of a dry run, which holds it.

    Returns:
        None where nobody can know: a target that cannot be read may hold it, whatever the others
        say, and planning looks for no database of a tenant that it holds for its id or its name.
    """
    if result.before is not None:
        return True
    if result.state in (TenantState.UNKNOWN, TenantState.REFUSED):
        return None
    if result.state is TenantState.HELD:
        unread = any(not target.reachable for target in report.targets)
        looked_for = not result.database or any(
            finding.tenant == result.tenant and finding.kind in _HELD_WHEN_MISSING
            for finding in report.findings
        )
        return None if unread or not looked_for else False
    return None if result.tenant in report.plan.unknown else False


def _row(
    result: TenantResult, desired: object, known: DatabaseStats | None, *, exists: bool | None
) -> dict[str, Any]:
    found = result.before
    # What a guard refuses to change is no fault of what is there.
    refused = result.state is TenantState.REFUSED and exists
    message = (known.message if known else "") or ("" if refused else result.message)
    return {
        "tenant": result.tenant,
        "target": result.target if found else None,
        "url": result.url if found else None,
        "database": result.database,
        "exists": exists,
        "marker": plain(found.marker) if found else False if exists is False else None,
        "retention": _retention(found.retention) if found else None,
        "desired": _retention(desired),
        "telemetry_count": known.telemetry_count if known else None,
        "last_write": plain(known.last_write) if known else None,
        "message": message,
    }


def _retention(value: Any) -> str:
    if value is UNKNOWN or value is UNMANAGED:
        return str(value.value)
    return "none" if value is None else format_duration(value)
