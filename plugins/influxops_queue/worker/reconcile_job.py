"""The full run that one of the workers makes now and then: `ensure`, then `retire --due`."""

from __future__ import annotations

from influxops.engine.operations import DropDue, Ensure
from influxops.errors import ExitCode
from influxops.provisioner.engine_pool import Engines
from influxops.report.model import Report


def full_run(engines: Engines, timeout: float) -> ExitCode:
    """Run over all tenants, then drop what is due, each in its time; return the worse end."""
    with engines.run(timeout) as (engine, context):
        made = engine.run(Ensure(), context)
    if made.interrupted or not _has_due(made):
        return made.exit_code
    with engines.run(timeout) as (engine, context):
        dropped = engine.run(DropDue(), context)
    return max(made.exit_code, dropped.exit_code)


def _has_due(report: Report) -> bool:
    """Return whether anything may be due, which takes reading everything again."""
    if report.ledger is None or report.ledger.error:
        return False
    states = report.ledger.states
    moved = any(plan.record is not None and plan.record.drop_after for plan in report.tenants)
    return bool(states.get("retiring")) or moved
