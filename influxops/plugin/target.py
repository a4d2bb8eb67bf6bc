"""What a database target imports, beside `influxops.plugin.base`."""

from __future__ import annotations

from typing import ClassVar

from influxops.config.plugin_settings import TargetSettings
from influxops.config.settings import PluginSettings
from influxops.domain.copy import CopyProgress, CopyRequest
from influxops.domain.database import (
    NEARLY_FULL,
    UNKNOWN,
    UNMANAGED,
    Database,
    DatabaseStats,
    Inventory,
    Marker,
    TableStats,
    TargetCapabilities,
    Unknown,
)
from influxops.domain.export import Manifest, Part, TableFiles, file_name
from influxops.domain.plan import Action, Change, ChangeResult, Outcome
from influxops.errors import ExportError, TargetAuthError, TargetError
from influxops.plugin.base import Plugin
from influxops.plugin_host.hookspecs import (
    DatabaseCopy,
    DatabaseExport,
    DatabaseImport,
    DatabaseLookup,
    DatabaseMarkers,
    DatabaseStatistics,
    FastCreation,
    TargetHooks,
    WriteActivity,
)
from influxops.runtime.manifests import read_manifest, sync_folder, write_manifest, writing

__all__ = [
    "NEARLY_FULL",
    "UNKNOWN",
    "UNMANAGED",
    "Action",
    "Change",
    "ChangeResult",
    "CopyProgress",
    "CopyRequest",
    "Database",
    "DatabaseCopy",
    "DatabaseExport",
    "DatabaseImport",
    "DatabaseLookup",
    "DatabaseMarkers",
    "DatabaseStatistics",
    "DatabaseStats",
    "ExportError",
    "FastCreation",
    "Inventory",
    "Manifest",
    "Marker",
    "Outcome",
    "Part",
    "TableFiles",
    "TableStats",
    "Target",
    "TargetAuthError",
    "TargetCapabilities",
    "TargetError",
    "TargetSettings",
    "Unknown",
    "WriteActivity",
    "file_name",
    "read_manifest",
    "sync_folder",
    "write_manifest",
    "writing",
]


class Target(Plugin, TargetHooks):
    """The base of a target: implement `influxops_list_databases` and `influxops_ensure`."""

    Settings: ClassVar[type[PluginSettings]] = TargetSettings
    capabilities: ClassVar[TargetCapabilities] = TargetCapabilities()
