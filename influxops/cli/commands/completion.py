"""`influxops completion`: let the shell complete commands, options and names."""

from __future__ import annotations

import click

from influxops.cli.options import common_options
from influxops.cli.output.stdio import put


@click.command("completion", short_help="Print a shell completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@common_options
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print a completion script for a shell.

    \b
    bash:  eval "$(influxops completion bash)"     in ~/.bashrc
    zsh:   eval "$(influxops completion zsh)"      in ~/.zshrc
    fish:  influxops completion fish > ~/.config/fish/completions/influxops.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    root = ctx.find_root().command
    put(kind(root, {}, "influxops", "_INFLUXOPS_COMPLETE").source())
