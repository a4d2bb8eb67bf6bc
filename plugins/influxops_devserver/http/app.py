"""The HTTP API as an ASGI application.

Starlette and uvicorn serve it: the pair that most ASGI applications run on, released often, and
with it every header is decided here, which the recordings need (aiohttp gives each answer that has
no content type one of its own).
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from influxops_devserver.errors import ApiError, compact
from influxops_devserver.http import parameters
from influxops_devserver.http.bodies import read_body, read_json
from influxops_devserver.http.parameters import Field
from influxops_devserver.http.write_routes import WriteApi
from influxops_devserver.query.engine import QueryEngine
from influxops_devserver.query.formats import CONTENT_TYPES, databases_batch, encode
from influxops_devserver.storage.catalog import OPERATOR_TOKEN, Catalog, Limits
from influxops_devserver.storage.documents import Storage
from influxops_devserver.storage.files import Files
from influxops_devserver.storage.wal import WriteAheadLog

_log = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]

#: The version of InfluxDB 3 Core whose recorded answers the stand-in gives.
_VERSION = "3.10.0-nightly"
_REVISION = "d7834110b3"
_PRODUCT = "InfluxDB 3 Core"
#: Bytes of an answer that are sent at once.
_PIECE = 256 * 1024
_TOKEN_PATH = "/api/v3/configure/token"
_TEXT = Field(parameters.text)
_OPTIONAL_TEXT = Field(parameters.text, required=False)
_FORMAT = parameters.choice(*CONTENT_TYPES)
_NEW_DATABASE = {"db": _TEXT, "retention_period": Field(parameters.retention, required=False)}


@dataclass(frozen=True)
class StandInSettings:
    """How a stand-in behaves.

    Args:
        data_dir: Where databases and rows are kept; None keeps nothing.
        limits: How many databases and tables there may be.
        wal_flush_interval: Seconds between two flushes of the write-ahead log.
        with_auth: Whether requests need a token.
        wal_snapshot_size: After so many flushes and a half, files are written.
        gen1_duration: Nanoseconds that a file is about.
        query_file_limit: How many files a query may read.
        unreadable_table: The name of tables whose every query is 500, for tests.
    """

    data_dir: Path | None = None
    limits: Limits = field(default_factory=Limits)
    wal_flush_interval: float = 1.0
    with_auth: bool = False
    wal_snapshot_size: int = 600
    gen1_duration: int = 600 * 10**9
    query_file_limit: int = 432
    unreadable_table: str | None = None


class StandInApp:
    """Answers requests.

    Args:
        settings: How it behaves.

    Raises:
        DataDirectoryError: Another process has the data directory, or what is in it is damaged.
        OSError: The directory cannot be made.
    """

    def __init__(self, settings: StandInSettings) -> None:
        self._with_auth = settings.with_auth
        self._storage = Storage(settings.data_dir)
        self._catalog = Catalog(self._storage, settings.limits)
        self.wal = WriteAheadLog(
            self._storage,
            self._catalog,
            settings.wal_flush_interval,
            Files(settings.wal_snapshot_size, settings.gen1_duration),
        )
        self._queries = QueryEngine(
            self._catalog,
            self.wal,
            with_auth=settings.with_auth,
            file_limit=settings.query_file_limit,
            unreadable_table=settings.unreadable_table,
        )
        self._process = str(uuid.uuid4())
        writes = WriteApi(self._catalog, self.wal)
        self._routes: dict[tuple[str, str], Handler] = {
            ("GET", "/ping"): self._ping,
            ("POST", "/ping"): self._ping,
            ("GET", "/health"): self._health,
            ("GET", "/api/v1/health"): self._health,
            ("GET", "/api/v3/configure/database"): self._list_databases,
            ("POST", "/api/v3/configure/database"): self._create_database,
            ("PUT", "/api/v3/configure/database"): self._update_database,
            ("DELETE", "/api/v3/configure/database"): self._delete_database,
            ("POST", "/api/v3/configure/database/retention_period"): self._set_retention,
            ("DELETE", "/api/v3/configure/database/retention_period"): self._clear_retention,
            ("POST", "/api/v3/configure/table"): self._create_table,
            ("DELETE", "/api/v3/configure/table"): self._delete_table,
            ("POST", f"{_TOKEN_PATH}/admin"): self._create_admin_token,
            ("POST", f"{_TOKEN_PATH}/named_admin"): self._create_named_token,
            ("DELETE", _TOKEN_PATH): self._delete_token,
            ("POST", "/api/v3/write_lp"): writes.v3,
            ("POST", "/api/v2/write"): writes.v2,
            ("POST", "/write"): writes.v1,
            ("GET", "/query"): self._query_v1,
            ("POST", "/query"): self._query_v1,
            ("GET", "/api/v3/query_sql"): self._query_by_get,
            ("POST", "/api/v3/query_sql"): self._query_by_post,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ApiError as error:
            response = Response(error.body, error.status)
        except Exception:
            _log.exception("%s %s failed", request.method, request.url.path)
            response = Response("the stand-in failed, see its log", 500)
        response.headers["cluster-uuid"] = self._catalog.uuid
        response.headers["x-influxops-stand-in"] = "1"
        await response(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.wal.flush()
        self._storage.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        if self._with_auth:
            # The first token has to come from somewhere.
            if path != f"{_TOKEN_PATH}/admin":
                self._catalog.authenticate(_authorization(request))
        elif path.startswith(_TOKEN_PATH):
            raise ApiError(405, "endpoint disabled, started without auth")
        handler = self._routes.get((request.method, path))
        if handler is None:
            # A path and a method that are not there are not told apart.
            raise ApiError(404, "Not found")
        return await handler(request)

    # Server

    async def _ping(self, _: Request) -> Response:
        content = {
            "product_name": _PRODUCT,
            "version": _VERSION,
            "revision": _REVISION,
            "process_id": self._process,
        }
        request_id = str(uuid.uuid4())
        return Response(
            compact(content),
            headers={
                "content-type": "application/json",
                "x-influxdb-build": "Core",
                "x-influxdb-version": _VERSION,
                "request-id": request_id,
                "x-request-id": request_id,
            },
        )

    async def _health(self, _: Request) -> Response:
        return Response("OK", headers={"content-type": "text/plain; charset=utf-8"})

    # Databases

    async def _list_databases(self, request: Request) -> Response:
        asked = parameters.decode_query(
            request.url.query,
            {"format": Field(_FORMAT), "show_deleted": Field(parameters.switch, required=False)},
        )
        show_deleted = bool(asked["show_deleted"])
        batch = databases_batch(self._catalog.databases.values(), show_deleted=show_deleted)
        return await _results([batch], asked["format"])

    async def _create_database(self, request: Request) -> Response:
        asked = await read_json(request, _NEW_DATABASE)
        self._catalog.create_database(asked["db"], asked["retention_period"])
        return Response()

    async def _update_database(self, request: Request) -> Response:
        asked = await read_json(request, _NEW_DATABASE)
        self._catalog.set_retention(asked["db"], asked["retention_period"])
        return Response()

    async def _delete_database(self, request: Request) -> Response:
        asked = parameters.decode_query(
            request.url.query, {"db": _TEXT, "hard_delete_at": _OPTIONAL_TEXT}
        )
        self._catalog.delete_database(asked["db"], asked["hard_delete_at"])
        return Response()

    async def _set_retention(self, request: Request) -> Response:
        asked = parameters.decode_query(request.url.query, {"db": _TEXT, "duration": _TEXT})
        try:
            retention = parameters.duration(asked["duration"]) // 10**9
        except ValueError as error:
            raise ApiError(400, f"Cannot parse the given human time: {error}") from None
        self._catalog.set_retention(asked["db"], retention)
        return Response(status_code=204)

    async def _clear_retention(self, request: Request) -> Response:
        asked = parameters.decode_query(request.url.query, {"db": _TEXT})
        self._catalog.set_retention(asked["db"], None)
        return Response(status_code=204)

    # Tables

    async def _create_table(self, request: Request) -> Response:
        asked = await read_json(
            request,
            {
                "db": _TEXT,
                "table": _TEXT,
                "tags": Field(parameters.texts),
                "fields": Field(parameters.columns),
            },
        )
        self._catalog.create_table(asked["db"], asked["table"], asked["tags"], asked["fields"])
        return Response()

    async def _delete_table(self, request: Request) -> Response:
        asked = parameters.decode_query(request.url.query, {"db": _TEXT, "table": _TEXT})
        self._catalog.delete_table(asked["db"], asked["table"])
        return Response()

    # Tokens

    async def _create_admin_token(self, _: Request) -> Response:
        return self._new_token(OPERATOR_TOKEN, None)

    async def _create_named_token(self, request: Request) -> Response:
        asked = await read_json(
            request,
            {"token_name": _TEXT, "expiry_secs": Field(parameters.unsigned, required=False)},
        )
        return self._new_token(asked["token_name"], asked["expiry_secs"])

    def _new_token(self, name: str, expiry_seconds: int | None) -> Response:
        token, secret = self._catalog.create_token(name, expiry_seconds)
        content = {
            "id": token.id,
            "name": token.name,
            "token": secret,
            "hash": token.hash,
            "created_at": _rfc3339(token.created_ms),
            "expiry": None if token.expiry_ms is None else _rfc3339(token.expiry_ms),
        }
        return Response(compact(content), 201, {"content-type": "json"})

    async def _delete_token(self, request: Request) -> Response:
        asked = parameters.decode_query(request.url.query, {"token_name": _TEXT})
        self._catalog.delete_token(asked["token_name"])
        return Response()

    # Rows

    async def _query_by_get(self, request: Request) -> Response:
        if not request.scope["query_string"]:
            raise ApiError(400, "missing query parameters 'db' and 'q'")
        fields = {"db": _TEXT, "q": _TEXT, "format": Field(_FORMAT, required=False)}
        return await self._query(parameters.decode_query(request.url.query, fields))

    async def _query_by_post(self, request: Request) -> Response:
        fields = {
            "db": _TEXT,
            "q": _TEXT,
            "format": Field(_FORMAT, required=False),
            "params": Field(parameters.scalars, required=False),
        }
        # Whatever its content type says, the body has to be JSON here.
        asked = parameters.decode_body(await read_body(request), fields)
        return await self._query(asked)

    async def _query_v1(self, request: Request) -> Response:
        """Answer the one statement of InfluxQL that needs no database."""
        asked = parameters.decode_query(request.url.query, {"q": _TEXT, "db": _OPTIONAL_TEXT})
        result: dict[str, Any] = {"statement_id": 0}
        if asked["q"].strip(" ;").upper() == "SHOW DATABASES":
            databases = sorted(self._catalog.databases.values(), key=lambda d: d.id)
            names = [[database.name] for database in databases if not database.deleted]
            result["series"] = [{"name": "databases", "columns": ["name"], "values": names}]
        elif asked["db"] is None:
            text = "must specify a 'db' parameter, or provide the database in the InfluxQL query"
            result["error"] = text
        else:
            raise ApiError(404, "Not found")
        body = compact({"results": [result]}).encode()
        return StreamingResponse(_pieces(body), headers={"content-type": CONTENT_TYPES["json"]})

    async def _query(self, asked: dict[str, Any]) -> Response:
        batches = await self._queries.run(asked["db"], asked["q"], asked.get("params"))
        return await _results(batches, asked["format"] or "json")


def _authorization(request: Request) -> str | None:
    """Return the header; in version 1 a parameter may stand for it."""
    header = request.headers.get("authorization")
    if header is None and request.url.path in ("/write", "/query") and "p" in request.query_params:
        return f"Token {request.query_params['p']}"
    return header


def _rfc3339(milliseconds: int) -> str:
    """Return a time as tokens have it."""
    moment = datetime.fromtimestamp(milliseconds / 1_000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def _results(batches: list[Any], format: str) -> Response:
    body = await run_in_threadpool(encode, batches, format)
    headers = {"content-type": CONTENT_TYPES[format]}
    if format == "pretty":
        return Response(body, headers=headers)
    return StreamingResponse(_pieces(body), headers=headers)


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    view = memoryview(body)
    for start in range(0, len(body), _PIECE):
        yield bytes(view[start : start + _PIECE])
