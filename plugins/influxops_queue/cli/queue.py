"""`influxops queue`: the schema of the queue in the ledger's database."""

from __future__ import annotations

import click

from influxops.plugin.cli import (
    common_options,
    configured,
    format_option,
    report_steps,
    timeout_option,
)
from influxops_queue.cli.status import retry, status


@click.group("queue", short_help="Set up automatic provisioning (queue, triggers).")
@common_options
def command() -> None:
    """Set up automatic provisioning (queue, triggers), and see what waits."""


@command.command("install", short_help="Make its schema beside the ledger's.")
@click.option(
    "--trigger",
    "triggers",
    is_flag=True,
    help="Also make triggers on the registry, so that every change leaves a hint for the workers.",
)
@format_option
@timeout_option
@common_options
@click.pass_context
def install(ctx: click.Context, triggers: bool, output: str, timeout: float | None) -> None:
    """Make the queue's schema and tables in the ledger's database, or bring them up to date.

    Running it again changes nothing. Triggers need the ledger in the registry's database.
    """
    from influxops_queue.db.install import installing
    from influxops_queue.db.settings import queue_ledger, queue_schema
    from influxops_queue.db.triggers import registries

    with configured(ctx, timeout) as (engine, context):
        settings = queue_ledger(engine)
        assert engine.ledger is not None
        with engine.ledger.error_boundary():
            tables = registries(engine.sources, settings, context) if triggers else []
            steps = installing(settings, context, tables)
            location = engine.ledger.location.text if engine.ledger.location else ""
            result = f"the queue is in the schema {queue_schema(settings)}"
            report_steps(ctx, output, steps, location, result)


command.add_command(status)
command.add_command(retry)
