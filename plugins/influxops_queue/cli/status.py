"""`influxops queue status` and `influxops queue retry`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct
from msgspec.structs import asdict

from influxops.domain.durations import format_duration_approx
from influxops.domain.text import group_alike
from influxops.plugin import pluralize, quote
from influxops.plugin.cli import (
    common,
    common_options,
    complete_tenants,
    configured,
    format_option,
    say,
    say_json,
    show_table,
    timeout_option,
)

if TYPE_CHECKING:
    from influxops_queue.db.queries import Connection, FailedTenant, Job, Queries, QueueStats

#: Tenants that are named in text.
_SHOWN = 20


@click.command("status", short_help="Show what waits, for whom, and who works.")
@format_option
@timeout_option
@common_options
@click.pass_context
def status(ctx: click.Context, output: str, timeout: float | None) -> None:
    """Show how many tenants wait for their databases, why, and whether workers are alive.

    \b
    Exit codes:
      0    nothing stands in the way of anybody
      1    tenants could not be made, or no worker is alive
    """
    from influxops_queue.db.connect import ask
    from influxops_queue.db.settings import queue_ledger

    most = None if output == "json" else _SHOWN

    async def read(
        queries: Queries, connection: Connection
    ) -> tuple[QueueStats, list[FailedTenant]]:
        return await queries.stats(connection), await queries.failed(connection, most)

    with configured(ctx, timeout) as (engine, context):
        settings = queue_ledger(engine)
        assert engine.ledger is not None
        with engine.ledger.error_boundary():
            stats, failed = ask(settings, context, read)
        location = engine.ledger.location
        where = f"{location.text if location else 'the ledger'}, namespace {settings.namespace}"
    if output == "json":
        say_json(_document(settings.namespace, stats, failed))
    else:
        _show(where, stats, failed, quiet=common(ctx).quiet)
    ctx.exit(1 if failed or not stats.workers else 0)


def _document(namespace: str, stats: QueueStats, failed: Sequence[FailedTenant]) -> dict[str, Any]:
    return {
        "version": 2,
        "namespace": namespace,
        "workers": [{"works_seconds": round(seconds, 1)} for seconds in stats.workers],
        "hints": stats.hints,
        "oldest_hint_seconds": _rounded(stats.oldest_hint),
        "waiting": [_row(each, "oldest_seconds", "oldest", "free") for each in stats.waiting],
        "jobs": [_row(job, "begins_in_seconds", "after") for job in stats.jobs],
        "troubled": [_row(each, "waits_seconds", "waits") for each in failed],
    }


def _row(value: Struct, name: str, field: str, *left_out: str) -> dict[str, Any]:
    """Return a value as plain data; the field that is in seconds comes last, by another name."""
    found = {key: each for key, each in asdict(value).items() if key not in left_out}
    seconds = found.pop(field)
    found["target"] = found["target"] or None
    return {**found, name: _rounded(seconds)}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _show(where: str, stats: QueueStats, failed: Sequence[FailedTenant], *, quiet: bool) -> None:
    if not quiet:
        say(where)
        say(f"workers: {len(stats.workers) or 'none'} alive")
        age = stats.oldest_hint
        since = "" if age is None else f", the oldest waits for {format_duration_approx(age)}"
        say(f"hints: {stats.hints:,}{since}")
        say(f"full run: {_when(_jobs(stats, 'reconcile'))}")
        rows = [*_rows(stats)]
        if rows:
            say("")
            show_table(("tenants", "wait for", "since", "on", "job"), rows)
        elif not stats.hints:
            say("no tenant waits")
    tried = sum(each.tenants for each in stats.waiting if each.tried)
    longest: dict[tuple[str, str], float] = {}
    for each in failed:
        key = (each.target, each.reason)
        longest[key] = max(longest.get(key, 0.0), each.waits)
    for who, key in group_alike((each.tenant, (each.target, each.reason)) for each in failed):
        on, waits = f" (on {key[0]})" if key[0] else "", format_duration_approx(longest[key])
        say(f"{who}{on}: {key[1]}; waits for {waits}", label="ERR", err=True)
    if tried > len(failed):
        say(f"and {tried - len(failed):,} more: --format json has them all", err=True)
    if failed:
        say(
            "`influxops queue retry` tries again now; `influxops plan TENANT` tells what to do",
            err=True,
        )
    if not stats.workers:
        say("no worker is alive: start one with `influxops worker`", label="ERR", err=True)


def _rows(stats: QueueStats) -> Iterator[tuple[str, ...]]:
    for each in stats.waiting:
        placed = each.state == "allocated"
        task = "create_databases" if placed else "retry_unplaced" if each.tried else ""
        jobs = [j for j in _jobs(stats, task) if j.target == (each.target if placed else "")]
        what = "their database" if placed else "another try" if each.tried else "a free slot"
        yield (
            f"{each.tenants:,}",
            what,
            format_duration_approx(each.oldest),
            each.target if placed else "-",
            _when(jobs) if task else "-",
        )


def _jobs(stats: QueueStats, task: str) -> list[Job]:
    return [job for job in stats.jobs if job.task == task]


def _when(jobs: Sequence[Job]) -> str:
    if any(job.status == "doing" for job in jobs):
        return "under way"
    if not jobs:
        return "none"
    after = min(job.after or 0.0 for job in jobs)
    return f"in {format_duration_approx(after)}" if after else "due"


@click.command("retry", short_help="Try again now what waits for a later try.")
@click.argument("tenants", nargs=-1, metavar="[TENANT]...", shell_complete=complete_tenants)
@format_option
@timeout_option
@common_options
@click.pass_context
def retry(ctx: click.Context, tenants: tuple[str, ...], output: str, timeout: float | None) -> None:
    """Let workers try again now, for all that wait or for some tenants.

    Workers do it; this command does not wait for them. See `influxops queue status`.
    """
    from influxops_queue.db.connect import ask
    from influxops_queue.db.settings import queue_ledger

    async def hurry(
        queries: Queries, connection: Connection
    ) -> tuple[int, dict[str, Any], QueueStats]:
        states = await queries.states(connection, tenants)
        locks = None
        if tenants:
            await queries.hint(connection, tenants)
            targets = {target for state, target in states.values() if state == "allocated"}
            locks = [queries.lock("create_databases", target) for target in targets if target]
        begun = await queries.run_now(connection, locks)
        await queries.notify(connection)
        return begun, dict(states), await queries.stats(connection)

    for tenant in tenants:
        if not tenant.strip() or any("\ud800" <= each <= "\udfff" for each in tenant):
            raise click.BadParameter(f"{quote(tenant)} is no tenant's id")
    with configured(ctx, timeout) as (engine, context):
        settings = queue_ledger(engine)
        assert engine.ledger is not None
        with engine.ledger.error_boundary():
            begun, states, stats = ask(settings, context, hurry)
    if output == "json":
        looked_at = {tenant: states.get(tenant, (None, None))[0] for tenant in tenants}
        say_json({"version": 1, "jobs": begun, "tenants": looked_at})
    elif not common(ctx).quiet:
        for tenant in tenants:
            state = states.get(tenant, ("", None))[0]
            about = f"it is {state}" if state else "the ledger does not know it"
            say(f"{tenant}: {about}; looked at again now")
        if not tenants:
            what = f"{pluralize(begun, 'job')} put off" if begun else "no job was put off"
            say(f"{what}{', begins now' if begun == 1 else ', begin now' if begun else ''}")
    if not stats.workers:
        say("no worker is alive: start one with `influxops worker`", label="WARN", err=True)
