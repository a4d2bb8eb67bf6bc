"""`influxops init`: a configuration to start from."""

from __future__ import annotations

from pathlib import Path

import click

from influxops.cli.options import common, common_options
from influxops.cli.output.stdio import say


@click.command("init", short_help="Write a commented influxops.toml.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@common_options
@click.pass_context
def command(ctx: click.Context, force: bool) -> None:
    """Write a commented influxops.toml, which works as the environment alone does.

    It goes to the current folder, or where --config says. A file that is there stays.
    """
    import importlib.resources

    from influxops.config.load import DEFAULT_FILE
    from influxops.errors import ConfigError

    path = Path(common(ctx).config or DEFAULT_FILE)
    text = importlib.resources.files("influxops.cli").joinpath("influxops.toml").read_text("utf-8")
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(
            f"{path} is there already", hint="--force replaces it; --config writes another"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}",
            hint="is the folder still there, and may you write to it?",
        ) from None
    if not common(ctx).quiet:
        say(f"Wrote {path}. Edit it, then: influxops doctor")
