"""Finding the plugins that are installed, and importing the ones that are used.

Plugins come by entry points of the group `influxops.plugins`; the built-in ones use the same
door. Only the kinds that a configuration uses are imported.
"""

from __future__ import annotations

import functools
import importlib.metadata
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from influxops.config.settings import PluginSettings
from influxops.constants import PLUGIN_GROUP
from influxops.domain.text import did_you_mean
from influxops.errors import PluginLoadError
from influxops.plugin_host.hookspecs import API_VERSION, REQUIRED, ReporterHooks, hooks_of
from influxops.plugin_host.validation import implements


class PluginType(Struct, frozen=True):
    """One kind of plugin that is installed."""

    name: str  # the kind, as `kind = "…"` names it
    #: Who offers it; more than one is an error where it is used.
    entry_points: tuple[importlib.metadata.EntryPoint, ...] = ()
    #: Its class and what holds that, where no distribution does: a file, a test.
    plugin: type[Any] | None = None
    origin: str = ""

    @property
    def kind(self) -> str:
        """How a section names it: `postgres` for what is called `ledger.postgres`."""
        role, _, kind = self.name.partition(".")
        return kind if role in REQUIRED and kind else self.name

    @property
    def distribution(self) -> str:
        """The distributions that offer it, each with its version."""
        return self.origin or " and ".join(
            _called(each.dist) if each.dist else "an unknown distribution"
            for each in self.entry_points
        )

    def load(self) -> type[Any]:
        """Import the plugin's class."""
        if len(self.entry_points) > 1:
            raise PluginLoadError(
                f"the plugin kind {self.name!r} is offered by {self.distribution}",
                hint="uninstall one of them",
            )
        who = f"the plugin kind {self.name!r} of {self.distribution}"
        plugin: Any = self.plugin
        if plugin is None:
            try:
                plugin = self.entry_points[0].load()
            except (Exception, SystemExit) as error:  # whatever a foreign module raises
                raise PluginLoadError(
                    f"{who} cannot be imported: {type(error).__name__}: {error}",
                    hint="install what it needs, or update it",
                ) from error
        settings = getattr(plugin, "Settings", None)
        if not isinstance(plugin, type) or not (
            isinstance(settings, type) and issubclass(settings, PluginSettings)
        ):
            named = self.entry_points[0].value if self.entry_points else repr(plugin)
            raise PluginLoadError(
                f"{who} is no plugin: {named} is not a class with a `Settings` "
                "that derives from influxops.plugin.PluginSettings",
                hint="tell its author",
            )
        version = getattr(plugin, "API_VERSION", API_VERSION)
        if not isinstance(version, int) or version > API_VERSION:
            raise PluginLoadError(
                f"{who} was {_written_for(version)}",
                hint="update influxops, or install an earlier release of it",
            )
        return plugin

    def roles(self, plugin: type[Any]) -> tuple[str, ...]:
        """Return which sections a plugin's class may serve."""
        roles = tuple(role for role in REQUIRED if not lacks(plugin, role))
        if not roles and issubclass(plugin, ReporterHooks):
            return ("reporters",)  # one that only wraps the hooks of others, for tracing
        return roles


@functools.lru_cache  # each call of `installed` makes new ones
def _called(distribution: importlib.metadata.Distribution) -> str:
    # Both are in one file, which is parsed each time that it is asked for.
    metadata = distribution.metadata
    return f"{metadata['Name']} {metadata['Version']}"


def installed(group: str = PLUGIN_GROUP) -> dict[str, PluginType]:
    """Return all kinds that are installed, by name, without importing any of them."""
    by_name: defaultdict[str, list[importlib.metadata.EntryPoint]] = defaultdict(list)
    for point in importlib.metadata.entry_points(group=group):
        by_name[point.name].append(point)
    return {name: PluginType(name, tuple(points)) for name, points in sorted(by_name.items())}


def find(kind: str, kinds: Mapping[str, PluginType], role: str = "") -> PluginType:
    """Return the kind of this name, as it serves in a role.

    An entry point that is called `ledger.postgres` is the kind `postgres` for a ledger, and
    another class than the source of that kind.
    """
    try:
        return kinds.get(f"{role}.{kind}") or kinds[kind]
    except KeyError:
        names = {each.name for each in kinds.values()}
        hint = did_you_mean(kind, names) or f"installed kinds: {', '.join(sorted(names))}"
        raise PluginLoadError(f"no plugin of the kind {kind!r} is installed", hint=hint) from None


def outdated(plugin: type[Any]) -> str:
    """Return for which older version of the hooks a plugin's class was written; empty if it fits.

    It is used nevertheless: the names and arguments of its hooks are checked one by one.
    """
    version = getattr(plugin, "API_VERSION", API_VERSION)
    return _written_for(version) if version < API_VERSION else ""


def _written_for(version: object) -> str:
    return (
        f"written for version {version!r} of the plugin API; this influxops has version "
        f"{API_VERSION}"
    )


def lacks(plugin: type[Any], role: str) -> list[str]:
    """Return the hooks that a plugin's class lacks to serve in a role."""
    return [hook for hook in hooks_of(REQUIRED[role]) if not implements(plugin, hook)]
