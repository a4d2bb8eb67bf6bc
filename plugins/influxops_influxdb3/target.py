"""The target plugin: what a server holds, and how it gets what is missing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct, field
from msgspec.structs import replace

from influxops.plugin import (
    UNKNOWN,
    Change,
    Check,
    Context,
    Copied,
    CopyOrder,
    Database,
    DatabaseStats,
    Finding,
    InfluxopsError,
    Inventory,
    Kind,
    Marker,
    Outcome,
    Remedy,
    Severity,
    Target,
    TargetError,
    Traits,
    Unknown,
    hookimpl,
)
from influxops_influxdb3.errors import AccessRefused, BadRequest, NotFound, QueryFileLimit
from influxops_influxdb3.settings import InfluxDB3Settings

if TYPE_CHECKING:
    from influxops_influxdb3.http.client import Client, Ping

#: The table that the tenant's devices fill.
TELEMETRY_TABLE = "telemetry"

#: Every database, its retention period and whether it has the marker's table and others; of deleted
#: ones, when their data goes.
_DATABASES = (
    "SELECT d.database_name, d.retention_period_ns, d.deleted, d.hard_deletion_time, t.table_name "
    "FROM system.databases d LEFT JOIN (SELECT DISTINCT database_name, CASE table_name "
    "WHEN '_init' THEN '_init' ELSE 'others' END AS table_name FROM system.tables "
    "WHERE deleted = false) t ON d.database_name = t.database_name"
)
_INVENTORY = f"{_DATABASES} ORDER BY 1, 4"
#: Some of them, and all that were deleted: one of those may have had the name of one of these.
_THESE = "WHERE d.database_name IN ({}) OR d.deleted = true"
_MARKER = "SELECT time FROM _init LIMIT 1"
_OLDEST_MARKER = "SELECT * FROM _init ORDER BY time LIMIT 1"
_NO_MARKER_TABLE = re.compile(r"table '[^']*\b_init' not found", re.IGNORECASE)
#: What a deleted database is called: its name, and when it was deleted, in UTC.
_DELETED = re.compile(r"(.+)-(\d{8}T\d{6})(?:-\d+)?")
#: For so long, a database of the same name may lose what is written to it.
_FRESHLY_DELETED = timedelta(seconds=10)
#: Databases that InfluxDB 3 Core holds unless it was told otherwise.
_CORE_CAPACITY = 5
#: Queries under way at once, where each database is asked.
_QUERIES = 4
#: Databases that one query names.
_NAMED_AT_ONCE = 500
_NANOSECONDS = 1_000_000_000
#: Seconds between two flushes of its log, by default: what came in between is not found before.
_FLUSH_INTERVAL = 1.0

#: The server's own limit (`MAXIMUM_DATABASE_NAME_LENGTH` of its HTTP server, 3.10).
_LONGEST_NAME = 511
_NAME = re.compile(r"[A-Za-z0-9_-]*")
#: In seconds: what its documentation says, and 64 bits of nanoseconds, signed, in whole days.
_SHORTEST_RETENTION, _LONGEST_RETENTION = 3600, 106_751 * 86_400


def name_rule(name: str) -> str:
    """Return which of the server's rules a database name breaks; empty where it is valid.

    The rules are those that InfluxDB 3 checks at each write. A slash is refused as well,
    although the server takes it: it reads what follows as a retention policy, so that `a/b`
    would be a part of the database `a`.
    """
    if not name:
        return "is empty"
    if "/" in name:
        return "holds a slash, which InfluxDB would take for a retention policy"
    if not name[0].isascii() or not name[0].isalnum():
        return "does not start with an ASCII letter or digit"
    if not _NAME.fullmatch(name):
        return "holds something else than ASCII letters, digits, underscores and hyphens"
    if len(name) > _LONGEST_NAME:
        return f"has {len(name)} characters, more than the {_LONGEST_NAME} that InfluxDB takes"
    return ""


def tenant_rule(tenant: str) -> str:
    """Return why a tenant's id cannot be the tag of a marker; empty where it can."""
    if tenant.endswith("\\"):
        return "ends with a backslash, which a tag of InfluxDB cannot hold"
    if any(ord(c) < 32 or ord(c) == 127 for c in tenant):
        return "holds a control character, which a tag of InfluxDB cannot hold"
    if any(0xD800 <= ord(c) <= 0xDFFF for c in tenant):
        return "holds half of a character (a lone surrogate), which has no UTF-8"
    return ""


class _Seen(Struct):
    """What is known in one run, for the hooks that come after the inventory."""

    run: str = ""  # the run's id
    ping: Ping | None = None
    databases: dict[str, Database] = field(default_factory=dict)
    marked: set[str] = field(default_factory=set)  # whose marker this run has sent
    reused: set[str] = field(default_factory=set)  # whose namesake had just been deleted


