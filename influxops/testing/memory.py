"""A source and a target in memory, for tests that are about something else."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from msgspec.structs import replace

from influxops.plugin import (
    Action,
    Change,
    ChangeResult,
    Database,
    DatabaseLookup,
    DatabaseStatistics,
    DatabaseStats,
    FastCreation,
    Inventory,
    Location,
    Outcome,
    RunContext,
    Source,
    SourceSettings,
    Target,
    TargetCapabilities,
    TargetSettings,
    Tenant,
    TenantLookup,
    hookimpl,
    setting,
)
from influxops.plugin_host.discovery import PluginType


class MemorySource(Source, TenantLookup):
    """Gives the tenants that its section names."""

    class Settings(SourceSettings):
        """What a section says."""

        tenants: tuple[str, ...] = setting((), description="The ids.")

    settings: Settings

    @hookimpl
    def influxops_tenants(self, context: RunContext) -> Iterable[Tenant]:
        """Give all."""
        return [Tenant(id_) for id_ in self.settings.tenants]

    @hookimpl
    def influxops_get_tenants(self, ids: Collection[str], context: RunContext) -> Iterable[Tenant]:
        """Give some."""
        return [Tenant(id_) for id_ in self.settings.tenants if id_ in ids]


class MemoryTarget(Target, DatabaseLookup, FastCreation, DatabaseStatistics):
    """Keeps databases in memory, for as long as its class lives."""

    #: What each server holds, by the name of its section; a test may look at it and change it.
    servers: ClassVar[dict[str, dict[str, Database]]] = {}
    #: The times of the rows in each database, by its name.
    rows: ClassVar[dict[str, list[datetime]]] = {}
    capabilities = TargetCapabilities(
        server="memory", retention=(1, 10**9), table_label="telemetry"
    )

    class Settings(TargetSettings):
        """What a section says."""

        url: str = setting("http://influxdb.invalid:8181", description="Where it says that it is.")

        def location(self) -> Location:
            """Return that."""
            return Location(self.url)

    settings: Settings

    @property
    def databases(self) -> dict[str, Database]:
        """What this server holds, by name."""
        return self.servers.setdefault(self.section, {})

    @hookimpl
    def influxops_list_databases(self, verify: Collection[str], context: RunContext) -> Inventory:
        """Give all."""
        return Inventory(dict(self.databases), identity=f"memory {self.section}")

    @hookimpl
    def influxops_get_databases(self, names: Collection[str], context: RunContext) -> Inventory:
        """Give some."""
        found = {name: self.databases[name] for name in names if name in self.databases}
        return Inventory(found, identity=f"memory {self.section}")

    @hookimpl
    def influxops_ensure(self, changes: Sequence[Change], context: RunContext) -> Iterator[Outcome]:
        """Make all changes."""
        for change in changes:
            context.check()
            if change.after is None or change.action is Action.DROP:
                self.databases.pop(change.database, None)
                self.rows.pop(change.database, None)
            else:
                retention = change.after.retention
                kept = retention if isinstance(retention, int) else None
                self.databases[change.database] = replace(
                    change.after, retention=kept, complete=True
                )
            yield Outcome(change, ChangeResult.DONE)

    @hookimpl
    def influxops_create_databases(
        self, changes: Sequence[Change], context: RunContext
    ) -> Iterator[Outcome]:
        """Create databases."""
        for change in changes:
            is_new = change.database not in self.databases
            (outcome,) = self.influxops_ensure([change], context)
            yield replace(outcome, partially_applied=is_new)

    @hookimpl
    def influxops_database_stats(
        self, names: Sequence[str], context: RunContext
    ) -> Iterator[DatabaseStats]:
        """Count the rows."""
        for name in names:
            rows = self.rows.get(name, [])
            yield DatabaseStats(name, len(rows), max(rows, default=None))


def kinds_of(plugins: Mapping[str, type[Any]]) -> dict[str, PluginType]:
    """Return classes as kinds, by the name that a section gives."""
    return {
        name: PluginType(
            name.rpartition(".")[2], plugin=each, origin=f"{each.__module__}.{each.__qualname__}"
        )
        for name, each in plugins.items()
    }


def memory_kinds() -> dict[str, PluginType]:
    """Return the kind `memory` of a source, and of a target whose servers are empty."""
    target = type("MemoryTarget", (MemoryTarget,), {"servers": {}, "rows": {}})
    return kinds_of({"sources.memory": MemorySource, "targets.memory": target})
