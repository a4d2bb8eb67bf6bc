"""Reads the parameters and the body of a request, and words what is wrong as the server does.

The server is written in Rust and decodes with serde, whose messages end with line and column. What
the recordings have of them comes out the same here; the type of a value is msgspec's to explain.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request

from influxops_devserver.durations import parse_duration
from influxops_devserver.errors import ApiError
from influxops_devserver.limits import MAX_BODY_BYTES, BodyTooLong

_T = TypeVar("_T")


class Retention:
    """A retention period, in whole seconds."""

    def __init__(self, text: str) -> None:
        self.seconds = parse_duration(text) // 10**9


class _NoDuration(Exception):
    """A text where a duration should be."""


def read_query(request: Request, shape: type[_T]) -> _T:
    """Return the parameters of the URL; others than those of the struct are ignored."""
    values = dict(parse_qsl(request.url.query, keep_blank_values=True))
    try:
        return msgspec.convert(values, shape, strict=False)
    except msgspec.ValidationError as error:
        raise ApiError(400, f"serde error: {_reason(error)}") from None


async def read_json(request: Request, shape: type[_T]) -> _T:
    """Return the body, which has to be JSON by its content type as well."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise ApiError(415, "unacceptable content-type, expected: application/json")
    return await read_any_json(request, shape)


async def read_any_json(request: Request, shape: type[_T]) -> _T:
    """Return the body, whatever its content type says."""
    body = (await read_body(request)).decode(errors="replace")
    try:
        return msgspec.json.decode(body, type=shape, dec_hook=_decode)
    except _NoDuration as error:
        shown = json.dumps(str(error), ensure_ascii=False)
        reason = f"invalid value: string {shown}, expected a duration"
        end = body.index(shown) + len(shown)
    except msgspec.ValidationError as error:
        reason, end = _reason(error), len(body.rstrip())
    except msgspec.DecodeError as error:
        place = re.search(r"\(byte (\d+)\)", str(error))
        reason, end = "expected value", int(place[1]) + 1 if place else len(body)
    line, column = body.count("\n", 0, end) + 1, end - (body.rfind("\n", 0, end) + 1)
    raise ApiError(400, f"serde json error: {reason} at line {line} column {column}")


async def read_text(request: Request) -> str:
    """Return the body as text."""
    body = await read_body(request)
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        reason = f"invalid utf-8 sequence of 1 bytes from index {error.start}"
        raise ApiError(400, f"body content is not valid utf8: {reason}") from None


async def read_body(request: Request) -> bytes:
    """Return the bytes of the body, decompressed."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding not in ("identity", "gzip"):
        raise ApiError(400, f"unacceptable content-encoding: {encoding}")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLong()
    if encoding == "identity":
        return bytes(body)
    # Decompression stops above the limit: a small body can hold a large one.
    gzip = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        content = gzip.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error:
        raise ApiError(400, "error decoding gzip stream: invalid gzip header") from None
    if len(content) > MAX_BODY_BYTES:
        raise BodyTooLong()
    if not gzip.eof:
        raise ApiError(400, "error decoding gzip stream: unexpected end of file")
    return content


def _decode(shape: type[Any], value: Any) -> Any:
    if not isinstance(value, str):
        raise TypeError(f"Expected `str`, got `{type(value).__name__}`")
    try:
        return shape(value)
    except ValueError:
        raise _NoDuration(value) from None


def _reason(error: msgspec.ValidationError) -> str:
    missing = re.search(r"required field (`\w+`)", str(error))
    return f"missing field {missing[1]}" if missing else f"invalid type: {error}"