class InfluxDB3Target(Target):
    """An InfluxDB 3 server that holds tenant databases."""

    Settings = InfluxDB3Settings
    settings: InfluxDB3Settings
    traits: ClassVar[Traits] = Traits(
        server="InfluxDB 3",
        retention=(_SHORTEST_RETENTION, _LONGEST_RETENTION),
        marker="marker",
        contents=TELEMETRY_TABLE,
        identity="cluster-uuid",
        visible_after=_FLUSH_INTERVAL,
        name_rule=name_rule,
        tenant_rule=tenant_rule,
    )

    def __init__(self, section: str, settings: InfluxDB3Settings) -> None:
        super().__init__(section, settings)
        self._connected: Client | None = None
        self._known = _Seen()

    @property
    def _client(self) -> Client:
        """The client, made when it is first needed: http is not imported for nothing."""
        if self._connected is None:
            from influxops_influxdb3.http.client import Client

            self._connected = Client(self.settings)
        return self._connected

    def _seen(self, context: Context) -> _Seen:
        """Return what is known in this run."""
        if self._known.run != context.id:
            self._known = _Seen(context.id)
        return self._known

    @hookimpl
    def influxops_inventory(self, context: Context, closely: Collection[str] = ()) -> Inventory:
        """Read all databases with two requests, and one more for each to be read closely."""
        seen = self._seen(context)
        seen.ping = self._client.ping(context)
        inventory = self._inventory(context, seen, closely)
        seen.databases = dict(inventory.databases)
        return inventory

    def _inventory(self, context: Context, seen: _Seen, closely: Collection[str] = ()) -> Inventory:
        ping = seen.ping
        findings: tuple[Finding, ...] = ()
        deleted: dict[str, datetime | None] = {}
        deleted_ago: dict[str, float] = {}
        assert ping is not None
        try:
            rows = self._client.query(context, "_internal", _INVENTORY)
        except (AccessRefused, NotFound, BadRequest) as error:
            names = self._client.databases(context)
            databases = {name: Database(name) for name in names if not _is_internal(name)}
            findings = (self._partial(error),)
        else:
            databases = _read_inventory(rows)
            deleted = _read_deleted(rows)
            now = ping.clock or datetime.now(UTC)
            deleted_ago = _read_deleted_ago(rows, now)
            seen.reused |= _freshly_deleted(rows, now)
        self._look_closely(context, databases, {*closely, *seen.reused})
        return Inventory(
            databases=databases,
            edition=ping.edition,
            version=ping.version,
            identity=self._client.cluster_uuid,
            capacity=_CORE_CAPACITY if ping.edition == "Core" else None,
            complete=not findings,
            deleted=deleted,
            deleted_ago=deleted_ago,
            findings=findings,
        )

    def _partial(self, error: AccessRefused | NotFound | BadRequest) -> Finding:
        return Finding(
            Kind.PARTIAL_INVENTORY,
            Severity.WARNING,
            f"retention periods and markers cannot be read on {self.settings.url}, so they are "
            f"left as they are: {error.reason}",
            Remedy.setting(
                "token",
                "set {} to an admin token; a resource token may not read the system tables of "
                "_internal",
            ),
            target=self.section,
        )

    def _look_closely(
        self,
        context: Context,
        databases: dict[str, Database],
        names: Collection[str],
    ) -> None:
        """Read the markers of some databases themselves, where their table is not missing."""
        from influxops_influxdb3.http.thread_map import in_flight

        asked = [name for name in names if name in databases and databases[name].complete]

        def read(name: str) -> bool | Unknown:
            return self._is_complete(context, databases[name])

        for name, is_complete in in_flight(asked, read, most=_QUERIES):
            # The table stays as long as the database, whatever became of the row.
            marked = databases[name].complete
            databases[name] = replace(databases[name], complete=is_complete, marked=marked)

    def _is_complete(self, context: Context, database: Database) -> bool | Unknown:
        """Return whether a database holds the row of its marker, and what it proves if not.

        Raises:
            TargetError: When the server does not answer as it should.
        """
        try:
            if self._client.query(context, database.name, _MARKER):
                return True
        except (NotFound, AccessRefused, QueryFileLimit):
            return UNKNOWN
        except BadRequest as error:
            return False if _NO_MARKER_TABLE.search(error.server_message) else UNKNOWN
        return self._without_marker(context, database)

    def _without_marker(self, context: Context, database: Database) -> bool | Unknown:
        """Return what it proves that the row of a marker is not there, where its table is.

        A retention period takes the row away and leaves its table. Only where this run has sent
        it, and it cannot be that old, was it lost.
        """
        from influxops_influxdb3.provision.marker import marker_time

        if isinstance(database.retention, int) and database.name in self._seen(context).marked:
            age = datetime.now(UTC) - marker_time(context.started)
            return False if age < timedelta(seconds=database.retention) else UNKNOWN
        return False if database.retention is None else UNKNOWN

    @hookimpl
    def influxops_look(self, names: Collection[str], context: Context) -> Inventory:
        """Look at some databases with one request."""
        client = self._client
        # What could not be a name is the name of no database, and needs no quoting either.
        asked = sorted(name for name in names if not name_rule(name))
        databases: dict[str, Database] = {}
        deleted: dict[str, datetime | None] = {}
        complete = True
        if not asked:
            client.ping(context)
        for start in range(0, len(asked), _NAMED_AT_ONCE):
            part = asked[start : start + _NAMED_AT_ONCE]
            named = ", ".join(f"'{name}'" for name in part)
            try:
                rows = client.query(context, "_internal", f"{_DATABASES} {_THESE.format(named)}")
            except (AccessRefused, NotFound, BadRequest):
                there = frozenset(client.databases(context))
                databases = {name: Database(name) for name in asked if name in there}
                complete = False
                break
            databases |= _read_inventory(rows)
            deleted |= _read_deleted(rows)
            fresh = _freshly_deleted(rows, datetime.now(UTC))
            self._look_closely(context, databases, fresh)
        gone = {name: until for name, until in deleted.items() if name in asked}
        return Inventory(databases, identity=client.cluster_uuid, complete=complete, deleted=gone)

    @hookimpl
    def influxops_markers(
        self, names: Collection[str], context: Context
    ) -> Iterator[tuple[str, Marker]]:
        """Read the oldest marker of each database with one query, a few at a time."""
        from influxops_influxdb3.http.thread_map import in_flight

        for name, marker in in_flight(names, partial(self._marker, context), most=_QUERIES):
            if marker is not None:
                yield name, marker

    def _marker(self, context: Context, name: str) -> Marker | None:
        try:
            # Another program's table of that name may have other columns.
            rows = self._client.query(context, name, _OLDEST_MARKER)
        except (NotFound, AccessRefused, BadRequest, QueryFileLimit):
            return None
        row = rows[0] if rows else {}
        at = read_timestamp(row.get("time"))
        if at is None or row.get("source") != "provisioning":
            return None
        return Marker(str(row.get("tenant", "")), at)

    @hookimpl
    def influxops_make(self, changes: Sequence[Change], context: Context) -> Iterator[Outcome]:
        """Make databases with one request each; see `quick.py`."""
        from influxops_influxdb3.provision.fast_create import made

        return made(self._client, self.settings.cluster_uuid, changes, context)

    @hookimpl
    def influxops_ensure(self, changes: Sequence[Change], context: Context) -> Iterator[Outcome]:
        """Make all changes as one batch; see `batch.py`."""
        from influxops_influxdb3.provision.batch import Batch

        seen = self._seen(context)
        expected = self.settings.cluster_uuid
        return Batch(self._client, context, seen.ping, expected, seen.marked).outcomes(changes)

    @hookimpl
    def influxops_describe(self, names: Sequence[str], context: Context) -> Iterator[DatabaseStats]:
        """Count what is in each database and look for its marker, a few at a time."""
        from influxops_influxdb3.http.thread_map import in_flight

        told = set()
        still_open = (name for name in names if context.over is None)
        for name, stats in in_flight(still_open, partial(self._stats, context), most=_QUERIES):
            told.add(name)
            yield stats
        ended = context.over
        for name in names:
            if name not in told:
                yield DatabaseStats(name, message=ended.message if ended else "not read")

    def _stats(self, context: Context, name: str) -> DatabaseStats:
        """Describe one database; what fails is that database's message."""
        known = self._seen(context).databases.get(name, Database(name))
        stats = DatabaseStats(name, complete=known.complete)
        try:
            if known.in_use is False:
                complete = known.complete is not False and self._is_complete(context, known)
                return DatabaseStats(name, 0, complete=complete, tables=())
            return self._described(context, known)
        except NotFound:
            return replace(stats, message="there is no such database")
        except InfluxopsError as error:
            return replace(stats, message=getattr(error, "reason", error.message))

    def _described(self, context: Context, database: Database) -> DatabaseStats:
        """Describe a database with all its tables.

        Raises:
            TargetError: When the server does not answer as it should.
        """
        from influxops_influxdb3.inspect.stats import read_contents

        contents = read_contents(self._client, context, database.name)
        found = dict(contents.tables)
        marker = found.pop("_init", None)
        if marker is None or marker.rows is None:
            complete: bool | Unknown = UNKNOWN if marker else False
        else:
            complete = marker.rows > 0 or self._without_marker(context, database)
        counted = self.settings.telemetry
        tables = tuple(
            replace(table, is_telemetry=counted is None or name in counted)
            for name, table in sorted(found.items())
        )
        telemetry = found.get(TELEMETRY_TABLE)
        times = [table.last_write for table in tables if table.last_write is not None]
        return DatabaseStats(
            database.name,
            telemetry.rows if telemetry else 0,
            max(times, default=None) if all(table.is_known for table in tables) else None,
            complete,
            contents.trouble,
            tables,
        )

    @hookimpl
    def influxops_activity(
        self, name: str, since: datetime, until: datetime, step: int, context: Context
    ) -> Iterable[tuple[datetime, int]]:
        """Count the rows of each span; see `activity.py`."""
        from influxops_influxdb3.inspect.write_activity import activity

        return activity(self._client, name, since, until, step, context)

    @hookimpl
    def influxops_copy(self, order: CopyOrder, context: Context) -> Iterator[Copied]:
        """Copy a database to another server; see `copy.py`."""
        from influxops_influxdb3.copy.ahead import ahead
        from influxops_influxdb3.copy.estimate import plan
        from influxops_influxdb3.copy.job import Copying

        into = order.into
        if not isinstance(into, InfluxDB3Target):
            raise TargetError(f"{order.database} can be copied to another InfluxDB 3 only")
        if order.ahead:
            yield from ahead(self._client, into._client, order, context)
            return
        sides = self._client, into._client, into.section, order, context
        yield from plan(*sides) if order.dry_run else Copying(*sides).run()

    @hookimpl
    def influxops_check(self, context: Context) -> Iterable[Check]:
        """Look at all that this server has to offer; see `checks.py`."""
        from influxops_influxdb3.checks import checks

        def read_inventory(ping: Ping) -> Inventory:
            return self._inventory(context, _Seen(context.id, ping))

        return checks(self.settings, self._client, read_inventory, context)

    @hookimpl
    def influxops_close(self) -> None:
        """Close the connections."""
        if self._connected is not None:
            self._connected.close()
            self._connected = None


