"""What the routes share: the parts of the server, and how results are sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from influxops_devserver.http.requests import read_json, read_query
from influxops_devserver.query.engine import QueryEngine
from influxops_devserver.query.formats import CONTENT_TYPES, Format, encode
from influxops_devserver.storage.catalog import Catalog
from influxops_devserver.storage.tokens import Tokens
from influxops_devserver.storage.wal import WriteAheadLog

_T = TypeVar("_T")
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


def by_query(shape: type[_T], call: Callable[[Server, _T], None], status: int = 200) -> Handler:
    """Return the handler of a route whose parameters are in the URL and whose answer is empty."""

    async def handle(server: Server, request: Request) -> Response:
        call(server, read_query(request, shape))
        return Response(status_code=status)

    return handle


def by_json(shape: type[_T], call: Callable[[Server, _T], None]) -> Handler:
    """Return the handler of a route whose parameters are a JSON body and whose answer is empty."""

    async def handle(server: Server, request: Request) -> Response:
        call(server, await read_json(request, shape))
        return Response()

    return handle


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
