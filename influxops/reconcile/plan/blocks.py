"""Why a tenant gets nothing in a run: blocked, deferred, or not known."""

from __future__ import annotations

from msgspec.structs import replace

from influxops.domain.finding import Finding, Kind, Severity
from influxops.domain.hint import Remedy
from influxops.domain.plan import TenantPlan, Verdict


def hold(plan: TenantPlan, finding: Finding) -> TenantPlan:
    """Return a tenant held for a reason, unless it is held for another one already."""
    if plan.verdict is Verdict.HELD and plan.finding is not None:
        return plan
    finding = replace(finding, tenant=plan.tenant, database=plan.database or None)
    return replace(plan, verdict=Verdict.HELD, finding=finding)


def acknowledge(plan: TenantPlan) -> TenantPlan:
    """Return a tenant whose being held somebody knows of: that is no error."""
    if plan.verdict is not Verdict.HELD or plan.finding is None:
        return plan
    message = f"{plan.finding.message} (acknowledged)"
    return replace(plan, finding=replace(plan.finding, severity=Severity.INFO, message=message))


def held(kind: Kind, message: str, remedy: str | Remedy) -> Finding:
    """Return the finding for which a tenant is held."""
    return Finding(kind, Severity.ERROR, message, remedy)


def postponed(
    plan: TenantPlan, kind: Kind, message: str, remedy: str | Remedy = "run it again"
) -> TenantPlan:
    """Return a tenant for which nothing is done now, because something could not be known.

    Args:
        plan: The tenant.
        kind: What kind of reason it is.
        message: The reason.
        remedy: What to do about it.
    """
    plan = replace(plan, changes=(), after=plan.before)
    return not_known(plan, kind, f"postponed: {message}", remedy)


def not_known(plan: TenantPlan, kind: Kind, message: str, remedy: str | Remedy = "") -> TenantPlan:
    """Return a tenant of which something could not be known; the arguments are as above."""
    finding = Finding(
        kind, Severity.ERROR, message, remedy, plan.tenant, plan.target, plan.database or None
    )
    return replace(plan, verdict=Verdict.UNKNOWN, finding=finding)
