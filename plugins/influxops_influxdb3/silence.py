"""Says why no answer came back: no server, no trust, no time."""

from __future__ import annotations

import socket
import ssl
from http.client import BadStatusLine
from typing import TypeVar
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

from influxops_influxdb3.answers import Request
from influxops_influxdb3.errors import ConnectionFailed

_E = TypeVar("_E", bound=BaseException)

_SLOW = "the server is slow or hangs; `read_timeout` gives it longer"


def connection_error(
    error: BaseException,
    request: Request,
    *,
    connect_timeout: float,
    read_timeout: float,
    sent_before: bool,
) -> ConnectionFailed:
    """Say why there was no answer.

    Args:
        error: What urllib3 raised.
        request: What was tried.
        connect_timeout: The configured one, in seconds.
        read_timeout: The configured one, in seconds.
        sent_before: Whether an earlier try may have reached the server.
    """
    if isinstance(error, MaxRetryError) and error.reason is not None:
        error = error.reason
    host = urlsplit(request.url).hostname
    sent = False
    hint = f"is the server up? If it is, check {request.setting('url')}"
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
        hint = _SLOW
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
        sent=sent or sent_before,
        hint=hint,
    )


def late_answer(
    request: Request, seconds: float, *, deadline: bool, sent: bool
) -> ConnectionFailed:
    """Say that an answer was not waited for any longer.

    Args:
        request: What was tried.
        seconds: How long it was waited for.
        deadline: Whether that is because the run's time was used up.
        sent: Whether the request may have reached the server.
    """
    if deadline:
        reason = f"no answer within {seconds:.1f} s, when the run's time was used up"
        hint = "the server is slow or hangs; --timeout gives the run longer"
    else:
        reason, hint = f"no whole answer within {seconds:g} s", _SLOW
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
