"""A client of InfluxDB 3's HTTP API: what influxops needs of it, typed.

The facts come from recorded exchanges with InfluxDB 3 Core 3.10. A client may be used from
several threads; it keeps connections alive and never follows a redirect.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct
from msgspec import json as json_reader

from influxops.plugin import (
    ConfigError,
    Hint,
    RunContext,
    SettingError,
    __version__,
    format_duration,
)
from influxops_influxdb3.errors import (
    CHECK_URL,
    BadRequest,
    InfluxDBError,
    NotInfluxDB3,
    Operation,
    QueryFileLimit,
    TableLimit,
    Unreadable,
    WrongServer,
)
from influxops_influxdb3.http.responses import Request, Response, error_of, read_json
from influxops_influxdb3.http.retries import read_date, send
from influxops_influxdb3.http.transport import Transport
from influxops_influxdb3.queries import DELETION_COLUMNS, NO_DELETION_COLUMN, inventory
from influxops_influxdb3.settings import InfluxDB3Settings

_DATABASES = "/api/v3/configure/database"
_ENDPOINTS = {
    Operation.PING: ("GET", "/ping"),
    Operation.LIST: ("GET", _DATABASES),
    Operation.CREATE: ("POST", _DATABASES),
    Operation.SET_RETENTION: ("PUT", _DATABASES),
    Operation.CLEAR_RETENTION: ("DELETE", f"{_DATABASES}/retention_period"),
    Operation.DELETE: ("DELETE", _DATABASES),
    Operation.CREATE_TABLE: ("POST", "/api/v3/configure/table"),
    Operation.WRITE: ("POST", "/api/v3/write_lp"),
    Operation.QUERY: ("POST", "/api/v3/query_sql"),
}
_JSON = json_reader.Decoder()
#: What `--query-file-limit` is by default.
_FILE_LIMIT = 432
#: The most bytes of a row in JSON: a write takes 10 MiB, and a byte of it may be six here.
_LONGEST_LINE = 64 * 1024 * 1024
#: Where it were read as an empty list, all databases would count as gone.
_NO_DATABASES = "it answered rows that are no databases"
_VERSION = re.compile(r"v?(\d+)\.")


class Ping(Struct, frozen=True):
    """Which server answers."""

    version: str  # the server's version
    edition: str | None  # `Core`, `Enterprise`, or None where it does not say
    process_id: str | None  # what differs after a restart; None where it does not say
    clock: datetime | None  # the server's time, to the second; None where it does not say


class Client:
    """One InfluxDB 3 server.

    Every operation takes the run that it works for, whose deadline and cancellation bound it,
    and raises an `InfluxDBError` that says what failed and what to do, `ConfigError` where the
    token cannot be read, or `Interrupted`. Each is safe to repeat, and is tried again where that
    may help.
    """

    def __init__(self, settings: InfluxDB3Settings) -> None:
        self._settings = settings
        self._transport = Transport(settings)
        #: How many files a query may touch: what servers are started with, until this one says so.
        self.file_limit = _FILE_LIMIT
        #: Which of `DELETION_COLUMNS` this release has, the first one until it says otherwise.
        self.deletion_column = DELETION_COLUMNS[0]
        #: How many tables it takes, where it said so, and the run that it took no further one in.
        self.table_limit: int | None = None
        self.out_of_tables_in = ""
        self._lock = threading.Lock()
        # The run, and the cluster-uuids that answered in it, the first one first.
        self._identities: tuple[str, tuple[str, ...]] = ("", ())

    @property
    def url(self) -> str:
        """Where the server is, without secrets."""
        return self._settings.url

    @property
    def cluster_uuid(self) -> str | None:
        """The identity of the server that answered last; every answer carries it.

        Of requests that are under way at once, it does not say which one that was.
        """
        _, uuids = self._identities
        return uuids[-1] if uuids else None

    def close(self) -> None:
        """Close the connections; they are opened again when needed."""
        self._transport.close()

    def ping(self, context: RunContext) -> Ping:
        """Ask which server answers."""
        request, response = self._send(context, Operation.PING)
        body = read_json(response, request) if response.body.strip() else {}
        body = body if isinstance(body, dict) else {}
        version = response.headers.get("x-influxdb-version") or str(body.get("version", ""))
        number = _VERSION.match(version)
        if number is None or int(number[1]) < 3:
            what = f"this is InfluxDB {version}" if number else "this is no InfluxDB"
            raise request.error(
                NotInfluxDB3,
                f"{what}; influxops needs InfluxDB 3",
                CHECK_URL,
                status=response.status,
            )
        product = str(body.get("product_name", ""))
        build = product.rpartition(" ")[2] if product.startswith("InfluxDB 3 ") else None
        process = body.get("process_id")
        return Ping(
            version=version,
            edition=response.headers.get("x-influxdb-build") or build,
            process_id=str(process) if process else None,
            clock=read_date(response.headers.get("date")),
        )

    def databases(self, context: RunContext) -> list[str]:
        """Return the names of the databases that the token may see, without the deleted ones."""
        request, response = self._send(context, Operation.LIST, query={"format": "json"})
        rows = _rows(read_json(response, request), request)
        if not all("iox::database" in row for row in rows):
            raise request.error(NotInfluxDB3, _NO_DATABASES, CHECK_URL)
        return [str(row["iox::database"]) for row in rows]

    def create(
        self, context: RunContext, database: str, retention: int | None = None
    ) -> str | None:
        """Create a database, with a retention period in seconds or without one.

        It returns the identity of the server that did.
        """
        document = {"db": database}
        if retention is not None:
            document["retention_period"] = format_duration(retention)
        _, response = self._send(context, Operation.CREATE, database, document=document)
        return response.headers.get("cluster-uuid")

    def set_retention(self, context: RunContext, database: str, retention: int) -> None:
        """Set a database's retention period, in seconds."""
        document = {"db": database, "retention_period": format_duration(retention)}
        self._send(context, Operation.SET_RETENTION, database, document=document)

    def clear_retention(self, context: RunContext, database: str) -> None:
        """Let a database keep its data for ever."""
        self._send(context, Operation.CLEAR_RETENTION, database, query={"db": database})

    def create_table(
        self,
        context: RunContext,
        database: str,
        table: str,
        tags: Sequence[str],
        fields: Mapping[str, str],
    ) -> None:
        """Create a table with at least one tag, in the order of its series key."""
        columns = [{"name": name, "type": kind} for name, kind in fields.items()]
        document = {"db": database, "table": table, "tags": list(tags), "fields": columns}
        self._send(context, Operation.CREATE_TABLE, database, document=document)

    def write(
        self,
        context: RunContext,
        database: str,
        lines: str | bytes,
        *,
        no_sync: bool = False,
        exact: bool = False,
    ) -> None:
        """Write line protocol, times in nanoseconds; a missing database or table is created.

        With `no_sync` it is not waited for until it is durable. All that was written before an
        ordinary write is durable with it, in whatever database, as long as it is one and the
        same server process. Rows of a copy are `exact`: it is said that their times are in
        nanoseconds; else the server takes one of the first hours of 1970 for one in seconds.
        """
        query = {"db": database} | ({"no_sync": "true"} if no_sync else {})
        if exact:
            query["precision"] = "nanosecond"
        # Half a character has no UTF-8; such an id was refused before.
        body = lines.encode(errors="replace") if isinstance(lines, str) else lines
        self._send(context, Operation.WRITE, database, query=query, body=body)

    def query(
        self,
        context: RunContext,
        database: str,
        sql: str,
        *,
        retries: int | None = None,
    ) -> list[dict[str, Any]]:
        """Ask in SQL, with at most `retries` more attempts; return rows without null fields."""
        document = {"db": database, "q": sql}
        request, response = self._send(
            context, Operation.QUERY, database, document=document, retries=retries
        )
        return _rows(read_json(response, request), request)

    def inventory(
        self, context: RunContext, names: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        """Ask for databases and what is known of them; see `queries.inventory`."""
        while True:
            column = self.deletion_column
            try:
                rows = self.query(context, "_internal", inventory(column, names))
            except (Unreadable, BadRequest) as error:
                older = DELETION_COLUMNS[DELETION_COLUMNS.index(column) + 1 :]
                if not older or not NO_DELETION_COLUMN.search(error.server_message):
                    raise
                self.deletion_column = older[0]
                continue
            if all("database_name" in row for row in rows):
                return rows
            raise NotInfluxDB3(
                _NO_DATABASES, operation=Operation.QUERY, url=self.url, hint=CHECK_URL
            )

    def rows(
        self,
        context: RunContext,
        database: str,
        sql: str,
        *,
        retries: int | None = None,
        decode: Callable[[bytes], list[Any]] = _JSON.decode_lines,
    ) -> Generator[list[Any]]:
        """Ask in SQL as `query` does, and yield some rows at a time: for answers of any size.

        Integers are exact, also unsigned ones of 64 bits. A broken answer is not asked again. Rows
        are dictionaries, unless `decode` makes something else of some lines.
        """
        document = {"db": database, "q": sql, "format": "jsonl"}
        request, response = self._send(
            context,
            Operation.QUERY,
            database,
            document=document,
            is_streamed=True,
            retries=retries,
        )
        if response.chunks is None:
            return
        rest = bytearray()
        with contextlib.closing(response.chunks) as chunks:
            for chunk in chunks:
                head, end, tail = chunk.rpartition(b"\n")
                if end:
                    rest += head
                    yield _json_lines(bytes(rest), request, decode)
                    rest = bytearray()
                rest += tail
                if len(rest) > _LONGEST_LINE:
                    message = f"it answered a row of more than {_LONGEST_LINE // 1024**2} MiB"
                    raise request.error(NotInfluxDB3, message, CHECK_URL)
        if rest.strip():
            yield _json_lines(bytes(rest), request, decode)

    def delete(self, context: RunContext, database: str, *, hard_delete_at: datetime) -> None:
        """Delete a database: its name is free at once, its data stays until `hard_delete_at`.

        The server takes a time that has passed, by its own clock, for "now".
        """
        at = hard_delete_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        query = {"db": database, "hard_delete_at": at}
        self._send(context, Operation.DELETE, database, query=query)

    # How a request is made -------------------------------------------------------------------

    def _send(
        self,
        context: RunContext,
        operation: Operation,
        database: str | None = None,
        *,
        query: Mapping[str, str] | None = None,
        document: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        is_streamed: bool = False,
        retries: int | None = None,
    ) -> tuple[Request, Response]:
        """Send one request, again where that may help, and return the good answer."""
        settings = self._settings
        limit = settings.retries if retries is None else min(retries, settings.retries)
        method, path = _ENDPOINTS[operation]
        target = f"{path}?{urlencode(query)}" if query else path
        request = Request(operation, settings.url, database, method, target, body)
        request.is_streamed = is_streamed
        request.headers["User-Agent"] = f"influxops/{__version__}"
        if settings.token is not None:
            request.token, request.token_origin = self._token(), settings.token.origin
            request.headers["Authorization"] = f"Bearer {request.token}"
        if document is not None:
            request.body = json.dumps(document, separators=(",", ":")).encode()
            request.headers["Content-Type"] = "application/json"
        elif body is not None:
            request.headers["Content-Type"] = "text/plain; charset=utf-8"
        if operation.changes:
            self._refuse_another_server(context, request)
        began, status = time.monotonic(), "no answer"
        try:
            response = send(self._transport, context, request, limit)
            status = str(response.status)
        finally:
            ms = (time.monotonic() - began) * 1000
            context.log.debug(
                "%s %s %s: %s after %.0f ms", method, path, database or "-", status, ms
            )
        try:
            uuid = response.headers.get("cluster-uuid")
            with self._lock:
                run, uuids = self._identities
                if uuid is not None and (run != context.id or uuid not in uuids):
                    uuids = (*uuids, uuid) if run == context.id else (uuid,)
                    self._identities = (context.id, uuids)
            self._refuse_another_server(context, request)
            if not response.is_good:
                error = error_of(response, request)
                error.identity = uuid
                if isinstance(error, QueryFileLimit) and error.limit:
                    self.file_limit = min(self.file_limit, error.limit)
                if isinstance(error, TableLimit):
                    self.out_of_tables_in = context.id
                    self.table_limit = error.limit or self.table_limit
                raise error
        except InfluxDBError:
            if response.chunks is not None:
                response.chunks.close()
            raise
        return request, response

    def _token(self) -> str:
        """Read the token, again for each request: a file may have been rotated."""
        try:
            return self._settings.read_token()
        except SettingError as error:
            raise ConfigError(error.message, hint=Hint.setting("token")) from None

    def _refuse_another_server(self, context: RunContext, request: Request) -> None:
        """Stop where a run that began on one server meets another, or would write to it."""
        run, uuids = self._identities
        if run != context.id or not uuids:
            return
        wanted, found = uuids[0], uuids[-1]
        if found == wanted and request.operation.changes:
            wanted = self._settings.cluster_uuid or wanted
        if found != wanted:
            raise request.error(
                WrongServer,
                f"another server answers there: its cluster-uuid is {found}, not {wanted}",
                "does the URL lead to several servers? Each needs a target of its own",
            )


def _rows(document: object, request: Request) -> list[dict[str, Any]]:
    if isinstance(document, list) and all(isinstance(row, dict) for row in document):
        return document
    raise request.error(NotInfluxDB3, "it answered JSON that is no list of rows", CHECK_URL)


def _json_lines(text: bytes, request: Request, decode: Callable[[bytes], list[Any]]) -> list[Any]:
    try:
        rows = decode(text)
    except (ValueError, RecursionError):
        rows = None
    if rows and isinstance(rows[0], Struct):
        return rows
    return _rows(rows, request)
