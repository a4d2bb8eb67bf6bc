"""Reports as the engine makes them, for the tests of what tells them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from influxops.plugin import (
    UNMANAGED,
    Action,
    Change,
    ChangeResult,
    Database,
    ExitCode,
    Finding,
    FindingKind,
    Hint,
    Outcome,
    Refusal,
    Report,
    RunOrigin,
    RunStart,
    Severity,
    SourceState,
    TargetCapabilities,
    TargetState,
    TenantPlan,
    TenantStatus,
)

DAY = 86400
INFLUXDB3 = TargetCapabilities(
    server="InfluxDB 3",
    retention=(3600, 3650 * DAY),
    completion_marker="marker",
    table_label="telemetry",
    identity="cluster-uuid",
)
EU1 = TargetState(
    "eu1",
    "influxdb3",
    "http://eu1.example:8181",
    True,
    edition="Core",
    version="3.10.0",
    identity="6f1c-a",
    databases=3,
    capacity=5,
    capacity_is_estimate=True,
    tables=8,
    table_capacity=2000,
    capabilities=INFLUXDB3,
)
EU2 = TargetState(
    "eu2",
    "influxdb3",
    "http://eu2.example:8181",
    False,
    error="connection refused",
    capabilities=INFLUXDB3,
)
REGISTRY = SourceState("registry", "postgres", "iot@db.example:5432/iotcloud", 3)
NO_TENANTS = Finding(
    FindingKind.NO_TENANTS,
    Severity.INFO,
    "No tenants found in device_registry",
    "is this the right registry?",
)
_KINDS = {
    "blocked": FindingKind.INVALID_NAME,
    "guarded": FindingKind.GUARD,
    "failed": FindingKind.CHANGE_FAILED,
    "unknown": FindingKind.NOT_READ,
}


def database(**values: Any) -> Database:
    return Database(**{"retention": None, "complete": True, "in_use": False, **values})


def change(
    id_: str,
    action: str = "create",
    *,
    before: Database | None = None,
    after: Database | None = None,
    target: str = "eu1",
    **values: Any,
) -> Change:
    name = f"telemetry_{id_}"
    return Change(Action(action), id_, target, name, before, after or database(), **values)


def tenant(id_: str, verdict: str, *actions: str, **values: Any) -> TenantPlan:
    """A tenant with a database on eu1, unless the values say otherwise.

    Its actions were done where it was changed, and are to be done else. `message` and `hint`
    make the finding that explains its verdict.
    """
    name = values.pop("database", f"telemetry_{id_}")
    target = values.pop("target", "eu1")
    message, hint = values.pop("message", ""), values.pop("hint", "")
    before, after = (
        values.pop("before", None),
        values.pop("after", database() if name else None),
    )
    beyond = values.pop("may_exceed_capacity", False)
    where = {"target": target or "eu1", "may_exceed_capacity": beyond}
    changes = tuple(change(id_, each, before=before, after=after, **where) for each in actions)
    if message:
        values.setdefault(
            "finding",
            Finding(_KINDS[verdict], Severity.ERROR, message, hint, tenant=id_, database=name),
        )
    if verdict == "changed":
        values.setdefault("outcomes", tuple(Outcome(each, ChangeResult.DONE) for each in changes))
    return TenantPlan(
        id_,
        name,
        values.pop("retention", UNMANAGED),
        TenantStatus(verdict),
        target=target,
        before=before,
        after=after,
        changes=changes,
        **values,
    )


def outcome(id_: str, action: str = "create", status: str = "done", **values: Any) -> Outcome:
    message, applied = values.pop("message", ""), values.pop("partially_applied", False)
    return Outcome(
        change(id_, action, **values), ChangeResult(status), message, partially_applied=applied
    )


def settled(*outcomes: Outcome) -> list[TenantPlan]:
    """Tenants whose changes ended so."""
    tenants = []
    for each in outcomes:
        done = each.status is ChangeResult.DONE
        told = Finding(FindingKind.CHANGE_FAILED, Severity.ERROR, each.message or "it failed")
        tenants.append(
            TenantPlan(
                each.change.tenant,
                each.change.database,
                UNMANAGED,
                TenantStatus.CHANGED if done else TenantStatus.FAILED,
                target=each.change.target,
                before=each.change.before,
                after=each.change.after,
                changes=(each.change,),
                outcomes=(each,),
                finding=None if done else told,
            )
        )
    return tenants


def report(
    tenants: Iterable[TenantPlan] = (),
    *,
    outcomes: Iterable[Outcome] = (),
    notes: Iterable[Finding] = (),
    refusals: Iterable[Refusal] = (),
    targets: tuple[TargetState, ...] = (EU1,),
    dry_run: bool = False,
    is_limited: bool = False,
    exit_code: int = 0,
    seconds: float = 2.13,
    started: datetime = datetime(2026, 11, 22, 3, 0, tzinfo=UTC),
    origin: RunOrigin = RunOrigin("ops", "ops1", "/etc/influxops.toml"),  # noqa: B008 - frozen
) -> Report:
    """A report; `outcomes` makes tenants of their own."""
    return Report(
        run_id="3f2a9c01d7be",
        started=started,
        seconds=seconds,
        dry_run=dry_run,
        origin=origin,
        sources=(REGISTRY,),
        targets=targets,
        tenants=(*tenants, *settled(*outcomes)),
        refusals=tuple(refusals),
        notes=tuple(notes),
        exit_code=ExitCode(exit_code),
        is_limited=is_limited,
    )


def head(of: Report) -> RunStart:
    return RunStart(of.run_id, of.dry_run, of.origin, of.sources, of.targets)


def error(message: str, hint: str | Hint = "", **about: Any) -> Finding:
    return Finding(about.pop("kind", FindingKind.NOTE), Severity.ERROR, message, hint, **about)


def warning(message: str, hint: str | Hint = "", **about: Any) -> Finding:
    return Finding(about.pop("kind", FindingKind.NOTE), Severity.WARNING, message, hint, **about)


def unreachable(target: str = "eu2") -> Finding:
    return error("connection refused", "start it", target=target, kind=FindingKind.UNREACHABLE)


def full_report() -> Report:
    """One report with at least one of everything."""
    weeks = database(retention=90 * DAY)
    shorter = change("globex", "set-retention", before=weeks)
    return report(
        [
            tenant(
                "enabled",
                "ok",
                notes=(warning("no retention is managed", "set one", tenant="enabled"),),
            ),
            tenant("acme", "changed", "create", after=database()),
            tenant(
                "a b",
                "blocked",
                database="",
                target=None,
                message="its database name holds a space",
                hint="rename the tenant",
            ),
            tenant(
                "globex",
                "guarded",
                before=weeks,
                after=weeks,
                refused=(shorter,),
                message="refused by the guard shorter-retention: retention 90d to 30d",
                hint=Hint.allow("shorter-retention"),
            ),
            tenant(
                "hooli",
                "failed",
                "create",
                after=None,
                message="it answered 503",
                outcomes=(outcome("hooli", status="failed", message="it answered 503"),),
            ),
            tenant("stark", "unknown", target=None, after=None, message="its target is silent"),
        ],
        notes=[
            unreachable(),
            Finding(FindingKind.ORPHAN, Severity.INFO, "telemetry_gone belongs to no tenant"),
        ],
        refusals=[
            Refusal(
                "shorter-retention",
                "would be given a shorter retention period: telemetry_globex on eu1",
                ("globex",),
            )
        ],
        targets=(EU1, EU2),
        exit_code=1,
    )
