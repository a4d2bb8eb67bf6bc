"""`influxops config`: each value, and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from influxops.cli.options import common, common_options, format_option
from influxops.cli.output.stdio import say, say_json
from influxops.errors import ExitCode, InfluxopsError

if TYPE_CHECKING:
    from influxops.config.load import Config
    from influxops.plugin_host.discovery import PluginType


@click.command("config", short_help="Show each value in force and where it comes from.")
@click.option(
    "--check",
    "instead",
    flag_value="check",
    help="Name all mistakes instead, and end with 2 if there is one; asks no server.",
)
@click.option(
    "--schema",
    "instead",
    flag_value="schema",
    help="Print a JSON Schema of the file instead, for editors; it has the plugins that are here.",
)
@format_option
@common_options
@click.pass_context
def command(ctx: click.Context, output: str, instead: str | None) -> None:
    """Show what is in force: each value and where it comes from, secrets left out."""
    if instead == "schema":
        from influxops.plugin_host.schema import config_schema

        say_json(config_schema(_read(ctx)[2]))
        return
    if instead == "check":
        _check(ctx, output)
        return
    from influxops.config.load import load_config

    config = load_config(common(ctx).config)
    rows = [*_tables(config), *_sections(config)]
    if output == "json":
        say_json([{"key": key, "value": value, "from": origin} for key, value, origin in rows])
        return
    from influxops.cli.output.tables import show_table

    if not common(ctx).quiet:
        say(f"file: {config.path or 'none, the environment alone'}", err=True)
    show_table(("key", "value", "from"), [(k, _text(v), origin) for k, v, origin in rows])


def _read(ctx: click.Context) -> tuple[Config | None, list[str], Mapping[str, PluginType]]:
    """Return the configuration, if it is TOML, its mistakes, and the kinds of plugins for it."""
    from influxops.config.load import load_config
    from influxops.plugin_host.discovery import installed
    from influxops.plugin_host.plugin_files import all_kinds

    mistakes: list[str] = []
    config = None
    try:
        config = load_config(common(ctx).config, mistakes)
        return config, mistakes, all_kinds(config, installed())
    except InfluxopsError as error:
        return config, [*mistakes, *str(error).splitlines()], installed()


def _check(ctx: click.Context, output: str) -> None:
    from influxops.plugin_host.resolve import resolve

    config, mistakes, kinds = _read(ctx)
    path = config.path if config else None
    if config:
        try:
            resolve(config, kinds)
        except InfluxopsError as error:
            mistakes += str(error).splitlines()
    if output == "json":
        say_json({"version": 1, "file": path, "mistakes": mistakes})
    else:
        for mistake in mistakes:
            say(mistake, label="ERR")
        if not mistakes and not common(ctx).quiet:
            say(f"{path or 'the environment alone'}: no mistake")
    ctx.exit(ExitCode.USAGE if mistakes else ExitCode.OK)


def _tables(config: Config) -> Iterator[tuple[str, Any, str]]:
    from influxops.config.load import all_tables
    from influxops.report.document import plain

    for name, table in all_tables().items():
        values = config.plugin_tables.get(name) or getattr(config, name, None) or table()
        for key in table.declared():
            yield f"{name}.{key}", plain(getattr(values, key)), config.where(name, key)


def _sections(config: Config) -> Iterator[tuple[str, Any, str]]:
    from influxops.plugin_host.discovery import installed
    from influxops.plugin_host.plugin_files import all_kinds
    from influxops.plugin_host.resolve import resolve

    for item in resolve(config, all_kinds(config, installed())):
        prefix = ".".join(filter(None, (item.section.role, item.section.name)))
        yield f"{prefix}.kind", item.section.kind, item.section.where("kind")
        for key in item.settings.declared():
            yield f"{prefix}.{key}", _value(getattr(item.settings, key)), item.origins[key]


def _value(value: Any) -> Any:
    from influxops.config.secrets import Secret
    from influxops.report.document import plain

    return f"[redacted, from {value.origin}]" if isinstance(value, Secret) else plain(value)


def _text(value: Any) -> str:
    if value is None or value in ([], (), {}):
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
