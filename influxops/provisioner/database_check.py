"""Whether a tenant's database is there, and how much is in it."""

from __future__ import annotations

from typing import Any

from influxops.domain.database import DatabaseStats
from influxops.engine.engine import Engine
from influxops.errors import InfluxopsError
from influxops.provisioner.pipeline import Works
from influxops.reconcile.observe.selected import Asked, Known
from influxops.reconcile.single.look_up import Place, Step
from influxops.runtime.context import RunContext


def check(works: Works, tenant: str, timeout: float) -> dict[str, Any]:
    """Return `exists`, and what is in it (`telemetry_count`, `tables`, …), or `error`.

    Args:
        works: Lends an engine.
        tenant: The tenant's id.
        timeout: Seconds that it may take.
    """
    try:
        with works.engines.borrow() as (engine, run):
            return _check(engine, run.limited(timeout), works, tenant)
    except InfluxopsError as error:
        return _not_known(error.message)


def _check(engine: Engine, context: RunContext, works: Works, tenant: str) -> dict[str, Any]:
    hindrance = works.hindrance()
    if hindrance is not None:
        return _not_known(f"{hindrance.name}: {hindrance.reason}")
    known = Known(used={target.name: 0 for target in engine.targets})
    place = engine.single.look_up({tenant: Asked(tenant)}, context, known, verify=True).places[
        tenant
    ]
    if place.step is Step.UNKNOWN:
        place = _anywhere(engine, context, place)
    plan = place.plan
    if place.is_lost:
        return {"exists": False, "telemetry_count": 0, "error": place.reason}
    if place.step is Step.MAKE or (place.step is Step.NEVER and plan and plan.before is None):
        nothing = DatabaseStats(place.database, 0, tables=())
        return {"exists": False, "telemetry_count": 0, **nothing.facts}
    is_seen = place.step is Step.THERE and not place.reason
    if place.target is None or not (is_seen or (plan and plan.before is not None)):
        return _not_known(place.reason)
    names = {place.target: [place.database]}
    stats = engine.describe(names, context).get((place.target, place.database))
    if stats is None:
        stats = DatabaseStats(place.database, message="its target cannot count")
    found = {"exists": True, "telemetry_count": stats.telemetry_count, **stats.facts}
    return found | {"error": stats.message} if stats.message else found


def _anywhere(engine: Engine, context: RunContext, place: Place) -> Place:
    """Look for the database of a tenant that no source has."""
    from msgspec.structs import replace

    for target in engine.targets:
        if place.database in target.get_databases([place.database], context).databases:
            return replace(place, step=Step.THERE, target=target.name, reason="")
    return replace(place, step=Step.MAKE)


def _not_known(why: str) -> dict[str, Any]:
    return {"exists": None, "error": why}
