"""`influxops retire`: a tenant's database is dropped, after a time in which it can be kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from influxops.cli.confirm import confirm, yes_option
from influxops.cli.options import Duration, common, complete_tenants, ledger_run_options
from influxops.domain.text import quote, summarize

if TYPE_CHECKING:
    from influxops.report.model import Report


@click.command("retire", short_help="Drop tenants' databases, after a time.")
@click.argument("tenants", nargs=-1, metavar="[TENANT]...", shell_complete=complete_tenants)
@click.option(
    "--after",
    type=Duration(),
    metavar="DURATION",
    help="How long their databases are kept [default: ledger.retire_after, 7d].",
)
@click.option("--due", is_flag=True, help="Drop what is due by now.")
@click.option(
    "--copies",
    is_flag=True,
    help="Drop now what a move left behind, of all tenants if none is named.",
)
@click.option(
    "--export",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="With --due: export each tenant to this directory first, and drop only what is in the "
    "files, row by row [default: ledger.export_before_drop].",
)
@yes_option
@ledger_run_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    tenants: tuple[str, ...],
    after: float | None,
    due: bool,
    copies: bool,
    export: Path | None,
    yes: bool,
    **options: Any,
) -> None:
    """Retire tenants: their databases are dropped once the time has passed.

    Nothing is dropped now. `influxops unretire` keeps them after all, and so does a source that
    has them again. `influxops retire --due`, from cron for instance, drops what is due: softly,
    and only after all was tested again.

    The copy that a move leaves on the old server is kept as long, holds a slot there, and keeps
    the tenant from being moved to a third server. `influxops retire --copies` drops such copies
    before they are due, after the same last look at them. `influxops move --back` needs them.

    \b
    Exit codes:
      0    they are retiring; with --due or --copies: it was dropped
      1    something failed, is blocked or was postponed; everything else was done
      2    the command line or the configuration is wrong; nothing was done
      4    a guard refused; see --allow
      130  interrupted, and what was done stays done; or not agreed to
    """
    from influxops.cli.session import execute
    from influxops.engine.operations import DropCopies, DropDue, Retire

    if due and (tenants or copies or after is not None):
        message = "--due drops what is due; it takes no tenant, no --copies and no --after"
        raise click.UsageError(message, ctx)
    if export is not None and not due:
        raise click.UsageError("--export takes --due: nothing else is dropped now", ctx)
    if copies and after is not None:
        raise click.UsageError("--copies drops them now; it takes no --after", ctx)
    if not (due or copies or tenants):
        raise click.UsageError("name the tenants to retire, or give --due or --copies", ctx)
    if not options["dry_run"]:
        whose = summarize([quote(each) for each in tenants])
        question = f"Retire {whose}? Their databases are dropped once the time has come."
        if due or copies:
            what = f"the old copies of {whose or 'all tenants'}" if copies else "all that is due"
            question = f"Drop {what} now?"
        confirm(ctx, question, yes=yes)
    if due or copies:
        operation = DropCopies(tenants=tenants) if copies else DropDue(export and export.absolute())
        report = execute(ctx, operation, endless=export is not None, **options)
        _say_nothing_due(ctx, report, "there is no old copy" if copies else "nothing is due")
        ctx.exit(report.exit_code)
    report = execute(
        ctx, Retire(tenants, after, renew=after is not None), tenants=tenants, **options
    )
    ctx.exit(report.exit_code)


def _say_nothing_due(ctx: click.Context, report: Report, nothing: str) -> None:
    """Say that nothing was to be done: a run without a tenant shows nothing."""
    from influxops.cli.output.stdio import say
    from influxops.domain.finding import FindingKind

    options = common(ctx)
    if report.tenants or report.exit_code or options.quiet:
        return
    waiting = [note.message for note in report.notes if note.kind is FindingKind.RETIRING]
    say("; ".join([nothing, *waiting]), err=options.output == "json")
