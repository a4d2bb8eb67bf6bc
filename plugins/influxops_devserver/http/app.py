"""The HTTP API as an ASGI application.

Starlette and uvicorn serve it: the pair that most ASGI applications run on, released often, and
with it every header is decided here, which the recordings need (aiohttp gives each answer that has
no content type one of its own).
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from influxops_devserver.errors import ApiError, compact
from influxops_devserver.http import management, queries, writes
from influxops_devserver.http.routing import Server
from influxops_devserver.limits import Limits
from influxops_devserver.query.engine import QueryEngine
from influxops_devserver.storage.catalog import Catalog
from influxops_devserver.storage.documents import DocumentStore
from influxops_devserver.storage.files import Files
from influxops_devserver.storage.tokens import Tokens
from influxops_devserver.storage.wal import WriteAheadLog

_log = logging.getLogger(__name__)

#: The version of InfluxDB 3 Core whose recorded answers the stand-in gives.
_VERSION = "3.10.0-nightly"
_REVISION = "d7834110b3"
_PRODUCT = "InfluxDB 3 Core"
_ROUTES = management.ROUTES | queries.ROUTES | writes.ROUTES


@dataclass(frozen=True)
class StandInSettings:
    """How a stand-in behaves, as the options of ``influxops dev-server``; times in nanoseconds."""

    data_dir: Path | None = None
    limits: Limits = field(default_factory=Limits)
    wal_flush_interval: int = 10**9
    with_auth: bool = False
    wal_snapshot_size: int = 600
    gen1_duration: int = 600 * 10**9
    unreadable_table: str | None = None


class StandInApp:
    """Answers requests."""

    def __init__(self, settings: StandInSettings) -> None:
        self._with_auth = settings.with_auth
        self._storage = storage = DocumentStore(settings.data_dir)
        catalog, tokens = Catalog(storage, settings.limits), Tokens(storage)
        files = Files(settings.wal_snapshot_size, settings.gen1_duration)
        self.wal = WriteAheadLog(storage, catalog, settings.wal_flush_interval / 10**9, files)
        query_engine = QueryEngine(
            catalog,
            tokens,
            self.wal,
            with_auth=settings.with_auth,
            unreadable_table=settings.unreadable_table,
        )
        self._server = Server(catalog, tokens, self.wal, query_engine)
        self._process = str(uuid.uuid4())

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
        response.headers["cluster-uuid"] = self._server.catalog.uuid
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
            if path != f"{management.TOKENS}/admin":
                self._server.tokens.authenticate(_authorization(request))
        elif path.startswith(management.TOKENS):
            raise ApiError(405, "endpoint disabled, started without auth")
        if path == "/ping" and request.method in ("GET", "POST"):
            return self._ping()
        if path in ("/health", "/api/v1/health") and request.method == "GET":
            return Response("OK", headers={"content-type": "text/plain; charset=utf-8"})
        handler = _ROUTES.get((request.method, path))
        if handler is None:
            # Another method of a path that exists is answered the same.
            raise ApiError(404, "Not found")
        return await handler(self._server, request)

    def _ping(self) -> Response:
        content = {
            "product_name": _PRODUCT,
            "version": _VERSION,
            "revision": _REVISION,
            "process_id": self._process,
        }
        return Response(
            compact(content),
            headers={
                "content-type": "application/json",
                "x-influxdb-build": "Core",
                "x-influxdb-version": _VERSION,
            },
        )


def _authorization(request: Request) -> str | None:
    """Return the header, or in version 1 the parameter that may replace it."""
    header = request.headers.get("authorization")
    if header is None and request.url.path in ("/write", "/query") and "p" in request.query_params:
        return f"Token {request.query_params['p']}"
    return header
