"""A small InfluxDB 3 for tests: real HTTP on this machine, the recorded bodies, faults on demand.

It knows just enough to tell a right client from a wrong one: limits, 409, durability (what was
written without waiting is lost by `kill`), tokens. Every request is kept for counting.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

UNAUTHENTICATED = '{"error": "the request was not authenticated"}'
EXISTS = "attempted to create a resource that already exists"
DATABASE_LIMIT = '{"error":"Adding a new database would exceed limit of %d databases"}'
TABLE_LIMIT = (
    '{"error":"partial write of line protocol occurred","data":[{"error_message":"Update to '
    "schema would exceed number of tables limit: attempted to create table but already have %d "
    'table(s) (limit: %d)","line_number":1,"original_line":"_init,source=provisi"}]}'
)
BAD_NAME = (
    '{"error":"invalid character in database or rp name: must be ASCII, containing only letters, '
    'numbers, underscores, or hyphens"}'
)
NO_TABLE = "Error during planning: table 'public.iox.telemetry' not found"
NO_MARKER_TABLE = "Error during planning: table 'public.iox._init' not found"
QUERY_FILE_LIMIT = (
    "External error: Query would scan 432 Parquet files, exceeding the file limit. InfluxDB 3 "
    "Core caps file access to prevent performance degradation and memory issues. Use a narrower "
    "time range, or increase the limit with --query-file-limit (this may cause slower queries or "
    "instability).\n\nTo remove this limitation, upgrade to InfluxDB 3 Enterprise, which "
    "automatically compacts files for efficient querying across any time range. Free for "
    "non-commercial and home use, and free trials for commercial evaluation: "
    "https://www.influxdata.com/downloads"
)
NO_COLUMN = (
    "Schema error: No field named d.%s. Valid fields are d.database_name, d.retention_period_ns, "
    "d.deleted, t.database_name, t.table_name, t.tables."
)
NO_DATABASE = '{"error":"query error: database not found: %s"}'


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: str
    client: tuple[str, int]

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def is_write(self) -> bool:
        return self.path.endswith("/write_lp")

    @property
    def is_barrier(self) -> bool:
        return self.is_write and "no_sync" not in self.query


@dataclass(frozen=True)
class Told:
    """One answer; `drop` closes the connection instead."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False


@dataclass
class Held:
    """One database."""

    retention: str | None = None
    tables: set[str] = field(default_factory=set)


Fault = Callable[[Asked, int], Told | None]


