"""`influxops plugins`: what is installed, and what each takes."""

from __future__ import annotations

from typing import Any

import click

from influxops.cli.options import common_options, format_option, kinds
from influxops.cli.output.stdio import say, say_json


@click.group(
    "plugins", invoke_without_command=True, short_help="List the plugins, and what each takes."
)
@format_option
@common_options
@click.pass_context
def command(ctx: click.Context, output: str) -> None:
    """List the plugins: sources, targets and reporters; `show KIND` for what one takes."""
    if ctx.invoked_subcommand is None:
        _list(output)


@command.command("list")
@format_option
@common_options
def _list_command(output: str) -> None:
    """List the kinds of sources, targets and reporters that are installed."""
    _list(output)


@command.command("show")
@click.argument("kind", shell_complete=kinds)
@format_option
@common_options
def _show_command(kind: str, output: str) -> None:
    """Show what a plugin takes: each setting, its default, its variables, what it does.

    `ledger.postgres` is the kind `postgres` of a ledger, where another plugin has that kind, too.
    """
    from influxops.config.load import ROLE_NAMES
    from influxops.plugin_host.discovery import find, installed

    found = find(kind, installed())
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


def _list(output: str) -> None:
    rows = _rows()
    if output == "json":
        say_json(rows)
        return
    from influxops.cli.output.tables import show_table

    headers = ("kind", "serves as", "from", "state")
    show_table(headers, [(r["kind"], r["serves as"] or "-", r["from"], r["state"]) for r in rows])


def _rows() -> list[dict[str, str]]:
    from influxops.config.load import ROLE_NAMES
    from influxops.errors import PluginError
    from influxops.plugin_host.discovery import installed
    from influxops.plugin_host.validation import validate_hooks

    rows = []
    # `ledger.postgres` is listed beside the other `postgres`.
    for kind in sorted(installed().values(), key=lambda each: (each.kind, each.name != each.kind)):
        serves, state = "", "ok"
        try:
            plugin = kind.load()
            roles = kind.roles(plugin)
            serves = ", ".join(ROLE_NAMES[role] for role in ROLE_NAMES if role in roles)
            state = validate_hooks(plugin) or (state if roles else "serves as nothing")
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
