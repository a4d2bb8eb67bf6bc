"""What a run comes to: outcomes settled by the re-read, tenants' states, the exit code; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from influxops.errors import InfluxopsError
from influxops.model import (
    UNKNOWN,
    Action,
    Change,
    Database,
    Finding,
    Inventory,
    Outcome,
    Plan,
    Severity,
    Status,
)
from influxops.report import TargetState, TenantResult, TenantState
from influxops.run import Run, Scope

FAILED, REFUSED = 1, 4


def settle(
    outcome: Outcome, read: Inventory | InfluxopsError | None, *, managed: bool = True
) -> Outcome:
    """Hold an outcome against what its target holds now: that is what calls a change good.

    Args:
        outcome: What the target's plugin said.
        read: What the target holds now, why it cannot be read, or None where it was not read.
        managed: Whether the tenant's retention period is managed.
    """
    if read is None or outcome.status is Status.FAILED:
        return outcome
    if isinstance(read, InfluxopsError):
        if outcome.status is not Status.DONE:
            return outcome
        return replace(
            outcome,
            status=Status.UNKNOWN,
            message=f"it was done, but could not be read again: {read.message}",
            hint="run it again",
        )
    change = outcome.change
    found = read.databases.get(change.database)
    if change.action is Action.DROP:
        good = found is None
    else:
        assert change.after is not None
        good = found is not None and _matches(change, found, change.after, managed)
    if good:
        return (
            outcome
            if outcome.status is Status.DONE
            else replace(outcome, status=Status.DONE, message="", hint="")
        )
    if outcome.status is Status.DONE:
        return replace(
            outcome,
            status=Status.FAILED,
            message=f"{change.target} said that it was done, but reading it again shows "
            + ("no such database" if found is None else _difference(change, found)),
            hint="somebody else may have changed it; run it again",
        )
    if outcome.status is Status.UNKNOWN:
        hint = outcome.hint or "run it again"
        return replace(outcome, status=Status.FAILED, hint=hint)
    return outcome


def _matches(change: Change, found: Database, wanted: Database, managed: bool) -> bool:
    if change.action is Action.ADD_MARKER:
        return found.marker is not False
    if managed and found.retention is not UNKNOWN and found.retention != wanted.retention:
        return False
    return change.action is Action.SET_RETENTION or found.marker is not False


def _difference(change: Change, found: Database) -> str:
    if change.action is not Action.SET_RETENTION and found.marker is False:
        return "it without its marker"
    return "another retention period"


def tenant_results(
    plan: Plan,
    outcomes: Sequence[Outcome],
    targets: Iterable[TargetState],
    inventories: Mapping[str, Inventory],
    findings: Iterable[Finding],
    run: Run,
) -> tuple[TenantResult, ...]:
    """Tell where each tenant stands.

    Args:
        plan: The plan.
        outcomes: How each pending change ended, settled; none in a dry run.
        targets: The targets, for their URLs.
        inventories: What the targets hold now.
        findings: Why tenants are held.
        run: The run, for its scope and whether it was a dry one.

    Returns:
        One result a tenant in the scope, in the order of the sources.
    """
    targets = list(targets)
    urls = {target.name: target.url for target in targets}
    unread = [target.name for target in targets if not target.reachable]
    changes: defaultdict[str, list[Change]] = defaultdict(list)
    for change in (*plan.changes, *plan.refused):
        changes[change.tenant].append(change)
    refused: defaultdict[str, list[Change]] = defaultdict(list)
    for change in plan.refused:
        refused[change.tenant].append(change)
    by_tenant: defaultdict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_tenant[outcome.change.tenant].append(outcome)
    reasons = {f.tenant: f for f in findings if f.tenant in plan.held}
    refusals = {tenant: refusal for refusal in plan.refusals for tenant in refusal.tenants}
    results = []
    for tenant, database in plan.databases.items():
        own = [o.change for o in by_tenant[tenant]] or changes[tenant]
        message = hint = ""
        if tenant in plan.held:
            state = TenantState.HELD
            if tenant in reasons:
                message, hint = reasons[tenant].message, reasons[tenant].hint
        elif tenant in refusals:
            state, message = TenantState.REFUSED, _refused(refused[tenant], unread)
            hint = f"--allow {refusals[tenant].guard} if it is meant"
        elif tenant in plan.unknown:
            state, message = TenantState.UNKNOWN, "its target cannot be read"
        elif bad := [o for o in by_tenant[tenant] if o.status is not Status.DONE]:
            state, message, hint = TenantState.FAILED, bad[0].message, bad[0].hint
        elif by_tenant[tenant]:
            state = TenantState.CHANGED
        elif any(change.action is not Action.KEEP for change in own):
            state = TenantState.PENDING if run.dry_run else TenantState.FAILED
            message = "" if run.dry_run else "the run ended before it was tried"
        elif own or not run.scope.targets:
            state = TenantState.OK
        else:
            continue  # Its place is outside the scope.
        target = own[0].target if own else None
        before = own[0].before if own else None
        held = inventories.get(target) if target else None
        after = held.databases.get(database) if held and not run.dry_run else None
        if run.dry_run and own:
            after = own[-1].after
        results.append(
            TenantResult(
                tenant,
                state,
                target,
                database,
                urls.get(target) if target else None,
                tuple(c.action for c in own if c.action is not Action.KEEP),
                before,
                after,
                message,
                hint,
            )
        )
    return tuple(results)


def _refused(changes: Sequence[Change], unread: Sequence[str]) -> str:
    """Say what a guard refuses one tenant; its refusal sums up all of them."""
    reasons = [change.reason or change.action.value for change in changes]
    return ", ".join(reasons) or f"it may be on {' or '.join(unread)}, which cannot be read"


def final_findings(
    findings: Iterable[Finding],
    plan: Plan,
    scope: Scope,
    allow: frozenset[str],
    *,
    applied: bool,
) -> tuple[Finding, ...]:
    """Settle the severity of findings by what they meant for this run.

    A target that cannot be read is no error where nobody in the scope depends on it, or where
    it is allowed. An estimate that proved right or wrong has done its work.

    Args:
        findings: All that were noticed.
        plan: The plan.
        scope: The run's scope.
        allow: The guards that are overridden.
        applied: Whether the plan was carried out.
    """
    settled = []
    for finding in findings:
        if applied and finding.kind == "over-capacity" and finding.tenant is None:
            continue
        if finding.kind in ("unreachable", "refused", "wrong-server"):
            elsewhere = (scope.tenants and not plan.unknown) or (
                scope.targets and finding.target not in scope.targets
            )
            if elsewhere or ("unreachable" in allow and not plan.unknown):
                finding = replace(finding, severity=Severity.WARNING)
        settled.append(finding)
    return tuple(settled)


def exit_code(findings: Iterable[Finding], outcomes: Iterable[Outcome], plan: Plan) -> int:
    """Tell what a run ends with: 1 before 4 before 0.

    Args:
        findings: The final findings.
        outcomes: The settled outcomes.
        plan: The plan.
    """
    if any(finding.severity is Severity.ERROR for finding in findings):
        return FAILED
    if any(outcome.status is not Status.DONE for outcome in outcomes):
        return FAILED
    return REFUSED if plan.refusals else 0
