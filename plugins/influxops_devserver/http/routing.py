"""What the routes share: the parts of the server, and how results are sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from influxops_devserver.query.engine import QueryEngine
from influxops_devserver.query.formats import CONTENT_TYPES, Format, encode
from influxops_devserver.storage.catalog import Catalog
from influxops_devserver.storage.tokens import Tokens
from influxops_devserver.storage.wal import WriteAheadLog

#: Bytes of an answer that are sent at once.
_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Server:
    """The parts of one server."""

    catalog: Catalog
    tokens: Tokens
    wal: WriteAheadLog
    queries: QueryEngine


#: Method and path.
Route = tuple[str, str]
Handler = Callable[[Server, Request], Awaitable[Response]]


async def send_results(batches: list[Any], format: Format) -> Response:
    """Return record batches as an answer."""
    body = await run_in_threadpool(encode, batches, format)
    headers = {"content-type": CONTENT_TYPES[format]}
    # The server sends a drawn table at once, and everything else in chunks.
    if format == "pretty":
        return Response(body, headers=headers)
    return StreamingResponse(chunks(body), headers=headers)


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    """Yield a body in parts."""
    view = memoryview(body)
    for start in range(0, len(body), _CHUNK):
        yield bytes(view[start : start + _CHUNK])
