"""Posts to the webhook, whose URL is a secret: no error and no log line carries it."""

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
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError, SSLError
from urllib3.exceptions import TimeoutError as TimedOut

from influxops.plugin import Hint, Interrupted, ReporterError, RunContext, is_this_machine

#: Seconds before the second and before the third attempt, which is the last.
_BACKOFF = (0.5, 1.0)
#: Seconds for a connection: one that takes longer is better tried again.
_TIMEOUT = urllib3.Timeout(connect=3.0, read=None)

_NEW_WEBHOOK = Hint.setting("webhook", "make a new incoming webhook in Slack for {}")
_BUG = "this is a fault of influxops: report it, with the run's JSON report"
_ADMIN = "ask an administrator of the workspace, or make a webhook for another channel"
_NETWORK = "check that this machine reaches hooks.slack.com, and its https_proxy"
#: Slack's error codes, by https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
_ERRORS: Mapping[str, tuple[str, str | Hint]] = {
    **dict.fromkeys(
        ("no_service", "no_service_id", "no_active_hooks", "invalid_token"),
        ("the webhook is revoked, disabled, mistyped or no longer good", _NEW_WEBHOOK),
    ),
    **dict.fromkeys(
        ("no_team", "team_disabled"), ("the webhook's workspace is gone or disabled", _NEW_WEBHOOK)
    ),
    **dict.fromkeys(
        ("action_prohibited", "posting_to_general_channel_denied"),
        ("the workspace forbids posting there", _ADMIN),
    ),
    "user_not_found": ("the webhook's user is gone", _NEW_WEBHOOK),
    "channel_not_found": ("the webhook's channel is gone", _NEW_WEBHOOK),
    "channel_is_archived": (
        "the webhook's channel is archived",
        "unarchive it, or make a webhook for another channel",
    ),
}
#: Seconds to wait, as a number that can be waited for.
_SECONDS = re.compile(r"[0-9]{1,9}")
_CODE = re.compile(r"[a-z_]{1,60}")


class _Failure(Struct, frozen=True):
    reason: str
    hint: str | Hint
    retry_after: float | None = None  # seconds; None where another attempt is no use


def post(webhook: str, message: Mapping[str, Any], context: RunContext) -> None:
    """Post one message, in three attempts at most, while the context lasts."""
    check_webhook(webhook)
    body = json.dumps(message).encode("ascii")
    backoffs = iter(_BACKOFF)
    with _unlogged(webhook):
        while failure := _attempt(webhook, body, context):
            backoff = next(backoffs, None)
            if failure.retry_after is not None and backoff is not None:
                with contextlib.suppress(Interrupted):
                    context.sleep(max(failure.retry_after, backoff))
                    continue
            raise ReporterError(f"posting to Slack failed: {failure.reason}", hint=failure.hint)


def check_webhook(webhook: str) -> None:
    """Raise if a webhook must not be posted to."""
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
        f"posting to Slack failed: {problem}",
        hint=Hint.setting(
            "webhook", "let {} be the URL that Slack shows, https://hooks.slack.com/…"
        ),
    )


def _manager(webhook: str) -> urllib3.PoolManager:
    """Return a client that honours https_proxy and no_proxy, which urllib3 leaves to its user."""
    parts = urlsplit(webhook)
    host = parts.hostname or ""
    proxy = getproxies().get(parts.scheme)
    if not proxy or is_this_machine(host) or proxy_bypass(host):
        return urllib3.PoolManager()
    address = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    login = f"{address.username}:{address.password or ''}" if address.username else None
    return urllib3.ProxyManager(
        f"{address.scheme}://{address.netloc.rpartition('@')[2]}",
        proxy_headers=urllib3.make_headers(proxy_basic_auth=login),
    )


def _attempt(webhook: str, body: bytes, context: RunContext) -> _Failure | None:
    """Post once; return why that failed, None where it did not.

    The request runs in a thread that is left behind when the time is over: a name lookup, or a
    server that drips its answer, ends by no timeout. Its connection is shut then.
    """
    sockets: list[socket.socket] = []
    with _manager(webhook) as manager:
        pool = manager.connection_from_url(webhook)
        base: Any = pool.ConnectionCls

        class Connection(base):  # type: ignore[misc]
            def connect(self) -> None:
                super().connect()
                context.check()  # a request that was left behind must not be sent
                sockets.append(self.sock)

        pool.ConnectionCls = Connection
        try:
            return context.run_abandonable(lambda: _request(manager, webhook, body))
        except Interrupted:
            for each in sockets:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            if sockets:  # the message may be posted, and another attempt could post it twice
                return _Failure("it gave no answer in time", "look whether the message is there")
            return _Failure("no connection could be made in time", _NETWORK)
        except (HTTPError, OSError, UnicodeError) as error:
            return _classify_error(error)  # no cause of a later error: its text names the URL


def _request(manager: urllib3.PoolManager, webhook: str, body: bytes) -> _Failure | None:
    response = manager.request(
        "POST",
        webhook,
        body=body,
        headers={"Content-Type": "application/json"},
        timeout=_TIMEOUT,
        retries=False,  # urllib3's own neither end with the run nor keep the URL out of the log
        redirect=False,  # another server must not get the message
        preload_content=False,
    )
    with contextlib.closing(response):
        text = response.read(200).decode("utf-8", "replace").strip()
    return _classify_response(response.status, text, response.headers.get("Retry-After", ""))


def _classify_response(status: int, text: str, retry_after: str) -> _Failure | None:
    if 200 <= status < 300:
        return None
    code = text if _CODE.fullmatch(text) else ""
    answer = f"status {status}, {code}" if code else f"status {status}"
    if status == 429:
        wait = int(retry_after) if _SECONDS.fullmatch(retry_after) else 1
        more = Hint.setting("timeout", "give it more with {}")
        return _Failure(f"it asks to wait {wait} s ({answer})", more, wait)
    if status >= 500:
        return _Failure(f"it has trouble of its own ({answer})", "see slack-status.com", 0)
    if code in _ERRORS:
        reason, hint = _ERRORS[code]
        return _Failure(f"{reason} ({answer})", hint)
    if 300 <= status < 400:
        return _Failure(f"the webhook leads elsewhere ({answer})", _NEW_WEBHOOK)
    if status in (401, 403, 404, 410):
        return _Failure(f"the webhook is not known there ({answer})", _NEW_WEBHOOK)
    return _Failure(f"it refused the message ({answer})", _BUG)


def _classify_error(error: Exception) -> _Failure:
    match error:
        case NameResolutionError():
            return _Failure("its name cannot be resolved", _NETWORK, 0)
        case NewConnectionError():
            return _Failure("no connection could be made", _NETWORK, 0)
        case TimedOut():
            return _Failure("no connection could be made in time", _NETWORK, 0)
        case SSLError():
            hint = "check the clock and this machine's certificates (SSL_CERT_FILE)"
            return _Failure("its certificate was not accepted", hint)
    return _Failure(f"the connection broke ({type(error).__name__})", _NETWORK, 0)


@contextlib.contextmanager
def _unlogged(webhook: str) -> Iterator[None]:
    """Keep urllib3's debug lines, which name the path of each request, out of the log."""
    path = urlsplit(webhook).path
    logger = logging.getLogger("urllib3.connectionpool")

    def is_harmless(record: logging.LogRecord) -> bool:
        return path == "/" or path not in record.getMessage()

    logger.addFilter(is_harmless)
    try:
        yield
    finally:
        logger.removeFilter(is_harmless)
