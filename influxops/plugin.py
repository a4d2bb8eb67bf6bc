"""All that a plugin imports: `from influxops.plugin import Source, Tenant, hookimpl`."""

from __future__ import annotations

from typing import Any, ClassVar

from influxops._version import __version__
from influxops.attributes import ATTRIBUTES, ignored_attributes, meant_attribute
from influxops.config.secrets import Secret
from influxops.config.settings import (
    Location,
    PluginSettings,
    ReporterSettings,
    SettingError,
    SourceSettings,
    TargetSettings,
    is_this_machine,
    setting,
)
from influxops.context import Context, Ending, LateAnswer, Scope
from influxops.durations import format_duration, parse_duration
from influxops.errors import (
    ConfigError,
    DeadlineExceeded,
    ExitCode,
    InfluxopsError,
    Interrupted,
    LockBusy,
    PluginError,
    ReporterError,
    SourceError,
    TargetError,
    TargetRefused,
)
from influxops.findings import Finding, Kind, Severity
from influxops.model import (
    UNKNOWN,
    UNMANAGED,
    Action,
    Change,
    Check,
    Database,
    DatabaseStats,
    Inventory,
    Outcome,
    Refusal,
    Status,
    Tenant,
    TenantPlan,
    Traits,
    Unknown,
    Verdict,
)
from influxops.plugins.hookspecs import hookimpl
from influxops.remedy import Remedy
from influxops.report.document import database_document, report_document
from influxops.report.model import Origin, Report, RunHead, SourceState, TargetState
from influxops.report.view import COMMAND_LINE, TASK, Group, ReportView, Words, listed
from influxops.report.words import retention_words
from influxops.streams import console, is_terminal, write_stream
from influxops.text import count, nearest, one_line, printable, short, some_of


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


class Source(Plugin):
    """The base of a tenant source: implement `influxops_tenants`."""

    Settings: ClassVar[type[PluginSettings]] = SourceSettings


class Target(Plugin):
    """The base of a database target: implement `influxops_inventory` and `influxops_ensure`."""

    Settings: ClassVar[type[PluginSettings]] = TargetSettings
    traits: ClassVar[Traits] = Traits()


class Reporter(Plugin):
    """The base of a reporter: implement `influxops_report`."""

    Settings: ClassVar[type[PluginSettings]] = ReporterSettings


__all__ = [
    "ATTRIBUTES",
    "COMMAND_LINE",
    "TASK",
    "UNKNOWN",
    "UNMANAGED",
    "Action",
    "Change",
    "Check",
    "ConfigError",
    "Context",
    "Database",
    "DatabaseStats",
    "DeadlineExceeded",
    "Ending",
    "ExitCode",
    "Finding",
    "Group",
    "InfluxopsError",
    "Interrupted",
    "Inventory",
    "Kind",
    "LateAnswer",
    "Location",
    "LockBusy",
    "Origin",
    "Outcome",
    "Plugin",
    "PluginError",
    "PluginSettings",
    "Refusal",
    "Remedy",
    "Report",
    "ReportView",
    "Reporter",
    "ReporterError",
    "ReporterSettings",
    "RunHead",
    "Scope",
    "Secret",
    "SettingError",
    "Severity",
    "Source",
    "SourceError",
    "SourceSettings",
    "SourceState",
    "Status",
    "Target",
    "TargetError",
    "TargetRefused",
    "TargetSettings",
    "TargetState",
    "Tenant",
    "TenantPlan",
    "Traits",
    "Unknown",
    "Verdict",
    "Words",
    "__version__",
    "console",
    "count",
    "database_document",
    "format_duration",
    "hookimpl",
    "ignored_attributes",
    "is_terminal",
    "is_this_machine",
    "listed",
    "meant_attribute",
    "nearest",
    "one_line",
    "parse_duration",
    "printable",
    "report_document",
    "retention_words",
    "setting",
    "short",
    "some_of",
    "write_stream",
]
