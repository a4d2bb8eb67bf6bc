"""All that a plugin imports: `from influxops.plugin import Source, Tenant, hookimpl`."""

from __future__ import annotations

from typing import Any, ClassVar

from influxops._version import __version__ as __version__
from influxops.attributes import ATTRIBUTES as ATTRIBUTES
from influxops.attributes import ignored_attributes as ignored_attributes
from influxops.attributes import meant_attribute as meant_attribute
from influxops.config.plugin_settings import LedgerSettings as LedgerSettings
from influxops.config.plugin_settings import ReporterSettings as ReporterSettings
from influxops.config.plugin_settings import SourceSettings as SourceSettings
from influxops.config.plugin_settings import TargetSettings as TargetSettings
from influxops.config.secrets import Secret as Secret
from influxops.config.settings import (
    Location as Location,
)
from influxops.config.settings import (
    PluginSettings as PluginSettings,
)
from influxops.config.settings import (
    SettingError as SettingError,
)
from influxops.config.settings import (
    is_this_machine as is_this_machine,
)
from influxops.config.settings import (
    setting as setting,
)
from influxops.context import Context as Context
from influxops.context import Ending as Ending
from influxops.context import LateAnswer as LateAnswer
from influxops.context import Scope as Scope
from influxops.durations import format_duration as format_duration
from influxops.durations import parse_duration as parse_duration
from influxops.errors import (
    ConfigError as ConfigError,
)
from influxops.errors import (
    DeadlineExceeded as DeadlineExceeded,
)
from influxops.errors import (
    ExitCode as ExitCode,
)
from influxops.errors import (
    InfluxopsError as InfluxopsError,
)
from influxops.errors import (
    Interrupted as Interrupted,
)
from influxops.errors import (
    LedgerError as LedgerError,
)
from influxops.errors import (
    LockBusy as LockBusy,
)
from influxops.errors import (
    PluginError as PluginError,
)
from influxops.errors import (
    ReporterError as ReporterError,
)
from influxops.errors import (
    SourceError as SourceError,
)
from influxops.errors import (
    TargetError as TargetError,
)
from influxops.errors import (
    TargetRefused as TargetRefused,
)
from influxops.errors import (
    TransactionLost as TransactionLost,
)
from influxops.findings import Finding as Finding
from influxops.findings import Kind as Kind
from influxops.findings import Severity as Severity
from influxops.ledger import Entry as Entry
from influxops.ledger import Event as Event
from influxops.ledger import Memory as Memory
from influxops.ledger import Record as Record
from influxops.ledger import Server as Server
from influxops.ledger import State as State
from influxops.ledger import Wanted as Wanted
from influxops.ledger import Writing as Writing
from influxops.model import (
    UNKNOWN as UNKNOWN,
)
from influxops.model import (
    UNMANAGED as UNMANAGED,
)
from influxops.model import (
    Action as Action,
)
from influxops.model import (
    Change as Change,
)
from influxops.model import (
    Check as Check,
)
from influxops.model import (
    Copied as Copied,
)
from influxops.model import (
    CopyOrder as CopyOrder,
)
from influxops.model import (
    Database as Database,
)
from influxops.model import (
    DatabaseStats as DatabaseStats,
)
from influxops.model import (
    Inventory as Inventory,
)
from influxops.model import (
    Marker as Marker,
)
from influxops.model import (
    Outcome as Outcome,
)
from influxops.model import (
    Refusal as Refusal,
)
from influxops.model import (
    Status as Status,
)
from influxops.model import (
    TableStats as TableStats,
)
from influxops.model import (
    Tenant as Tenant,
)
from influxops.model import (
    TenantPlan as TenantPlan,
)
from influxops.model import (
    Traits as Traits,
)
from influxops.model import (
    Unknown as Unknown,
)
from influxops.model import (
    Verdict as Verdict,
)
from influxops.plugins.hookspecs import hookimpl as hookimpl
from influxops.remedy import Remedy as Remedy
from influxops.report.document import database_document as database_document
from influxops.report.document import report_document as report_document
from influxops.report.model import LedgerState as LedgerState
from influxops.report.model import Origin as Origin
from influxops.report.model import Report as Report
from influxops.report.model import RunHead as RunHead
from influxops.report.model import SourceState as SourceState
from influxops.report.model import TargetState as TargetState
from influxops.report.view import COMMAND_LINE as COMMAND_LINE
from influxops.report.view import TASK as TASK
from influxops.report.view import Group as Group
from influxops.report.view import ReportView as ReportView
from influxops.report.view import Words as Words
from influxops.report.view import listed as listed
from influxops.report.wording import retention_words as retention_words
from influxops.streams import console as console
from influxops.streams import is_terminal as is_terminal
from influxops.streams import write_stream as write_stream
from influxops.text import count as count
from influxops.text import moment as moment
from influxops.text import nearest as nearest
from influxops.text import one_line as one_line
from influxops.text import printable as printable
from influxops.text import short as short
from influxops.text import some_of as some_of


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


class Ledger(Plugin):
    """The base of a ledger: implement its four hooks, and `influxops_lock`."""

    Settings: ClassVar[type[PluginSettings]] = LedgerSettings


class Reporter(Plugin):
    """The base of a reporter: implement `influxops_report`."""

    Settings: ClassVar[type[PluginSettings]] = ReporterSettings
