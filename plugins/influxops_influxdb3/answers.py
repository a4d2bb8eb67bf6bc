"""Turns what came back, or did not, into a value or a typed error.

The shapes of the bodies are those of recorded exchanges with InfluxDB 3 Core: JSON with `error`,
JSON with `data` (one entry a line of line protocol), JSON with `code` and `message` (the v2
endpoints), and bare text. A proxy adds a fifth, HTML.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import BadStatusLine
from typing import Any, TypeVar
from urllib.parse import urlsplit

from urllib3.exceptions import (
    ConnectTimeoutError,
    LocationValueError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.response import BaseHTTPResponse

from influxops_influxdb3.errors import (
    AccessRefused,
    AlreadyExists,
    BadRequest,
    ConnectionFailed,
    DatabaseLimit,
    InfluxDBError,
    LimitReached,
    NotFound,
    NotInfluxDB3,
    Operation,
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

_E = TypeVar("_E", bound=BaseException)

_CHECK_URL = "check the target's url (INFLUXDB_URL): it must be the root of an InfluxDB 3 server"


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked, for the error that may come of it.

    Args:
        operation: What was tried.
        url: The server's URL, without secrets.
        database: The database that it is about.
        token_origin: Where the token comes from; empty without one.
        hide: Takes the token out of a text.
    """

    operation: Operation
    url: str
    database: str | None = None
    token_origin: str = ""
    hide: Callable[[str], str] = field(default=lambda text: text, repr=False)

    @property
    def what(self) -> str:
        """What is tried, on what and where."""
        return f"{self.operation}{f' {self.database}' if self.database else ''} on {self.url}"


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
        hint=_CHECK_URL,
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
        message = message[: _LONGEST_MESSAGE - 1] + "…"
    return message


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
        return NotInfluxDB3, f"it answered {status} with {said}", _CHECK_URL
    if _DATABASE_LIMIT.search(said):
        return DatabaseLimit, answered, "add a target, drop databases, or raise the server's limit"
    if _TABLE_LIMIT.search(said):
        return TableLimit, answered, "drop tables on that server, or add a target"
    if status == 422:
        return LimitReached, answered, "look up this limit in the documentation of InfluxDB 3"
    if status == 404:
        return NotFound, answered, "" if request.database else _CHECK_URL
    if status == 409:
        return AlreadyExists, answered, "somebody else made it meanwhile; run influxops again"
    return BadRequest, answered, ""


def _refusal(status: int, said: str, request: Request) -> tuple[str, str]:
    """Say who was refused, and what would help."""
    tail = f" ({status}{': ' + said if said else ''})"
    if not request.token_origin:
        return (
            "the server wants a token and none is set" + tail,
            "set INFLUXDB_TOKEN, or `token` in the target's section, to an admin token",
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


def connection_error(
    error: BaseException, request: Request, *, connect_timeout: float, read_timeout: float
) -> ConnectionFailed:
    """Say why there was no answer.

    Args:
        error: What urllib3 raised.
        request: What was tried.
        connect_timeout: The configured one, in seconds.
        read_timeout: The configured one, in seconds.
    """
    if isinstance(error, MaxRetryError) and error.reason is not None:
        error = error.reason
    host = urlsplit(request.url).hostname
    sent = False
    hint = "is the server up, and is the target's url (INFLUXDB_URL) right?"
    if isinstance(error, SSLError):
        reason, hint = _tls_trouble(error)
    elif isinstance(error, LocationValueError):
        reason = "the URL names no valid host"
    elif isinstance(error, NameResolutionError):
        reason = f"the name {host} cannot be resolved"
    elif isinstance(error, NewConnectionError):
        reason = _reason_of(error) or "no connection"
    elif isinstance(error, ConnectTimeoutError):
        reason = f"no connection within {connect_timeout:g} s"
    elif isinstance(error, ReadTimeoutError):
        reason, sent = f"no answer within {read_timeout:g} s", True
        hint = "the server is slow or hangs; `read_timeout` gives it longer"
    elif _cause(error, BadStatusLine) is not None and _cause(error, ConnectionError) is None:
        reason, sent = "what answers there does not speak HTTP", True
        hint = "does the server want https://?" if request.url.startswith("http:") else hint
    else:
        reason, sent = _reason_of(error) or "the connection was lost", True
    return ConnectionFailed(
        reason,
        operation=request.operation,
        url=request.url,
        database=request.database,
        sent=sent,
        hint=hint,
    )


def _tls_trouble(error: SSLError) -> tuple[str, str]:
    """Say what is wrong with TLS; the certificate's own words, never the peer's bytes."""
    refused = _cause(error, ssl.SSLCertVerificationError)
    if refused is not None:
        why = refused.verify_message or "verification failed"
        return (
            f"its TLS certificate is not trusted: {why}",
            "name the CA's certificate in `ca_path`, and a host that the certificate is for",
        )
    text = str(error).upper()
    if "WRONG_VERSION_NUMBER" in text or "HTTP_REQUEST" in text:
        return "it does not speak TLS", "does the server want http://?"
    reason = getattr(_cause(error, ssl.SSLError), "reason", None) or "the handshake failed"
    return (
        f"TLS: {str(reason).replace('_', ' ').lower()}",
        "if the server wants a client certificate, set `client_cert` and `client_key`",
    )


def _reason_of(error: BaseException) -> str:
    """Give the operating system's words for an error: "connection refused"."""
    cause = _cause(error, OSError)
    if cause is None or isinstance(cause, socket.timeout):
        return ""
    return (cause.strerror or "").lower()


def _cause(error: BaseException | None, kind: type[_E]) -> _E | None:
    """Find an error of a kind behind an error, where urllib3 may keep it: cause or argument."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        if isinstance(one, kind):
            return one
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__, *one.args]
    return None
