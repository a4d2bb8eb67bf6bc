"""What is asked of a server, and what its answers mean.

The shapes of error bodies are those of recorded exchanges: JSON with `error`, JSON with `data`
(one entry a line of line protocol), JSON with `code` and `message` (the v2 endpoints), and bare
text. A proxy adds a fifth, HTML.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Generator, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from msgspec import Struct, field
from msgspec.json import Decoder

from influxops.plugin import Hint
from influxops_influxdb3.errors import (
    CHECK_URL,
    FILE_LIMIT,
    AccessRefused,
    AlreadyExists,
    BadRequest,
    DatabaseLimit,
    InfluxDBError,
    LimitReached,
    NotFound,
    NotInfluxDB3,
    Operation,
    QueryFileLimit,
    ServerFailed,
    TableLimit,
    Unreadable,
)

_E = TypeVar("_E", bound=InfluxDBError)

_JSON = Decoder()
#: Longer messages of a server are shortened to this many characters.
_LONGEST_MESSAGE = 300
#: Characters of an answer that are looked at for a message.
_LOOKED_AT = 16_384
#: Statuses that are the same at each attempt: not implemented, no such version of HTTP.
_FOR_GOOD = (501, 505)
_HTML = re.compile(r"\s*(<!doctype html|<html|<head|<body)", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_DATABASE_LIMIT = re.compile(
    r"exceed\b.*\b(limit of \d+ databases|databases? limit)", re.IGNORECASE
)
_TABLE_LIMIT = re.compile(r"exceed\b.*\b(number of tables|tables? limit)", re.IGNORECASE)
#: What planning a query ends with, or making record batches of what is stored: each time.
_UNREADABLE = re.compile(
    r"schema error|error during planning|sql error|feature is not implemented|type_coercion|"
    r"should have a time column|record ?batch",
    re.IGNORECASE,
)


class Request(Struct):
    """What a server is asked."""

    operation: Operation
    url: str  # the server's URL, without secrets
    database: str | None  # the database that it is about
    method: str
    target: str  # path and query below the server's URL
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    is_streamed: bool = False  # whether the body of a good answer is left to be read in chunks
    token: str = ""  # what is never repeated; empty without one
    token_origin: str = ""  # where the token comes from

    def __repr__(self) -> str:
        return f"Request({self.what})"

    @property
    def what(self) -> str:
        """What is tried, on what and where."""
        return f"{self.operation}{f' {self.database}' if self.database else ''} on {self.url}"

    def error(self, kind: type[_E], reason: str, hint: str | Hint = "", **more: Any) -> _E:
        """Return an error about this request."""
        return kind(
            reason,
            operation=self.operation,
            url=self.url,
            database=self.database,
            hint=hint,
            **more,
        )

    def hide(self, text: str) -> str:
        """Return a text without the token."""
        return text.replace(self.token, "[redacted]") if self.token else text


class Response(Struct):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    #: The body of a good answer that is read in chunks; None where it was read already.
    chunks: Generator[bytes] | None = None
    abandoned: bool = False  # whether an earlier attempt may still be carried out

    @property
    def is_html(self) -> bool:
        """Whether it is a page for people, which no InfluxDB has to say."""
        return "html" in self.headers.get("Content-Type", "") or bool(
            _HTML.match(self.body[:200].decode(errors="replace"))
        )

    @property
    def is_good(self) -> bool:
        """Whether the server did what it was asked."""
        return 200 <= self.status < 300 and not self.is_html

    @property
    def is_file_limit(self) -> bool:
        """Whether a query needs too many files."""
        return self.status == 500 and FILE_LIMIT.search(self.text) is not None

    @property
    def is_unreadable(self) -> bool:
        """Whether what was asked for cannot be read by any query."""
        return self.status == 500 and _UNREADABLE.search(self.text) is not None

    @property
    def is_retryable(self) -> bool:
        """Whether another attempt may help."""
        if self.status == 500:
            return not (self.is_file_limit or self.is_unreadable)
        return self.status == 429 or (self.status > 500 and self.status not in _FOR_GOOD)

    @property
    def text(self) -> str:
        """The beginning of its body."""
        return self.body[:_LOOKED_AT].decode(errors="replace")


def read_json(response: Response, request: Request) -> Any:
    """Return a good answer's body, read as JSON."""
    # The quicker one first: it takes less of what is no strict JSON.
    for read in (_JSON.decode, json.loads):
        with contextlib.suppress(ValueError, RecursionError):
            return read(response.body)
    # Outside of the handling of a ValueError, which carries the whole text.
    raise request.error(
        NotInfluxDB3, "it answered something that is no JSON", CHECK_URL, status=response.status
    )


