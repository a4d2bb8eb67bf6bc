"""All that a plugin imports: `from influxops.plugin import Source, Tenant, hookimpl`."""

from __future__ import annotations

from typing import Any, ClassVar

from influxops._version import __version__ as __version__
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
from influxops.domain.change import Action as Action
from influxops.domain.change import Change as Change
from influxops.domain.change import ChangeResult as ChangeResult
from influxops.domain.change import Outcome as Outcome
from influxops.domain.check import Check as Check
from influxops.domain.copy import CopyProgress as CopyProgress
from influxops.domain.copy import CopyRequest as CopyRequest
from influxops.domain.database import UNKNOWN as UNKNOWN
from influxops.domain.database import UNMANAGED as UNMANAGED
from influxops.domain.database import Database as Database
from influxops.domain.database import DatabaseStats as DatabaseStats
from influxops.domain.database import Inventory as Inventory
from influxops.domain.database import Marker as Marker
from influxops.domain.database import TableStats as TableStats
from influxops.domain.database import TargetCapabilities as TargetCapabilities
from influxops.domain.database import Unknown as Unknown
from influxops.domain.durations import format_duration as format_duration
from influxops.domain.durations import parse_duration as parse_duration
from influxops.domain.finding import Finding as Finding
from influxops.domain.finding import FindingKind as FindingKind
from influxops.domain.finding import Severity as Severity
from influxops.domain.hint import Hint as Hint
from influxops.domain.plan import Refusal as Refusal
from influxops.domain.plan import TenantPlan as TenantPlan
from influxops.domain.plan import TenantStatus as TenantStatus
from influxops.domain.record import Event as Event
from influxops.domain.record import HistoryEntry as HistoryEntry
from influxops.domain.record import HistoryQuery as HistoryQuery
from influxops.domain.record import LedgerSnapshot as LedgerSnapshot
from influxops.domain.record import LedgerUpdate as LedgerUpdate
from influxops.domain.record import Record as Record
from influxops.domain.record import Server as Server
from influxops.domain.record import State as State
from influxops.domain.selection import Scope as Scope
from influxops.domain.tenant import ATTRIBUTES as ATTRIBUTES
from influxops.domain.tenant import Tenant as Tenant
from influxops.domain.tenant import ignored_attributes as ignored_attributes
from influxops.domain.tenant import meant_attribute as meant_attribute
from influxops.domain.text import did_you_mean as did_you_mean
from influxops.domain.text import format_time as format_time
from influxops.domain.text import join_limited as join_limited
from influxops.domain.text import one_line as one_line
from influxops.domain.text import pluralize as pluralize
from influxops.domain.text import quote as quote
from influxops.domain.text import summarize as summarize
from influxops.domain.text import truncate as truncate
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
    TargetAuthError as TargetAuthError,
)
from influxops.errors import (
    TargetError as TargetError,
)
from influxops.errors import (
    TransactionLost as TransactionLost,
)
from influxops.plugin_host.hookspecs import hookimpl as hookimpl
from influxops.report.document import database_document as database_document
from influxops.report.document import report_document as report_document
from influxops.report.groups import FindingGroup as FindingGroup
from influxops.report.model import LedgerState as LedgerState
from influxops.report.model import Report as Report
from influxops.report.model import RunOrigin as RunOrigin
from influxops.report.model import RunStart as RunStart
from influxops.report.model import SourceState as SourceState
from influxops.report.model import TargetState as TargetState
from influxops.report.view import ReportView as ReportView
from influxops.report.wording import ANSIBLE_STYLE as ANSIBLE_STYLE
from influxops.report.wording import CLI_STYLE as CLI_STYLE
from influxops.report.wording import HintStyle as HintStyle
from influxops.report.wording import format_retention as format_retention
from influxops.runtime.cancellation import CancelToken as CancelToken
from influxops.runtime.cancellation import WaitTimeout as WaitTimeout
from influxops.runtime.context import RunContext as RunContext
from influxops.runtime.stdio import console as console
from influxops.runtime.stdio import is_terminal as is_terminal
from influxops.runtime.stdio import write_stream as write_stream


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
    """The base of a target: implement `influxops_list_databases` and `influxops_ensure`."""

    Settings: ClassVar[type[PluginSettings]] = TargetSettings
    capabilities: ClassVar[TargetCapabilities] = TargetCapabilities()


class Ledger(Plugin):
    """The base of a ledger: implement its five hooks."""

    Settings: ClassVar[type[PluginSettings]] = LedgerSettings


class Reporter(Plugin):
    """The base of a reporter: implement `influxops_report`."""

    Settings: ClassVar[type[PluginSettings]] = ReporterSettings
