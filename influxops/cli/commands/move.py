"""`influxops move`: tenants go to another server, with all their data, or back."""

from __future__ import annotations

from typing import Any

import click

from influxops.cli.options import (
    Duration,
    allow_option,
    common_options,
    complete_targets,
    complete_tenants,
    endless_timeout_option,
    format_option,
    options,
)

#: What `move` and `drain` share, as `execute_move` takes it.
move_options = options(
    click.option(
        "--plan",
        "--dry-run",
        "dry_run",
        is_flag=True,
        help="Write nothing: say how much there is to copy, how long that takes, and what would "
        "be refused.",
    ),
    click.option(
        "--writers-paused",
        is_flag=True,
        help="Declare that no client writes to these tenants during the move: it is tested, and "
        "clients are not waited for.",
    ),
    click.option(
        "--after",
        type=Duration(),
        metavar="DURATION",
        help="How long the old copies are kept [default: ledger.retire_after, 7d].",
    ),
    click.option(
        "--without-table",
        "without_tables",
        multiple=True,
        metavar="NAME",
        help="Move a tenant although this table of it cannot be copied; one that can be is copied "
        "all the same. Can be repeated.",
    ),
    allow_option,
    endless_timeout_option,
    format_option,
    common_options,
)


@click.command("move", short_help="Move tenants to another server, with all their data.")
@click.argument("named", nargs=-1, metavar="[TENANT]...", shell_complete=complete_tenants)
@click.option(
    "--to", metavar="TARGET", shell_complete=complete_targets, help="The target that they go to."
)
@click.option(
    "--back",
    is_flag=True,
    help="They go back to where they were, as long as the old copy is there; what only that one "
    "has is kept.",
)
@click.option(
    "--rebalance",
    is_flag=True,
    help="Move as few tenants as it takes that no target is full, with the placement policy "
    "`spread` that all hold the same number. Names no tenant.",
)
@move_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    named: tuple[str, ...],
    to: str | None,
    back: bool,
    rebalance: bool,
    **given: Any,
) -> None:
    """Move the databases of tenants to another target, while they are in use.

    All rows are copied and compared, then the ledger says that the tenant is on its new target;
    what clients still write to the old one is copied until none of them can do so any more. The
    old copy is kept for a while. It has no time limit unless --timeout gives one; after that, or
    after Ctrl-C, the same command goes on where it was.

    \b
    Exit codes:
      0    all of them are on the target
      1    something failed or is blocked; the others were moved
      2    the command line or the configuration is wrong, or there is no ledger
      4    a guard refused; see --allow
      130  interrupted; run it again to go on
    """
    if (to is not None) + back + rebalance != 1:
        raise click.UsageError("give one of --to TARGET, --back and --rebalance", ctx)
    if rebalance == bool(named):
        message = "--rebalance chooses the tenants itself" if named else "name the tenants to move"
        raise click.UsageError(message, ctx)
    execute_move(ctx, named, to=to, back=back, rebalance=rebalance, **given)


def execute_move(
    ctx: click.Context,
    named: tuple[str, ...],
    *,
    to: str | None = None,
    back: bool = False,
    rebalance: bool = False,
    away: str | None = None,
    writers_paused: bool,
    after: float | None,
    without_tables: tuple[str, ...],
    **options: Any,
) -> None:
    """Move tenants, and exit with the code of the run."""
    from influxops.cli.options import common
    from influxops.cli.output.stdio import say
    from influxops.cli.session import execute
    from influxops.engine.operations import Drain, Move, Operation, Rebalance

    how: dict[str, Any] = {
        "writers_paused": writers_paused,
        "retire_after": after,
        "without_tables": without_tables,
    }
    operation: Operation = Move(to, back=back, **how)
    nothing = ""
    if away:
        operation, nothing = Drain(away, **how), f"no recorded tenant is on {away}"
    elif rebalance:
        operation, nothing = Rebalance(**how), "nothing to move"
    report = execute(
        ctx,
        operation,
        named=named,
        targets=(away,) if away else (),
        endless=True,
        **options,
    )
    if nothing and not (report.tenants or report.exit_code or common(ctx).quiet):
        say(nothing, err=options["output"] == "json")
    ctx.exit(report.exit_code)
