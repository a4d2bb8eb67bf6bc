"""`influxops plugins`: what is installed, and what each takes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from influxops.cli.options import common, common_options, format_option, kinds
from influxops.cli.output.stdio import say, say_json

if TYPE_CHECKING:
    from influxops.plugin_host.discovery import PluginType


@click.group(
    "plugins", invoke_without_command=True, short_help="List the plugins, and what each takes."
)
@format_option
@common_options
@click.pass_context
def command(ctx: click.Context, output: str) -> None:
    """List the plugins: sources, targets and reporters; `show KIND` for what one takes."""
    if ctx.invoked_subcommand is None:
        _list(ctx, output)


@command.command("list")
@format_option
@common_options
@click.pass_context
def _list_command(ctx: click.Context, output: str) -> None:
    """List the kinds of sources, targets and reporters that are installed."""
    _list(ctx, output)


@command.command("show", short_help="Show what a plugin takes.")
@click.argument("kind", shell_complete=kinds)
@format_option
@common_options
@click.pass_context
def _show_command(ctx: click.Context, kind: str, output: str) -> None:
    """Show what a plugin takes: each setting, its default, its variables, what it does.

    `ledger.postgres` is the kind `postgres` of a ledger, where another plugin has that kind, too.
    """
    from influxops.config.load import ROLE_NAMES
    from influxops.plugin_host.discovery import find

    offered = _kinds(ctx)
    # A file's kinds are kept by role.
    role = next((each for each in ROLE_NAMES if f"{each}.{kind}" in offered), "")
    found = find(kind, offered, "" if kind in offered else role)
    plugin = found.load()
    roles = [ROLE_NAMES[role] for role in ROLE_NAMES if role in found.roles(plugin)]
    settings = [
        {
            "name": name,
            "default": "required" if declared.is_required else _default(declared.default),
            "environment": list(declared.env),
            "description": declared.description,
        }
        for name, declared in plugin.Settings.declared().items()
    ]
    if output == "json":
        document = {"kind": kind, "roles": roles, "from": found.distribution, "settings": settings}
        say_json(document)
        return
    from influxops.cli.output.tables import show_table

    kind = found.kind
    summary = (plugin.__doc__ or "").strip().splitlines()
    serves = " and a ".join(roles) or "plugin that serves as nothing"
    say(f"{kind}: a {serves} of {found.distribution}")
    say(summary[0] if summary else "")
    say("")
    show_table(
        ("setting", "default", "environment", "what it does"),
        [
            (s["name"], s["default"], " ".join(s["environment"]) or "-", s["description"])
            for s in settings
        ],
    )


@command.command("new", short_help="Write a distribution to start from.")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["source", "target", "reporter"]),
    required=True,
    help="What it is to be.",
)
@click.option(
    "--output",
    "folder",
    metavar="DIR",
    type=click.Path(),
    help="The folder to make [default: influxops-NAME in the current one].",
)
@format_option
@common_options
@click.pass_context
def _new_command(ctx: click.Context, name: str, role: str, folder: str | None, output: str) -> None:
    """Write a distribution to start from: a plugin of the kind NAME, its tests, a README, CI.

    Its tests pass as it is, and `influxops plugins` lists it once it is installed.
    """
    from influxops.cli.new_plugin import write_plugin

    written = write_plugin(name, role, folder)
    if output == "json":
        files = sorted(str(each) for each in written.rglob("*") if each.is_file())
        say_json({"version": 1, "folder": str(written), "files": files})
    elif not common(ctx).quiet:
        shown = shlex.quote(str(written))
        say(f"Wrote {written}. Next: cd {shown} && pip install -e '.[test]' && pytest")


def _kinds(ctx: click.Context) -> Mapping[str, PluginType]:
    """Return the kinds that are installed, and those of files that the configuration names."""
    from influxops.config.load import load_config
    from influxops.errors import InfluxopsError
    from influxops.plugin_host.discovery import installed
    from influxops.plugin_host.plugin_files import all_kinds

    given = common(ctx).kinds
    kinds = installed() if given is None else given
    try:
        return all_kinds(load_config(common(ctx).config), kinds)
    except InfluxopsError as error:
        say(f"plugins of files are left out: {error.message}", label="WARN", err=True)
        return kinds


def _list(ctx: click.Context, output: str) -> None:
    rows = _rows(_kinds(ctx))
    if output == "json":
        say_json(rows)
        return
    from influxops.cli.output.tables import show_table

    headers = ("kind", "serves as", "from", "state")
    show_table(headers, [(r["kind"], r["serves as"] or "-", r["from"], r["state"]) for r in rows])


def _rows(kinds: Mapping[str, PluginType]) -> list[dict[str, str]]:
    from influxops.config.load import ROLE_NAMES
    from influxops.errors import PluginError
    from influxops.plugin_host.discovery import outdated
    from influxops.plugin_host.validation import validate_hooks

    rows = []
    # `ledger.postgres` is listed beside the other `postgres`.
    unique = {id(each): each for each in kinds.values()}.values()
    for kind in sorted(unique, key=lambda each: (each.kind, each.name != each.kind)):
        serves, state = "", "ok"
        try:
            plugin = kind.load()
            roles = kind.roles(plugin)
            serves = ", ".join(ROLE_NAMES[role] for role in ROLE_NAMES if role in roles)
            state = validate_hooks(plugin) or (
                (outdated(plugin) or state) if roles else "serves as nothing"
            )
        except PluginError as error:
            state = f"broken: {error.message}"
        rows.append(
            {"kind": kind.kind, "serves as": serves, "from": kind.distribution, "state": state}
        )
    return rows


def _default(value: Any) -> str:
    if value is None or value == () or value == {}:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
