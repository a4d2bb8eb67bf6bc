"""`influxops import`: databases get the data of files again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from influxops.cli.options import (
    allow_option,
    common_options,
    complete_targets,
    endless_timeout_option,
    format_option,
)


@click.command("import", short_help="Write exported data to tenants' databases.")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--to",
    metavar="TARGET",
    shell_complete=complete_targets,
    help="The target on which databases are created that are not there yet.",
)
@click.option("--dry-run", is_flag=True, help="Write nothing, and show what would be.")
@allow_option
@endless_timeout_option
@format_option
@common_options
@click.pass_context
def command(ctx: click.Context, /, folder: Path, to: str | None, **options: Any) -> None:
    """Write what `influxops export` has written to DIR to the databases of these tenants.

    DIR has the folders of some tenants, or is the folder of one. A database that is not there is
    created as by `influxops ensure`, also one that was lost. All rows are read again afterwards.
    The guard `overwrite` refuses a database that holds rows which the export lacks, or has with
    other values. After Ctrl-C the same command goes on.

    \b
    Exit codes:
      0    all rows of the files are in the databases
      1    something failed or is blocked, everything else was done; or a manifest
           is not as it was written, and nothing was done
      2    the command line or the configuration is wrong; nothing was done
      4    a guard refused; see --allow
      130  interrupted; run it again to go on
    """
    from influxops.cli.session import execute
    from influxops.engine.operations import Import, find_exports

    exports = find_exports(folder.absolute())
    report = execute(ctx, Import(exports, to=to), named=sorted(exports), endless=True, **options)
    ctx.exit(report.exit_code)
