"""`influxops where`: which server holds a tenant's database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from influxops.cli.options import command_line, read_options
from influxops.cli.output.stdio import say, say_json
from influxops.domain.finding import FindingKind, Severity
from influxops.domain.record import Record, State
from influxops.domain.text import pluralize, quote, truncate
from influxops.errors import ExitCode

if TYPE_CHECKING:
    from influxops.domain.plan import TenantPlan
    from influxops.report.view import ReportView


@click.command("where", short_help="Show which server holds a tenant's database.")
@click.argument("tenant")
@click.option(
    "--recorded",
    is_flag=True,
    help="Answer from the ledger in one query, without asking sources and servers.",
)
@read_options
@click.pass_context
def command(
    ctx: click.Context, tenant: str, recorded: bool, output: str, timeout: float | None
) -> None:
    """Show the target, the URL and the database of one tenant.

    Ends with 1 when it has none, and says where it would be made; when it is elsewhere than it is
    recorded; and when it is on several targets, all of which are shown with what they hold.
    """
    if recorded:
        _recorded(ctx, tenant, output, timeout)
        return
    from influxops.cli.inspect import look
    from influxops.cli.session import session
    from influxops.engine.status import copies_of, place
    from influxops.report.document import plain

    with session(ctx, timeout=timeout, tenants=[tenant]) as (engine, context):
        view, _ = look(engine, context, leave_out=(FindingKind.OVER_CAPACITY,))
    found = next((each for each in view.report.tenants if each.tenant == tenant), None)
    if found is None:
        ctx.exit(view.report.exit_code or ExitCode.FAILED)
    exists = view.exists(found)
    copies = [{**copy, "url": view.target_url(copy["target"])} for copy in copies_of(found)]
    if output == "json":
        target = None if copies else place(view, found)
        document = {
            "tenant": tenant,
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
        _tell(view, found, copies, exists=exists)
    if view.report.interrupted:
        ctx.exit(ExitCode.INTERRUPTED)
    is_doubted = bool(copies) or _is_elsewhere(found)
    is_one = exists and not (is_doubted and view.severity(found) is Severity.ERROR)
    ctx.exit(ExitCode.OK if is_one else ExitCode.FAILED)


def _recorded(ctx: click.Context, tenant: str, output: str, timeout: float | None) -> None:
    """Answer from the ledger alone."""
    from influxops.cli.session import session
    from influxops.report.document import plain

    with session(ctx, timeout=timeout) as (engine, context):
        record = engine.needs_ledger().load_records({tenant}, context).records.get(tenant)
        places = {handle.name: handle.state().url for handle in engine.targets}
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
        say("  ".join(filter(None, (placed.target, url, placed.database, _since(placed)))))
        if placed.state is not State.READY:
            say(f"it is {placed.state.value}", err=True)
    else:
        what = f"it is {record.state.value}" if record else "the ledger has no such tenant"
        say(f"{quote(tenant)}: {what}", label="ERR", err=True)
    found = placed is not None and placed.state not in (State.ALLOCATED, State.LOST)
    ctx.exit(ExitCode.OK if found else ExitCode.FAILED)


def _since(record: Record | None) -> str:
    """Return since when a tenant has its database, as the ledger has it; empty without one."""
    return f"since {record.created_at:%Y-%m-%d}" if record is not None and record.created_at else ""


def _tell(
    view: ReportView,
    tenant: TenantPlan,
    copies: list[dict[str, Any]],
    *,
    exists: bool | None,
) -> None:
    if copies:
        for copy in copies:
            words = (copy["target"], copy["url"], tenant.database, _contents(copy))
            say("  ".join(filter(None, words)))
    elif exists:
        url = view.target_url(tenant.target)
        words = (tenant.target, url, tenant.database, _since(tenant.record))
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
        make = command_line(click.get_current_context(), "ensure")
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
