"""Turns what came back into a value or a typed error.

The shapes of the bodies are those of recorded exchanges with InfluxDB 3 Core: JSON with `error`,
JSON with `data` (one entry a line of line protocol), JSON with `code` and `message` (the v2
endpoints), and bare text. A proxy adds a fifth, HTML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from urllib3.response import BaseHTTPResponse

from influxops_influxdb3.errors import (
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
)

#: Longer messages of a server are shortened to this many characters.
_LONGEST_MESSAGE = 300
_HTML = re.compile(r"\s*(<!doctype html|<html|<head|<body)", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_DATABASE_LIMIT = re.compile(
    r"exceed\b.*\b(limit of \d+ databases|databases? limit)", re.IGNORECASE
)
_TABLE_LIMIT = re.compile(r"exceed\b.*\b(number of tables|tables? limit)", re.IGNORECASE)

_FILE_LIMIT = re.compile(r"query would scan .*exceeding the file limit", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked, for the error that may come of it.

    Args:
        operation: What was tried.
        url: The server's URL, without secrets.
        database: The database that it is about.
        token_origin: Where the token comes from; empty without one.
        section: The name of the target's section; empty where there is none.
        hide: Takes the token out of a text.
    """

    operation: Operation
    url: str
    database: str | None = None
    token_origin: str = ""
    section: str = ""
    hide: Callable[[str], str] = field(default=lambda text: text, repr=False)

    @property
    def what(self) -> str:
        """What is tried, on what and where."""
        return f"{self.operation}{f' {self.database}' if self.database else ''} on {self.url}"

    @property
    def check_url(self) -> str:
        """What to do where no InfluxDB 3 answers."""
        return f"check {self.setting('url')}: it must be the root of an InfluxDB 3 server"

    def setting(self, name: str) -> str:
        """Say where a setting is written; its variable speaks only for a target that is alone.

        Args:
            name: `url` or `token`.
        """
        variable = f"INFLUXDB_{name.upper()}"
        if not self.section:
            return f"`{name}` ({variable})"
        return (
            f"`{name}` of [targets.{self.section}] "
            f"({variable} where it is the only InfluxDB target)"
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer.

    Args:
        status: Its HTTP status.
        headers: Its headers.
        text: Its body.
    """

    status: int
    headers: Mapping[str, str]
    text: str


def read_answer(response: BaseHTTPResponse, request: Request) -> Answer:
    """Give a good answer, or raise what a bad one means.

    Args:
        response: What the server sent.
        request: What it was asked.

    Raises:
        InfluxDBError: The subclass that fits.
    """
    text = response.data.decode("utf-8", errors="replace")
    html = "html" in response.headers.get("Content-Type", "") or bool(_HTML.match(text))
    if 200 <= response.status < 300 and not html:
        return Answer(response.status, response.headers, text)
    raise _error_of(response, text, html, request)


def is_file_limit(response: BaseHTTPResponse) -> bool:
    """Tell a query that needs too many files: a 500 that asking again does not mend.

    Args:
        response: What the server sent.
    """
    if response.status != 500:
        return False
    return _FILE_LIMIT.search(response.data.decode("utf-8", errors="replace")) is not None


def read_json(answer: Answer, request: Request) -> Any:
    """Read a good answer's body as JSON.

    Args:
        answer: The answer.
        request: What was asked.

    Raises:
        NotInfluxDB3: When it is no JSON.
    """
    with suppress(ValueError):
        return json.loads(answer.text)
    # Outside of the handling of a ValueError, which carries the whole text.
    raise NotInfluxDB3(
        "it answered something that is no JSON",
        operation=request.operation,
        url=request.url,
        database=request.database,
        status=answer.status,
        hint=request.check_url,
    )


def server_message(text: str, hide: Callable[[str], str]) -> str:
    """Give what a server says in the body of an error, on one line, shortened.

    Args:
        text: The body.
        hide: Takes the token out of a text.
    """
    try:
        document = json.loads(text)
    except ValueError:
        message = text
    else:
        message = _message_in(document) or text
    message = " ".join(hide(message).split())
    message = "".join(c for c in message if c.isprintable())
    if len(message) > _LONGEST_MESSAGE:
        message = _shortened(message)
    return message


def _shortened(message: str) -> str:
    """Cut a message where a sentence or a word ends, if one ends in its second half."""
    most = message[: _LONGEST_MESSAGE - 1]
    for end in (". ", " "):
        head, found, _ = most.rpartition(end)
        if found and len(head) > _LONGEST_MESSAGE // 2:
            return head + end.rstrip() + " …"
    return most + "…"


def _message_in(document: object) -> str:
    """Find the message in an error's JSON, whichever of its shapes it has."""
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


def _error_of(response: BaseHTTPResponse, text: str, html: bool, request: Request) -> InfluxDBError:
    """Tell the errors that the server answers apart."""
    status = response.status
    if html:
        title = _TITLE.search(text)
        said = "an HTML page" + (
            f" ({server_message(title[1], request.hide)})" if title and title[1].strip() else ""
        )
    else:
        said = server_message(text, request.hide)
    kind, reason, hint = _meaning(response, said, html, request)
    return kind(
        reason,
        operation=request.operation,
        url=request.url,
        database=request.database,
        status=status,
        server_message=said,
        hint=hint,
    )


def _meaning(
    response: BaseHTTPResponse, said: str, html: bool, request: Request
) -> tuple[type[InfluxDBError], str, str]:
    """Give the class of an error, its reason and its hint."""
    status = response.status
    answered = f"the server answered {status}" + (f": {said}" if said else "")
    if status in (401, 403):
        return AccessRefused, *_refusal(status, said, request)
    if is_file_limit(response):
        return QueryFileLimit, answered, "ask for less, or raise the server's --query-file-limit"
    if status == 429 or status >= 500:
        hint = (
            "a proxy answers, the server behind it does not: look at both"
            if html or status in (502, 504)
            else "look at the server's log; running influxops again is safe"
        )
        return ServerFailed, answered, hint
    if 300 <= status < 400:
        to = request.hide(_place(response.headers.get("Location", "")))
        reason = f"it answered {status}, a redirect" + (f" to {to}" if to else "")
        return NotInfluxDB3, reason, "redirects are not followed; set the url to where it really is"
    if html:
        return NotInfluxDB3, f"it answered {status} with {said}", request.check_url
    if _DATABASE_LIMIT.search(said):
        return DatabaseLimit, answered, "add a target, drop databases, or raise the server's limit"
    if _TABLE_LIMIT.search(said):
        return TableLimit, answered, "drop tables on that server, or add a target"
    if status == 422:
        return LimitReached, answered, "look up this limit in the documentation of InfluxDB 3"
    if status == 404:
        return NotFound, answered, "" if request.database else request.check_url
    if status == 409:
        return AlreadyExists, answered, "somebody else made it meanwhile; run influxops again"
    return BadRequest, answered, ""


def _refusal(status: int, said: str, request: Request) -> tuple[str, str]:
    """Say who was refused, and what would help."""
    tail = f" ({status}{': ' + said if said else ''})"
    if not request.token_origin:
        return (
            "the server wants a token and none is set" + tail,
            f"set {request.setting('token')} to an admin token",
        )
    whose = f"the token from {request.token_origin}"
    if status == 401:
        return (
            f"the server does not accept {whose}" + tail,
            "give it a token of this server; `influxdb3 create token --admin` makes one",
        )
    return f"{whose} has not the right to do this" + tail, "give it an admin token"


def _place(location: str) -> str:
    """Give a redirect's address without what may be secret in it."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return ""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
