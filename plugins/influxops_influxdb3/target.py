"""The target plugin: what a server holds, and how it gets what is missing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from influxops import (
    Change,
    Check,
    Database,
    DatabaseStats,
    Finding,
    InfluxopsError,
    Inventory,
    Outcome,
    Run,
    Severity,
    TargetError,
    hookimpl,
)
from influxops_influxdb3.errors import AccessRefused, BadRequest, NotFound, QueryFileLimit
from influxops_influxdb3.lineprotocol import MARKER_TABLE, TELEMETRY_TABLE
from influxops_influxdb3.settings import InfluxDB3Settings

if TYPE_CHECKING:
    from influxops_influxdb3.client import Client, Ping

#: Every database, its retention period and which of the two tables it has, in one query.
_INVENTORY = (
    "SELECT d.database_name, d.retention_period_ns, t.table_name FROM system.databases d "
    "LEFT JOIN (SELECT database_name, table_name FROM system.tables WHERE table_name IN "
    f"('{MARKER_TABLE}', '{TELEMETRY_TABLE}') AND deleted = false) t "
    "ON d.database_name = t.database_name WHERE d.deleted = false ORDER BY 1, 3"
)
_STATS = f"SELECT COUNT(*) AS count, MAX(time) AS last FROM {TELEMETRY_TABLE}"
#: What a server still tells where it holds too many files for the query above.
_LAST_OF_A_DAY = (
    f"SELECT MAX(time) AS last FROM {TELEMETRY_TABLE} WHERE time > now() - INTERVAL '1 day'"
)
_TOO_MANY_FILES = "more files than this server's query-file-limit lets one query read: not counted"
_NO_TELEMETRY = re.compile(rf"table '[^']*\b{TELEMETRY_TABLE}' not found", re.IGNORECASE)
#: Databases that InfluxDB 3 Core holds unless it was told otherwise.
_CORE_CAPACITY = 5
#: Queries under way at once, for `status`.
_QUERIES = 4
_NANOSECONDS = 1_000_000_000


class InfluxDB3Target:
    """An InfluxDB 3 server that holds tenant databases.

    Args:
        section: The name of its section.
        settings: Its settings.
    """

    Settings = InfluxDB3Settings

    def __init__(self, section: str, settings: InfluxDB3Settings) -> None:
        self.section = section
        self.settings = settings
        self._connected: Client | None = None
        # What was read in which run, for the hooks that come after the inventory.
        self._seen: tuple[str, Ping, Inventory] | None = None

    @property
    def _client(self) -> Client:
        """The client, made when it is first needed: urllib3 is not imported for nothing."""
        if self._connected is None:
            from influxops_influxdb3.client import Client

            self._connected = Client(self.settings, self.section)
        return self._connected

    @hookimpl
    def influxops_inventory(self, run: Run) -> Inventory:
        """Read all databases with two requests, however many there are."""
        ping = self._client.ping(run)
        inventory = self._inventory(run, ping)
        self._seen = (run.id, ping, inventory)
        return inventory

    def _inventory(self, run: Run, ping: Ping) -> Inventory:
        findings: tuple[Finding, ...] = ()
        try:
            databases = _read_inventory(self._client.query(run, "_internal", _INVENTORY))
        except (AccessRefused, NotFound, BadRequest) as error:
            names = self._client.databases(run)
            databases = {name: Database(name) for name in names if not _is_internal(name)}
            findings = (self._partial(error),)
        return Inventory(
            databases=databases,
            edition=ping.edition,
            version=ping.version,
            cluster_uuid=self._client.cluster_uuid,
            capacity=_CORE_CAPACITY if ping.edition == "Core" else None,
            complete=not findings,
            findings=findings,
        )

    def _partial(self, error: AccessRefused | NotFound | BadRequest) -> Finding:
        return Finding(
            "partial-inventory",
            Severity.WARNING,
            f"retention periods and markers cannot be read on {self.settings.url}, so they are "
            f"left as they are: {error.reason}",
            hint="give it an admin token; a resource token may not read the system tables of "
            "_internal",
            target=self.section,
        )

    @hookimpl
    def influxops_ensure(self, changes: Sequence[Change], run: Run) -> Iterator[Outcome]:
        """Make all changes as one batch; see `ensure.py`."""
        from influxops_influxdb3.ensure import Batch

        ping = self._seen[1] if self._seen and self._seen[0] == run.id else None
        return Batch(self._client, run, ping).outcomes(changes)

    @hookimpl
    def influxops_describe(self, names: Sequence[str], run: Run) -> Iterator[DatabaseStats]:
        """Count each database's telemetry, a few at a time."""
        from influxops_influxdb3.flight import in_flight, over

        known = self._seen[2].databases if self._seen and self._seen[0] == run.id else {}
        asked = []
        for name in names:
            if name in known and known[name].telemetry is False:
                yield DatabaseStats(name, telemetry_count=0)
            else:
                asked.append(name)
        told = set()
        still_open = (name for name in asked if over(run) is None)
        for name, future in in_flight(
            still_open, partial(_stats, self._client, run), most=_QUERIES
        ):
            told.add(name)
            yield future.result()
        ended = over(run)
        for name in asked:
            if name not in told:
                yield DatabaseStats(name, message=ended.message if ended else "not read")

    @hookimpl
    def influxops_check(self, run: Run) -> Iterable[Check]:
        """Look at all that this server has to offer; see `doctor.py`."""
        from influxops_influxdb3.doctor import checks

        return checks(self.settings, self._client, self._inventory, run)

    @hookimpl
    def influxops_close(self) -> None:
        """Close the connections."""
        if self._connected is not None:
            self._connected.close()
            self._connected = None