class Double:
    """The server; `fault(asked, number)` may answer in its place."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.answered = 0  # bytes of all answers
        self.fault: Fault | None = None
        self.databases: dict[str, Held] = {}
        self.durable: set[tuple[str, str]] = set()
        self.pending: list[tuple[str, str]] = []
        self.deleted: list[tuple[str, str]] = []
        self.max_databases = 5
        self.max_tables = 2000
        self.token: str | None = None
        self.edition = "Core"
        self.system_tables = True
        self.version = "3.10.0-nightly"
        #: What it calls the time at which a deleted database's data goes; empty where it has none.
        self.deletion_column = "hard_deletion_time"
        self.cluster_uuid = str(uuid.uuid4())
        self.process_id = str(uuid.uuid4())
        self.date: str | None = None
        self.statistics: dict[str, dict[str, Any]] = {}
        self.without_row: set[str] = set()  # whose marker is lost, though its table is there
        self.renamed: list[str] = []  # what deleted databases are called now
        #: What else is listed of them, by that name.
        self.removed: dict[str, dict[str, str]] = {}
        self._context = context
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        scheme = "https" if self._context else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def writes(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.is_write]

    def start(self) -> None:
        """Listen, again on the same port after a stop."""
        double = self

        class Handler(_Handler):
            owner = double

        self._server = _Server(("127.0.0.1", self.port), Handler)
        if self._context is not None:
            self._server.socket = self._context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def kill(self) -> None:
        """Go away as by `kill -9`: what is not durable is lost."""
        self.stop()
        with self._lock:
            self.pending.clear()
            self.process_id = str(uuid.uuid4())

    def restart(self) -> None:
        """Lose what is not durable and be another process, too fast to be noticed."""
        self.pending.clear()
        self.process_id = str(uuid.uuid4())

    def stop(self) -> None:
        """Stop listening and cut all connections."""
        if self._server is not None:
            server, self._server = self._server, None
            server.shutdown()
            server.server_close()
        with self._lock:
            connections, self._connections = self._connections, set()
        for connection in connections:
            with _quietly():
                connection.shutdown(socket.SHUT_RDWR)

    # What it answers --------------------------------------------------------------------------

    def answer(self, asked: Asked) -> Told:
        with self._lock:
            self.asked.append(asked)
            number = len(self.asked)
        if self.fault is not None:
            told = self.fault(asked, number)
            if told is not None:
                return told
        with self._lock:
            return self._answer(asked)

    def _answer(self, asked: Asked) -> Told:
        if self.token is not None and asked.headers.get("authorization") != f"Bearer {self.token}":
            return Told(401, UNAUTHENTICATED)
        match asked.method, asked.path:
            case "GET", "/ping":
                return self._ping()
            case "GET", "/api/v3/configure/database":
                names = ["_internal", *sorted(self.databases)]
                return _rows([{"iox::database": name} for name in names])
            case "POST", "/api/v3/configure/database":
                return self._create(asked.document)
            case "PUT", "/api/v3/configure/database":
                return self._set_retention(asked.document)
            case "DELETE", "/api/v3/configure/database/retention_period":
                return self._set_retention({"db": asked.query["db"]}, 204)
            case "DELETE", "/api/v3/configure/database":
                return self._delete(asked.query)
            case "POST", "/api/v3/write_lp":
                return self._write(asked)
            case "POST", "/api/v3/query_sql":
                return self._query(asked.document)
        return Told(404, "Not found")

    def _ping(self) -> Told:
        body = {
            "product_name": f"InfluxDB 3 {self.edition}",
            "version": self.version,
            "revision": "d7834110b3",
            "process_id": self.process_id,
        }
        headers = {
            "content-type": "application/json",
            "x-influxdb-build": self.edition,
            "x-influxdb-version": self.version,
        }
        return Told(200, json.dumps(body), headers)

    def _room(self, name: str) -> Told | None:
        if not all(c.isascii() and (c.isalnum() or c in "_-") for c in name):
            return Told(400, BAD_NAME)
        if len(self.databases) >= self.max_databases:
            return Told(422, DATABASE_LIMIT % self.max_databases)
        return None

    def _create(self, document: dict[str, Any]) -> Told:
        name = document["db"]
        if name in self.databases:
            return Told(409, EXISTS)
        refused = self._room(name)
        if refused is None:
            self.databases[name] = Held(document.get("retention_period"))
        return refused or Told()

    def _set_retention(self, document: dict[str, Any], status: int = 200) -> Told:
        name = document["db"]
        if name not in self.databases:
            return Told(404, f"the requested resource was not found: {name}")
        self.databases[name].retention = document.get("retention_period")
        return Told(status)

    def _delete(self, query: dict[str, str]) -> Told:
        if self.databases.pop(query["db"], None) is None:
            return Told(404, f"the requested resource was not found: {query['db']}")
        self.deleted.append((query["db"], query.get("hard_delete_at", "")))
        return Told()

    def _write(self, asked: Asked) -> Told:
        name = asked.query["db"]
        if name not in self.databases:
            refused = self._room(name)
            if refused is not None:
                return refused
            self.databases[name] = Held()
        tables = sum(len(held.tables) for held in self.databases.values())
        table = asked.body.partition(",")[0]
        if table not in self.databases[name].tables:
            if tables >= self.max_tables:
                return Told(422, TABLE_LIMIT % (tables, self.max_tables))
            self.databases[name].tables.add(table)
        self.pending.append((name, asked.body))
        self.without_row.discard(name)
        if asked.is_barrier:
            self.durable.update(self.pending)
            self.pending.clear()
        return Told(204)

    def _query(self, document: dict[str, Any]) -> Told:
        name = document["db"]
        if name == "_internal" and "system.databases" not in document["q"]:
            lines = (
                json.dumps({"database_name": database, "table_name": table})
                for database, held in sorted(self.databases.items())
                for table in sorted(held.tables)
            )
            return Told(200, "\n".join(lines))
        if name == "_internal":
            asked_for = re.search(r"hard_deletion_\w+(?= AS)", document["q"])
            if asked_for and asked_for[0] != self.deletion_column:
                return Told(500, NO_COLUMN % asked_for[0])
            return self._inventory()
        if name not in self.databases:
            return Told(404, NO_DATABASE % name)
        sql, tables = document["q"], sorted(self.databases[name].tables)
        if "information_schema.columns" in sql:
            return _rows([{"table_name": table, "times": 1} for table in tables])
        if "system.parquet_files" in sql:
            return _rows([])
        if "FROM _init" in sql:
            if "_init" not in tables:
                return Told(400, NO_MARKER_TABLE)
            return _rows([] if name in self.without_row else [{"time": "2026-11-27T07:00:00"}])
        if not sql.startswith("SELECT '"):
            return _rows([self.statistics[name]])
        rows = []
        for table in re.findall(r'FROM "(\w+)"', sql):
            counted: dict[str, Any] = {"count": int(name not in self.without_row)}
            if table != "_init":
                counted = self.statistics.get(name, {"count": 0})
            rows.append({"name": table, **counted})
        return _rows(rows)

    def _inventory(self) -> Told:
        if not self.system_tables:
            return Told(403)
        rows: list[dict[str, Any]] = [
            {"database_name": "_internal", "retention_period_ns": 604800000000000, "deleted": False}
        ]
        rows += [
            {"database_name": name, "deleted": True, **self.removed.get(name, {})}
            for name in self.renamed
        ]
        for name, held in sorted(self.databases.items()):
            row: dict[str, Any] = {"database_name": name, "deleted": False}
            if held.retention:
                row["retention_period_ns"] = int(held.retention[:-1]) * _UNITS[held.retention[-1]]
            tables = Counter("_init" if table == "_init" else "others" for table in held.tables)
            counted = sorted(tables.items())
            rows += [row | {"table_name": name, "tables": n} for name, n in counted] or [row]
        return _rows(rows)


_UNITS = {"d": 86400 * 10**9, "h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9}


def _rows(rows: list[dict[str, Any]]) -> Told:
    return Told(200, json.dumps(rows), {"content-type": "application/json"})


@contextmanager
def _quietly() -> Iterator[None]:
    with suppress(OSError):
        yield


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no error of a test."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    owner: Double

    def setup(self) -> None:
        super().setup()
        with self.owner._lock:
            self.owner._connections.add(self.connection)

    def finish(self) -> None:
        with self.owner._lock:
            self.owner._connections.discard(self.connection)
        with _quietly():
            super().finish()

    def _any(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("content-length") or 0)
        told = self.owner.answer(
            Asked(
                self.command,
                parts.path,
                dict(parse_qsl(parts.query, keep_blank_values=True)),
                {name.lower(): value for name, value in self.headers.items()},
                self.rfile.read(length).decode(),
                self.client_address,
            )
        )
        if told.drop:
            self.close_connection = True
            return
        body = told.body.encode()
        with self.owner._lock:
            self.owner.answered += len(body)
        self.send_response_only(told.status)
        self.send_header("cluster-uuid", self.owner.cluster_uuid)
        self.send_header("date", self.owner.date or self.date_time_string())
        for name, value in told.headers.items():
            self.send_header(name, value)
        if told.status != 204:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if told.status != 204:
            self.wfile.write(body)
        self.wfile.flush()

    do_GET = do_POST = do_PUT = do_DELETE = _any

    def log_message(self, format: str, *args: object) -> None:
        """Tests read `asked` instead."""
