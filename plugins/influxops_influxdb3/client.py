"""A client of InfluxDB 3's HTTP API: what influxops needs of it, typed.

The facts come from recorded exchanges with InfluxDB 3 Core 3.10. A client may be used from
several threads; it keeps connections alive and never follows a redirect.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from influxops import Run, format_duration
from influxops_influxdb3.answers import Request, read_json
from influxops_influxdb3.errors import NotInfluxDB3, Operation
from influxops_influxdb3.settings import InfluxDB3Settings
from influxops_influxdb3.transport import Transport

_DATABASES = "/api/v3/configure/database"
_VERSION = re.compile(r"v?(\d+)\.")


@dataclass(frozen=True, slots=True)
class Ping:
    """Who answers.

    Args:
        version: The server's version.
        edition: `Core`, `Enterprise`, or None where it does not say.
        process_id: What differs after a restart; None where it does not say.
        clock: The server's time, to the second; None where it does not say.
    """

    version: str
    edition: str | None
    process_id: str | None
    clock: datetime | None


class Client:
    """One InfluxDB 3 server.

    Every operation takes the run that it works for, whose deadline and cancellation bound it,
    and raises an `InfluxDBError` that says what failed and what to do, `ConfigError` where the
    token cannot be read, or `Interrupted`.

    Args:
        settings: Where it is, and how to get in.
        section: The name of the settings' section, for hints; empty where there is none.

    Raises:
        ConfigError: When certificates cannot be loaded.
    """

    def __init__(self, settings: InfluxDB3Settings, section: str = "") -> None:
        self._settings = settings
        self._transport = Transport(settings, section)

    @property
    def url(self) -> str:
        """Where the server is, without secrets."""
        return self._settings.url

    @property
    def cluster_uuid(self) -> str | None:
        """The identity of the server that answered last; every answer carries it."""
        return self._transport.cluster_uuid

    @property
    def expected_uuid(self) -> str | None:
        """The identity that the configuration wants; any other server is not written to."""
        return self._settings.cluster_uuid

    def close(self) -> None:
        """Close the connections; they are opened again when needed."""
        self._transport.close()

    def ping(self, run: Run) -> Ping:
        """Ask who answers.

        Raises:
            NotInfluxDB3: When it is another product, or an older InfluxDB.
            AccessRefused: When even that wants a token.
        """
        request, answer = self._transport.send(run, Operation.PING, "GET", "/ping")
        header = answer.headers.get("x-influxdb-version", "")
        body = read_json(answer, request) if answer.text.strip() else {}
        body = body if isinstance(body, dict) else {}
        version = header or str(body.get("version", ""))
        number = _VERSION.match(version)
        if number is None or int(number[1]) < 3:
            what = f"this is InfluxDB {version}" if number else "this is no InfluxDB"
            raise NotInfluxDB3(
                f"{what}; influxops needs InfluxDB 3",
                operation=Operation.PING,
                url=self.url,
                status=answer.status,
                hint=request.check_url,
            )
        product = str(body.get("product_name", ""))
        build = product.rpartition(" ")[2] if product.startswith("InfluxDB 3 ") else None
        process = body.get("process_id")
        return Ping(
            version=version,
            edition=answer.headers.get("x-influxdb-build") or build,
            process_id=str(process) if process else None,
            clock=_date(answer.headers.get("date")),
        )

    def databases(self, run: Run) -> list[str]:
        """List the names of the databases that the token may see, without the deleted ones."""
        request, answer = self._transport.send(
            run, Operation.LIST, "GET", _DATABASES, query={"format": "json"}
        )
        rows = _rows(read_json(answer, request), request)
        return [str(row["iox::database"]) for row in rows if "iox::database" in row]

    def create(self, run: Run, database: str, retention: int | None = None) -> None:
        """Create a database.

        Args:
            run: The run.
            database: Its name.
            retention: Its retention period in seconds, None without one.

        Raises:
            AlreadyExists: When it is there, whatever its retention period.
            DatabaseLimit: When the server takes no further one.
        """
        document: dict[str, Any] = {"db": database}
        if retention is not None:
            document["retention_period"] = format_duration(retention)
        self._transport.send(
            run, Operation.CREATE, "POST", _DATABASES, database=database, document=document
        )

    def set_retention(self, run: Run, database: str, retention: int) -> None:
        """Set a database's retention period.

        Args:
            run: The run.
            database: Its name.
            retention: The period in seconds.

        Raises:
            NotFound: When there is no such database.
        """
        self._transport.send(
            run,
            Operation.SET_RETENTION,
            "PUT",
            _DATABASES,
            database=database,
            document={"db": database, "retention_period": format_duration(retention)},
        )

    def clear_retention(self, run: Run, database: str) -> None:
        """Let a database keep its data for ever.

        Raises:
            NotFound: When there is no such database.
        """
        self._transport.send(
            run,
            Operation.CLEAR_RETENTION,
            "DELETE",
            f"{_DATABASES}/retention_period",
            database=database,
            query={"db": database},
        )

    def write(self, run: Run, database: str, lines: str, *, no_sync: bool = False) -> None:
        """Write line protocol; what is missing of database and tables is made.

        Args:
            run: The run.
            database: Where to.
            lines: Line protocol, times in nanoseconds.
            no_sync: Whether not to wait until it is durable. All that was written before an
                ordinary write is durable with it, in whatever database, as long as it is one
                and the same server process.

        Raises:
            DatabaseLimit: When the server takes no further database.
            TableLimit: When it takes no further table; the database has been made all the same.
        """
        query = {"db": database} | ({"no_sync": "true"} if no_sync else {})
        self._transport.send(
            run,
            Operation.WRITE,
            "POST",
            "/api/v3/write_lp",
            database=database,
            query=query,
            body=lines.encode(),
            content_type="text/plain; charset=utf-8",
        )

    def query(
        self, run: Run, database: str, sql: str, params: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Ask in SQL.

        Args:
            run: The run.
            database: What to ask.
            sql: The query, with `$name` for each parameter.
            params: The parameters' values.

        Returns:
            One dictionary a row; null fields are left out.

        Raises:
            NotFound: When there is no such database.
            BadRequest: When there is no such table, or the query is wrong.
            QueryFileLimit: When the server would have to read more files than it lets itself.
        """
        document: dict[str, Any] = {"db": database, "q": sql}
        if params:
            document["params"] = dict(params)
        request, answer = self._transport.send(
            run,
            Operation.QUERY,
            "POST",
            "/api/v3/query_sql",
            database=database,
            document=document,
        )
        return _rows(read_json(answer, request), request)

    def tables(self, run: Run, database: str) -> list[str]:
        """List a database's tables.

        Raises:
            NotFound: When there is no such database.
        """
        rows = self.query(
            run,
            database,
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = 'iox' ORDER BY 1",
        )
        return [str(row["table_name"]) for row in rows if "table_name" in row]

    def delete(self, run: Run, database: str, *, hard_delete_at: datetime) -> None:
        """Delete a database: its name is free at once, its data stays for a while.

        Args:
            run: The run.
            database: Its name.
            hard_delete_at: When its data is to go; an aware datetime. The server takes a time
                that has passed, by its own clock, for "now".

        Raises:
            NotFound: When there is no such database.
        """
        at = hard_delete_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._transport.send(
            run,
            Operation.DELETE,
            "DELETE",
            _DATABASES,
            database=database,
            query={"db": database, "hard_delete_at": at},
        )


def _rows(document: object, request: Request) -> list[dict[str, Any]]:
    """Check that an answer is a list of rows.

    Raises:
        NotInfluxDB3: When it is something else.
    """
    if isinstance(document, list) and all(isinstance(row, dict) for row in document):
        return document
    raise NotInfluxDB3(
        "it answered JSON that is no list of rows",
        operation=request.operation,
        url=request.url,
        database=request.database,
        hint=request.check_url,
    )


def _date(header: str | None) -> datetime | None:
    """Read a Date header."""
    if not header:
        return None
    try:
        when = parsedate_to_datetime(header)
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
