"""From a section of the configuration to its plugin's settings: environment, checks, origins."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from influxops.config.load import ROLE_NAMES, Config, Section
from influxops.config.plugin_settings import LedgerSettings, ReporterSettings, TargetSettings
from influxops.config.settings import InvalidSettings, Location, PluginSettings, SettingSpec
from influxops.config.toml import TomlFile
from influxops.domain.database import TargetCapabilities, Unmanaged
from influxops.domain.durations import format_duration
from influxops.domain.hint import Hint
from influxops.domain.text import did_you_mean, one_line, summarize
from influxops.errors import ConfigError, InfluxopsError, PluginError, PluginLoadError
from influxops.plugin_host.base import ResolvedSection, how_written
from influxops.plugin_host.discovery import PluginType, find, lacks
from influxops.plugin_host.target import checked_capabilities
from influxops.plugin_host.validation import validate_hooks

#: The key that names the section whose connection holds for another one of its kind, too.
_LIKE = "like"
#: What the settings of a section derive from, where the engine itself reads some of them.
_SETTINGS: Mapping[str, type[PluginSettings]] = {
    "targets": TargetSettings,
    "ledger": LedgerSettings,
}


def resolve(config: Config, kinds: Mapping[str, PluginType]) -> list[ResolvedSection]:
    """Let each section's plugin check it, and check what the sections say together.

    All mistakes are refused at once. No secret is read: one that cannot be read is its section's
    own failure, when it is used.
    """
    resolved: list[ResolvedSection] = []
    mistakes: list[InfluxopsError] = []
    number = Counter((s.role, s.kind) for s in config.sections if _LIKE not in s.values)
    for section in sorted(config.sections, key=lambda each: _LIKE in each.values):
        # Where several sections are of a kind, one variable cannot mean all of them.
        alone = number[section.role, section.kind] == 1
        try:
            base = _base(section, resolved)
            resolved.append(resolve_section(section, kinds, use_environment=alone, base=base))
        except (ConfigError, PluginError) as error:
            mistakes.append(error)
    order = {section.full_name: place for place, section in enumerate(config.sections)}
    resolved.sort(key=lambda each: order[each.name])
    _raise(mistakes)
    declared: dict[type[Any], TargetCapabilities] = {}
    for index, item in enumerate(resolved):
        if item.section.role == "targets":
            owner = f"{item.name} ({item.owner})"
            declared.setdefault(item.plugin, checked_capabilities(item.plugin, owner))
            resolved[index] = replace(item, capabilities=declared[item.plugin])
    for check in (_check_remotes, _check_template, _check_retention, _check_files):
        try:
            check(config, resolved)
        except ConfigError as error:
            mistakes.append(error)
    _raise(mistakes)
    return resolved


def _raise(mistakes: Sequence[InfluxopsError]) -> None:
    if len(mistakes) == 1:
        raise mistakes[0]
    if mistakes:
        raise ConfigError("\n".join(map(str, mistakes)))


def _base(section: Section, resolved: Sequence[ResolvedSection]) -> ResolvedSection | None:
    """Return the section whose connection holds for another one, too; None where none does."""
    role, like = section.role, section.values.get(_LIKE)
    if role == "ledger" and like is None:
        role = "sources"
    elif like is None:
        return None
    alike = [
        each for each in resolved if (each.section.role, each.kind.name) == (role, section.kind)
    ]
    if like is None:
        return alike[0] if alike else None
    base = next((each for each in alike if each.section.name == like), None)
    if base is None or not base.plugin.Settings.connection:
        known = [each.section.name for each in alike if each.plugin.Settings.connection]
        kind = f"{ROLE_NAMES[role]} of the kind {section.kind} that another can be like"
        raise ConfigError(
            f"{_place(section, _LIKE)}{section.written(_LIKE)}: {like!r} is no {kind}",
            hint=did_you_mean(str(like), known),
        )
    return base


def resolve_section(
    section: Section,
    kinds: Mapping[str, PluginType],
    *,
    use_environment: bool = True,
    base: ResolvedSection | None = None,
) -> ResolvedSection:
    """Let one section's plugin check it, with its variables where these speak for it.

    The settings of `base` hold for it, too, where it gives no place of its own.
    """
    try:
        kind = find(section.kind, kinds, section.role)
        plugin = kind.load()
    except PluginLoadError as error:
        error.message = f"{_place(section, 'kind') or section.full_name + ': '}{error.message}"
        raise
    _check_role(section, kind, plugin)
    try:
        specs: Mapping[str, SettingSpec] = plugin.Settings.declared()
    except Exception as error:  # an annotation that names what does not exist
        raise _broken(section, kind, error) from error
    values = {name: value for name, value in section.values.items() if name != _LIKE}
    origins = {name: section.where(name) for name in values}
    as_text: set[str] = set()
    mistakes: list[str] = []

    def refuse(name: str, message: str, origins: Mapping[str, str]) -> None:
        mistakes.append(_mistake(section, specs.get(name), name, message, origins))

    if base is not None:
        # Variables have spoken for the other section.
        if not any(key in values for key in plugin.Settings.place):
            shared = [name for name in base.values if name in specs and name not in values]
            if _LIKE in section.values:
                shared = [name for name in shared if name in plugin.Settings.connection]
            values |= {name: base.values[name] for name in shared}
            origins |= {name: base.origins[name] for name in shared}
            as_text |= base.as_text.intersection(shared)
    elif use_environment:
        for name, spec in specs.items():
            variable = next((each for each in spec.env if os.environ.get(each)), None)
            if variable is None or (section.outranks_environment and name in values):
                continue
            if name in values:
                # A mistake in what a variable overrides counts, a literal secret above all.
                try:
                    spec.read(values[name])
                except ValueError as error:
                    refuse(name, str(error), {})
            if spec.is_secret:
                values[name] = {"env": variable}
            else:
                values[name] = os.environ[variable]
                as_text.add(name)
            origins[name] = variable
    try:
        settings = plugin.Settings.parse(values, as_text)
    except InvalidSettings as error:
        for name, message in error.mistakes:
            refuse(name, message, origins)
    except Exception as error:  # whatever a foreign check raises; its words might repeat a value
        raise _broken(section, kind, error) from error
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    _check_variables(section, settings, origins, use_environment or base is not None)
    origins = dict.fromkeys(specs, "default") | origins
    return ResolvedSection(section, kind, plugin, settings, origins, values, frozenset(as_text))


def _check_variables(
    section: Section, settings: PluginSettings, origins: Mapping[str, str], is_used: bool
) -> None:
    """Refuse a section whose server is another one than its author means."""
    specs = settings.declared()
    for name in settings.place:
        variable = next((each for each in specs[name].env if os.environ.get(each)), None)
        if variable is None:
            continue
        if not is_used and not any(each in settings.given for each in settings.place):
            number = f"several {section.role} are of the kind {section.kind}"
            location = settings.location()
            like = ', or `like = "NAME"` for the connection of another one'
            raise ConfigError(
                f"{_place(section)}{section.full_name}: {variable} is set and does not count, for "
                f"{number}; this one would be {location.text if location else 'its default'}",
                hint=f"set `{name}`{like if settings.connection else ''}",
            )
        secret = next(
            (each for each in section.values if each in specs and specs[each].is_secret), ""
        )
        # A secret may be a whole connection string, parts of which a variable replaces.
        own = section.values.get(name, ... if secret in settings.place else os.environ[variable])
        if (
            secret
            and origins.get(name) == variable
            and own != os.environ[variable]
            and not any(os.environ.get(each) for each in specs[secret].env)
        ):
            raise ConfigError(
                f"{_place(section, secret)}{variable} is set, which would send what "
                f"{section.written(secret)} has to another server than it is for",
                hint=f"unset {variable}"
                + (f", or set {specs[secret].env[0]} too" if specs[secret].env else ""),
            )


def _broken(section: Section, kind: PluginType, error: Exception) -> PluginLoadError:
    return PluginLoadError(
        f"{section.full_name}: the plugin kind {kind.name!r} of {kind.distribution} broke "
        f"while it checked its settings: {type(error).__name__}",
        hint="tell its author",
    )


def _check_role(section: Section, kind: PluginType, plugin: type[Any]) -> None:
    """Refuse a plugin that does not serve as what the section is."""
    roles = kind.roles(plugin)
    if section.role in roles:
        base = _SETTINGS.get(section.role, PluginSettings)
        if not issubclass(plugin.Settings, base):
            raise PluginLoadError(
                f"{section.full_name} (kind {kind.name} of {kind.distribution}) cannot be used: "
                f"its `Settings` does not derive from influxops.plugin.{base.__name__}",
                hint="tell its author",
            )
        return
    fits = " or ".join(ROLE_NAMES[role] for role in ROLE_NAMES if role in roles)
    missing = lacks(plugin, section.role)
    why = (
        f"it serves as {fits}"
        if fits
        else validate_hooks(plugin) or f"it lacks {summarize(missing)}"
    )
    raise ConfigError(
        f"{_place(section, 'kind')}{section.written('kind')}: the kind {kind.name!r} is no "
        f"{ROLE_NAMES[section.role]}; {why}"
    )


def _mistake(
    section: Section, spec: SettingSpec | None, name: str, message: str, origins: Mapping[str, str]
) -> str:
    """Return one line about a setting: where it is, how its author writes it, what is wrong."""
    if not name:
        return f"{_place(section)}{section.full_name}: {message}"
    written = how_written(section, spec, name, origins)
    is_variable = spec is not None and written in spec.env
    return f"{'' if is_variable else _place(section, name)}{written}: {message}"


def _place(section: Section, *keys: str) -> str:
    """Return `file:line: ` of a key; nothing where there is no file."""
    return f"{section.where(*keys)}: " if isinstance(section.author, TomlFile) else ""


def _check_remotes(config: Config, resolved: Iterable[ResolvedSection]) -> None:
    """Refuse a run between a location that was configured and a default.

    Production's registry and this machine's test server (or the reverse) are a mistake: one
    variable was set and the other forgotten.
    """
    places = [(item, _location(item)) for item in resolved if item.section.role != "reporters"]
    remote = next(((r, p) for r, p in places if p and p.is_remote and not p.is_default), None)
    default = next(((r, p) for r, p in places if p and p.is_default), None)
    if remote and default:
        item = default[0]
        variable = item.settings.location_variable
        key = next((k for k, one in item.settings.declared().items() if variable in one.env), "")
        raise ConfigError(
            f"{remote[0].name} is on another machine ({remote[1].host}), but the location of "
            f"{item.name} is not configured; its default, {default[1].text}, is probably not meant",
            hint=Hint.setting(key, "set {}").located(item.name, item.written(key))
            if key
            else "say where it is",
        )


def _location(item: ResolvedSection) -> Location | None:
    try:
        return item.location
    except ConfigError:
        return None  # a secret that cannot be read; its use reports that


def _check_template(config: Config, resolved: Iterable[ResolvedSection]) -> None:
    """Refuse a naming template that makes no name which any target takes."""
    name = config.template.name("x")
    rules = [t.capabilities.validate_name(name) for t in resolved if t.section.role == "targets"]
    if rules and all(rules):
        config.refuse("naming", "database", f"a database's name {rules[0]}")


def _check_files(config: Config, resolved: Iterable[ResolvedSection]) -> None:
    """Refuse two reporters that keep one file."""
    kept: dict[str, str] = {}
    for item in resolved:
        file = item.settings.file if isinstance(item.settings, ReporterSettings) else None
        full = item.section.full_name
        if file is not None and kept.setdefault(file, full) != full:
            raise ConfigError(
                f"{kept[file]} and {full} both keep {file}", hint="give each a file of its own"
            )


def _check_retention(config: Config, resolved: Iterable[ResolvedSection]) -> None:
    """Refuse a default retention period that a target does not keep."""
    targets = [item for item in resolved if item.section.role == "targets"]
    wanted = config.retention
    if wanted is None or isinstance(wanted, Unmanaged):
        return
    refuse = partial(config.refuse, "database", "retention")
    without = [
        one_line(item.section.name) for item in targets if item.capabilities.retention is None
    ]
    if without:
        verb = "keeps" if len(without) == 1 else "keep"
        message = f"{summarize(without)} {verb} no retention periods"
        refuse(message, "leave it out, or give it to tenants of other targets alone")
    for item in targets:
        shortest, longest = item.capabilities.retention or (wanted, wanted)
        limit, than, most, hint = shortest, "shorter", "least", ""
        if wanted > longest:
            limit, than, most = longest, "longer", "most"
            hint = "write `none` to keep data for ever"
        if not shortest <= wanted <= longest:
            refuse(
                f"{format_duration(wanted)} is {than} than the {format_duration(limit)} "
                f"that {one_line(item.section.name)} keeps at {most}",
                hint,
            )