def error_of(response: Response, request: Request) -> InfluxDBError:
    """Return the error that a bad answer means."""
    # Hidden before it is cut, so that no part of a token is left over.
    text = request.hide(response.body.decode(errors="replace"))[:_LOOKED_AT]
    said = _server_message(text, request)
    if response.is_html:
        title = _TITLE.search(text)
        named = _server_message(title[1], request) if title else ""
        said = "an HTML page" + (f" ({named})" if named else "")
    kind, reason, hint = _meaning(response, said, request)
    error = request.error(kind, reason, hint, status=response.status, server_message=said)
    # A server behind a proxy that gave up may drop it all the same.
    is_open = request.operation is Operation.DELETE and error.may_have_applied
    error.abandoned = response.abandoned or is_open
    return error


def _meaning(
    response: Response, said: str, request: Request
) -> tuple[type[InfluxDBError], str, str | Hint]:
    """Return the class of an error, its reason and what to do."""
    status = response.status
    answered = f"the server answered {status}" + (f": {said}" if said else "")
    if status in (401, 403):
        return AccessRefused, *_refusal(status, said, request)
    if response.is_file_limit:
        return QueryFileLimit, answered, "ask for less, or raise the server's --query-file-limit"
    if response.is_unreadable:
        return Unreadable, answered, "look at the table and at the server's log"
    if status == 429 or status >= 500:
        hint = (
            "a proxy answers, the server behind it does not: look at both"
            if response.is_html or status in (502, 504)
            else "look at the server's log; running influxops again is safe"
        )
        return ServerFailed, answered, hint
    if 300 <= status < 400:
        to = request.hide(_without_secrets(response.headers.get("Location", "")))
        reason = f"it answered {status}, a redirect" + (f" to {to}" if to else "")
        return (
            NotInfluxDB3,
            reason,
            Hint.setting("url", "redirects are not followed; set {} to where it really is"),
        )
    if response.is_html:
        return NotInfluxDB3, f"it answered {status} with {said}", CHECK_URL
    if _DATABASE_LIMIT.search(said):
        return DatabaseLimit, answered, "add a target, drop databases, or raise the server's limit"
    if _TABLE_LIMIT.search(said):
        return TableLimit, answered, "drop tables on that server, or add a target"
    if status == 422:
        return LimitReached, answered, "look up this limit in the documentation of InfluxDB 3"
    if status == 404:
        return NotFound, answered, "" if request.database else CHECK_URL
    if status == 409:
        return AlreadyExists, answered, "it was created concurrently; run influxops again"
    return BadRequest, answered, ""


def _refusal(status: int, said: str, request: Request) -> tuple[str, Hint]:
    """Return who was refused, and what would help."""
    tail = f" ({status}{': ' + said if said else ''})"
    if not request.token:
        return (
            "the server wants a token and none is set" + tail,
            Hint.setting("token", "set {} to an admin token"),
        )
    whose = f"the token from {request.token_origin}"
    if status == 401:
        return (
            f"the server does not accept {whose}" + tail,
            Hint.setting(
                "token",
                "set {} to a token of this server; `influxdb3 create token --admin` makes one",
            ),
        )
    return (
        f"{whose} has not the right to do this" + tail,
        Hint.setting("token", "set {} to an admin token"),
    )


def _server_message(text: str, request: Request) -> str:
    """Return what a server says in the body of an error, on one line, shortened."""
    try:
        message = _message_in(json.loads(text)) or text
    except (ValueError, RecursionError):
        message = text
    message = " ".join(request.hide(message).split())
    message = "".join(c for c in message if c.isprintable())
    return message if len(message) <= _LONGEST_MESSAGE else _shortened(message)


def _shortened(message: str) -> str:
    """Cut a message where a sentence or a word ends, if one ends in its second half."""
    most = message[: _LONGEST_MESSAGE - 1]
    for end in (". ", " "):
        head, found, _ = most.rpartition(end)
        if found and len(head) > _LONGEST_MESSAGE // 2:
            return head + end.rstrip() + " …"
    return most + "…"


def _message_in(document: object) -> str:
    """Return the message in an error's JSON, whichever of its shapes it has."""
    if not isinstance(document, dict):
        return ""
    message = str(document.get("error") or document.get("message") or "")
    data = document.get("data")
    lines = [
        str(line["error_message"])
        for line in (data if isinstance(data, list) else [data])
        if isinstance(line, dict) and line.get("error_message")
    ]
    return ": ".join([message, "; ".join(dict.fromkeys(lines))] if lines else [message])


def _without_secrets(location: str) -> str:
    try:
        parts = urlsplit(location)
    except ValueError:
        return ""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
