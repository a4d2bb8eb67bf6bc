"""Reports as the engine makes them, for the tests of what reports them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from influxops.domain.database import UNMANAGED, Database
from influxops.domain.finding import Finding, FindingKind
from influxops.domain.hint import Hint
from influxops.domain.plan import (
    Action,
    Change,
    ChangeResult,
    Outcome,
    Refusal,
    TenantPlan,
    TenantStatus,
)
from influxops.errors import ExitCode
from influxops.report.model import Report, RunOrigin, RunStart, SourceState, TargetState

_DAY = 86400


def sample_report(**fields: Any) -> Report:
    """Return a report that has one of everything: each status, a guard, findings of all kinds.

    Args:
        **fields: Fields that are to be others than in the sample.
    """
    created = _change(Action.CREATE, "new")
    failed = _change(Action.CREATE, "hooli")
    kept = Database(90 * _DAY, complete=True)
    shorter = Change(
        Action.SET_RETENTION,
        "globex",
        "eu1",
        "telemetry_globex",
        kept,
        replace(kept, retention=30 * _DAY),
    )
    waits = Refusal("shorter-retention", "would be given a shorter retention period", ("globex",))
    tenants = (
        TenantPlan("acme", "telemetry_acme", UNMANAGED, target="eu1").note(
            Finding.warning(FindingKind.NOTE, "it has grown", "look at it", tenant="acme")
        ),
        TenantPlan(
            *("new", "telemetry_new", UNMANAGED, TenantStatus.CHANGED),
            target="eu1",
            after=created.after,
            changes=(created,),
            outcomes=(Outcome(created, ChangeResult.DONE),),
        ),
        _wrong("a\x1b[2Jb", TenantStatus.BLOCKED, FindingKind.INVALID_NAME, "its name is bad"),
        replace(
            _wrong("globex", TenantStatus.GUARDED, FindingKind.GUARD, waits.message),
            target="eu1",
            before=kept,
            after=kept,
            refused=(shorter,),
        ),
        replace(
            _wrong("hooli", TenantStatus.FAILED, FindingKind.CHANGE_FAILED, "it answered 503"),
            target="eu1",
            changes=(failed,),
            outcomes=(Outcome(failed, ChangeResult.FAILED, "it answered 503"),),
        ),
        _wrong("stark", TenantStatus.UNKNOWN, FindingKind.NOT_READ, "its target is silent"),
    )
    source = SourceState("registry", "memory", "registry.example", len(tenants))
    eu1 = TargetState("eu1", "memory", "http://eu1.example", True, databases=3, capacity=5)
    eu2 = TargetState("eu2", "memory", "http://eu2.example", False, error="connection refused")
    unreachable = Finding.error(
        FindingKind.UNREACHABLE, "connection refused", "start it", target="eu2"
    )
    orphan = Finding.info(FindingKind.ORPHAN, "telemetry_gone belongs to no tenant", target="eu1")
    report = Report(
        run_id="3f2a9c01d7be",
        started=datetime(2026, 11, 22, 3, 0, tzinfo=UTC),
        seconds=2.13,
        dry_run=False,
        origin=RunOrigin("ops", "ops1", "/etc/influxops.toml"),
        sources=(source,),
        targets=(eu1, eu2),
        tenants=tenants,
        refusals=(waits,),
        notes=(unreachable, orphan),
        exit_code=ExitCode.FAILED,
    )
    return replace(report, **fields)


def sample_reports() -> Iterator[tuple[str, Report]]:
    """Yield reports of all sorts, each with a word for it."""
    report = sample_report()
    _, created, *_ = report.tenants
    unchanged = replace(created, status=TenantStatus.OK, changes=(), outcomes=())
    fine = replace(report, refusals=(), notes=(), exit_code=ExitCode.OK, targets=report.targets[:1])
    yield "one of everything", report
    yield "a dry run", replace(report, dry_run=True, apply="influxops ensure")
    yield "something created", replace(fine, tenants=(created,))
    yield "nothing to do", replace(fine, tenants=(unchanged,))
    yield "no tenants", replace(fine, tenants=(), targets=())
    yield "interrupted", replace(report, exit_code=ExitCode.INTERRUPTED)
    yield "some tenants only", replace(fine, tenants=(unchanged,), is_limited=True)


def sample_start(**fields: Any) -> RunStart:
    """Return what a reporter gets before anything is written."""
    of = sample_report()
    start = RunStart(of.run_id, of.dry_run, of.origin, of.sources, of.targets)
    return replace(start, **fields)


def _change(action: Action, tenant: str) -> Change:
    return Change(action, tenant, "eu1", f"telemetry_{tenant}", after=Database(complete=True))


def _wrong(tenant: str, status: TenantStatus, kind: FindingKind, message: str) -> TenantPlan:
    remedy = Hint.allow("shorter-retention") if kind is FindingKind.GUARD else "correct it"
    plan = TenantPlan(tenant, f"telemetry_{tenant}", UNMANAGED, status)
    return replace(plan, finding=plan.error(kind, message, remedy))
