"""Reports as the engine makes them, for the tests of what tells them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from influxops import (
    Action,
    Change,
    Database,
    Finding,
    Origin,
    Outcome,
    Plan,
    Refusal,
    Report,
    RunHead,
    Severity,
    SourceState,
    Status,
    TargetState,
    TenantResult,
    TenantState,
)

DAY = 86400
EU1 = TargetState(
    "eu1",
    "influxdb3",
    "http://eu1.example:8181",
    True,
    edition="Core",
    version="3.10.0",
    cluster_uuid="6f1c-a",
    databases=3,
    capacity=5,
    capacity_is_estimate=True,
)
EU2 = TargetState("eu2", "influxdb3", "http://eu2.example:8181", False, error="connection refused")
REGISTRY = SourceState("registry", "postgres", "iot@db.example:5432/iotcloud", 3)
NO_TENANTS = Finding(
    "no-tenants",
    Severity.INFO,
    "No tenants found in device_registry",
    "is this the right registry?",
)


def database(name: str, **values: Any) -> Database:
    return Database(name, **{"retention": None, "marker": True, "telemetry": False, **values})


def tenant(id_: str, state: str, *actions: str, **values: Any) -> TenantResult:
    """A tenant with a database on eu1, unless the values say otherwise."""
    name = values.pop("database", f"telemetry_{id_}")
    target = values.pop("target", "eu1")
    return TenantResult(
        id_,
        TenantState(state),
        target,
        name,
        f"http://{target}.example:8181" if target else None,
        tuple(Action(action) for action in actions),
        before=values.pop("before", None),
        after=values.pop("after", database(name) if name else None),
        **values,
    )


def outcome(
    id_: str,
    action: str = "create",
    status: str = "done",
    *,
    before: Database | None = None,
    after: Database | None = None,
    target: str = "eu1",
    message: str = "",
) -> Outcome:
    name = f"telemetry_{id_}"
    change = Change(Action(action), id_, target, name, before, after or database(name))
    return Outcome(change, Status(status), message)


def report(
    tenants: Iterable[TenantResult] = (),
    *,
    outcomes: Iterable[Outcome] = (),
    findings: Iterable[Finding] = (),
    refusals: Iterable[Refusal] = (),
    pending: Iterable[Change] = (),
    targets: tuple[TargetState, ...] = (EU1,),
    dry_run: bool = False,
    exit_code: int = 0,
    seconds: float = 2.13,
    origin: Origin = Origin("ops", "ops1", "/etc/influxops.toml"),  # noqa: B008 - frozen
) -> Report:
    return Report(
        run_id="3f2a9c01d7be",
        started=datetime(2026, 11, 22, 3, 0, tzinfo=UTC),
        seconds=seconds,
        dry_run=dry_run,
        origin=origin,
        sources=(REGISTRY,),
        targets=targets,
        plan=Plan(changes=tuple(pending), refusals=tuple(refusals)),
        outcomes=tuple(outcomes),
        tenants=tuple(tenants),
        findings=tuple(findings),
        exit_code=exit_code,
    )


def head(of: Report) -> RunHead:
    return RunHead(of.run_id, of.dry_run, of.origin, of.sources, of.targets)


def error(message: str, hint: str = "", **about: Any) -> Finding:
    return Finding("trouble", Severity.ERROR, message, hint, **about)


def warning(message: str, hint: str = "", **about: Any) -> Finding:
    return Finding("drift", Severity.WARNING, message, hint, **about)


def full_report() -> Report:
    """One report with at least one of everything."""
    shorter = "would be given a shorter retention period: telemetry_globex on eu1"
    weeks = database("telemetry_globex", retention=90 * DAY)
    return report(
        [
            tenant("enabled", "ok"),
            tenant("acme", "changed", "create", after=database("telemetry_acme")),
            tenant(
                "a b",
                "held",
                database="",
                target=None,
                message="tenant 'a b': its database name holds a space",
                hint="rename the tenant",
            ),
            tenant("globex", "refused", before=weeks, after=weeks, message=shorter),
            tenant("hooli", "failed", "create", after=None, message="eu1 answered 503"),
            tenant("stark", "unknown", target=None, after=None, message="its target is silent"),
        ],
        outcomes=[outcome("acme"), outcome("hooli", status="failed", message="eu1 answered 503")],
        findings=[
            error("target eu2: connection refused", "start it", target="eu2"),
            error(
                "tenant 'a b': its database name holds a space", "rename the tenant", tenant="a b"
            ),
            warning("tenant 'enabled': no retention is managed", "set one", tenant="enabled"),
            Finding("orphan", Severity.INFO, "telemetry_gone belongs to no tenant", target="eu1"),
        ],
        refusals=[Refusal("shorter-retention", shorter, ("globex",))],
        pending=[outcome("acme").change, outcome("hooli").change],
        targets=(EU1, EU2),
        exit_code=1,
    )