def _is_internal(name: str) -> bool:
    """Tell whether a database is the server's own: no tenant's may begin with an underscore."""
    return name.startswith("_")


def _read_inventory(rows: Iterable[dict[str, object]]) -> dict[str, Database]:
    """Read the inventory query's rows: one a database and table, null fields left out."""
    found: dict[str, tuple[int | None, set[str]]] = {}
    for row in rows:
        name = str(row.get("database_name", ""))
        if not name or _is_internal(name):
            continue
        period = row.get("retention_period_ns")
        retention = period // _NANOSECONDS if isinstance(period, int) else None
        _, tables = found.setdefault(name, (retention, set()))
        if "table_name" in row:
            tables.add(str(row["table_name"]))
    return {
        name: Database(name, retention, MARKER_TABLE in tables, TELEMETRY_TABLE in tables)
        for name, (retention, tables) in found.items()
    }


def _stats(client: Client, run: Run, name: str) -> DatabaseStats:
    """Count one database's telemetry; what fails is that database's message."""
    try:
        rows = client.query(run, name, _STATS)
    except NotFound:
        return DatabaseStats(name, message="there is no such database")
    except QueryFileLimit:
        return _last_of_a_day(client, run, name)
    except BadRequest as error:
        if _NO_TELEMETRY.search(error.server_message):
            return DatabaseStats(name, telemetry_count=0)
        return DatabaseStats(name, message=error.reason)
    except TargetError as error:
        return DatabaseStats(name, message=getattr(error, "reason", error.message))
    except InfluxopsError as error:
        return DatabaseStats(name, message=error.message)
    row = rows[0] if rows else {}
    last = row.get("last")
    return DatabaseStats(
        name,
        telemetry_count=int(row.get("count", 0)),
        last_write=_timestamp(last) if isinstance(last, str) else None,
    )


def _last_of_a_day(client: Client, run: Run, name: str) -> DatabaseStats:
    """Tell at least the last write of a database whose telemetry cannot be counted."""
    try:
        rows = client.query(run, name, _LAST_OF_A_DAY)
    except InfluxopsError:
        return DatabaseStats(name, message=_TOO_MANY_FILES)
    last = rows[0].get("last") if rows else None
    if not isinstance(last, str):
        return DatabaseStats(name, message=f"{_TOO_MANY_FILES}; no rows of the last day")
    return DatabaseStats(name, last_write=_timestamp(last), message=_TOO_MANY_FILES)


def _timestamp(text: str) -> datetime | None:
    """Read a time of the server: UTC without saying so, down to the nanosecond."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
