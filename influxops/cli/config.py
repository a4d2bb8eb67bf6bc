"""`influxops config`: each value, and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from influxops.cli.options import common, common_options, format_option
from influxops.cli.output import say, say_json

if TYPE_CHECKING:
    from influxops.config import Config


@click.command("config", short_help="Show each value in force and where it comes from.")
@format_option
@common_options
@click.pass_context
def command(context: click.Context, output: str) -> None:
    """Show what is in force: each value and where it comes from, secrets left out."""
    from influxops.config import load_config

    config = load_config(common(context).config)
    rows = [*_tables(config), *_sections(config)]
    if output == "json":
        values = [{"key": key, "value": value, "from": origin} for key, value, origin in rows]
        say_json(values)
        return
    from influxops.cli.tables import show_table

    say(f"file: {config.path or 'none, the environment alone'}", err=True)
    show_table(("key", "value", "from"), [(k, _text(v), origin) for k, v, origin in rows])


def _tables(config: Config) -> Iterator[tuple[str, Any, str]]:
    from influxops.config import TABLES
    from influxops.document import plain

    for table in TABLES:
        model = getattr(config, table)
        for key in type(model).model_fields:
            given = key in model.model_fields_set and config.file is not None
            origin = config.file.where(table, key) if given and config.file else "default"
            yield f"{table}.{key}", plain(getattr(model, key)), origin


def _sections(config: Config) -> Iterator[tuple[str, Any, str]]:
    from influxops.plugins import installed
    from influxops.sections import resolve

    for item in resolve(config, installed()):
        prefix = f"{item.section.role}.{item.section.name}"
        yield f"{prefix}.kind", item.section.kind, item.section.where("kind")
        for key in type(item.settings).model_fields:
            yield f"{prefix}.{key}", _value(getattr(item.settings, key)), item.origins[key]


def _value(value: Any) -> Any:
    from influxops.document import plain
    from influxops.secrets import Secret

    return f"[redacted, from {value.origin}]" if isinstance(value, Secret) else plain(value)


def _text(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
