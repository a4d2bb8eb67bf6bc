"""The routes that run queries."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from influxops_devserver.errors import ApiError, compact
from influxops_devserver.http.requests import read_any_json, read_query
from influxops_devserver.http.routing import Handler, Route, Server, chunks, send_results
from influxops_devserver.query.formats import CONTENT_TYPES, Format


class _Query(Struct):
    db: str
    q: str
    format: Format = "json"


class _QueryBody(_Query):
    params: dict[str, str | int | float | bool | None] | None = None


class _InfluxQL(Struct):
    q: str
    db: str | None = None


async def _query_by_get(server: Server, request: Request) -> Response:
    if not request.scope["query_string"]:
        raise ApiError(400, "missing query parameters 'db' and 'q'")
    asked = read_query(request, _Query)
    return await send_results(await server.queries.run(asked.db, asked.q), asked.format)


async def _query_by_post(server: Server, request: Request) -> Response:
    asked = await read_any_json(request, _QueryBody)
    return await send_results(
        await server.queries.run(asked.db, asked.q, asked.params), asked.format
    )


async def _query_v1(server: Server, request: Request) -> Response:
    """Answer the one statement of InfluxQL that needs no database."""
    asked = read_query(request, _InfluxQL)
    result: dict[str, Any] = {"statement_id": 0}
    if asked.q.strip(" ;").upper() == "SHOW DATABASES":
        databases = sorted(server.catalog.databases.values(), key=lambda d: d.id)
        names = [[database.name] for database in databases if not database.deleted]
        result["series"] = [{"name": "databases", "columns": ["name"], "values": names}]
    elif asked.db is None:
        text = "must specify a 'db' parameter, or provide the database in the InfluxQL query"
        result["error"] = text
    else:
        raise ApiError(404, "Not found")
    body = compact({"results": [result]}).encode()
    return StreamingResponse(chunks(body), headers={"content-type": CONTENT_TYPES["json"]})


ROUTES: dict[Route, Handler] = {
    ("GET", "/api/v3/query_sql"): _query_by_get,
    ("POST", "/api/v3/query_sql"): _query_by_post,
    ("GET", "/query"): _query_v1,
    ("POST", "/query"): _query_v1,
}
