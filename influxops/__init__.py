"""influxops gives every tenant its own InfluxDB 3 database, and keeps it so.

These are the public names: what plugins and applications may use. Each is imported when it is
first asked for, so that `import influxops` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from influxops._version import __version__

if TYPE_CHECKING:
    from influxops.config import Config as Config
    from influxops.config import load_config as load_config
    from influxops.config import parse_config as parse_config
    from influxops.document import database_document as database_document
    from influxops.document import report_document as report_document
    from influxops.durations import format_duration as format_duration
    from influxops.durations import parse_duration as parse_duration
    from influxops.durations import parse_retention as parse_retention
    from influxops.engine import Engine as Engine
    from influxops.errors import ConfigError as ConfigError
    from influxops.errors import DeadlineExceeded as DeadlineExceeded
    from influxops.errors import InfluxopsError as InfluxopsError
    from influxops.errors import Interrupted as Interrupted
    from influxops.errors import LockBusy as LockBusy
    from influxops.errors import PluginError as PluginError
    from influxops.errors import ReporterError as ReporterError
    from influxops.errors import SourceError as SourceError
    from influxops.errors import TargetError as TargetError
    from influxops.errors import TargetRefused as TargetRefused
    from influxops.guards import GUARDS as GUARDS
    from influxops.hookspecs import hookimpl as hookimpl
    from influxops.model import UNKNOWN as UNKNOWN
    from influxops.model import UNMANAGED as UNMANAGED
    from influxops.model import Action as Action
    from influxops.model import Change as Change
    from influxops.model import Check as Check
    from influxops.model import Database as Database
    from influxops.model import DatabaseStats as DatabaseStats
    from influxops.model import Finding as Finding
    from influxops.model import Inventory as Inventory
    from influxops.model import Outcome as Outcome
    from influxops.model import Plan as Plan
    from influxops.model import Refusal as Refusal
    from influxops.model import Severity as Severity
    from influxops.model import Status as Status
    from influxops.model import Tenant as Tenant
    from influxops.model import Unknown as Unknown
    from influxops.naming import one_line as one_line
    from influxops.naming import printable as printable
    from influxops.naming import short as short
    from influxops.report import Origin as Origin
    from influxops.report import Report as Report
    from influxops.report import RunHead as RunHead
    from influxops.report import SourceState as SourceState
    from influxops.report import TargetState as TargetState
    from influxops.report import TenantResult as TenantResult
    from influxops.report import TenantState as TenantState
    from influxops.run import Run as Run
    from influxops.run import Scope as Scope
    from influxops.secrets import Secret as Secret
    from influxops.settings import Location as Location
    from influxops.settings import PluginSettings as PluginSettings
    from influxops.settings import ReporterSettings as ReporterSettings
    from influxops.settings import SourceSettings as SourceSettings
    from influxops.settings import TargetSettings as TargetSettings
    from influxops.settings import is_this_machine as is_this_machine
    from influxops.settings import setting as setting
    from influxops.status import tenant_status as tenant_status
    from influxops.streams import write_stream as write_stream
    from influxops.words import action_words as action_words
    from influxops.words import retention_words as retention_words
    from influxops.words import without_tenant as without_tenant

_HOMES = {
    "config": ("Config", "load_config", "parse_config"),
    "document": ("database_document", "report_document"),
    "durations": ("format_duration", "parse_duration", "parse_retention"),
    "engine": ("Engine",),
    "errors": (
        "ConfigError",
        "DeadlineExceeded",
        "InfluxopsError",
        "Interrupted",
        "LockBusy",
        "PluginError",
        "ReporterError",
        "SourceError",
        "TargetError",
        "TargetRefused",
    ),
    "guards": ("GUARDS",),
    "hookspecs": ("hookimpl",),
    "model": (
        "UNKNOWN",
        "UNMANAGED",
        "Action",
        "Change",
        "Check",
        "Database",
        "DatabaseStats",
        "Finding",
        "Inventory",
        "Outcome",
        "Plan",
        "Refusal",
        "Severity",
        "Status",
        "Tenant",
        "Unknown",
    ),
    "naming": ("one_line", "printable", "short"),
    "report": (
        "Origin",
        "Report",
        "RunHead",
        "SourceState",
        "TargetState",
        "TenantResult",
        "TenantState",
    ),
    "run": ("Run", "Scope"),
    "secrets": ("Secret",),
    "settings": (
        "Location",
        "PluginSettings",
        "ReporterSettings",
        "SourceSettings",
        "TargetSettings",
        "is_this_machine",
        "setting",
    ),
    "status": ("tenant_status",),
    "streams": ("write_stream",),
    "words": ("action_words", "retention_words", "without_tenant"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_HOME_OF]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'influxops' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"influxops.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
