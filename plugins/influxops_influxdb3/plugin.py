"""The target plugin: its hooks, and what one run knows between them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct, field
from msgspec.structs import replace

from influxops.plugin import (
    Change,
    Check,
    Closing,
    CopyProgress,
    CopyRequest,
    Database,
    DatabaseCopy,
    DatabaseExport,
    DatabaseImport,
    DatabaseLookup,
    DatabaseMarkers,
    DatabaseStatistics,
    DatabaseStats,
    FastCreation,
    Finding,
    FindingKind,
    HealthChecks,
    Hint,
    InfluxopsError,
    Inventory,
    Marker,
    Outcome,
    RunContext,
    Severity,
    Target,
    TargetCapabilities,
    TargetError,
    WriteActivity,
    hookimpl,
)
from influxops_influxdb3.errors import (
    AccessRefused,
    BadRequest,
    InfluxDBError,
    NotFound,
    Unreadable,
)
from influxops_influxdb3.http.thread_map import in_flight
from influxops_influxdb3.inspect.inventory import (
    QUERIES,
    Deleted,
    MarkerCheck,
    count_tables,
    is_internal,
    oldest_marker,
    read_deleted,
    read_inventory,
)
from influxops_influxdb3.naming_rules import (
    CORE_TABLES,
    OLDEST_RELEASE,
    RETENTION_LIMITS,
    name_rule,
    tenant_rule,
)
from influxops_influxdb3.queries import MAX_DATABASES, TELEMETRY_TABLE, in_batches
from influxops_influxdb3.settings import InfluxDB3Settings

if TYPE_CHECKING:
    from influxops_influxdb3.http.client import Client, Ping

#: Databases that InfluxDB 3 Core holds by default.
_CORE_CAPACITY = 5
#: Seconds between two flushes of its log, by default: what came in between is not found before.
_FLUSH_INTERVAL = 1.0


class _RunCache(Struct):
    run: str = ""  # the run's id
    ping: Ping | None = None
    databases: Mapping[str, Database] = field(default_factory=dict)
    marked: set[str] = field(default_factory=set)  # whose marker this run has sent
    reused: set[str] = field(default_factory=set)  # whose namesake had just been deleted


class InfluxDB3Target(
    Target,
    DatabaseLookup,
    DatabaseMarkers,
    FastCreation,
    DatabaseStatistics,
    WriteActivity,
    DatabaseCopy,
    DatabaseExport,
    DatabaseImport,
    HealthChecks,
    Closing,
):
    """An InfluxDB 3 server that holds tenant databases."""

    Settings = InfluxDB3Settings
    settings: InfluxDB3Settings
    capabilities: ClassVar[TargetCapabilities] = TargetCapabilities(
        server="InfluxDB 3",
        retention=RETENTION_LIMITS,
        completion_marker="marker",
        table_label=TELEMETRY_TABLE,
        identity="cluster-uuid",
        visible_after=_FLUSH_INTERVAL,
        validate_name=name_rule,
        validate_tenant=tenant_rule,
    )

    def __init__(self, section: str, settings: InfluxDB3Settings) -> None:
        super().__init__(section, settings)
        self._connected: Client | None = None
        self._known = _RunCache()

    @property
    def _client(self) -> Client:
        """The client, made when it is first needed: http is not imported for nothing."""
        if self._connected is None:
            from influxops_influxdb3.http.client import Client

            self._connected = Client(self.settings)
        return self._connected

    def _cache(self, context: RunContext) -> _RunCache:
        if self._known.run != context.id:
            self._known = _RunCache(context.id)
        return self._known

    def _markers(self, context: RunContext) -> MarkerCheck:
        return MarkerCheck(self._client, context, self._cache(context).marked)

    @hookimpl
    def influxops_list_databases(self, verify: Collection[str], context: RunContext) -> Inventory:
        """Read all databases with two requests, and one more for each to be read closely."""
        cache = self._cache(context)
        cache.ping = self._client.ping(context)
        inventory = self._inventory(context, cache, verify)
        cache.databases = inventory.databases
        return inventory

    def _inventory(
        self, context: RunContext, cache: _RunCache, verify: Collection[str] = ()
    ) -> Inventory:
        ping = cache.ping
        findings: tuple[Finding, ...] = ()
        deleted: dict[str, Deleted] = {}
        tables, now = None, datetime.now(UTC)
        assert ping is not None
        try:
            rows = self._client.inventory(context)
        except (AccessRefused, NotFound, BadRequest, Unreadable) as error:
            names = self._client.databases(context)
            databases = {name: Database() for name in names if not is_internal(name)}
            findings = (self._partial(error, ping),)
        else:
            databases, tables = read_inventory(rows), count_tables(rows)
            deleted, now = read_deleted(rows), ping.clock or now
            cache.reused |= {name for name, each in deleted.items() if each.is_fresh(now)}
        self._markers(context).verify(databases, {*verify, *cache.reused})
        is_core, limit = ping.edition == "Core", self._client.table_limit
        return Inventory(
            databases=databases,
            edition=ping.edition,
            version=ping.version,
            identity=self._client.cluster_uuid,
            capacity=_CORE_CAPACITY if is_core else None,
            tables=tables,
            table_capacity=limit if limit is not None else CORE_TABLES if is_core else None,
            out_of_tables=self._client.out_of_tables_in == context.id,
            complete=not findings,
            deleted={name: each.until for name, each in deleted.items()},
            deleted_ago={name: (now - each.at).total_seconds() for name, each in deleted.items()},
            findings=findings,
        )

    def _partial(self, error: InfluxDBError, ping: Ping) -> Finding:
        remedy = Hint.setting(
            "token",
            "set {} to an admin token; a resource token may not read the system tables of "
            "_internal",
        )
        if not isinstance(error, AccessRefused):
            remedy = Hint.advise(
                f"upgrade the server: it is InfluxDB {ping.version}, and influxops needs "
                f"{OLDEST_RELEASE} or newer"
            )
        return Finding(
            FindingKind.PARTIAL_INVENTORY,
            Severity.WARNING,
            f"retention periods and markers cannot be read on {self.settings.url}, so they are "
            f"left as they are: {error.reason}",
            remedy,
            target=self.section,
        )

    @hookimpl
    def influxops_get_databases(self, names: Collection[str], context: RunContext) -> Inventory:
        """Look at some databases with one request."""
        client = self._client
        # What could not be a name is the name of no database, and needs no quoting either.
        asked = sorted(name for name in names if not name_rule(name))
        databases: dict[str, Database] = {}
        gone: dict[str, datetime | None] = {}
        complete = True
        if not asked:
            client.ping(context)
        for part in in_batches(asked, MAX_DATABASES):
            try:
                rows = client.inventory(context, part)
            except (AccessRefused, NotFound, BadRequest, Unreadable):
                there = frozenset(client.databases(context))
                databases = {name: Database() for name in asked if name in there}
                complete = False
                break
            databases |= read_inventory(rows)
            deleted, now = read_deleted(rows), datetime.now(UTC)
            fresh = {name for name, each in deleted.items() if each.is_fresh(now)}
            self._markers(context).verify(databases, fresh)
            gone |= {name: each.until for name, each in deleted.items() if name in asked}
        return Inventory(
            databases,
            identity=client.cluster_uuid,
            out_of_tables=client.out_of_tables_in == context.id,
            complete=complete,
            deleted=gone,
        )

    @hookimpl
    def influxops_get_markers(
        self, names: Collection[str], context: RunContext
    ) -> Iterator[tuple[str, Marker]]:
        """Read the oldest marker of each database with one query, a few at a time."""
        read = partial(oldest_marker, self._client, context)
        for name, marker in in_flight(names, read, limit=QUERIES):
            if marker is not None:
                yield name, marker

    @hookimpl
    def influxops_create_databases(
        self, changes: Sequence[Change], context: RunContext
    ) -> Iterator[Outcome]:
        """Make databases with one request each; see `fast_create.py`."""
        from influxops_influxdb3.provision.fast_create import create_databases

        return create_databases(self._client, self.settings.cluster_uuid, changes, context)

    @hookimpl
    def influxops_ensure(self, changes: Sequence[Change], context: RunContext) -> Iterator[Outcome]:
        """Make all changes as one batch; see `batch.py`."""
        from influxops_influxdb3.provision.batch import Batch

        cache = self._cache(context)
        expected = self.settings.cluster_uuid
        return Batch(self._client, context, cache.ping, expected, cache.marked).outcomes(changes)

    @hookimpl
    def influxops_database_stats(
        self, names: Sequence[str], context: RunContext
    ) -> Iterator[DatabaseStats]:
        """Count what is in each database and look for its marker, a few at a time."""
        from influxops_influxdb3.inspect.stats import tables_by_database

        reported = set()
        known = self._cache(context).databases
        used = [name for name in names if known.get(name, Database()).in_use is not False]
        tables = tables_by_database(self._client, context, used) if used else {}
        still_open = (name for name in names if context.interruption is None)
        describe = partial(self._stats, context, tables)
        for name, stats in in_flight(still_open, describe, limit=QUERIES):
            reported.add(name)
            yield stats
        ended = context.interruption
        for name in names:
            if name not in reported:
                yield DatabaseStats(name, message=ended.message if ended else "not read")

    def _stats(
        self, context: RunContext, tables: Mapping[str, Collection[str]], name: str
    ) -> DatabaseStats:
        """Describe one database; what fails is that database's message."""
        from influxops_influxdb3.inspect.stats import describe

        known = self._cache(context).databases.get(name, Database())
        stats, markers = DatabaseStats(name, complete=known.complete), self._markers(context)
        try:
            if known.in_use is False:
                complete = known.complete is not False and markers.is_complete(name, known)
                return DatabaseStats(name, 0, complete=complete, tables=())
            return describe(
                self._client,
                context,
                name,
                markers.without_row(name, known),
                self.settings.telemetry,
                tables.get(name, ()),
            )
        except NotFound:
            return replace(stats, message="there is no such database")
        except InfluxopsError as error:
            return replace(stats, message=getattr(error, "reason", error.message))

    @hookimpl
    def influxops_write_activity(
        self, name: str, since: datetime, until: datetime, step: int, context: RunContext
    ) -> Iterable[tuple[datetime, int]]:
        """Count the rows of each span; see `write_activity.py`."""
        from influxops_influxdb3.inspect.write_activity import activity

        return activity(self._client, name, since, until, step, context)

    @hookimpl
    def influxops_copy(self, order: CopyRequest, context: RunContext) -> Iterator[CopyProgress]:
        """Copy a database to another server; see `copy/job.py`."""
        from influxops_influxdb3.copy.endpoints import CopyEndpoint
        from influxops_influxdb3.copy.estimate import ahead, estimate
        from influxops_influxdb3.copy.job import CopyJob

        into = order.into
        if not isinstance(into, InfluxDB3Target):
            raise TargetError(f"{order.database} can be copied to another InfluxDB 3 only")
        source = CopyEndpoint(self._client, context, order.database)
        copy = CopyEndpoint(into._client, context, order.database)
        try:
            if order.ahead:
                yield from ahead(source, copy, context)
            elif order.dry_run:
                yield from estimate(source, copy, into.section, order, context)
            else:
                yield from CopyJob(source, copy, into.section, order, context).run()
        except InfluxDBError as error:
            if isinstance(error.remedy, Hint) and error.url == into._client.url:
                error.remedy = error.remedy._replace(section=f"target:{into.section}")
            raise

    @hookimpl
    def influxops_export(self, order: CopyRequest, context: RunContext) -> Iterator[CopyProgress]:
        """Copy a database to files; see `copy/exports.py`."""
        from influxops_influxdb3.copy.endpoints import CopyEndpoint
        from influxops_influxdb3.copy.exports import export

        source = CopyEndpoint(self._client, context, order.database)
        return export(source, self.section, order, context)

    @hookimpl
    def influxops_import(self, order: CopyRequest, context: RunContext) -> Iterator[CopyProgress]:
        """Copy files to a database; see `copy/exports.py`."""
        from influxops_influxdb3.copy.endpoints import CopyEndpoint
        from influxops_influxdb3.copy.exports import import_

        copy = CopyEndpoint(self._client, context, order.database)
        return import_(copy, self.section, order, context)

    @hookimpl
    def influxops_check(self, context: RunContext) -> Iterable[Check]:
        """Look at all that this server has to offer; see `checks.py`."""
        from influxops_influxdb3.checks import checks

        def inventory(ping: Ping) -> Inventory:
            return self._inventory(context, _RunCache(context.id, ping))

        return checks(self.settings, self._client, inventory, self.capabilities, context)

    @hookimpl
    def influxops_close(self) -> None:
        """Close the connections."""
        if self._connected is not None:
            self._connected.close()
            self._connected = None
