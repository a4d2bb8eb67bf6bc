"""What a plugin of any kind imports."""

from __future__ import annotations

from typing import Any, ClassVar

from influxops._version import __version__
from influxops.config.secrets import Secret
from influxops.config.settings import (
    Location,
    PluginSettings,
    SettingError,
    is_this_machine,
    setting,
)
from influxops.domain.durations import format_duration, parse_duration
from influxops.domain.finding import Check, Finding, FindingKind, Severity
from influxops.domain.hint import Hint
from influxops.domain.text import (
    did_you_mean,
    format_time,
    join_limited,
    one_line,
    pluralize,
    quote,
    summarize,
    truncate,
)
from influxops.errors import ConfigError, DeadlineExceeded, InfluxopsError, Interrupted, PluginError
from influxops.plugin_host.hookspecs import API_VERSION, Closing, HealthChecks, hookimpl
from influxops.runtime.cancellation import CancelToken, WaitTimeout
from influxops.runtime.context import RunContext, in_background

__all__ = [
    "API_VERSION",
    "CancelToken",
    "Check",
    "Closing",
    "ConfigError",
    "DeadlineExceeded",
    "Finding",
    "FindingKind",
    "HealthChecks",
    "Hint",
    "InfluxopsError",
    "Interrupted",
    "Location",
    "Plugin",
    "PluginError",
    "PluginSettings",
    "RunContext",
    "Secret",
    "SettingError",
    "Severity",
    "WaitTimeout",
    "__version__",
    "did_you_mean",
    "format_duration",
    "format_time",
    "hookimpl",
    "in_background",
    "is_this_machine",
    "join_limited",
    "one_line",
    "parse_duration",
    "pluralize",
    "quote",
    "setting",
    "summarize",
    "truncate",
]


class Plugin:
    """The base of every plugin: one instance a configured section.

    Args:
        section: The name of its section.
        settings: What the section says, an instance of the class's `Settings`.
    """

    Settings: ClassVar[type[PluginSettings]] = PluginSettings

    def __init__(self, section: str, settings: Any) -> None:
        self.section = section
        self.settings = settings
