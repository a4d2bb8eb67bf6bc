"""When a request is sent again: after a lost connection, 429 or 5xx, and not for ever."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from influxops.plugin import Context, DeadlineExceeded
from influxops_influxdb3.errors import Answer, ConnectionFailed, Request
from influxops_influxdb3.http.transport import Http

#: The first wait before another try, and the longest, in seconds; it doubles each time.
_BACKOFF, _LONGEST_BACKOFF = 0.2, 10.0
#: A server that asks for more seconds than this is not waited for.
_LONGEST_RETRY_AFTER = 60.0
#: Tries that end because their time has passed: each has taken all of it.
_SILENT_TRIES = 2


def ask(
    http: Http,
    retries: int,
    context: Context,
    request: Request,
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
    *,
    streamed: bool = False,
) -> Answer:
    """Ask until there is an answer that will not get better by itself.

    Args:
        http: The way to the server.
        retries: How often to try again.
        context: Whose deadline and cancellation bound it.
        request: What is asked.
        method: The HTTP method.
        path: Path and query below the server's URL.
        body: The body, None without one.
        headers: The headers.
        streamed: Whether the body of a good answer is left to be read piece by piece.

    Raises:
        ConnectionFailed: When there is no answer.
        NotInfluxDB3: When it cannot be read.
        Interrupted: When the run is over; one that only reads is not waited for then.
    """
    sent, silent, tries = False, 0, 0
    while True:
        context.check()
        tries += 1
        failed: Answer | ConnectionFailed
        try:
            failed = answer = http.ask(
                context, request, method, path, body, headers, streamed=streamed
            )
            if not answer.may_improve:
                return answer
        except ConnectionFailed as error:
            failed, sent, silent = error, sent or error.sent, silent + error.silent
        is_last = tries > retries or silent >= _SILENT_TRIES
        if is_last or not _wait(context, request, tries, failed):
            break
    if isinstance(failed, Answer):
        return failed
    reason = failed.reason
    if silent and tries > 1:
        reason += f", tried {'twice' if tries == 2 else f'{tries} times'}"
    raise request.error(ConnectionFailed, reason, failed.remedy, sent=sent, silent=failed.silent)


def _wait(
    context: Context, request: Request, tries: int, failed: Answer | ConnectionFailed
) -> bool:
    """Wait before the next try; return whether there is to be one.

    Waits double and are shortened at random, so that many clients do not come back together.
    """
    seconds = min(_BACKOFF * 2.0 ** (tries - 1), _LONGEST_BACKOFF) * random.uniform(0.5, 1.0)
    if isinstance(failed, Answer):
        why = f"HTTP {failed.status}"
        asked = _retry_after(failed.headers.get("Retry-After"))
        seconds = seconds if asked is None else asked
    else:
        why = failed.reason
        if not failed.again:
            return False
    if seconds > _LONGEST_RETRY_AFTER:
        return False
    context.log.info("%s: %s; trying again in %.1f s", request.what, why, seconds)
    try:
        context.pause(seconds)
    except DeadlineExceeded:
        # The failure tells more than that there is no time for another try.
        return False
    return True


def _retry_after(header: str | None) -> float | None:
    """Return the seconds of a Retry-After header; None where there is none that can be read."""
    if header and header.strip().isdecimal():
        return float(header)
    when = read_date(header)
    return None if when is None else max((when - datetime.now(UTC)).total_seconds(), 0.0)


def read_date(header: str | None) -> datetime | None:
    """Read a Date header; return None where it cannot be read."""
    if not header:
        return None
    try:
        when = parsedate_to_datetime(header)
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