def _is_internal(name: str) -> bool:
    """Return whether a database is the server's own: no tenant's may begin with an underscore."""
    return name.startswith("_")


def _read_inventory(rows: Iterable[dict[str, object]]) -> dict[str, Database]:
    """Read the inventory query's rows: one a database and table, null fields left out."""
    found: dict[str, tuple[int | None, set[str]]] = {}
    for row in rows:
        name = str(row.get("database_name", ""))
        if not name or _is_internal(name) or row.get("deleted"):
            continue
        period = row.get("retention_period_ns")
        retention = period // _NANOSECONDS if isinstance(period, int) else None
        _, tables = found.setdefault(name, (retention, set()))
        if "table_name" in row:
            tables.add(str(row["table_name"]))
    return {
        name: Database(name, retention, "_init" in tables, bool(tables - {"_init"}))
        for name, (retention, tables) in found.items()
    }


def _read_deleted(rows: Iterable[dict[str, object]]) -> dict[str, datetime | None]:
    """Return when the data of the newest deleted database of each name goes; None for never."""
    newest: dict[str, tuple[str, datetime | None]] = {}
    for row in rows:
        match = _DELETED.fullmatch(str(row.get("database_name"))) if row.get("deleted") else None
        if match is not None and match[2] >= newest.get(match[1], ("", None))[0]:
            newest[match[1]] = (match[2], read_timestamp(row.get("hard_deletion_time")))
    return {name: until for name, (_, until) in newest.items()}


def _read_deleted_ago(rows: Iterable[dict[str, object]], now: datetime) -> dict[str, float]:
    """Return how many seconds ago the newest deleted database of each name was deleted."""
    newest: dict[str, str] = {}
    for row in rows:
        match = _DELETED.fullmatch(str(row.get("database_name"))) if row.get("deleted") else None
        if match is not None:
            newest[match[1]] = max(match[2], newest.get(match[1], ""))
    times = {name: read_timestamp(at) for name, at in newest.items()}
    return {name: (now - at).total_seconds() for name, at in times.items() if at is not None}


def _freshly_deleted(rows: Iterable[dict[str, object]], now: datetime) -> set[str]:
    """Return the names of databases that were deleted moments ago.

    What is written to a database of the same name may be lost with what the deleted one still
    had in the server's memory, although every answer is good.
    """
    since = f"{now - _FRESHLY_DELETED:%Y%m%dT%H%M%S}"
    deleted = (_DELETED.fullmatch(str(r.get("database_name"))) for r in rows if r.get("deleted"))
    return {match[1] for match in deleted if match and match[2] >= since}


def read_timestamp(text: object) -> datetime | None:
    """Read a time of the server: UTC without saying so, down to the nanosecond."""
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
