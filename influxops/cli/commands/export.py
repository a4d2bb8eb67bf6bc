"""`influxops export`: tenants' data as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from influxops.cli.options import (
    common_options,
    endless_timeout_option,
    format_option,
)
from influxops.cli.output.stdio import say
from influxops.cli.selection import NONE, Selection, selection_options


@click.command("export", short_help="Write tenants' data to files.")
@selection_options
@click.option(
    "--output",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The directory in which each tenant gets a folder.",
)
@click.option(
    "--compare",
    is_flag=True,
    help="Read each row a second time and hold it against the files; else rows are counted again, "
    "and those are read that came in the meantime.",
)
@click.option(
    "--without-table",
    "without_tables",
    multiple=True,
    metavar="NAME",
    help="Call an export whole although this table cannot be read; may be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Write nothing, and show what would be.")
@endless_timeout_option
@format_option
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    tenants: tuple[str, ...],
    states: tuple[str, ...],
    targets: tuple[str, ...],
    folder: Path,
    compare: bool,
    without_tables: tuple[str, ...],
    **options: Any,
) -> None:
    """Write all that tenants' databases hold to files, while they are in use.

    Each tenant gets a folder in DIR, with compressed line protocol, some files a table, and a
    manifest.json. After Ctrl-C, or a full disk, the same command goes on where it was; one that
    was whole is brought up to date. `influxops import` reads the files again.

    A PATTERN is an id with `*`, `?` or `[…]`; quote it, so that the shell leaves it alone.

    \b
    Exit codes:
      0    all that was named is in the files
      1    something failed or cannot be read; everything else was written
      2    the command line or the configuration is wrong; nothing was done
      130  interrupted; run it again to go on
    """
    from influxops.cli.session import execute
    from influxops.engine.operations import Export

    selection = Selection(tenants, states, targets)
    if not selection.is_filter and not tenants:
        raise click.UsageError("name the tenants to export, or give --state or --target", ctx)
    operation = Export(
        folder.absolute(),  # the ledger remembers it, and is read elsewhere
        compare=compare,
        without_tables=without_tables,
        chosen=selection if selection.is_filter else None,
    )
    named = sorted(selection.named or ())
    # A target that was not asked for is not this export's trouble.
    options["targets"] = targets
    report = execute(ctx, operation, named=named, allow=(), endless=True, **options)
    if not report.tenants and not report.exit_code:
        say(NONE, err=True)
    ctx.exit(report.exit_code)
