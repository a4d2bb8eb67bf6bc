"""Looks for the markers of databases: whether each was made to its end, and for whom."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from influxops.plugin import UNKNOWN, Database, Marker, RunContext, Unknown
from influxops_influxdb3 import queries
from influxops_influxdb3.errors import AccessRefused, BadRequest, NotFound, QueryFileLimit
from influxops_influxdb3.http.thread_map import in_flight
from influxops_influxdb3.provision.marker import marker_time

if TYPE_CHECKING:
    from influxops_influxdb3.http.client import Client

#: Queries under way at once, where each database is asked.
QUERIES = 4


class MarkerCheck:
    """Looks for markers in one run, which has sent those of the databases `sent`."""

    def __init__(self, client: Client, context: RunContext, sent: Collection[str]) -> None:
        self._client, self._context, self._sent = client, context, sent

    def verify(self, databases: dict[str, Database], names: Collection[str]) -> None:
        """Read the markers of some databases themselves, where their table is not missing."""
        asked = [name for name in names if name in databases and databases[name].complete]

        def read(name: str) -> bool | Unknown:
            return self.is_complete(databases[name])

        for name, is_complete in in_flight(asked, read, limit=QUERIES):
            # The table stays as long as the database, even where the row does not.
            marked = databases[name].complete
            databases[name] = replace(databases[name], complete=is_complete, marked=marked)

    def is_complete(self, database: Database) -> bool | Unknown:
        """Return whether a database holds the row of its marker, and what it proves if not."""
        try:
            if self._client.query(self._context, database.name, queries.MARKER):
                return True
        except (NotFound, AccessRefused, QueryFileLimit):
            return UNKNOWN
        except BadRequest as error:
            return False if queries.NO_MARKER_TABLE.search(error.server_message) else UNKNOWN
        return self.without_row(database)

    def without_row(self, database: Database) -> bool | Unknown:
        """Return what it proves that the row of a marker is not there, where its table is.

        A retention period takes the row away and leaves its table. Only where this run has sent
        it, and it cannot be that old, was it lost.
        """
        if isinstance(database.retention, int) and database.name in self._sent:
            age = datetime.now(UTC) - marker_time(self._context.started)
            return False if age < timedelta(seconds=database.retention) else UNKNOWN
        return False if database.retention is None else UNKNOWN


def oldest_marker(client: Client, context: RunContext, name: str) -> Marker | None:
    """Read the oldest marker of a database; return None where none of ours can be read."""
    try:
        # Another program's table of that name may have other columns.
        rows = client.query(context, name, queries.OLDEST_MARKER)
    except (NotFound, AccessRefused, BadRequest, QueryFileLimit):
        return None
    row = rows[0] if rows else {}
    at = queries.read_timestamp(row.get("time"))
    if at is None or row.get("source") != "provisioning":
        return None
    return Marker(str(row.get("tenant", "")), at)
