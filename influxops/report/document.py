"""A report as plain data: the JSON that the CLI, the reporters and the Ansible modules give.

The format is documented in `docs/report.md`; `VERSION` grows when a reader would have to change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any

from msgspec import Struct

from influxops.domain.change import Change, Outcome
from influxops.domain.database import Database
from influxops.domain.finding import Finding
from influxops.domain.hint import Remedy
from influxops.domain.plan import TenantPlan
from influxops.domain.record import Record
from influxops.report.model import Report, SourceState, TargetState
from influxops.report.wording import COMMAND_LINE, Words

VERSION = 1


def plain(value: Any) -> Any:
    """Return a value of the model as what JSON knows.

    Args:
        value: A struct of the model, an enum, a time, or a collection of such.

    Returns:
        Dictionaries, lists, strings, numbers, booleans and None; times in RFC 3339, in UTC.
    """
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Remedy):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list | frozenset | set):
        return [plain(item) for item in value]
    return value


def report_document(report: Report, words: Words = COMMAND_LINE) -> dict[str, Any]:
    """Return a report as plain data.

    Args:
        report: The report of a run, a dry one too.
        words: What the reader can do, in their words.

    Returns:
        The document that `docs/report.md` describes.
    """
    urls = {target.name: target.url for target in report.targets}
    return {
        "version": VERSION,
        "run": {
            "id": report.run_id,
            "started": plain(report.started),
            "seconds": round(report.seconds, 3),
            "command": report.command,
            "dry_run": report.dry_run,
            "interrupted": report.interrupted,
            "exit_code": int(report.exit_code),
            **plain(report.origin),
        },
        "sources": [_source(source) for source in report.sources],
        "targets": [_target(target) for target in report.targets],
        "ledger": plain(report.ledger),
        "plan": {
            "changes": [change_document(change) for change in report.planned],
            "refusals": [
                {"guard": each.guard, "message": each.message, "tenants": list(each.tenants)}
                for each in report.refusals
            ],
        },
        "events": [plain(entry) for entry in report.events],
        "outcomes": [_outcome(outcome, words) for outcome in report.outcomes],
        "tenants": [_tenant(tenant, urls, words) for tenant in report.tenants],
        "findings": [finding_document(finding, words) for finding in report.findings],
        "summary": summary(report),
    }


def summary(report: Report) -> dict[str, Any]:
    """Return a report counted: tenants by state, changes by action, findings by severity."""
    return {
        "tenants": dict(Counter(tenant.verdict.value for tenant in report.tenants)),
        "planned": dict(Counter(change.action.value for change in report.planned)),
        "changed": dict(Counter(change.action.value for change in report.changed)),
        "findings": dict(Counter(finding.severity.value for finding in report.findings)),
    }


def database_document(database: Database | None) -> dict[str, Any] | None:
    """Return a database as plain data; None where there is none."""
    if database is None:
        return None
    return {
        "name": database.name,
        "retention": plain(database.retention),
        "marker": plain(database.complete),
        "telemetry": plain(database.in_use),
    }


def record_document(record: Record | None) -> dict[str, Any] | None:
    """Return what the ledger has of a tenant as plain data; None where it has nothing."""
    if record is None:
        return None
    document: dict[str, Any] = plain(record)
    return {key: value for key, value in document.items() if key not in ("progress", "version")}


def change_document(change: Change) -> dict[str, Any]:
    """Return a change as plain data."""
    return {
        "action": change.action.value,
        "tenant": change.tenant,
        "target": change.target,
        "database": change.database,
        "before": database_document(change.before),
        "after": database_document(change.after),
        "reason": change.reason,
        "until": plain(change.until),
    }


def finding_document(finding: Finding, words: Words = COMMAND_LINE) -> dict[str, Any]:
    """Return a finding as plain data; its message is a sentence that stands for itself."""
    return {
        "kind": finding.kind.value,
        "severity": finding.severity.value,
        "message": finding.sentence,
        "hint": words.advice(finding.remedy),
        "tenant": finding.tenant,
        "target": finding.target,
        "database": finding.database,
        "source": finding.source,
        "reporter": finding.reporter,
        "facts": plain(finding.facts),
        "remedy": plain(finding.remedy) if finding.remedy else None,
    }


def _source(source: SourceState) -> dict[str, Any]:
    document: dict[str, Any] = plain(source)
    return document


def _target(target: TargetState) -> dict[str, Any]:
    return {
        "name": target.name,
        "kind": target.kind,
        "url": target.url,
        "reachable": target.reachable,
        "state": target.state,
        "edition": target.edition,
        "version": target.version,
        "cluster_uuid": target.identity,
        "databases": target.databases,
        "capacity": target.capacity,
        "capacity_is_estimate": target.capacity_is_estimate,
        "error": target.error,
        "places_left": target.places_left,
    }


def _outcome(outcome: Outcome, words: Words) -> dict[str, Any]:
    return {
        "action": outcome.change.action.value,
        "tenant": outcome.change.tenant,
        "target": outcome.change.target,
        "database": outcome.change.database,
        "status": outcome.status.value,
        "message": outcome.message,
        "hint": words.advice(outcome.remedy),
        "effect": outcome.effect,
        "until": plain(outcome.change.until),
    }


def _tenant(tenant: TenantPlan, urls: Mapping[str, str], words: Words) -> dict[str, Any]:
    """Return a tenant as plain data; beside its id, its message does not name it once more."""
    changes = [outcome.change for outcome in tenant.outcomes] or [
        *tenant.changes,
        *tenant.refused,
    ]
    finding = tenant.finding
    return {
        "tenant": tenant.tenant,
        "state": tenant.verdict.value,
        "target": tenant.target,
        "database": tenant.database,
        "url": urls.get(tenant.target or ""),
        "actions": [change.action.value for change in changes],
        "before": database_document(tenant.before),
        "after": database_document(tenant.after),
        "message": finding.message if finding else "",
        "hint": words.advice(finding.remedy) if finding else "",
        "over_estimate": tenant.over_estimate,
        "recorded": record_document(tenant.record),
    }
