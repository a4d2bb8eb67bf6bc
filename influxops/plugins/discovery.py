"""Finding plugins, and keeping one plugin's failure its own.

Plugins come by entry points of the group `influxops.plugins`; the built-in ones use the same
door. Only the kinds that a configuration uses are imported. An engine has one `PluginHost`; it
calls a hook for one instance at a time, because pluggy would let one instance's exception end
the call for all.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pluggy

from influxops import hookspecs
from influxops.errors import InfluxopsError, PluginError
from influxops.naming import nearest
from influxops.settings import PluginSettings

GROUP = "influxops.plugins"

#: What a section of each role must implement.
ROLES: Mapping[str, tuple[str, ...]] = {
    "sources": ("influxops_tenants",),
    "targets": ("influxops_inventory", "influxops_ensure"),
    "reporters": ("influxops_report",),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of plugin that is installed.

    Args:
        name: The kind, as `kind = "…"` names it.
        entry_points: Who offers it; more than one is an error where it is used.
    """

    name: str
    entry_points: tuple[importlib.metadata.EntryPoint, ...]

    @property
    def distribution(self) -> str:
        """The distributions that offer it, each with its version."""
        return " and ".join(_distribution(point) for point in self.entry_points)

    @property
    def is_builtin(self) -> bool:
        """Whether it comes with influxops."""
        return all(p.dist is not None and p.dist.name == "influxops" for p in self.entry_points)

    def load(self) -> type[Any]:
        """Import the plugin's class.

        Returns:
            The class, with its `Settings`.

        Raises:
            PluginError: When two distributions offer the kind, or it cannot be imported, or it
                is no plugin; the message names kind, distribution and version.
        """
        if len(self.entry_points) > 1:
            raise _broken(
                f"the plugin kind {self.name!r} is offered by {self.distribution}",
                "uninstall one of them",
            )
        point = self.entry_points[0]
        who = f"the plugin kind {self.name!r} of {self.distribution}"
        try:
            plugin = point.load()
        except Exception as error:  # whatever a foreign module raises at import
            raise _broken(
                f"{who} cannot be imported: {type(error).__name__}: {error}",
                "install what it needs, or update it",
            ) from error
        settings = getattr(plugin, "Settings", None)
        if not isinstance(plugin, type) or not (
            isinstance(settings, type) and issubclass(settings, PluginSettings)
        ):
            raise _broken(
                f"{who} is no plugin: {point.value} is not a class with a `Settings` "
                "that derives from influxops.PluginSettings",
                "tell its author",
            )
        return plugin

    def roles(self, plugin: type[Any]) -> tuple[str, ...]:
        """Tell which sections a plugin's class may serve: `sources`, `targets`, `reporters`."""
        return tuple(
            role for role, hooks in ROLES.items() if all(_implements(plugin, h) for h in hooks)
        )


def installed(group: str = GROUP) -> dict[str, Kind]:
    """Give all kinds that are installed, by name, without importing any of them."""
    by_name: defaultdict[str, list[importlib.metadata.EntryPoint]] = defaultdict(list)
    for point in importlib.metadata.entry_points(group=group):
        by_name[point.name].append(point)
    return {name: Kind(name, tuple(points)) for name, points in sorted(by_name.items())}


def find(kind: str, kinds: Mapping[str, Kind]) -> Kind:
    """Give the kind of this name.

    Raises:
        PluginError: When it is not installed; the message suggests the nearest.
    """
    try:
        return kinds[kind]
    except KeyError:
        hint = nearest(kind, kinds) or f"installed kinds: {', '.join(kinds)}"
        raise _broken(f"no plugin of the kind {kind!r} is installed", hint) from None


class PluginHost:
    """The instances of one engine, each under its section's name (`target:eu1`)."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._owners: dict[str, str] = {}

    def register(self, name: str, instance: object, kind: Kind) -> None:
        """Add an instance.

        Args:
            name: Its section's name, with its role: `source:registry`.
            instance: The instance.
            kind: Its kind, to be named in its errors.

        Raises:
            PluginError: When its hooks do not fit the specification.
        """
        self._owners[name] = f"{name} (kind {kind.name} of {kind.distribution})"
        try:
            self._manager.register(instance, name)
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            self._manager.unregister(name=name)
            raise _broken(f"{self._owners[name]}: {error}", "tell its author") from error

    def implements(self, name: str, hook: str) -> bool:
        """Tell whether an instance implements a hook."""
        return _implements(type(self._manager.get_plugin(name)), hook)

    @contextlib.contextmanager
    def guard(self, name: str, redact: Callable[[str], str]) -> Iterator[None]:
        """Turn whatever an instance raises into an error with its name on it.

        Args:
            name: The instance.
            redact: Takes secrets out of a foreign exception's text.

        Raises:
            PluginError: For an exception that is no `InfluxopsError`.
        """
        try:
            yield
        except InfluxopsError:
            raise
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{self._owners[name]} broke: {type(error).__name__}: {redact(str(error))}",
                hint="run it again with -vv for the traceback, and tell its author",
            ) from error

    def call(self, name: str, hook: str, **arguments: Any) -> Any:
        """Call a hook for one instance; wrappers of all others still apply.

        Args:
            name: The instance.
            hook: The hook.
            **arguments: What the hook takes.

        Returns:
            What the instance returned. A generator has not run yet: iterate it under `guard`.

        Raises:
            PluginError: When the instance does not implement the hook.
        """
        instance = self._manager.get_plugin(name)
        caller = getattr(self._manager.hook, hook)
        others = {
            impl.plugin
            for impl in caller.get_hookimpls()
            if impl.plugin is not instance and not (impl.wrapper or impl.hookwrapper)
        }
        results = self._manager.subset_hook_caller(hook, others)(**arguments)
        if not results and not self.implements(name, hook):
            raise PluginError(f"{self._owners[name]} does not implement {hook}")
        return results[0] if results else None


def _implements(plugin: type[Any], hook: str) -> bool:
    return hasattr(getattr(plugin, hook, None), f"{hookspecs.PROJECT}_impl")


def _distribution(point: importlib.metadata.EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown distribution"


def _broken(message: str, hint: str) -> PluginError:
    error = PluginError(message, hint=hint)
    error.exit_code = 2  # What the configuration asks for is not there: nothing was tried.
    return error
