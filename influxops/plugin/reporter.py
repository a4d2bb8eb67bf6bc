"""What a reporter imports, beside `influxops.plugin.base`."""

from __future__ import annotations

from typing import ClassVar

from influxops.config.plugin_settings import ReporterSettings
from influxops.config.settings import PluginSettings
from influxops.domain.plan import Refusal, TenantPlan, TenantStatus
from influxops.domain.route import Route, Routes
from influxops.errors import ExitCode, ReporterError
from influxops.plugin.base import Plugin
from influxops.plugin_host.hookspecs import ReporterHooks, RouteFiles, StartNotice
from influxops.report.document import database_document, report_document, report_json
from influxops.report.groups import FindingGroup
from influxops.report.model import (
    LedgerState,
    Report,
    RunOrigin,
    RunStart,
    SourceState,
    TargetState,
)
from influxops.report.view import ReportView
from influxops.report.wording import ANSIBLE_STYLE, CLI_STYLE, HintStyle, format_retention
from influxops.runtime.stdio import console, is_terminal, write_stream

__all__ = [
    "ANSIBLE_STYLE",
    "CLI_STYLE",
    "ExitCode",
    "FindingGroup",
    "HintStyle",
    "LedgerState",
    "Refusal",
    "Report",
    "ReportView",
    "Reporter",
    "ReporterError",
    "ReporterSettings",
    "Route",
    "RouteFiles",
    "Routes",
    "RunOrigin",
    "RunStart",
    "SourceState",
    "StartNotice",
    "TargetState",
    "TenantPlan",
    "TenantStatus",
    "console",
    "database_document",
    "format_retention",
    "is_terminal",
    "report_document",
    "report_json",
    "write_stream",
]


class Reporter(Plugin, ReporterHooks):
    """The base of a reporter: implement `influxops_report`."""

    Settings: ClassVar[type[PluginSettings]] = ReporterSettings
