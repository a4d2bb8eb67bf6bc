"""The reporters that come with influxops: terminal, JSON, journal and Prometheus textfile."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from influxops_reports.document import JsonReporter as JsonReporter
    from influxops_reports.journal import JournalReporter as JournalReporter
    from influxops_reports.prometheus import PrometheusReporter as PrometheusReporter
    from influxops_reports.terminal import TerminalReporter as TerminalReporter

_HOMES = {
    "JournalReporter": "journal",
    "JsonReporter": "document",
    "PrometheusReporter": "prometheus",
    "TerminalReporter": "terminal",
}

__all__ = ["JournalReporter", "JsonReporter", "PrometheusReporter", "TerminalReporter"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'influxops_reports' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"influxops_reports.{home}"), name)
    globals()[name] = value
    return value
