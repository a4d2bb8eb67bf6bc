"""`influxops retire`: a tenant's database is dropped, after a time in which it can be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from influxops.cli.options import Duration, common, ledger_run_options

if TYPE_CHECKING:
    from influxops.report.model import Report


@click.command("retire", short_help="Drop tenants' databases, after a time.")
@click.argument("tenants", nargs=-1, metavar="[TENANT]...")
@click.option(
    "--after",
    type=Duration(),
    metavar="DURATION",
    help="How long their databases are kept [default: ledger.retire_after, 7d].",
)
@click.option("--due", is_flag=True, help="Drop what is due by now.")
@ledger_run_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    tenants: tuple[str, ...],
    after: float | None,
    due: bool,
    **options: Any,
) -> None:
    """Retire tenants: their databases are dropped once the time has passed.

    Nothing is dropped now. `influxops unretire` keeps them after all, and so does a source that
    has them again. `influxops retire --due`, from cron for instance, drops what is due: softly,
    and only after all was tested again.

    \b
    Exit codes:
      0    they are retiring; with --due: what is due was dropped
      1    something failed, is held or was postponed; everything else was done
      2    the command line or the configuration is wrong; nothing was done
      4    a guard refused; see --allow
      130  interrupted; what was done stays done
    """
    from influxops.cli.session import execute
    from influxops.engine.operations import DropDue, Retire

    if due and (tenants or after is not None):
        raise click.UsageError("--due drops what is due; it takes no tenant and no --after", ctx)
    if due:
        report = execute(ctx, DropDue(), **options)
        _say_nothing_due(ctx, report)
        ctx.exit(report.exit_code)
    if not tenants:
        raise click.UsageError("name the tenants to retire, or give --due", ctx)
    report = execute(
        ctx, Retire(tenants, after, renew=after is not None), tenants=tenants, **options
    )
    ctx.exit(report.exit_code)


def _say_nothing_due(ctx: click.Context, report: Report) -> None:
    """Say that nothing was to be done: a run without a tenant shows nothing."""
    from influxops.cli.output.stdio import say
    from influxops.domain.finding import FindingKind

    options = common(ctx)
    if report.tenants or report.exit_code or options.quiet:
        return
    waiting = [note.message for note in report.notes if note.kind is FindingKind.RETIRING]
    say("; ".join(["nothing is due", *waiting]), err=options.output == "json")
