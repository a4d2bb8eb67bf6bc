"""`influxops routes`: which database is where, for what leads clients there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from influxops.plugin import (
    ConfigError,
    Hint,
    InfluxopsError,
    Interrupted,
    ReporterError,
    pluralize,
)
from influxops.plugin.cli import (
    Duration,
    common,
    common_options,
    complete_tenants,
    configured,
    put,
    say,
    show_table,
    timeout_option,
)

if TYPE_CHECKING:
    from influxops.plugin import Routes


@click.command("routes", short_help="Show, or write for a proxy, which database is where.")
@click.argument("tenants", nargs=-1, metavar="[TENANT]...", shell_complete=complete_tenants)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "csv", "nginx"]),
    default="text",
    show_default=True,
    help="How they are written.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Replace this file where they differ from it, instead of writing to standard output.",
)
@click.option("--watch", is_flag=True, help="Go on, and write again after each change.")
@click.option(
    "--grace",
    type=Duration(may_be_zero=True),
    default="60s",
    show_default=True,
    metavar="DURATION",
    help="How long after a change nginx answers 503, not 404, for a name that is not listed.",
)
@click.option(
    "--allow",
    multiple=True,
    type=click.Choice(["mass-change"]),
    help="Let a writing take away or change more than a fifth of the file's routes.",
)
@timeout_option
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    tenants: tuple[str, ...],
    form: str,
    output: Path | None,
    watch: bool,
    grace: float,
    allow: tuple[str, ...],
    timeout: float | None,
) -> None:
    """Show which server the clients of each database are led to, by the ledger alone.

    It asks no server, so they may be away. A database that has no server now (its tenant is
    pending, lost or being dropped) is listed with the reason; one that was dropped is left out.

    \b
    Exit codes:
      0    as asked; with --watch: it was stopped
      1    the ledger cannot be read, the file cannot be written, or a tenant is
           not in the ledger
      2    the command line or the configuration is wrong, or there is no ledger
      4    the file would change too much at once: --allow mass-change
    """
    from influxops_routes.files import write
    from influxops_routes.formats import FORMATS

    if output is not None and form == "text":
        raise ConfigError("--output needs a format", hint="add --format json, csv or nginx")
    with configured(ctx, timeout, endless=watch) as (engine, context):
        known: set[str] = set()

        def read() -> Routes:
            routes = engine.routes.read(context, tenants or None)
            known.update(route.tenant for route in routes.routes)
            return routes

        def show() -> None:
            if output is not None:
                try:
                    is_new = write(output, form, read, context, grace=grace, allow=allow)
                except ReporterError as error:
                    if isinstance(error.remedy, Hint) and error.remedy.value == "path":
                        error.remedy = Hint.advise(error.remedy.words("--output"))
                    raise
                if is_new and not common(ctx).quiet:
                    say(f"wrote {output}", err=True)
            elif form == "text":
                _show(read())
            else:
                put(FORMATS[form].render(read(), grace).rstrip("\n"))

        if watch:
            try:
                engine.routes.follow(context, show)
            except Interrupted:
                if context.cancelled:  # as it was asked to
                    return
                raise
        show()
    if missing := [tenant for tenant in tenants if tenant not in known]:
        raise InfluxopsError(
            f"not in the ledger, or dropped: {', '.join(missing)}",
            hint="`influxops history` shows what was done",
        )


def _show(routes: Routes) -> None:
    rows = [(each.database, each.target or "-", each.url or each.reason) for each in routes.routes]
    if rows:
        show_table(("database", "target", "url, or why there is none"), rows)
    gone = sum(not each.target for each in routes.routes)
    say(
        f"{pluralize(len(rows) - gone, 'route')}, {gone:,} without a server now, "
        f"version {routes.version}",
        err=True,
    )
