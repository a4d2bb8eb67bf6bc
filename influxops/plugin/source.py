"""What a tenant source imports, beside `influxops.plugin.base`."""

from __future__ import annotations

from typing import ClassVar

from influxops.config.plugin_settings import SourceSettings
from influxops.config.settings import PluginSettings
from influxops.domain.tenant import ATTRIBUTES, Tenant, ignored_attributes, meant_attribute
from influxops.errors import LockBusy, SourceError
from influxops.plugin.base import Plugin
from influxops.plugin_host.hookspecs import RegistryLock, SourceHooks, TenantLookup

__all__ = [
    "ATTRIBUTES",
    "LockBusy",
    "RegistryLock",
    "Source",
    "SourceError",
    "SourceSettings",
    "Tenant",
    "TenantLookup",
    "ignored_attributes",
    "meant_attribute",
]


class Source(Plugin, SourceHooks):
    """The base of a tenant source: implement `influxops_tenants`."""

    Settings: ClassVar[type[PluginSettings]] = SourceSettings
