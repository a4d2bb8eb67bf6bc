"""Copying one database by its target's plugin: shown while it goes on, and put into words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from influxops.domain.copy import CopyProgress, CopyRequest
from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.domain.plan import TenantPlan
from influxops.domain.text import one_line, pluralize, truncate
from influxops.errors import InfluxopsError, Interrupted, TargetError
from influxops.plugin_host.target import TargetHandle
from influxops.reconcile.move.plan import Route, route_of
from influxops.report.wording import format_estimate
from influxops.runtime.context import RunContext

#: So many tables that cannot be copied are named with the reason.
_NAMED = 5


class Unread(TargetError):
    """Why tables cannot be copied, while all others are; some were to be `left_out` anyway."""

    def __init__(self, tables: Mapping[str, str], left_out: Iterable[str] = ()) -> None:
        parts = [f"{one_line(name)} ({why})" for name, why in [*tables.items()][:_NAMED]]
        if len(tables) > _NAMED:
            parts.append(f"{len(tables) - _NAMED} more")
        number = pluralize(len(tables), "table")
        super().__init__(
            f"{number} cannot be copied, so that it waits; all others are: {'; '.join(parts)}"
        )
        self.tables = tuple(tables)
        self.left_out = tuple(left_out)


def copy(
    source: TargetHandle,
    target: TargetHandle,
    order: CopyRequest,
    context: RunContext,
    said: Callable[[CopyProgress], None] = lambda copied: None,
    why: str = "",
) -> CopyProgress:
    """Copy a database to the end, its destination filled in, and show how far that is, and why."""
    what = f"{truncate(order.database)} to {target.name}{why}"
    return follow(source.copy(order, target, context), what, order, context, source.name, said)


def follow(
    steps: Iterable[CopyProgress],
    what: str,
    order: CopyRequest,
    context: RunContext,
    target: str,
    said: Callable[[CopyProgress], None] = lambda copied: None,
) -> CopyProgress:
    """Show how far `what` is while a target's plugin copies it, to the end."""
    last = CopyProgress()
    shown: tuple[str, int | None] = ("", None)
    try:
        for copied in steps:
            last = copied
            if (copied.stage, copied.total) != shown:  # how much there is comes a little later
                shown = (copied.stage, copied.total)
                context.on_stage(f"{copied.stage} {what}", copied.total or 0)
            said(copied)
    finally:
        context.on_stage("", 0)
    unread = {n: why for n, why in last.unread.items() if n not in order.without_tables}
    if not last.done and unread:
        raise Unread(unread, [n for n in last.unread if n not in unread])
    if not last.done:
        raise TargetError(
            f"{target} ended copying without a word that all is there",
            hint="tell the author of its plugin",
        )
    return last


def about(plan: TenantPlan, finding: Finding) -> Finding:
    """Return what was noticed while a tenant's database was copied."""
    return replace(finding, tenant=plan.tenant, database=plan.database)


def facts(route: Route, copied: CopyProgress, **more: Any) -> dict[str, Any]:
    """Return what is known of a copy, or what there is to copy, as data, with `more`."""
    return {
        "from": route.source,
        "to": route.target,
        "rows": copied.rows,
        "total": copied.total,
        "at_most": copied.at_most,
        "tables": copied.tables,
        "bytes": copied.bytes,
        "conflicts": copied.conflicts,
        "expiring": copied.expiring,
        **({"kept": copied.ahead} if copied.ahead is not None else {}),
        **more,
    }


def look_ahead(
    plan: TenantPlan,
    handles: Mapping[str, TargetHandle],
    without_tables: tuple[str, ...],
    context: RunContext,
) -> TenantPlan:
    """Return a planned move with what there is to copy; held where that would be refused."""
    route = route_of(plan)
    if route.is_cancelled or plan.unseen_on:
        return plan
    source, target = handles[route.source], handles[route.target]
    order = CopyRequest(
        plan.database,
        only_missing=route.was_cut_over,
        dry_run=True,
        without_tables=without_tables,
    )
    try:
        found = [*source.copy(order, target, context)]
        beyond = {}
        if route.is_back and context.dry_run:
            label = f"looking at {truncate(plan.database)} on {route.target}"
            context.on_stage(label, (found[-1].total or 0) if found else 0)
            beyond = _beyond(source, target, plan, context)
            context.on_stage("", 0)
    except Interrupted:
        raise
    except InfluxopsError as error:
        context.log.debug("%s failed", source.full_name, exc_info=True)
        return replace(plan, changes=()).mark_unknown(
            FindingKind.NOT_READ, error.message, error.remedy
        )
    if not found:
        return plan
    copied = found[-1]
    notes = [about(plan, finding) for finding in copied.findings]
    wrong = next((note for note in notes if note.severity is Severity.ERROR), None)
    if wrong is not None:
        plan = replace(plan, changes=(), notes=(*plan.notes, *(n for n in notes if n is not wrong)))
        return plan.block(wrong)
    rest = "what is left of it: " if route.was_cut_over else ""
    message = f"to be moved from {route.source} to {route.target}: {rest}{format_estimate(copied)}"
    if beyond:
        copied = replace(copied, **beyond)
        message += f"; {_kept(route, copied)}"
    known = facts(route, copied)
    note = plan.info(FindingKind.MOVING, message, target=route.source, facts=known)
    return plan.note(note, *notes)


def _beyond(
    source: TargetHandle, target: TargetHandle, plan: TenantPlan, context: RunContext
) -> dict[str, Any]:
    """Return what an old copy has that the tenant's database has not, as fields of the progress."""
    order = CopyRequest(plan.database, dry_run=True, ahead=True)
    found = [*source.copy(order, target, context)]
    return {"ahead": found[-1].ahead, "conflicts": found[-1].conflicts} if found else {}


def _kept(route: Route, copied: CopyProgress) -> str:
    """Return what happens to what differs between an old copy and the tenant's database."""
    if copied.ahead is None:
        kept = f"what only {route.target} has is kept"
    elif copied.ahead:
        kept = f"kept: {only_there(copied.ahead, route.target)}"
    else:
        kept = f"{route.target} has nothing that {route.source} lacks"
    if copied.conflicts:
        kept += f"; {pluralize(copied.conflicts, 'row')} with other values there "
        kept += f"{'gets' if copied.conflicts == 1 else 'get'} those of {route.source}"
    return kept


def only_there(number: int, target: str) -> str:
    """Return how many rows, or fields of rows, only an old copy has."""
    return f"{pluralize(number, 'row')} (or fields of rows) that only {target} has"
