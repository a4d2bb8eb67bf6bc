"""The group of all commands. Each is imported when it is called, not before."""

from __future__ import annotations

import click

from influxops.cli.lazy import LazyGroup
from influxops.cli.options import common_options

_COMMANDS = {
    "ensure": "influxops.cli.commands.ensure",
    "plan": "influxops.cli.commands.plan",
    "move": "influxops.cli.commands.move",
    "drain": "influxops.cli.commands.drain",
    "adopt": "influxops.cli.commands.adopt",
    "retire": "influxops.cli.commands.retire",
    "unretire": "influxops.cli.commands.unretire",
    "forget": "influxops.cli.commands.forget",
    "export": "influxops.cli.commands.export",
    "import": "influxops.cli.commands.import_",
    "status": "influxops.cli.commands.status",
    "where": "influxops.cli.commands.where",
    "history": "influxops.cli.commands.history",
    "wait": "influxops.cli.commands.wait",
    "doctor": "influxops.cli.commands.doctor",
    "init": "influxops.cli.commands.init",
    "config": "influxops.cli.commands.config",
    "plugins": "influxops.cli.commands.plugins",
    "docs": "influxops.cli.commands.docs",
    "completion": "influxops.cli.commands.completion",
}


def _print_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from influxops._version import __version__
        from influxops.cli.output.stdio import put

        put(f"influxops {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    commands_by_module=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and exit.",
)
@common_options
def cli() -> None:
    """Give every tenant its own InfluxDB 3 database, and keep it so.

    Tenants come from Postgres (PG_HOST, PG_PORT, PG_DB, PG_USER, PG_PASS), databases go to
    InfluxDB 3 (INFLUXDB_URL, INFLUXDB_TOKEN), or to what influxops.toml says.

    \b
    See what would happen:      influxops plan
    Make it so:                 influxops ensure
    Something does not work:    influxops doctor
    """
