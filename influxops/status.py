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
            unknown=result.tenant in report.plan.unknown,
        )
        for result in report.tenants
    ]


def _row(
    result: TenantResult, desired: object, known: DatabaseStats | None, *, unknown: bool
) -> dict[str, Any]:
    found = result.before
    # A target that cannot be read may hold it, whatever the others say.
    exists = None if unknown else found is not None
    refused = result.state is TenantState.REFUSED and not unknown
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
