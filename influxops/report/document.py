"""A report as plain data: the JSON that the CLI, the reporters and the Ansible modules give.

The format is documented in `docs/report.md`; `VERSION` grows when a reader would have to change.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec
from msgspec import to_builtins

from influxops.domain.database import UNKNOWN, Database, Unknown
from influxops.domain.finding import Finding
from influxops.domain.plan import Change, Outcome, TenantPlan, TenantStatus
from influxops.domain.record import HistoryEntry, Record
from influxops.report.model import Report, TargetState
from influxops.report.wording import CLI_STYLE, HintStyle

VERSION = 2
#: How many items of a list are put into words at once, where it is written piece by piece.
_AT_ONCE = 500


def plain(value: Any) -> Any:
    """Return a value of the model as what JSON writes; times in RFC 3339, in UTC."""
    return to_builtins(value, str_keys=True, enc_hook=_plain)


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


def report_document(report: Report, words: HintStyle = CLI_STYLE) -> dict[str, Any]:
    """Return a report, of a dry run too, as the document that `docs/report.md` describes."""
    document = _parts(report, words, changes_only=False)
    document["plan"] = _with_lists(document["plan"])
    return _with_lists(document)


def _with_lists(part: dict[str, Any]) -> dict[str, Any]:
    return {n: list(each) if isinstance(each, Iterator) else each for n, each in part.items()}


def report_json(
    report: Report,
    words: HintStyle = CLI_STYLE,
    *,
    indent: int = 0,
    changes_only: bool = False,
) -> Iterator[str]:
    """Yield that document as JSON, piece by piece: there is never all of it in memory.

    It is ASCII with escapes: whole in any encoding, and harmless on a terminal. With `changes_only`
    it leaves out the tenants that are, and were, as desired.
    """
    yield from _json(_parts(report, words, changes_only=changes_only), indent, 0)
    yield "\n"


def _json(value: Any, indent: int, depth: int) -> Iterator[str]:
    """Yield a value as JSON; what is an iterator becomes a list."""
    end = "\n" + " " * indent * depth if indent else ""
    start, comma = end + " " * indent, "," if indent else ", "
    if isinstance(value, Iterator):
        before = "["
        while some := list(islice(value, _AT_ONCE)):
            text = _text(some, indent, depth)
            yield before + text[1 : len(text) - len(end) - 1]
            before = comma
        yield "[]" if before == "[" else f"{end}]"
    elif isinstance(value, dict) and value and depth < 2:
        before = "{"
        for name, each in value.items():
            yield f"{before}{start}{_text(name, 0, 0)}: "
            yield from _json(each, indent, depth + 1)
            before = comma
        yield f"{end}}}"
    else:
        yield _text(value, indent, depth)


def _text(value: Any, indent: int, depth: int) -> str:
    """Return a value as JSON, indented as what is so deep in a document."""
    text = "\x7f"
    with contextlib.suppress(UnicodeError):
        text = msgspec.json.encode(value).decode("ascii")
    if text.isprintable():
        text = msgspec.json.format(text, indent=indent)
    else:  # slower, and escapes whatever it is
        text = json.dumps(value, indent=indent or None)
    return text.replace("\n", "\n" + " " * indent * depth) if indent and depth else text


def _parts(report: Report, words: HintStyle, *, changes_only: bool) -> dict[str, Any]:
    """Return the document with iterators as the lists that grow with the tenants."""
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
        "sources": plain(report.sources),
        "targets": [target_document(target) for target in report.targets],
        "ledger": plain(report.ledger),
        "plan": {
            "changes": map(_change, report.planned),
            "refusals": [
                {name: plain(getattr(each, name)) for name in ("guard", "message", "tenants")}
                for each in report.refusals
            ],
        },
        "events": map(_event, report.events),
        "outcomes": (_outcome(outcome, words) for outcome in report.outcomes),
        "tenants": (
            _tenant(tenant, urls, words)
            for tenant in report.tenants
            if not changes_only or tenant.status is not TenantStatus.OK
        ),
        "findings": (finding_document(finding, words) for finding in report.findings),
        "summary": summary(report),
    }


def _change(change: Change) -> dict[str, Any]:
    told = {n: value for n, value in plain(change).items() if n != "may_exceed_capacity"}
    return {
        **told,  # its tenant tells whether it may exceed a capacity
        "before": database_document(change.database, change.before),
        "after": database_document(change.database, change.after),
    }


def summary(report: Report) -> dict[str, Any]:
    """Return a report counted: tenants by state, changes by action, findings by severity."""
    return {
        "tenants": dict(Counter(tenant.status.value for tenant in report.tenants)),
        "planned": dict(Counter(change.action.value for change in report.planned)),
        "changed": dict(Counter(change.action.value for change in report.changed)),
        "findings": dict(Counter(finding.severity.value for finding in report.findings)),
    }


def database_document(name: str, database: Database | None) -> dict[str, Any] | None:
    """Return a database as plain data; None where there is none."""
    if database is None:
        return None
    return {
        "name": name,
        "retention": _known(database.retention),
        "marker": _known(database.complete),
        "telemetry": _known(database.in_use),
    }


def _known(value: int | Unknown | None) -> int | str | None:
    return UNKNOWN.value if isinstance(value, Unknown) else value


def finding_document(finding: Finding, words: HintStyle = CLI_STYLE) -> dict[str, Any]:
    """Return a finding as plain data; its message is a sentence that is whole by itself."""
    about = ("tenant", "target", "database", "source", "reporter")
    return {
        "kind": finding.kind.value,
        "severity": finding.severity.value,
        "message": finding.sentence,
        "hint": words.advice(finding.remedy),
        **{name: getattr(finding, name) for name in about},
        "facts": plain(finding.facts),
        "remedy": plain(finding.remedy._asdict()) if finding.remedy else None,
    }


def target_document(target: TargetState) -> dict[str, Any]:
    """Return a target as plain data."""
    names = (name for name in target.__struct_fields__ if name != "capabilities")
    document = {{"identity": "cluster_uuid"}.get(n, n): getattr(target, n) for n in names}
    return {**document, "free_slots": target.free_slots}


def _event(entry: HistoryEntry) -> dict[str, Any]:
    counted = ("times", "last_at")  # what only the ledger knows
    return {name: value for name, value in plain(entry).items() if name not in counted}


def _outcome(outcome: Outcome, words: HintStyle) -> dict[str, Any]:
    change = plain(outcome.change)
    return {
        **{name: change[name] for name in ("action", "tenant", "target", "database")},
        "status": outcome.status.value,
        "message": outcome.message,
        "hint": words.advice(outcome.remedy),
        "partially_applied": outcome.partially_applied,
        "until": change["until"],
    }


def _tenant(tenant: TenantPlan, urls: Mapping[str, str], words: HintStyle) -> dict[str, Any]:
    """Return a tenant as plain data; its message does not name the tenant again."""
    tried = tuple(outcome.change for outcome in tenant.outcomes)
    changes = tried or (*tenant.changes, *tenant.refused)
    finding, before = tenant.finding, database_document(tenant.database, tenant.before)
    is_same = tenant.after is tenant.before
    return {
        "tenant": tenant.tenant,
        "status": tenant.status.value,
        "target": tenant.target,
        "database": tenant.database,
        "url": urls.get(tenant.target or ""),
        "actions": [change.action.value for change in changes],
        "before": before,
        "after": before if is_same else database_document(tenant.database, tenant.after),
        "message": finding.message if finding else "",
        "hint": words.advice(finding.remedy) if finding else "",
        "may_exceed_capacity": tenant.may_exceed_capacity,
        "ledger": _record(tenant.record),
    }


def _record(record: Record | None) -> dict[str, Any] | None:
    if record is None:
        return None
    left_out = ("progress", "version")
    return {name: value for name, value in plain(record).items() if name not in left_out}
