"""`influxops ledger`: the schema of the ledger in PostgreSQL, and what it holds."""

from __future__ import annotations

import click

from influxops.plugin import ConfigError, format_time, pluralize
from influxops.plugin.cli import (
    Duration,
    common_options,
    configured_ledger,
    format_option,
    put,
    report_steps,
    say,
    say_json,
    show_table,
    timeout_option,
)


@click.group("ledger", short_help="Install the ledger in PostgreSQL, and see what it holds.")
@common_options
def command() -> None:
    """Install the ledger in PostgreSQL, and see what it holds."""


@command.command("install", short_help="Make its schema, or bring it up to date.")
@click.option(
    "--sql", "as_sql", is_flag=True, help="Print what would be run, for psql; connect to nothing."
)
@click.option(
    "--from",
    "after",
    type=click.IntRange(0),
    default=0,
    metavar="VERSION",
    help="With --sql: only what follows this version, which `influxops ledger status` shows.",
)
@format_option
@timeout_option
@common_options
@click.pass_context
def install(
    ctx: click.Context, as_sql: bool, after: int, output: str, timeout: float | None
) -> None:
    """Make the ledger's schema and tables, or bring them to this program's version.

    Running it again changes nothing. It needs the right to make a schema in the database, or to
    make tables in a schema that is there.
    """
    from influxops_postgres.ledger import schema
    from influxops_postgres.ledger.settings import PostgresLedgerSettings
    from influxops_postgres.ledger.transaction import installing

    if after and not as_sql:
        raise ConfigError(
            "--from goes with --sql", hint="without --sql the server says what it has"
        )
    with configured_ledger(ctx, PostgresLedgerSettings, timeout) as (settings, context):
        if as_sql:
            put(schema.script(settings.schema, after).rstrip("\n"))
            return
        found = installing(settings, context)
        steps = (f"version {step.version} ({step.name})" for step in found)
        result = f"the ledger is of version {schema.newest()}"
        report_steps(ctx, output, steps, settings.location().text, result)


@command.command("status", short_help="Show its version, and how much it holds.")
@format_option
@timeout_option
@common_options
@click.pass_context
def status(ctx: click.Context, output: str, timeout: float | None) -> None:
    """Show the schema's version, the tenants of each namespace by state, and the history's size."""
    from influxops_postgres.ledger import schema
    from influxops_postgres.ledger.checks import contents
    from influxops_postgres.ledger.settings import PostgresLedgerSettings
    from influxops_postgres.ledger.transaction import reading

    with configured_ledger(ctx, PostgresLedgerSettings, timeout) as (settings, context):
        with reading(settings, context) as session:
            namespaces, history = contents(session)
        where, version = settings.location().text, schema.newest()
    entries, size = history["entries"], history["bytes"] or 0
    times = {name: history[name] for name in ("first", "last")}
    shown = {name: at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else None for name, at in times.items()}
    if output == "json":
        say_json(
            {
                "version": 2,
                "schema": {"name": settings.schema, "version": version},
                "namespaces": namespaces,
                "history": {"entries": entries, "bytes": size, **shown},
            }
        )
        return
    say(f"{where}: version {version}")
    span = f", {shown['first']} to {shown['last']}" if entries else ""
    say(f"history: {pluralize(entries, 'entry', 'entries')}, {size / 2**20:.1f} MiB{span}")
    rows = [
        (name, state, f"{tenants:,}")
        for name, states in namespaces.items()
        for state, tenants in states.items()
    ]
    if rows:
        say("")
        show_table(("namespace", "state", "tenants"), rows)
    else:
        say("no tenant is recorded")


@command.command("prune", short_help="Delete what is old in its history.")
@click.option(
    "--before",
    type=Duration(),
    required=True,
    metavar="DURATION",
    help="Entries that are older than this: 90d, 12w.",
)
@click.option("--dry-run", is_flag=True, help="Count them, and delete nothing.")
@format_option
@timeout_option
@common_options
@click.pass_context
def prune(
    ctx: click.Context, before: float, dry_run: bool, output: str, timeout: float | None
) -> None:
    """Delete old entries of the history, in this namespace; the last one of each tenant stays.

    It needs the right DELETE on the history, which its owner has and runs do not need. Interrupted,
    it goes on when it is run again.
    """
    from influxops_postgres.ledger.prune import prune
    from influxops_postgres.ledger.settings import PostgresLedgerSettings

    with configured_ledger(ctx, PostgresLedgerSettings, timeout) as (settings, context):
        found = prune(settings, context, before, dry_run=dry_run)
        where = f"{settings.location().text}, namespace {settings.namespace}"
    if output == "json":
        counted = {"deleted": found.deleted, "kept": found.kept, "dry_run": dry_run}
        say_json({"version": 1, "before": f"{found.before:%Y-%m-%dT%H:%M:%SZ}", **counted})
        return
    what = f"{pluralize(found.deleted, 'entry', 'entries')} from before {format_time(found.before)}"
    done = "would be deleted" if dry_run else "deleted"
    say(f"{where}: {what} {done}; {found.kept:,} kept, the last of their tenants")
