"""What a ledger imports, beside `influxops.plugin.base`."""

from __future__ import annotations

from typing import ClassVar

from influxops.config.plugin_settings import LedgerSettings
from influxops.config.settings import PluginSettings
from influxops.domain.record import (
    Event,
    HistoryEntry,
    HistoryQuery,
    LedgerSnapshot,
    LedgerUpdate,
    Record,
    Server,
    State,
)
from influxops.errors import LedgerError, TransactionLost
from influxops.plugin.base import Plugin
from influxops.plugin_host.hookspecs import LedgerHooks, RecordCounts, RouteChanges, TenantQueue

__all__ = [
    "Event",
    "HistoryEntry",
    "HistoryQuery",
    "Ledger",
    "LedgerError",
    "LedgerSettings",
    "LedgerSnapshot",
    "LedgerUpdate",
    "Record",
    "RecordCounts",
    "RouteChanges",
    "Server",
    "State",
    "TenantQueue",
    "TransactionLost",
]


class Ledger(Plugin, LedgerHooks):
    """The base of a ledger: implement its five hooks."""

    Settings: ClassVar[type[PluginSettings]] = LedgerSettings
