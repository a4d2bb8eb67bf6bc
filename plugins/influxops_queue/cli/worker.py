"""`influxops worker`: creates what the queue asks for, until it is stopped."""

from __future__ import annotations

from typing import Any

import click
from msgspec.structs import replace

from influxops.cli.options import Duration
from influxops.errors import Interrupted
from influxops.plugin.cli import common, common_options, configured, say


class _Address(click.ParamType[tuple[str, int]]):
    """Where to listen: HOST:PORT."""

    name = "address"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Return host and port."""
        host, colon, port = str(value).rpartition(":")
        if not (colon and port.isdecimal() and len(port) <= 5 and int(port) < 65_536):
            self.fail("write HOST:PORT, for instance 127.0.0.1:9108", param, ctx)
        return host.strip("[]"), int(port)


@click.command("worker", short_help="Make what the queue asks for, until told to stop.")
@click.option(
    "--full-run-every",
    type=Duration(may_be_zero=True),
    default="1h",
    show_default=True,
    metavar="DURATION",
    help="How often one of the workers makes a full run; 0: this one makes none.",
)
@click.option(
    "--listen",
    type=_Address(),
    metavar="HOST:PORT",
    help="Answer /healthz and /metrics there [default: nowhere].",
)
@common_options
@click.pass_context
def command(ctx: click.Context, full_run_every: float, listen: tuple[str, int] | None) -> None:
    """Make databases as soon as a registry or an application asks for them.

    It runs until SIGTERM, SIGINT or SIGHUP, ends what is under way within some seconds, and ends
    with 0. Several workers, on one machine or on many, share the work. `influxops queue install`
    comes first.

    \b
    Exit codes:
      0    it was stopped
      1    it could not start: no ledger can be read, or no queue is installed
      2    the command line or the configuration is wrong, it cannot listen there,
           or a pooler in between lends connections by the transaction
    """
    from influxops_postgres.connection.pool import connected
    from influxops_queue.db.schema import check_installed
    from influxops_queue.db.settings import queue_ledger

    with configured(ctx, endless=True) as (engine, context):
        settings = queue_ledger(engine)
        # It needs procrastinate, of which `queue_ledger` says how to install it.
        from influxops_queue.worker.startup import run

        assert engine.ledger is not None
        try:
            with engine.ledger.error_boundary(), connected(settings, context) as connection:
                check_installed(connection, settings)
        except Interrupted:
            return  # stopped before it began, which is no failure
        engine.close()
        run(
            replace(engine.config, door="worker"),
            settings,
            context,
            full_every=full_run_every or None,
            listen=listen,
            tell=lambda text: None if common(ctx).quiet else say(text, err=True),
        )
