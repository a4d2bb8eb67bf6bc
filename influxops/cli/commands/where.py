"""`influxops where`: which server holds a tenant's database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from influxops.cli.options import command_line, read_options
from influxops.cli.output.stdio import say, say_json
from influxops.cli.selection import NONE, Selection, selection_options
from influxops.domain.finding import FindingKind, Severity
from influxops.domain.record import Record, State
from influxops.domain.text import pluralize, quote, truncate
from influxops.errors import ExitCode

if TYPE_CHECKING:
    from influxops.domain.plan import TenantPlan
    from influxops.report.view import ReportView


@click.command("where", short_help="Show which server holds a tenant's database.")
@selection_options
@click.option(
    "--recorded",
    is_flag=True,
    help="Answer from the ledger in one query, without asking sources and servers.",
)
@read_options
@click.pass_context
def command(
    ctx: click.Context,
    tenants: tuple[str, ...],
    states: tuple[str, ...],
    targets: tuple[str, ...],
    recorded: bool,
    output: str,
    timeout: float | None,
) -> None:
    """Show the target, the URL and the database of a tenant, or of several, a line each.

    A PATTERN is an id with `*`, `?` or `[…]`; quote it, so that the shell leaves it alone.

    Ends with 1 when one has none, and says where it would be made; when it is elsewhere than it is
    recorded; and when it is on several targets, all of which are shown with what they hold.
    """
    selection = Selection(tenants, states, targets)
    if not tenants and not selection.is_filter:
        raise click.UsageError("name a tenant or a pattern, or give --state or --target", ctx)
    if recorded:
        _recorded(ctx, selection, output, timeout)
        return
    from influxops.cli.inspect import look, selected
    from influxops.cli.session import session

    with session(ctx, timeout=timeout, tenants=selection.named or ()) as (engine, context):
        view, _ = look(engine, context, leave_out=(FindingKind.OVER_CAPACITY,))
    if selection.is_filter:
        view = selected(view, selection)
    found = view.report.tenants
    if not found:
        if not selection.is_filter or view.report.exit_code:
            ctx.exit(view.report.exit_code or ExitCode.FAILED)
        say(NONE, err=True)
    several = selection.is_filter or len(tenants) > 1
    is_good = [_show(view, each, output, several=several) for each in found]
    if view.report.interrupted:
        ctx.exit(ExitCode.INTERRUPTED)
    ctx.exit(ExitCode.OK if all(is_good) else ExitCode.FAILED)


def _show(view: ReportView, found: TenantPlan, output: str, *, several: bool) -> bool:
    """Tell where a tenant is, with its id where there are several; return whether all is well."""
    from influxops.engine.status import copies_of, place
    from influxops.report.document import plain

    exists = view.exists(found)
    copies = [{**copy, "url": view.target_url(copy["target"])} for copy in copies_of(found)]
    if output == "json":
        target = None if copies else place(view, found)
        document = {
            "tenant": found.tenant,
            "target": target,
            "url": view.target_url(target),
            "planned_target": None if copies or target else found.target,
            "database": found.database or None,
            "exists": exists,
            "copies": copies,
            "since": plain(found.record.created_at) if found.record else None,
        }
        say_json(document, indent=None)
    else:
        who = truncate(found.tenant) if several else ""
        _tell(view, found, copies, who, exists=exists)
    is_doubted = bool(copies) or _is_elsewhere(found)
    return bool(exists) and not (is_doubted and view.severity(found) is Severity.ERROR)


def _recorded(ctx: click.Context, selection: Selection, output: str, timeout: float | None) -> None:
    """Answer from the ledger alone."""
    from influxops.cli.session import session

    with session(ctx, timeout=timeout) as (engine, context):
        records = engine.needs_ledger().load_records(selection.named, context).records
        places = {handle.name: handle.state().url for handle in engine.targets}
    asked: Iterable[str] = dict.fromkeys(selection.tenants)
    if selection.is_filter:
        placed = [(each.target, each.secondary_target) for each in records.values()]
        selection.check(records, chain(places, *placed))
        asked = [
            each.tenant
            for each in records.values()
            if selection.takes(each.tenant, [each.state], [each.target, each.secondary_target])
        ]
        if not asked:
            say(NONE, err=True)
    several = selection.is_filter or len(selection.tenants) > 1
    found = [_remembered(id_, records.get(id_), places, output, several=several) for id_ in asked]
    ctx.exit(ExitCode.OK if all(found) else ExitCode.FAILED)


def _remembered(
    tenant: str,
    record: Record | None,
    places: Mapping[str, str | None],
    output: str,
    *,
    several: bool,
) -> bool:
    """Tell what the ledger has of a tenant; return whether its database is known to be there."""
    from influxops.report.document import plain

    has_place = record is not None and record.state not in (State.PENDING, State.RETIRED)
    placed = record if has_place else None
    url = places.get(placed.target or "") if placed is not None else None
    if output == "json":
        document = {
            "tenant": tenant,
            "target": placed.target if placed is not None else None,
            "url": url,
            "database": placed.database or None if placed is not None else None,
            "state": record.state.value if record is not None else None,
            "since": plain(record.created_at) if record is not None else None,
        }
        say_json(document, indent=None)
    elif placed is not None:
        who = truncate(tenant) if several else ""
        say("  ".join(filter(None, (who, placed.target, url, placed.database, _since(placed)))))
        if placed.state is not State.READY:
            say(f"{f'{quote(tenant)}: ' if several else ''}it is {placed.state.value}", err=True)
    else:
        what = f"it is {record.state.value}" if record else "the ledger has no such tenant"
        say(f"{quote(tenant)}: {what}", label="ERR", err=True)
    return placed is not None and placed.state not in (State.ALLOCATED, State.LOST)


def _since(record: Record | None) -> str:
    """Return since when a tenant has its database, as the ledger has it; empty without one."""
    return f"since {record.created_at:%Y-%m-%d}" if record is not None and record.created_at else ""


def _tell(
    view: ReportView,
    tenant: TenantPlan,
    copies: list[dict[str, Any]],
    who: str,
    *,
    exists: bool | None,
) -> None:
    if copies:
        for copy in copies:
            words = (who, copy["target"], copy["url"], tenant.database, _contents(copy))
            say("  ".join(filter(None, words)))
    elif exists:
        url = view.target_url(tenant.target)
        words = (who, tenant.target, url, tenant.database, _since(tenant.record))
        say("  ".join(filter(None, words)))
        if not _is_elsewhere(tenant):
            return
    elif tenant.target is not None and tenant.kind is not FindingKind.LOST:
        full = any(
            finding.kind is FindingKind.OVER_CAPACITY and finding.target == tenant.target
            for finding in view.report.notes
        )
        on = tenant.target
        then = f"try {on}, which may be full" if full else f"make it on {on}"
        make = command_line(click.get_current_context(), "ensure", [tenant.tenant])
        say(
            f"{truncate(tenant.database)} is not there yet; `{make}` would {then}",
            err=True,
        )
        return
    advice = f" ({view.advice(tenant)})" if view.advice(tenant) else ""
    say(f"{quote(tenant.tenant)}: {view.reason_text(tenant)}{advice}", label="ERR", err=True)


def _is_elsewhere(tenant: TenantPlan) -> bool:
    """Return whether what was found is perhaps only a copy of a tenant's database."""
    return tenant.kind in (FindingKind.MISPLACED, FindingKind.LOST)


def _contents(copy: Mapping[str, Any]) -> str:
    """Return how much one copy holds."""
    rows, last = copy.get("rows"), copy.get("last_write")
    if rows is None:
        return "rows not read"
    at_most = any(table["at_most"] for table in copy.get("tables") or ())
    what = ("at most " if at_most else "") + pluralize(rows, "row")
    return what + (f", last write {last}" if last else "")
