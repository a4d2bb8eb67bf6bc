"""What can go wrong with an InfluxDB 3 server, as exceptions, and what its answers mean.

Each says what was tried, on which database, where, what the server said and what to do::

    influxops.plugin.TargetError
    └── InfluxDBError
        ├── ConnectionFailed    refused, unknown name, TLS, timeout, a connection that broke
        ├── AccessRefused       401, 403; also a TargetRefused
        ├── NotFound            404: no such database
        ├── AlreadyExists       409
        ├── LimitReached        422
        │   ├── DatabaseLimit   no further database
        │   └── TableLimit      no further table; a write may have made its database all the same
        ├── QueryFileLimit      500 that stays: a query would read more files than it may
        ├── BadRequest          400 and the other 4xx
        ├── ServerFailed        429, 5xx
        │   └── Unreadable      500 that stays: a table that cannot be read
        ├── WrongServer         another server than before; also a TargetRefused
        └── NotInfluxDB3        HTML, a redirect, another product, another major version

The shapes of error bodies are those of recorded exchanges: JSON with `error`, JSON with `data`
(one entry a line of line protocol), JSON with `code` and `message` (the v2 endpoints), and bare
text. A proxy adds a fifth, HTML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping
from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import urlsplit

from msgspec import Struct

from influxops.plugin import Remedy, TargetError, TargetRefused


class Operation(StrEnum):
    """What was tried; the value reads on as "… failed"."""

    PING = "ping"
    LIST = "listing the databases"
    CREATE = "creating"
    SET_RETENTION = "setting the retention period of"
    CLEAR_RETENTION = "clearing the retention period of"
    WRITE = "writing to"
    QUERY = "querying"
    DELETE = "deleting"
    CREATE_TABLE = "making a table in"

    @property
    def changes(self) -> bool:
        """Whether it may change something on the server."""
        return self not in (Operation.PING, Operation.LIST, Operation.QUERY)


class InfluxDBError(TargetError):
    """A request to an InfluxDB 3 server failed.

    Args:
        reason: Why, in a few words that can stand alone.
        operation: What was tried.
        url: The server's URL, without secrets.
        database: The database that it was about.
        status: The HTTP status, None without an answer.
        server_message: What the server said, shortened, without secrets.
        hint: What to do about it.
    """

    def __init__(
        self,
        reason: str,
        *,
        operation: Operation,
        url: str,
        database: str | None = None,
        status: int | None = None,
        server_message: str = "",
        hint: str | Remedy = "",
    ) -> None:
        what = f"{operation} {database}" if database else str(operation)
        super().__init__(f"{what} on {url} failed: {reason}", hint=hint)
        self.reason = reason
        self.operation = operation
        self.url = url
        self.database = database
        self.status = status
        self.server_message = server_message

    @property
    def answer_lost(self) -> bool:
        """Whether the server may have done it all the same."""
        return False


class ConnectionFailed(InfluxDBError):
    """There was no answer.

    Args:
        reason: Why, in a few words that can stand alone.
        sent: Whether the request may have reached the server.
        silent: Whether the server was waited for in vain.
        again: Whether another try may help.
        begun: Whether a part of the answer had been read already.
        **about: What `InfluxDBError` takes.
    """

    def __init__(
        self,
        reason: str,
        *,
        sent: bool = False,
        silent: bool = False,
        again: bool = True,
        begun: bool = False,
        **about: Any,
    ) -> None:
        super().__init__(reason, **about)
        self.sent = sent
        self.silent = silent
        self.again = again
        self.begun = begun

    @property
    def answer_lost(self) -> bool:
        """Whether the server may have done it all the same."""
        return self.sent


class AccessRefused(InfluxDBError, TargetRefused):
    """The server refused the token, or its rights."""


class NotFound(InfluxDBError):
    """There is no such database."""


class AlreadyExists(InfluxDBError):
    """It exists already; that says nothing of its retention period."""


class LimitReached(InfluxDBError):
    """The server holds as much as it may."""


class DatabaseLimit(LimitReached):
    """The server takes no further database."""


class TableLimit(LimitReached):
    """The server takes no further table; a write may have made its database all the same."""


class BadRequest(InfluxDBError):
    """The server does not take what it was sent."""


class ServerFailed(InfluxDBError):
    """The server, or a proxy before it, is unwell or has too much to do."""

    @property
    def is_of_query(self) -> bool:
        """Whether a query ended so, again and again; others may be answered all the same."""
        return self.status == 500 and self.operation is Operation.QUERY

    @property
    def answer_lost(self) -> bool:
        """Whether the server may have done it all the same: a proxy that gave up cannot know."""
        return self.status in (502, 504)


class Unreadable(ServerFailed):
    """A table cannot be read: the server refuses each such query, while others are answered."""


class QueryFileLimit(InfluxDBError):
    """A query would read more Parquet files than the server lets one query read."""

    @property
    def limit(self) -> int | None:
        """How many files the server lets a query read, as it says; None where it does not."""
        number = _FILE_LIMIT.search(self.server_message)
        return int(number[1] or number[2]) if number else None


class WrongServer(InfluxDBError, TargetRefused):
    """Another server answers than the one that the run began with, or was configured for."""


class NotInfluxDB3(InfluxDBError):
    """What answers there is no InfluxDB 3."""


# What an answer means --------------------------------------------------------------------------

_E = TypeVar("_E", bound=InfluxDBError)

#: What to do where no InfluxDB 3 answers.
CHECK_URL = Remedy.setting("url", "check {}: it must be the root of an InfluxDB 3 server")

#: Longer messages of a server are shortened to this many characters.
_LONGEST_MESSAGE = 300
#: Characters of an answer that are looked at for a message.
_LOOKED_AT = 16_384
_HTML = re.compile(r"\s*(<!doctype html|<html|<head|<body)", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_DATABASE_LIMIT = re.compile(
    r"exceed\b.*\b(limit of \d+ databases|databases? limit)", re.IGNORECASE
)
_TABLE_LIMIT = re.compile(r"exceed\b.*\b(number of tables|tables? limit)", re.IGNORECASE)
#: The number is the limit, not what would be read. The second wording is that of older versions.
_FILE_LIMIT = re.compile(
    r"query would (?:scan (\d+) .*?exceeding the file limit|exceed file limit(?: of (\d+))?)",
    re.IGNORECASE | re.DOTALL,
)
#: What planning a query ends with, or making record batches of what is stored: each time.
_UNREADABLE = re.compile(r"schema error|should have a time column|record ?batch", re.IGNORECASE)


class Request(Struct):
    """What was asked, for the error that may come of it."""

    operation: Operation
    url: str  # the server's URL, without secrets
    database: str | None  # the database that it is about
    token: str = ""  # what is never repeated; empty without one
    token_origin: str = ""  # where the token comes from

    def __repr__(self) -> str:
        return f"Request({self.what})"

    @property
    def what(self) -> str:
        """What is tried, on what and where."""
        return f"{self.operation}{f' {self.database}' if self.database else ''} on {self.url}"

    def error(self, kind: type[_E], reason: str, hint: str | Remedy = "", **more: Any) -> _E:
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


class Answer(Struct):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    #: The body of a good answer that is read piece by piece; None where it was read already.
    pieces: Generator[bytes] | None = None

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
        return self.status == 500 and _FILE_LIMIT.search(self.text) is not None

    @property
    def is_unreadable(self) -> bool:
        """Whether what was asked for cannot be read by any query."""
        return self.status == 500 and _UNREADABLE.search(self.text) is not None

    @property
    def may_improve(self) -> bool:
        """Whether asking again may help."""
        if self.status == 500:
            return not (self.is_file_limit or self.is_unreadable)
        return self.status > 500 or self.status == 429

    @property
    def text(self) -> str:
        """The beginning of its body."""
        return self.body[:_LOOKED_AT].decode(errors="replace")


def read_json(answer: Answer, request: Request) -> Any:
    """Return a good answer's body, read as JSON.

    Raises:
        NotInfluxDB3: When it is no JSON.
    """
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        pass
    # Outside of the handling of a ValueError, which carries the whole text.
    raise request.error(
        NotInfluxDB3, "it answered something that is no JSON", CHECK_URL, status=answer.status
    )


def error_of(answer: Answer, request: Request) -> InfluxDBError:
    """Return the error that a bad answer means."""
    # Hidden before it is cut, so that no part of a token is left over.
    text = request.hide(answer.body.decode(errors="replace"))[:_LOOKED_AT]
    said = _server_message(text, request)
    if answer.is_html:
        title = _TITLE.search(text)
        named = _server_message(title[1], request) if title else ""
        said = "an HTML page" + (f" ({named})" if named else "")
    kind, reason, hint = _meaning(answer, said, request)
    return request.error(kind, reason, hint, status=answer.status, server_message=said)


def _meaning(
    answer: Answer, said: str, request: Request
) -> tuple[type[InfluxDBError], str, str | Remedy]:
    """Return the class of an error, its reason and what to do."""
    status = answer.status
    answered = f"the server answered {status}" + (f": {said}" if said else "")
    if status in (401, 403):
        return AccessRefused, *_refusal(status, said, request)
    if answer.is_file_limit:
        return QueryFileLimit, answered, "ask for less, or raise the server's --query-file-limit"
    if answer.is_unreadable:
        return Unreadable, answered, "look at the table and at the server's log"
    if status == 429 or status >= 500:
        hint = (
            "a proxy answers, the server behind it does not: look at both"
            if answer.is_html or status in (502, 504)
            else "look at the server's log; running influxops again is safe"
        )
        return ServerFailed, answered, hint
    if 300 <= status < 400:
        to = request.hide(_without_secrets(answer.headers.get("Location", "")))
        reason = f"it answered {status}, a redirect" + (f" to {to}" if to else "")
        return (
            NotInfluxDB3,
            reason,
            Remedy.setting("url", "redirects are not followed; set {} to where it really is"),
        )
    if answer.is_html:
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
        return AlreadyExists, answered, "somebody else made it meanwhile; run influxops again"
    return BadRequest, answered, ""


def _refusal(status: int, said: str, request: Request) -> tuple[str, Remedy]:
    """Return who was refused, and what would help."""
    tail = f" ({status}{': ' + said if said else ''})"
    if not request.token:
        return (
            "the server wants a token and none is set" + tail,
            Remedy.setting("token", "set {} to an admin token"),
        )
    whose = f"the token from {request.token_origin}"
    if status == 401:
        return (
            f"the server does not accept {whose}" + tail,
            Remedy.setting(
                "token",
                "set {} to a token of this server; `influxdb3 create token --admin` makes one",
            ),
        )
    return (
        f"{whose} has not the right to do this" + tail,
        Remedy.setting("token", "set {} to an admin token"),
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
    """Return a redirect's address without what may be secret in it."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return ""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
