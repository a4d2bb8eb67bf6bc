"""Whether a tenant's database exists, and how much is in it."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from influxops.domain.database import DatabaseStats, TableStats, TargetHints
from influxops.domain.finding import FindingKind
from influxops.domain.plan import TenantPlan, TenantStatus
from influxops.engine.engine import Engine
from influxops.engine.tenants import TenantRequest, plan_selected
from influxops.errors import InfluxopsError
from influxops.provisioner.pipeline import Works
from influxops.provisioner.results import is_claimed, is_unregistered
from influxops.runtime.context import RunContext

#: States of a plan in which nothing is to be created.
_FINAL = (TenantStatus.BLOCKED, TenantStatus.GUARDED, TenantStatus.FAILED)


class DatabaseInspection(Struct, frozen=True):
    """What is known of a tenant's database; None is what is not known."""

    exists: bool | None = None
    telemetry_count: int | None = None  # rows of the table `telemetry`
    rows: int | None = None  # rows of all tables
    tables: tuple[TableStats, ...] | None = None
    last_write: datetime | None = None  # the newest time of a row in any table, in UTC
    error: str = ""  # why something is not known


def inspect(works: Works, tenant: str, timeout: float) -> DatabaseInspection:
    """Look at a tenant's database."""
    if hindrance := works.hindrance():
        return DatabaseInspection(error=hindrance)
    try:
        with works.engines.borrow() as (engine, run):
            return _inspect(engine, run.with_timeout(timeout), tenant)
    except InfluxopsError as error:
        return DatabaseInspection(error=error.message)


def look_up(works: Works, tenant: str, timeout: float) -> TenantPlan:
    """Return what would be done for a tenant, whose database is looked at."""
    with works.engines.borrow() as (engine, run):
        return _plan(engine, run.with_timeout(timeout), tenant)


def _plan(engine: Engine, context: RunContext, tenant: str) -> TenantPlan:
    hints = TargetHints(used={target.name: 0 for target in engine.targets})
    asked = [TenantRequest(tenant)]
    return plan_selected(asked, engine.request, context, hints, verify=True).tenants[tenant]


def _inspect(engine: Engine, context: RunContext, tenant: str) -> DatabaseInspection:
    plan = _plan(engine, context, tenant)
    target, why = plan.target, plan.reason
    is_final = plan.status in _FINAL and not is_claimed(plan)
    is_final = is_final and plan.kind is not FindingKind.STALE_LEDGER
    if is_unregistered(plan):
        target = _target_with(plan.database, engine, context)
        if target is None:
            return _nothing()
    elif plan.kind is FindingKind.LOST:
        return DatabaseInspection(False, 0, error=why)
    elif plan.before is None and (plan.status is TenantStatus.PENDING or is_final):
        return _nothing()
    elif target is None or plan.before is None:
        return DatabaseInspection(error=why)
    stats = engine.describe({target: [plan.database]}, context).get((target, plan.database))
    if stats is None:
        stats = DatabaseStats(plan.database, message="its target cannot count")
    return DatabaseInspection(
        True, stats.telemetry_count, stats.rows, stats.tables, stats.last_write, stats.message
    )


def _nothing() -> DatabaseInspection:
    return DatabaseInspection(False, 0, 0, ())


def _target_with(database: str, engine: Engine, context: RunContext) -> str | None:
    """Return the target that holds the database of a tenant that no source has."""
    for target in engine.targets:
        if database in target.get_databases([database], context).databases:
            return target.name
    return None
