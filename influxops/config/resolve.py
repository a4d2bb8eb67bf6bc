"""From a section of the configuration to its plugin's settings: environment, checks, origins."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from influxops.config import ROLE_NAMES, Config, Section, explain
from influxops.errors import ConfigError, InfluxopsError, PluginError
from influxops.plugins import Kind, find
from influxops.secrets import Secret
from influxops.settings import Location, PluginSettings


@dataclass(frozen=True, slots=True)
class Resolved:
    """A section with all that was found out about it.

    Args:
        section: The section.
        kind: Its plugin's kind.
        plugin: Its plugin's class.
        settings: Its settings, checked.
        origins: Where each setting comes from: `influxops.toml:7`, a variable, or `default`.
    """

    section: Section
    kind: Kind
    plugin: type[Any]
    settings: PluginSettings
    origins: Mapping[str, str]

    @property
    def name(self) -> str:
        """The name under which its plugin is registered: `target:eu1`."""
        return self.section.full_name

    @property
    def location(self) -> Location | None:
        """Where it reads or writes."""
        return self.settings.location()


def variables(field: FieldInfo) -> tuple[str, ...]:
    """Give the environment variables that set a field, the strongest first."""
    extra = field.json_schema_extra
    names = extra.get("env") if isinstance(extra, dict) else None
    return tuple(str(name) for name in names) if isinstance(names, list) else ()


def resolve(config: Config, kinds: Mapping[str, Kind]) -> list[Resolved]:
    """Let each section's plugin check it.

    Args:
        config: The configuration.
        kinds: The plugins that are installed.

    Raises:
        ConfigError: When a section says what cannot be, or a default meets an explicit remote.
        PluginError: When a plugin is not there or broken.
    """
    alone = {
        section.full_name
        for section in config.sections
        if sum(s.kind == section.kind and s.role == section.role for s in config.sections) == 1
    }
    resolved: list[Resolved] = []
    mistakes: list[InfluxopsError] = []
    for section in config.sections:
        try:
            resolved.append(
                resolve_section(section, kinds, use_environment=section.full_name in alone)
            )
        except (ConfigError, PluginError) as error:
            mistakes.append(error)
    if len(mistakes) == 1:
        raise mistakes[0]
    if mistakes:
        raise ConfigError("\n".join(map(str, mistakes)))
    _keep_defaults_from_remotes(resolved)
    return resolved


def resolve_section(
    section: Section, kinds: Mapping[str, Kind], *, use_environment: bool = True
) -> Resolved:
    """Let one section's plugin check it.

    Args:
        section: The section.
        kinds: The plugins that are installed.
        use_environment: Whether the plugin's variables speak for this section. They do not
            where several sections are of its kind: one variable cannot mean all of them.

    Raises:
        ConfigError: When the section says what cannot be.
        PluginError: When the plugin is not there or broken.
    """
    kind = find(section.kind, kinds)
    plugin = kind.load()
    roles = kind.roles(plugin)
    if section.role not in roles:
        fits = " or ".join(ROLE_NAMES[role] for role in ROLE_NAMES if role in roles) or "nothing"
        raise ConfigError(
            f"the kind {section.kind!r} is no {ROLE_NAMES[section.role]}; it serves as {fits}",
            where=section.where(),
        )
    values = dict(section.values)
    origins = {name: section.where(name) for name in values}
    hidden = set()
    for name, field in plugin.Settings.model_fields.items() if use_environment else ():
        if section.outranks_environment and name in values:
            continue
        for variable in variables(field):
            if os.environ.get(variable):
                hidden |= {name} & values.keys()
                values[name] = _from_environment(variable, field)
                origins[name] = variable
                break
    prefix = (section.role, section.name)
    try:
        settings = plugin.Settings.model_validate(values)
    except ValidationError as error:
        where = partial(_origin, origins, section)
        raise ConfigError("\n".join(explain(error, plugin.Settings, prefix, where))) from None
    _check_hidden(section, plugin.Settings, hidden)
    for name in plugin.Settings.model_fields:
        origins.setdefault(name, "default")
    return Resolved(section, kind, plugin, settings, origins)


def _check_hidden(section: Section, model: type[PluginSettings], names: set[str]) -> None:
    """Refuse a mistake in what a variable overrides, a literal secret above all.

    Raises:
        ConfigError: When one of these keys says what cannot be.
    """
    if not names:
        return
    try:
        model.model_validate(section.values)
    except ValidationError as error:
        where = partial(_origin, {}, section)
        lines = explain(error, model, (section.role, section.name), where, only=names)
        if lines:
            raise ConfigError("\n".join(lines)) from None


def _from_environment(variable: str, field: FieldInfo) -> object:
    """Give what a variable says; for a secret only a reference to it."""
    if Secret in (field.annotation, *get_args(field.annotation)):
        return {"env": variable}
    return os.environ[variable]


def _origin(origins: Mapping[str, str], section: Section, *keys: str) -> str:
    name = keys[2] if len(keys) > 2 else ""
    return origins.get(name) or section.where(*([name] if name else []))


def _keep_defaults_from_remotes(resolved: Iterable[Resolved]) -> None:
    """Refuse a run between a place that was named and one that nobody named.

    Production's registry and this machine's test server (or the reverse) are a mistake: somebody
    set one variable and forgot the other.
    """
    places = [(r, r.location) for r in resolved if r.section.role != "reporters"]
    remote = next(((r, p) for r, p in places if p and p.is_remote and not p.is_default), None)
    default = next(((r, p) for r, p in places if p and p.is_default), None)
    if remote and default:
        variable = default[0].settings.location_variable
        raise ConfigError(
            f"{remote[0].name} is on another machine ({remote[1].host}), but nobody said where "
            f"{default[0].name} is; its default, {default[1].text}, is probably not meant",
            hint=(f"set {variable}, or " if variable else "")
            + f"configure {default[0].name.replace(':', ' ')} in influxops.toml",
        )


def secrets(resolved: Iterable[Resolved]) -> list[Secret]:
    """Give every secret of all sections."""
    return [secret for item in resolved for secret in item.settings.secrets()]
