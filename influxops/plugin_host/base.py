"""One configured section and the instance of its plugin, which is called through a handle."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import pluggy
from msgspec import Struct, field
from msgspec.structs import replace

from influxops.config.load import Section
from influxops.config.secrets import Redactor
from influxops.config.settings import Location, PluginSettings, SettingSpec
from influxops.constants import PROJECT
from influxops.domain.database import TargetCapabilities
from influxops.domain.finding import Check, Finding
from influxops.domain.hint import Hint
from influxops.errors import ConfigError, InfluxopsError, Interrupted, PluginError, PluginLoadError
from influxops.plugin_host.discovery import PluginType
from influxops.plugin_host.hookspecs import OPTIONAL, REQUIRED
from influxops.plugin_host.validation import implements, unimplemented, validate_hooks
from influxops.runtime.context import RunContext


class ResolvedSection(Struct, frozen=True):
    """A section with all that was found out about it."""

    section: Section
    kind: PluginType  # its plugin's kind
    plugin: type[Any]  # its plugin's class
    settings: PluginSettings  # its settings, checked
    #: Where each setting comes from: `influxops.toml:7`, a variable, or `default`.
    origins: Mapping[str, str]
    #: What was said, by setting, before the plugin read it; `as_text` are those from variables.
    values: Mapping[str, Any] = field(default_factory=dict)
    as_text: frozenset[str] = frozenset()
    #: What its plugin has, where it is a target; the same object for all of one class.
    capabilities: TargetCapabilities = field(default_factory=TargetCapabilities)

    @property
    def name(self) -> str:
        """The name under which its plugin is registered: `target:eu1`."""
        return self.section.full_name

    @property
    def location(self) -> Location | None:
        """Where it reads or writes."""
        return self.settings.location()

    @property
    def owner(self) -> str:
        """Its plugin, for messages: `kind influxdb3 of influxops 1.0`."""
        return f"kind {self.kind.name} of {self.kind.distribution}"

    def written(self, key: str) -> str:
        """Return how its author writes a setting, or which variable set it."""
        return how_written(self.section, self.settings.declared().get(key), key, self.origins)


def how_written(
    section: Section, spec: SettingSpec | None, key: str, origins: Mapping[str, str]
) -> str:
    """Return how its author writes a setting, or which variable set it."""
    variables = spec.env if spec else ()
    origin = origins.get(key)
    return origin if origin in variables else section.written(key, variables)


class Handle:
    """One configured section: its plugin's instance, called safely.

    A method that calls a hook has its name, and raises an InfluxopsError for whatever the
    instance raises. A section whose secret is not there has no instance; `missing` says why.
    """

    def __init__(
        self,
        resolved: ResolvedSection,
        manager: pluggy.PluginManager,
        redact: Redactor,
        missing: ConfigError | None = None,
    ) -> None:
        self.resolved = resolved
        self.settings: Any = resolved.settings
        self._manager = manager
        self._redact = redact
        self.missing = missing
        self._instance: Any = None
        self._owner = resolved.owner
        if missing is not None:
            return
        try:
            instance = resolved.plugin(self.name, resolved.settings)
            manager.register(instance, self.full_name)
            manager.check_pending()
            if unimplemented(resolved.plugin):
                raise pluggy.PluginValidationError(instance, "a hook is not implemented")
        except InfluxopsError as error:
            error.remedy = self.with_config_location(error.remedy)
            raise
        except pluggy.PluginValidationError as error:
            manager.unregister(name=self.full_name)
            why = validate_hooks(resolved.plugin) or str(error).splitlines()[-1]
            raise PluginLoadError(
                f"{self.full_name} ({self._owner}) cannot be used: {why}",
                hint="correct its plugin; `influxops docs plugins` lists the hooks",
            ) from error
        except Exception as error:
            raise PluginLoadError(
                f"{self.full_name} ({self._owner}) cannot be made: "
                f"{type(error).__name__}: {redact(str(error))}",
                hint="tell its author",
            ) from error
        self._instance = instance

    @property
    def name(self) -> str:
        """The name of its section: `eu1`."""
        return self.resolved.section.name

    @property
    def full_name(self) -> str:
        """The name under which it is registered: `target:eu1`."""
        return self.resolved.name

    @property
    def kind(self) -> str:
        """Its plugin's kind."""
        return self.resolved.section.kind

    @property
    def location(self) -> Location | None:
        """Where it reads or writes."""
        return self.resolved.location

    @property
    def url(self) -> str:
        """Where it reads or writes, fit to be shown; empty where there is no such place."""
        return self.location.text if self.location else ""

    def implements(self, hook: str) -> bool:
        """Return whether it implements a hook."""
        return implements(type(self._instance), hook)

    @contextlib.contextmanager
    def error_boundary(self) -> Iterator[None]:
        """Turn what the instance raises into an error without secrets that names the plugin."""
        try:
            if self.missing is not None:
                raise InfluxopsError(self.missing.message, hint=self.missing.remedy)
            yield
        except Interrupted:
            raise
        except InfluxopsError as error:
            error.message = self._redact(error.message)
            error.args = (error.message,)
            error.remedy = self.with_config_location(error.remedy)
            raise
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"its plugin broke ({self._owner}): {type(error).__name__}: "
                f"{self._redact(str(error))}",
                hint="-vv shows where; tell its author",
            ) from error

    @contextlib.contextmanager
    def settings_named(self) -> Iterator[None]:
        """Name its settings in hints of another section's plugin that works with it, too."""
        try:
            yield
        except InfluxopsError as error:
            if isinstance(error.remedy, Hint) and error.remedy.section == self.full_name:
                error.remedy = self.with_config_location(error.remedy)
            raise

    def call(self, hook: str, *arguments: Any) -> Any:
        """Call a hook for this instance, with all wrappers; a generator runs once iterated."""
        caller = getattr(self._manager.hook, hook)
        others = {
            impl.plugin
            for impl in caller.get_hookimpls()
            if impl.plugin is not self._instance and not (impl.wrapper or impl.hookwrapper)
        }
        named = dict(zip(caller.spec.argnames, arguments, strict=True))
        return self._manager.subset_hook_caller(hook, others)(**named)

    def with_config_location(self, remedy: Any) -> Any:
        """Return a hint with the section's settings named as its author wrote them."""
        if not isinstance(remedy, Hint):
            remedy = Hint.advise(str(remedy))
        remedy = remedy._replace(text=self._redact(remedy.text)) if remedy.text else remedy
        return remedy.located(self.full_name, self.resolved.written(remedy.value))

    def checks(self, context: RunContext) -> Iterator[Check]:
        """Yield what a run depends on here, for `doctor`."""
        if not self.implements("influxops_check"):
            return
        try:
            with self.error_boundary():
                for check in self.call("influxops_check", context) or ():
                    yield replace(check, hint=self.with_config_location(check.hint))
        except Interrupted:
            raise
        except InfluxopsError as error:
            context.log.debug("%s broke", self.full_name, exc_info=True)
            yield Check("check", False, error.message, error.remedy)

    def close(self) -> None:
        """Let the instance close its connections."""
        if self.implements("influxops_close"):
            with contextlib.suppress(InfluxopsError), self.error_boundary():
                self.call("influxops_close")

    def _finding(self, finding: Finding) -> Finding:
        """Return a plugin's finding with its remedy located and secrets taken out."""
        return replace(
            finding,
            message=self._redact(finding.message),
            remedy=self.with_config_location(finding.remedy),
        )


class _Manager(pluggy.PluginManager):
    # What each class has of Python's is no hook, and is most of what it has.
    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
        return None if name.startswith("__") else super().parse_hookspec_opts(module_or_class, name)

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        return None if name.startswith("__") else super().parse_hookimpl_opts(plugin, name)


def manager() -> pluggy.PluginManager:
    """Return a plugin manager that knows the hooks; each engine has its own."""
    made = _Manager(PROJECT)
    for spec in (*REQUIRED.values(), *OPTIONAL):
        made.add_hookspecs(spec)
    return made
