"""``influxops demo``: influxops at work, on servers of its own, in a few seconds.

Only what reads the command line is imported here; servers and all they need come when it runs.
"""

from __future__ import annotations

import click

from influxops_demo.extra import POSTGRES, STAND_IN, how_to_install, missing


@click.command("demo")
@click.option(
    "--keep",
    is_flag=True,
    help="Leave everything running until Ctrl-C, and print what another terminal needs to use it.",
)
@click.pass_context
def command(context: click.Context, keep: bool) -> None:
    """See influxops at work: a registry in PostgreSQL, three servers, twelve tenants.

    Starts a PostgreSQL and three stand-ins for InfluxDB 3 on this machine, runs `influxops plan`,
    `ensure`, `ensure` again and `status` on them, and removes everything when it ends. It touches
    no server of yours. Ends with 1 when something did not end as it should.
    """
    from influxops.plugin import ConfigError

    absent = missing(*STAND_IN, *POSTGRES)
    if absent:
        raise ConfigError(f"the demo needs {', '.join(absent)}, not installed: {how_to_install()}")
    from influxops_demo.story import tell

    context.exit(tell(keep=keep))
