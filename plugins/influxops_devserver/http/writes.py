"""The write paths of versions 1, 2 and 3, which differ in what they refuse and how they say it."""

from __future__ import annotations

import json
import time

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from influxops_devserver.errors import ApiError, compact
from influxops_devserver.http.requests import read_query, read_text
from influxops_devserver.http.routing import Handler, Route, Server
from influxops_devserver.limits import BodyTooLong, DatabaseLimit
from influxops_devserver.write.points import Precision, accept

#: Retention policies of version 1 that are not part of a database's name.
_DEFAULT_POLICIES = (None, "", "autogen", "default")


class _V3(Struct):
    db: str
    precision: Precision = "auto"
    accept_partial: bool = True
    no_sync: bool = False


class _V2(Struct):
    bucket: str
    precision: Precision = "ns"


class _V1(Struct):
    db: str
    rp: str | None = None
    precision: Precision = "ns"


async def _v3(server: Server, request: Request) -> Response:
    """Take the good lines, and refuse the others unless none are to be taken then."""
    if not request.scope["query_string"]:
        raise ApiError(400, "missing query parameter 'db'")
    asked = read_query(request, _V3)
    partial, wait = asked.accept_partial, not asked.no_sync
    return await _write(server, request, asked.db, asked.precision, partial=partial, wait=wait)


async def _v2(server: Server, request: Request) -> Response:
    """Take all lines or none."""
    try:
        asked = read_query(request, _V2)
        return await _write(server, request, asked.bucket, asked.precision, partial=False)
    except ApiError as error:
        raise _as_version_2(error) from None


async def _v1(server: Server, request: Request) -> Response:
    """Take the good lines; the name of the database has the retention policy in it."""
    asked = read_query(request, _V1)
    database = asked.db if asked.rp in _DEFAULT_POLICIES else f"{asked.db}/{asked.rp}"
    return await _write(server, request, database, asked.precision, partial=True)


async def _write(
    server: Server,
    request: Request,
    database: str,
    precision: str,
    *,
    partial: bool,
    wait: bool = True,
) -> Response:
    accepted = accept(
        server.catalog,
        database,
        await read_text(request),
        now_ns=time.time_ns(),
        precision=precision,
        partial=partial,
    )
    if accepted.rows:
        await server.wal.write(accepted.database, accepted.rows, wait=wait)
    if accepted.error is not None:
        raise accepted.error
    return Response(status_code=204)


def _as_version_2(error: ApiError) -> ApiError:
    """Return an error of version 3 as version 2 words it: most are 400."""
    if isinstance(error, BodyTooLong):
        content = {"code": "request too large", "message": error.body}
        return ApiError(413, compact(content))
    message = error.body
    if message.startswith("{"):
        content = json.loads(message)
        message = content["error"]
        if isinstance(error, DatabaseLimit):
            message = f"write buffer error: catalog update error: {message}"
        elif "data" in content:
            reason = content["data"]["error_message"]
            message = f"write buffer error: line protocol parse failed: {reason}"
    return ApiError(400, compact({"code": "invalid", "message": message}))


ROUTES: dict[Route, Handler] = {
    ("POST", "/api/v3/write_lp"): _v3,
    ("POST", "/api/v2/write"): _v2,
    ("POST", "/write"): _v1,
}
