"""When a request is sent again: after a lost connection, 429 or 5xx, within limits."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from influxops.plugin import DeadlineExceeded, Interrupted, RunContext
from influxops_influxdb3.errors import ConnectionFailed, Operation
from influxops_influxdb3.http.responses import Request, Response
from influxops_influxdb3.http.transport import Transport

#: The first wait before another attempt, and the longest, in seconds; it doubles each time.
_BACKOFF, _LONGEST_BACKOFF = 0.2, 10.0
#: A server that asks for more seconds than this is not waited for.
_LONGEST_RETRY_AFTER = 60.0
#: Attempts that end because their time has passed: each has taken all of it.
_TIMEOUTS = 2


def send(transport: Transport, context: RunContext, request: Request, retries: int) -> Response:
    """Send a request until there is an answer that another attempt would not improve.

    When the run is over, one that only reads is not waited for.
    """
    sent, abandoned, timeouts, attempts = False, False, 0, 0
    failed: Response | ConnectionFailed
    try:
        while True:
            context.check()
            attempts += 1
            try:
                failed = response = transport.send(context, request)
                response.abandoned = abandoned
                if not response.is_retryable:
                    return response
            except ConnectionFailed as error:
                failed, sent, timeouts = error, sent or error.sent, timeouts + error.timed_out
                abandoned = abandoned or error.abandoned
            is_last = attempts > retries or timeouts >= _TIMEOUTS
            if is_last or not _wait(context, request, attempts, failed):
                break
    except Interrupted as error:
        error.abandoned = error.abandoned or abandoned
        raise
    if isinstance(failed, Response):
        return failed
    reason = failed.reason
    if timeouts and attempts > 1:
        reason += f", tried {'twice' if attempts == 2 else f'{attempts} times'}"
    raise request.error(
        ConnectionFailed,
        reason,
        failed.remedy,
        sent=sent,
        timed_out=failed.timed_out,
        begun=failed.begun,
        # A drop whose connection broke may be carried out all the same.
        abandoned=abandoned or (sent and request.operation is Operation.DELETE),
    )


def _wait(
    context: RunContext, request: Request, attempts: int, failed: Response | ConnectionFailed
) -> bool:
    """Wait before the next attempt; return whether there is to be one.

    Waits double and are shortened at random, so that many clients do not come back together.
    """
    seconds = min(_BACKOFF * 2.0 ** (attempts - 1), _LONGEST_BACKOFF) * random.uniform(0.5, 1.0)
    if isinstance(failed, Response):
        why = f"HTTP {failed.status}"
        asked = _retry_after(failed.headers.get("Retry-After"))
        seconds = seconds if asked is None else asked
    else:
        why = failed.reason
        if not failed.retryable:
            return False
    if seconds > _LONGEST_RETRY_AFTER:
        return False
    context.log.info("%s: %s; trying again in %.1f s", request.what, why, seconds)
    try:
        context.sleep(seconds)
    except DeadlineExceeded:
        # The failure tells more than that there is no time for another attempt.
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
    except (ValueError, OverflowError):
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
