"""Reads the bodies of requests, of which none may be longer than the server's limit."""

from __future__ import annotations

import zlib
from typing import Any

from starlette.requests import Request

from influxops_devserver.errors import ApiError
from influxops_devserver.http.parameters import Field, decode_body

#: Longest body in bytes, before and after decompression.
_MAX_REQUEST_BYTES = 10 * 1024 * 1024


async def read_json(request: Request, fields: dict[str, Field]) -> dict[str, Any]:
    """Return the fields of a JSON object.

    Raises:
        ApiError: 415, its content type is another one; 400 and 413, it cannot be read.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise ApiError(415, "unacceptable content-type, expected: application/json")
    return decode_body(await read_body(request), fields)


async def read_body(request: Request) -> bytes:
    """Return the bytes of a body, decompressed.

    Raises:
        ApiError: 400, it is no gzip; 413, it is too long.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding not in ("identity", "gzip"):
        raise ApiError(400, f"unacceptable content-encoding: {encoding}")
    # Decompression stops above the limit: a small body can hold a large one.
    gzip = zlib.decompressobj(zlib.MAX_WBITS | 16)
    body = bytearray()
    try:
        async for piece in request.stream():
            rest = _MAX_REQUEST_BYTES + 1 - len(body)
            body += gzip.decompress(piece, rest) if encoding == "gzip" else piece
            if len(body) > _MAX_REQUEST_BYTES:
                text = f"max request size ({_MAX_REQUEST_BYTES} bytes) exceeded"
                raise ApiError(413, text)
    except zlib.error:
        raise ApiError(400, "error decoding gzip stream: invalid gzip header") from None
    if encoding == "gzip" and not gzip.eof:
        raise ApiError(400, "error decoding gzip stream: unexpected end of file")
    return bytes(body)


async def read_lines(request: Request) -> str:
    """Return the text of a body that is line protocol.

    Raises:
        ApiError: As :func:`read_body`, and 400 where it is not UTF-8.
    """
    body = await read_body(request)
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise ApiError(
            400,
            f"body content is not valid utf8: invalid utf-8 sequence of "
            f"{max(1, error.end - error.start)} bytes from index {error.start}",
        ) from None
