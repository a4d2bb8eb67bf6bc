"""The plugin `static`: tenants that the configuration lists itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from influxops.plugin import (
    Finding,
    Location,
    RunContext,
    Source,
    SourceError,
    SourceSettings,
    Tenant,
    TenantLookup,
    hookimpl,
    setting,
)
from influxops_files.entries import Entry, entry, tenants, with_ids


def _entries(items: Iterable[object]) -> Iterator[Entry]:
    for number, item in enumerate(items, 1):
        position = f"item {number}"
        if isinstance(item, Mapping) and not {"id", "tenant_id"} & item.keys():
            raise SourceError(f"{position}: a table without `id`")
        yield entry(item, position, "")


def _parse_tenants(items: Any) -> tuple[Any, ...]:
    if not isinstance(items, list | tuple):
        raise ValueError('write a list: ["acme", {id = "globex", retention = "90d"}]')
    try:
        list(tenants(_entries(items), "", "key"))
    except SourceError as error:
        raise ValueError(str(error)) from None
    return tuple(items)


class StaticSettings(SourceSettings):
    """A list of tenants."""

    tenants: Any = setting(
        description="The ids, or tables with an id and attributes: "
        '`["acme", {id = "globex", retention = "90d"}]`.',
        parse=_parse_tenants,
    )

    def location(self) -> Location:
        """Return that they are in the configuration."""
        return Location(text="the configuration")


class StaticSource(Source, TenantLookup):
    """Lists the tenants of the configuration."""

    Settings = StaticSettings
    settings: StaticSettings

    @hookimpl
    def influxops_tenants(self, context: RunContext) -> Iterable[Tenant | Finding]:
        """Return every tenant of the list."""
        return tenants(_entries(self.settings.tenants), "", "key")

    @hookimpl
    def influxops_get_tenants(self, ids: Collection[str], context: RunContext) -> Iterable[Tenant]:
        """Return the tenants of the list that have these ids."""
        return with_ids(self.influxops_tenants(context), ids)
