"""A JSON Schema of `influxops.toml`, by which editors complete and check it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any

import msgspec

from influxops.config.load import ROLE_NAMES, all_tables
from influxops.config.plugin_settings import PLUGIN_FILES
from influxops.config.secrets import Secret
from influxops.config.settings import SettingSpec, types_of
from influxops.errors import PluginError
from influxops.plugin_host.discovery import PluginType

#: The newest one that TOML's editors know.
_DIALECT = "http://json-schema.org/draft-07/schema#"
_SECRET = {
    "type": "object",
    "description": 'Where the secret is: {env = "NAME"} or {file = "path"}.',
    "properties": {"env": {"type": "string"}, "file": {"type": "string"}},
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
}


def config_schema(kinds: Mapping[str, PluginType]) -> dict[str, Any]:
    """Return the schema of a file for these kinds of plugins; a broken one is left out."""
    tables = {name: _table(each.declared()) for name, each in all_tables().items()}
    sections: dict[str, list[Any]] = {role: [] for role in ROLE_NAMES}
    for kind in kinds.values():
        try:
            plugin = kind.load()
        except PluginError:
            continue
        for role in kind.roles(plugin):
            sections[role].append(_section(kind, plugin))
    roles = {
        role: each if role == "ledger" else {"type": "object", "additionalProperties": each}
        for role, found in sections.items()
        for each in [found[0] if len(found) == 1 else {"oneOf": found}]
    }
    return {
        "$schema": _DIALECT,
        "title": "influxops.toml",
        "type": "object",
        "properties": {PLUGIN_FILES.name: _setting(PLUGIN_FILES)} | tables | roles,
        "additionalProperties": False,
    }


def _section(kind: PluginType, plugin: type[Any]) -> dict[str, Any]:
    declared = plugin.Settings.declared()
    required = [name for name, one in declared.items() if one.is_required and not one.env]
    found = _table(declared, ["kind", *required])
    first = {"kind": {"const": kind.kind, "description": (plugin.__doc__ or "").split("\n")[0]}}
    if plugin.Settings.connection:
        like = "The section of this kind whose connection holds for this one, too."
        first["like"] = {"type": "string", "description": like}
    return {**found, "title": kind.kind, "properties": {**first, **found["properties"]}}


def _table(declared: Mapping[str, SettingSpec], required: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: _setting(one) for name, one in declared.items()},
        "additionalProperties": False,
        **({"required": [*required]} if required else {}),
    }


def _setting(spec: SettingSpec) -> dict[str, Any]:
    choices = [_type(each, spec) for each in types_of(spec.type) if each is not NoneType]
    found: dict[str, Any] = dict(choices[0]) if len(choices) == 1 else {"anyOf": choices}
    found["description"] = spec.description
    if not spec.is_required and spec.default is not None:
        found["default"] = msgspec.to_builtins(spec.default, enc_hook=str)
    return found


def _type(wanted: Any, spec: SettingSpec) -> dict[str, Any]:
    if wanted in (Secret, Path):
        return _SECRET if wanted is Secret else {"type": "string"}
    if wanted in (int, float, str):
        wanted = Annotated[wanted, msgspec.Meta(**spec.constraints)]
    return msgspec.json.schema(wanted)
