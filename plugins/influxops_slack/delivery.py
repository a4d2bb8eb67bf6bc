"""Posting to the webhook. The webhook's URL is a secret: no error and no log line carries it.

The context that a reporter is given is the only clock: it ends with the reporter's budget.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from msgspec import Struct
from urllib3.exceptions import (
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as TimedOut

from influxops.plugin import Context, Interrupted, Remedy, ReporterError, is_this_machine

#: Seconds before the second and before the third attempt, which is the last.
_RESTS = (0.5, 1.0)
#: Seconds for a connection; what takes longer is better tried again.
_CONNECT = 3.0

_NEW_WEBHOOK = Remedy.setting("webhook", "make a new incoming webhook in Slack for {}")
_BUG = "this is a fault of influxops: report it, with the run's JSON report"
_ADMIN = "ask an administrator of the workspace, or make a webhook for another channel"
#: Slack's error texts, by https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
_ERRORS: Mapping[str, tuple[str, str | Remedy]] = {
    "no_service": ("the webhook is revoked, disabled or mistyped", _NEW_WEBHOOK),
    "no_service_id": ("the webhook is revoked, disabled or mistyped", _NEW_WEBHOOK),
    "no_active_hooks": ("the webhook is disabled", _NEW_WEBHOOK),
    "invalid_token": ("the webhook is mistyped or no longer good", _NEW_WEBHOOK),
    "no_team": ("the webhook's workspace is gone or mistyped", _NEW_WEBHOOK),
    "team_disabled": ("the webhook's workspace is disabled", _NEW_WEBHOOK),
    "user_not_found": ("the webhook's user is gone", _NEW_WEBHOOK),
    "channel_not_found": ("the webhook's channel is gone", _NEW_WEBHOOK),
    "channel_is_archived": (
        "the webhook's channel is archived",
        "unarchive it, or make a webhook for another channel",
    ),
    "action_prohibited": ("the workspace forbids posting there", _ADMIN),
    "posting_to_general_channel_denied": ("the workspace forbids posting there", _ADMIN),
    "invalid_payload": ("it does not accept the message", _BUG),
    "invalid_blocks": ("it does not accept the message", _BUG),
    "no_text": ("it does not accept the message", _BUG),
}
_WAY = "check that this machine reaches hooks.slack.com, and its https_proxy"
_CODE = re.compile(r"[a-z_]{1,60}")


class _Failure(Struct, frozen=True):
    """Why an attempt failed; `rest` is None where another one is no use."""

    why: str
    hint: str | Remedy = ""
    rest: float | None = None


def post(webhook: str, message: Mapping[str, Any], context: Context) -> None:
    """Post one message.

    Args:
        webhook: The webhook's URL.
        message: The message.
        context: It ends with the time that all attempts together may take.

    Raises:
        ReporterError: When Slack did not take it in time, or refused it.
    """
    body = json.dumps(message).encode("ascii")
    with _unlogged(webhook):
        for rest in (*_RESTS, 0.0):
            failure = _attempt(webhook, body, rest, context)
            if failure is None or not _wait(failure, context):
                break
    if failure is not None:
        raise ReporterError(f"Slack was not told: {failure.why}", hint=failure.hint)


def check_webhook(webhook: str) -> None:
    """Raise if a webhook is none that may be posted to.

    Args:
        webhook: The webhook's URL.

    Raises:
        ReporterError: When it is no URL, or would be sent over the network in clear.
    """
    try:
        parts = urlsplit(webhook)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        problem = "the webhook is no URL"
    elif parts.scheme == "http" and not is_this_machine(host):
        problem = "the webhook is no https URL, so that anybody on the way could read it"
    else:
        return
    raise ReporterError(
        f"Slack was not told: {problem}",
        hint=Remedy.setting(
            "webhook", "let {} be the URL that Slack shows, https://hooks.slack.com/…"
        ),
    )


def _pool(webhook: str) -> urllib3.PoolManager:
    check_webhook(webhook)
    parts = urlsplit(webhook)
    host = parts.hostname or ""
    # urllib3 leaves it to its user to honour https_proxy and no_proxy.
    proxy = getproxies().get(parts.scheme)
    if not proxy or is_this_machine(host) or proxy_bypass(host):
        return urllib3.PoolManager(retries=False)
    address = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    headers = None
    if address.username:
        headers = urllib3.make_headers(
            proxy_basic_auth=f"{address.username}:{address.password or ''}"
        )
    return urllib3.ProxyManager(
        f"{address.scheme}://{address.netloc.rpartition('@')[2]}",
        proxy_headers=headers,
        retries=False,
    )


def _attempt(webhook: str, body: bytes, rest: float, context: Context) -> _Failure | None:
    """Post once; return why that failed, None where it did not.

    It is done in a thread that is left behind when the time is over, because a name server or a
    server that drips its answer ends by nothing else; its connection is shut, so that it ends.
    """
    pool = _pool(webhook)
    sockets = _followed(pool.connection_from_url(webhook), context)
    try:
        return context.detached(lambda: _exchange(pool, webhook, body, rest))
    except Interrupted:
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        if sockets:
            # It may have been posted: asking again could post it twice.
            return _Failure("it gave no answer in time", "look whether the message is there")
        return _Failure("no connection could be made in time", _WAY)
    finally:
        pool.clear()


def _followed(pool: urllib3.HTTPConnectionPool, context: Context) -> list[socket.socket]:
    """Return the sockets that a pool will have opened; none sends once the time is over."""
    opened: list[socket.socket] = []
    base: Any = pool.ConnectionCls

    class Connection(base):  # type: ignore[misc]
        def connect(self) -> None:
            super().connect()
            context.check()
            opened.append(self.sock)

    pool.ConnectionCls = Connection
    return opened


def _exchange(pool: urllib3.PoolManager, webhook: str, body: bytes, rest: float) -> _Failure | None:
    try:
        response = pool.request(
            "POST",
            webhook,
            body=body,
            headers={"Content-Type": "application/json"},
            timeout=urllib3.Timeout(connect=_CONNECT, read=None),
            redirect=False,  # would hand the message to somebody else
            preload_content=False,
        )
        with contextlib.closing(response):
            text = response.read(200).decode("utf-8", "replace").strip()
        return _judge(response.status, text, response.headers.get("Retry-After", ""), rest)
    except (HTTPError, OSError, UnicodeError) as error:
        # Not `raise … from`: the error's text and its context name the URL.
        return _connection_failure(error, rest)


def _judge(status: int, text: str, retry_after: str, rest: float) -> _Failure | None:
    if 200 <= status < 300:
        return None
    code = text if _CODE.fullmatch(text) else ""
    said = f"status {status}, {code}" if code else f"status {status}"
    if status == 429:
        wait = int(retry_after) if retry_after.isdecimal() else rest
        return _Failure(
            f"it asks to wait {wait:g} s ({said})",
            Remedy.setting("budget", "give it more with {}"),
            max(wait, rest),
        )
    if status >= 500:
        return _Failure(f"it has trouble of its own ({said})", "see slack-status.com", rest)
    if code in _ERRORS:
        why, hint = _ERRORS[code]
        return _Failure(f"{why} ({said})", hint)
    if 300 <= status < 400:
        return _Failure(f"the webhook leads elsewhere ({said})", _NEW_WEBHOOK)
    if status in (401, 403, 404, 410):
        return _Failure(f"the webhook is not known there ({said})", _NEW_WEBHOOK)
    return _Failure(f"it refused the message ({said})", _BUG)


def _connection_failure(error: Exception, rest: float) -> _Failure:
    match error:
        case NameResolutionError():
            return _Failure("its name cannot be resolved", _WAY, rest)
        case NewConnectionError():
            return _Failure("no connection could be made", _WAY, rest)
        case TimedOut():
            return _Failure("no connection could be made in time", _WAY, rest)
        case SSLError():
            return _Failure(
                "its certificate was not accepted",
                "check the clock and this machine's certificates (SSL_CERT_FILE)",
            )
    return _Failure(f"the connection broke ({type(error).__name__})", _WAY, rest)


def _wait(failure: _Failure, context: Context) -> bool:
    """Wait before another attempt; return False where there is to be none."""
    if failure.rest is None:
        return False
    try:
        context.pause(failure.rest)
    except Interrupted:
        return False
    return True


@contextlib.contextmanager
def _unlogged(webhook: str) -> Iterator[None]:
    """Keep urllib3's debug lines, which name the path of each request, out of the log."""
    path = urlsplit(webhook).path

    def harmless(record: logging.LogRecord) -> bool:
        return path == "/" or path not in record.getMessage()

    logger = logging.getLogger("urllib3.connectionpool")
    logger.addFilter(harmless)
    try:
        yield
    finally:
        logger.removeFilter(harmless)
