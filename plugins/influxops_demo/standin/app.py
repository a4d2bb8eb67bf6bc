"""The HTTP API as an ASGI application.

Starlette and uvicorn serve it: the pair that most ASGI applications run on, released often, and
with it every header is decided here, which the recordings need (aiohttp gives each answer that has
no content type one of its own).
"""

from __future__ import annotations

import logging
import time
import uuid
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from influxops_demo.standin import decoding, errors, operations
from influxops_demo.standin.authorization import authenticate
from influxops_demo.standin.decoding import Field
from influxops_demo.standin.durations import DurationError, parse_seconds
from influxops_demo.standin.engine import Engine
from influxops_demo.standin.formats import CONTENT_TYPES, WHOLE, encode
from influxops_demo.standin.listing import list_databases
from influxops_demo.standin.names import check_database_name
from influxops_demo.standin.settings import PRODUCT, REVISION, VERSION
from influxops_demo.standin.writes import PRECISIONS, accept

_log = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]

_TOKEN_PATH = "/api/v3/configure/token"
_FORMAT = Field(decoding.choice(*CONTENT_TYPES))
_TEXT = Field(decoding.text)
_OPTIONAL_TEXT = Field(decoding.text, required=False)


class StandInApp:
    """Answers requests.

    Args:
        engine: what it answers from; closed when the server shuts down.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._catalog = engine.catalog
        self._process = str(uuid.uuid4())
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
            ("POST", "/api/v3/write_lp"): self._write,
            ("GET", "/api/v3/query_sql"): self._query_by_get,
            ("POST", "/api/v3/query_sql"): self._query_by_post,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, as ASGI has it."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except errors.ApiError as error:
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
        self._engine.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        if self._engine.settings.with_auth:
            # The first token has to come from somewhere.
            if path != f"{_TOKEN_PATH}/admin":
                authenticate(self._catalog, request.headers.get("authorization"))
        elif path.startswith(_TOKEN_PATH):
            raise errors.tokens_disabled()
        handler = self._routes.get((request.method, path))
        if handler is None:
            raise errors.route_not_found()
        return await handler(request)

    # Server

    async def _ping(self, _: Request) -> Response:
        content = {
            "product_name": PRODUCT,
            "version": VERSION,
            "revision": REVISION,
            "process_id": self._process,
        }
        request_id = str(uuid.uuid4())
        return _json(
            content,
            headers={
                "content-type": "application/json",
                "x-influxdb-build": "Core",
                "x-influxdb-version": VERSION,
                "request-id": request_id,
                "x-request-id": request_id,
            },
        )

    async def _health(self, _: Request) -> Response:
        return Response("OK", headers={"content-type": "text/plain; charset=utf-8"})

    # Databases

    async def _list_databases(self, request: Request) -> Response:
        asked = decoding.decode_query(
            request.url.query,
            {"format": _FORMAT, "show_deleted": Field(decoding.switch, required=False)},
        )
        batch = list_databases(self._catalog, show_deleted=bool(asked["show_deleted"]))
        return await _results([batch], asked["format"])

    async def _create_database(self, request: Request) -> Response:
        asked = await self._read_json(
            request, {"db": _TEXT, "retention_period": Field(decoding.retention, required=False)}
        )
        check_database_name(asked["db"])
        operations.create_database(self._catalog, asked["db"], asked["retention_period"])
        return Response()

    async def _update_database(self, request: Request) -> Response:
        asked = await self._read_json(
            request, {"db": _TEXT, "retention_period": Field(decoding.retention, required=False)}
        )
        operations.set_retention(self._catalog, asked["db"], asked["retention_period"])
        return Response()

    async def _delete_database(self, request: Request) -> Response:
        asked = decoding.decode_query(
            request.url.query, {"db": _TEXT, "hard_delete_at": _OPTIONAL_TEXT}
        )
        operations.delete_database(self._catalog, asked["db"], asked["hard_delete_at"])
        return Response()

    async def _set_retention(self, request: Request) -> Response:
        asked = decoding.decode_query(request.url.query, {"db": _TEXT, "duration": _TEXT})
        try:
            retention = parse_seconds(asked["duration"])
        except DurationError as error:
            raise errors.bad_duration(str(error)) from None
        operations.set_retention(self._catalog, asked["db"], retention)
        return Response(status_code=204)

    async def _clear_retention(self, request: Request) -> Response:
        asked = decoding.decode_query(request.url.query, {"db": _TEXT})
        operations.set_retention(self._catalog, asked["db"], None)
        return Response(status_code=204)

    # Tables

    async def _create_table(self, request: Request) -> Response:
        asked = await self._read_json(
            request,
            {
                "db": _TEXT,
                "table": _TEXT,
                "tags": Field(decoding.texts),
                "fields": Field(decoding.columns),
            },
        )
        check_database_name(asked["db"])
        operations.create_table(
            self._catalog, asked["db"], asked["table"], asked["tags"], asked["fields"]
        )
        return Response()

    async def _delete_table(self, request: Request) -> Response:
        asked = decoding.decode_query(
            request.url.query, {"db": _TEXT, "table": _TEXT, "hard_delete_at": _OPTIONAL_TEXT}
        )
        operations.delete_table(self._catalog, asked["db"], asked["table"], asked["hard_delete_at"])
        return Response()

    # Tokens

    async def _create_admin_token(self, _: Request) -> Response:
        return self._new_token(operations.OPERATOR_TOKEN, None)

    async def _create_named_token(self, request: Request) -> Response:
        asked = await self._read_json(
            request, {"token_name": _TEXT, "expiry_secs": Field(decoding.unsigned, required=False)}
        )
        return self._new_token(asked["token_name"], asked["expiry_secs"])

    def _new_token(self, name: str, expiry_seconds: int | None) -> Response:
        token, secret = operations.create_token(self._catalog, name, expiry_seconds)
        content = {
            "id": token.id,
            "name": token.name,
            "token": secret,
            "hash": token.hash,
            "created_at": _rfc3339(token.created_ms),
            "expiry": None if token.expiry_ms is None else _rfc3339(token.expiry_ms),
        }
        return _json(content, 201, {"content-type": "json"})

    async def _delete_token(self, request: Request) -> Response:
        asked = decoding.decode_query(request.url.query, {"token_name": _TEXT})
        operations.delete_token(self._catalog, asked["token_name"])
        return Response()

    # Rows

    async def _write(self, request: Request) -> Response:
        if not request.scope["query_string"]:
            raise errors.write_parameters_missing()
        asked = decoding.decode_query(
            request.url.query,
            {
                "db": _TEXT,
                "precision": Field(decoding.choice(*PRECISIONS), required=False),
                "accept_partial": Field(decoding.switch, required=False),
                "no_sync": Field(decoding.switch, required=False),
            },
        )
        check_database_name(asked["db"])
        body = await self._read_body(request)
        try:
            lines = body.decode()
        except UnicodeDecodeError as error:
            raise errors.not_utf8(_utf8_error(error)) from None
        accepted = accept(
            self._catalog,
            asked["db"],
            lines,
            now_ns=time.time_ns(),
            precision=asked["precision"] or "auto",
            partial=asked["accept_partial"] is not False,
        )
        if accepted.batches:
            await self._engine.wal.write(accepted.batches, wait=not asked["no_sync"])
        if accepted.refused:
            raise errors.partial_write(accepted.refused)
        return Response(status_code=204)

    async def _query_by_get(self, request: Request) -> Response:
        accepted = _accepted_format(request)
        if not request.scope["query_string"]:
            raise errors.query_parameters_missing()
        fields = {"db": _TEXT, "q": _TEXT, "format": Field(_FORMAT.check, required=False)}
        asked = decoding.decode_query(request.url.query, {**fields, "params": _OPTIONAL_TEXT})
        params = asked["params"]
        if params is not None:
            params = decoding.decode_params(params)
        return await self._query(asked["db"], asked["q"], asked["format"] or accepted, params)

    async def _query_by_post(self, request: Request) -> Response:
        accepted = _accepted_format(request)
        fields = {
            "db": _TEXT,
            "q": _TEXT,
            "format": Field(decoding.optional(_FORMAT.check), required=False),
            "params": Field(decoding.scalars, required=False),
        }
        # Whatever its content type says, the body has to be JSON here.
        asked = decoding.decode_body(await self._read_body(request), fields)
        return await self._query(
            asked["db"], asked["q"], asked["format"] or accepted, asked["params"]
        )

    async def _query(
        self, database: str, sql: str, format: str, params: dict[str, Any] | None
    ) -> Response:
        return await _results(await self._engine.queries.run(database, sql, params), format)

    # Bodies

    async def _read_json(self, request: Request, fields: dict[str, Field]) -> dict[str, Any]:
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        kind, _, subtype = content_type.partition("/")
        if kind != "application" or not (subtype == "json" or subtype.endswith("+json")):
            raise errors.content_type_not_json()
        return decoding.decode_body(await self._read_body(request), fields)

    async def _read_body(self, request: Request) -> bytes:
        limit = self._engine.settings.max_request_bytes
        encoding = request.headers.get("content-encoding", "identity")
        if encoding not in ("identity", "gzip"):
            raise errors.bad_content_encoding(encoding)
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > limit:
                raise errors.body_too_large(limit)
        return _gunzip(bytes(body), limit) if encoding == "gzip" else bytes(body)


def _gunzip(body: bytes, limit: int) -> bytes:
    """Decompresses, and stops at the limit: a small body can hold a large one."""
    data = b""
    try:
        while body:
            member = zlib.decompressobj(zlib.MAX_WBITS | 16)
            data += member.decompress(body, limit + 1 - len(data))
            if len(data) > limit:
                raise errors.body_too_large(limit)
            if not member.eof:
                raise errors.bad_gzip("unexpected end of file")
            body = member.unused_data
    except zlib.error:
        raise errors.bad_gzip("invalid gzip header") from None
    return data


def _accepted_format(request: Request) -> str:
    """The format that the ``Accept`` header asks for, where the request names none."""
    accept_header = request.headers.get("accept")
    known = {
        "application/vnd.apache.parquet": "parquet",
        "text/csv": "csv",
        "text/plain": "pretty",
        "application/json": "json",
        None: "json",
    }
    if accept_header in known:
        return known[accept_header]
    if accept_header and ("text/html" in accept_header or "*/*" in accept_header):
        return "json"
    raise errors.bad_accept_header(accept_header or "")


def _utf8_error(error: UnicodeDecodeError) -> str:
    if error.reason == "unexpected end of data":
        return f"incomplete utf-8 byte sequence from index {error.start}"
    length = max(1, error.end - error.start)
    return f"invalid utf-8 sequence of {length} bytes from index {error.start}"


def _rfc3339(milliseconds: int) -> str:
    """A time as tokens have it."""
    moment = datetime.fromtimestamp(milliseconds / 1_000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def _results(batches: list[Any], format: str) -> Response:
    body = await run_in_threadpool(partial(encode, batches, format))
    headers = {"content-type": CONTENT_TYPES[format]}
    if format in WHOLE:
        return Response(body, headers=headers)
    return StreamingResponse(_one(body), headers=headers)


async def _one(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _json(
    content: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    return Response(errors.compact(content), status, headers)
