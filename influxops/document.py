"""A report as plain data: the JSON that the CLI, the reporters and the Ansible module give.

The format is documented in `docs/report.md`; `VERSION` grows when a reader would have to change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from influxops.model import Change, Database, Outcome, Plan
from influxops.report import Report, TargetState

VERSION = 1


def plain(value: Any) -> Any:
    """Turn a value of the model into what JSON knows.

    Args:
        value: A dataclass of the model, an enum, a time, or a collection of such.

    Returns:
        Dictionaries, lists, strings, numbers, booleans and None; times in RFC 3339, in UTC.
    """
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list | frozenset | set):
        return [plain(item) for item in value]
    return value


def database_document(database: Database | None) -> dict[str, Any] | None:
    """Give a database as plain data; None where there is none."""
    document: dict[str, Any] | None = plain(database)
    return document


def change_document(change: Change) -> dict[str, Any]:
    """Give a change as plain data."""
    document: dict[str, Any] = plain(change)
    return document


def report_document(report: Report) -> dict[str, Any]:
    """Give a report as plain data.

    Args:
        report: The report of a run, a dry one too.

    Returns:
        The document that `docs/report.md` describes.
    """
    return {
        "version": VERSION,
        "run": {
            "id": report.run_id,
            "started": plain(report.started),
            "seconds": round(report.seconds, 3),
            "dry_run": report.dry_run,
            "interrupted": report.interrupted,
            "exit_code": report.exit_code,
            **plain(report.origin),
        },
        "sources": plain(report.sources),
        "targets": [_target(target) for target in report.targets],
        "plan": _plan(report.plan),
        "outcomes": [_outcome(outcome) for outcome in report.outcomes],
        "tenants": plain(report.tenants),
        "findings": plain(report.findings),
        "summary": summary(report),
    }


def _target(target: TargetState) -> dict[str, Any]:
    return {**plain(target), "places_left": target.places_left}


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "changes": [change_document(change) for change in plan.pending],
        "refusals": plain(plan.refusals),
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "action": outcome.change.action.value,
        "tenant": outcome.change.tenant,
        "target": outcome.change.target,
        "database": outcome.change.database,
        "status": outcome.status.value,
        "message": outcome.message,
        "hint": outcome.hint,
    }


def summary(report: Report) -> dict[str, Any]:
    """Count a report: tenants by state, changes by action, findings by severity."""
    return {
        "tenants": dict(Counter(tenant.state.value for tenant in report.tenants)),
        "planned": dict(Counter(change.action.value for change in report.plan.pending)),
        "changed": dict(Counter(change.action.value for change in report.changed)),
        "findings": dict(Counter(finding.severity.value for finding in report.findings)),
    }
