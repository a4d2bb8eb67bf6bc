"""The keys of `influxops.toml`, from the classes of the settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docs.generate.pages import code, head, table, wrapped
from influxops.config.load import ROLE_NAMES, all_tables
from influxops.config.plugin_settings import PLUGIN_FILES
from influxops.config.settings import PluginSettings, SettingSpec, in_words
from influxops.plugin_host.discovery import PluginType, installed

_COLUMNS = ("key", "takes", "default", "variable", "what it does")
#: How each role's sections are written.
_HEADERS = {role: f"{role}.NAME" for role in ROLE_NAMES} | {"ledger": "ledger"}


def page() -> str:
    """Return docs/reference/configuration.md."""
    lines = head(
        "influxops.toml",
        "Every table and key, as the code declares them. `influxops init` writes a file with the "
        "most common ones, `influxops config` shows what is in force and where each value comes "
        "from, `influxops config --check` finds all mistakes without asking a server, and "
        "`influxops config --schema` prints a JSON Schema for [editors](../configuration.md).",
        "An environment variable wins over the file, where its section is the only one of its "
        "kind; an empty one counts as unset. A secret is never written into the file, only where "
        "it is: "
        '`{env = "NAME"}` or `{file = "path"}`.',
    )
    first = "At the top of the file, before all tables:"
    lines += ["## Without a table", "", first, "", *table(_COLUMNS, [_row(PLUGIN_FILES)])]
    for name, settings in all_tables().items():
        lines += [f"## [{name}]", "", *_described(settings)]
    for role, what in ROLE_NAMES.items():
        lines += [f"## [{_HEADERS[role]}]", "", *_intro(role, what)]
        for plugin in builtin():
            loaded = plugin.load()
            if role in plugin.roles(loaded):
                lines += [f'### A {what} with `kind = "{plugin.kind}"`', ""]
                lines += [(loaded.__doc__ or "").strip().split("\n")[0], ""]
                lines += _described(loaded.Settings)
    return "\n".join(lines).rstrip() + "\n"


def builtin() -> Iterator[PluginType]:
    """Yield the kinds that come with influxops."""
    for kind in installed().values():
        if all(point.dist and point.dist.name == "influxops" for point in kind.entry_points):
            yield kind


def _intro(role: str, what: str) -> list[str]:
    one = "One table." if role == "ledger" else f"A table a {what}, each with a name of yours."
    kind = "`kind` says which plugin it is; `influxops plugins` lists those that are installed."
    like = ""
    if role in ("sources", "targets"):
        like = ' `like = "NAME"` takes the connection of another section of its kind.'
    return [*wrapped(f"{one} {kind}{like}"), ""]


def _described(settings: type[PluginSettings]) -> list[str]:
    return table(_COLUMNS, (_row(spec) for spec in settings.declared().values()))


def _row(spec: SettingSpec) -> tuple[str, ...]:
    takes = in_words(spec.type, spec.constraints)
    default = "required" if spec.is_required else _default(spec.default)
    return (code(spec.name), takes, default, code(*spec.env), spec.description)


def _default(value: Any) -> str:
    if value in (None, (), [], {}):
        return ""
    return code(json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False))
