"""A click group whose commands are imported when they are called."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from influxops.errors import PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

#: The entry points by which plugins add subcommands.
GROUP = "influxops.commands"


class LazyGroup(click.Group):
    """A group that knows where its commands are."""

    def __init__(self, *args: Any, commands_by_module: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._modules = dict(commands_by_module)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names: the built-in ones in their order, then those of plugins."""
        others = sorted({point.name for point in _entry_points()} - self._modules.keys())
        return [*self._modules, *others]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; None when there is none of this name."""
        if cmd_name in self._modules:
            command = importlib.import_module(self._modules[cmd_name]).command
            assert isinstance(command, click.Command)
            return command
        return next((_load(p) for p in _entry_points() if p.name == cmd_name), None)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name; suggest the nearest where there is none."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from influxops.domain.text import did_you_mean

            hint = did_you_mean(args[0], self.list_commands(ctx)) if args else ""
            if hint and hint.split()[-1].rstrip("?") not in error.message:
                raise click.UsageError(f"{error.message.rstrip('.')} ({hint})", ctx) from None
            raise


def _entry_points() -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points  # slow to import, and most commands are built in

    return entry_points(group=GROUP)


def _load(point: EntryPoint) -> click.Command:
    """Return a plugin's command; a broken one is listed, and says why when it is called."""
    who = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
    try:
        command = point.load()
        if isinstance(command, click.Command):
            return command
        reason = f"{point.value} is not a click command"
    except (Exception, SystemExit) as error:  # whatever a foreign module raises at import
        reason = f"{type(error).__name__}: {error}"

    @click.command(
        point.name,
        help=f"(cannot be loaded from {who})",
        context_settings={"ignore_unknown_options": True},
    )
    @click.argument("arguments", nargs=-1)
    def broken(arguments: tuple[str, ...]) -> None:
        raise PluginError(
            f"the command {point.name!r} of {who} cannot be loaded: {reason}",
            hint="install what it needs, or update it",
        )

    return broken
