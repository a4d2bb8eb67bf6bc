"""`influxops wait`: until tenants have their databases."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import click

from influxops.cli.options import common, complete_tenants, read_options
from influxops.cli.output.stdio import say, say_json
from influxops.domain.text import group_alike, quote, summarize, truncate
from influxops.errors import DeadlineExceeded, ExitCode, InfluxopsError

if TYPE_CHECKING:
    from influxops.domain.route import Route
    from influxops.engine.engine import Engine
    from influxops.runtime.context import RunContext

#: Seconds between two looks where nothing tells of changes, at first and at most.
_FIRST, _MOST = 1.0, 15.0
#: Seconds in which the ledger is asked why, once the time is up.
_WHY = 5.0
#: What is said of a tenant that neither the ledger nor, without one, a source has.
_UNKNOWN = "not recorded yet"


class _Enough(Exception):
    """There is nothing to wait for any more."""


@click.command("wait", short_help="Wait until tenants have their databases.")
@click.argument(
    "tenants", nargs=-1, required=True, metavar="TENANT...", shell_complete=complete_tenants
)
@read_options
@click.pass_context
def command(
    ctx: click.Context, tenants: tuple[str, ...], output: str, timeout: float | None
) -> None:
    """Wait until the databases of tenants are there and confirmed; create nothing.

    With a ledger it listens there, and sees at once what a worker or another run has done; without
    one, sources and targets are read again every few seconds. A tenant that is not known yet is
    waited for, too.

    \b
    Exit codes:
      0    all of them are ready
      1    the time is up, or one is lost, which waiting does not bring back
      2    the command line or the configuration is wrong
      130  interrupted
    """
    from influxops.cli.session import session

    if not all(each.strip() for each in tenants):
        raise click.BadParameter("an id is not empty", ctx, param_hint="TENANT")
    asked = dict.fromkeys(tenants)
    found: Mapping[str, Route] = {}
    with session(ctx, timeout=timeout) as (engine, context):
        read = _from_ledger if engine.ledger is not None else _from_servers

        def look() -> None:
            nonlocal found
            is_first, found = not found, read(engine, context, asked)
            waits = [each for each in found.values() if not each.target]
            if not waits or any(each.reason == "lost" for each in waits):
                raise _Enough
            if is_first and not common(ctx).quiet:
                who = summarize([f"{quote(each.tenant)} ({each.reason})" for each in waits])
                say(f"waiting for {who}", err=True)

        with contextlib.suppress(_Enough), _in_time(lambda: bool(found)):
            look()  # who is ready needs no connection that listens
            if engine.ledger is not None and engine.ledger.implements("influxops_watch_routes"):
                engine.routes.follow(context, look)
            _poll(look, context)
        why = _errors(engine, found)
    if output == "json":
        say_json({"version": 1, "tenants": [_document(found.get(each), each) for each in asked]})
    elif not common(ctx).quiet:
        for each in filter(None, map(found.get, asked)):
            words = (truncate(each.tenant) if len(asked) > 1 else "", each.target, each.url)
            if each.target:
                say("  ".join(filter(None, (*words, each.database))))
    _tell(asked, found, why)
    is_ready = all(each in found and found[each].target for each in asked)
    ctx.exit(ExitCode.OK if is_ready else ExitCode.FAILED)


@contextlib.contextmanager
def _in_time(has_looked: Callable[[], bool]) -> Iterator[None]:
    """Let the end of the time end the waiting; it is an error where nothing was seen until then."""
    try:
        yield
    except DeadlineExceeded:
        if not has_looked():
            raise


def _from_ledger(
    engine: Engine, context: RunContext, tenants: Mapping[str, None]
) -> dict[str, Route]:
    """Return where the ledger leads the clients of tenants, or why nowhere."""
    from influxops.domain.route import Route

    routes = {each.tenant: each for each in engine.routes.read(context, tenants).routes}
    return {each: routes.get(each) or Route("", each, reason=_UNKNOWN) for each in tenants}


def _from_servers(
    engine: Engine, context: RunContext, tenants: Mapping[str, None]
) -> dict[str, Route]:
    """Return where the databases of tenants are found complete, or why they are not there."""
    from influxops.domain.plan import Action, TenantStatus
    from influxops.domain.route import Route
    from influxops.engine.operations import Ensure
    from influxops.report.view import ReportView

    view = ReportView(engine.run(Ensure(), context, tell=False))
    context.check()
    plans = {plan.tenant: plan for plan in view.report.tenants}
    found = {each: Route("", each, reason=_UNKNOWN) for each in tenants}
    for each in plans.keys() & tenants.keys():
        plan = plans[each]
        is_whole = all(change.action is not Action.COMPLETE for change in plan.changes)
        if plan.status is TenantStatus.BLOCKED or not (view.exists(plan) and is_whole):
            reason = view.reason_text(plan) if plan.finding else "its database is not there"
            found[each] = Route(plan.database, each, reason=reason)
        else:
            url = view.target_url(plan.target) or ""
            found[each] = Route(plan.database, each, plan.target or "", url)
    return found


def _poll(look: Callable[[], None], context: RunContext) -> None:
    """Look again and again, less and less often."""
    pause = _FIRST
    while True:
        look()
        left = context.time_left()
        context.sleep(pause if left is None else min(pause, max(left - 0.1, 0.05)))
        pause = min(2 * pause, _MOST)


def _errors(engine: Engine, found: Mapping[str, Route]) -> dict[str, str]:
    """Return why the last attempt failed for who still waits, as far as the ledger tells."""
    from influxops.runtime.context import RunContext

    waits = {each.tenant for each in found.values() if not each.target}
    if engine.ledger is None or not waits:
        return {}
    with contextlib.suppress(InfluxopsError):
        records = engine.ledger.load_records(waits, RunContext(_WHY)).records
        return {record.tenant: record.error for record in records.values() if record.error}
    return {}


def _tell(asked: Mapping[str, None], found: Mapping[str, Route], why: Mapping[str, str]) -> None:
    """Say who still waits, and why."""
    told = []
    for each in asked:
        route = found.get(each)
        if route is None or not route.target:
            reason = route.reason if route is not None else _UNKNOWN
            told.append((quote(each), ": ".join(filter(None, (reason, why.get(each, ""))))))
    for who, reason in group_alike(told):
        say(f"{who}: {reason}", label="ERR", err=True)


def _document(route: Route | None, tenant: str) -> dict[str, object]:
    return {
        "tenant": tenant,
        "ready": route is not None and bool(route.target),
        "target": (route and route.target) or None,
        "url": (route and route.url) or None,
        "database": (route and route.database) or None,
        "reason": route.reason if route is not None else _UNKNOWN,
    }
