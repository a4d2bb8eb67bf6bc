"""Asks proxies whether they still lead clients to the server that a tenant has left.

A proxy answers with the version of the routes that it uses, and with 503 while a request of the
database that it had led to the old server is not over: also one of an old worker, which goes on
with the routes of before a reload (docs/routing.md).
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from functools import partial
from http.client import HTTPException
from urllib.parse import quote, quote_plus

from influxops.domain.plan import TenantPlan
from influxops.domain.text import one_line, truncate
from influxops.runtime.cancellation import WaitTimeout
from influxops.runtime.context import RunContext
from influxops.runtime.parallel import in_parallel

#: Seconds for one answer, and before all are asked again.
_ANSWER, _ASK_AGAIN = 2.0, 0.2


def wait_for_proxies(
    probes: Sequence[str],
    version: int,
    plan: TenantPlan,
    left: str,
    end: float,
    context: RunContext,
) -> str:
    """Wait until no proxy leads a tenant's clients to a target that it leaves, or until `end`.

    It returns which proxy may still do so, and why; else empty.
    """
    context.on_stage(
        f"waiting for proxies to lead nobody to {truncate(plan.database)} on {left}", 0
    )
    try:
        while why := why_not_yet(probes, version, plan.database, left, context):
            if time.monotonic() >= end:
                break
            context.sleep(_ASK_AGAIN)
    finally:
        context.on_stage("", 0)
    return why


def why_not_yet(
    probes: Sequence[str], version: int, database: str, left: str, context: RunContext
) -> str:
    """Return which proxy may still lead clients to a target that a tenant has left; else empty.

    All are asked for this version of the routes, since when they do not lead there.
    """
    # In each form in which clients may send the name.
    forms = sorted({quote(database, safe=""), quote_plus(database)})
    queries = [f"in_flight={quote(left)}:{form}" for form in forms]
    tasks = {url: partial(_ask, url, version, queries, left, context) for url in probes}
    found = dict(zip(tasks, in_parallel(tasks, context, say=False), strict=True))
    # What a URL asks for may have a secret of the proxy's.
    return "; ".join(f"{one_line(url.split('?')[0])} {why}" for url, why in found.items() if why)


def _ask(url: str, version: int, queries: Sequence[str], left: str, context: RunContext) -> str:
    for query in queries:
        whole = f"{url}{'&' if '?' in url else '?'}{query}"
        try:
            status, body = context.run_abandonable(partial(_get, whole), within=2 * _ANSWER)
        except (OSError, HTTPException, WaitTimeout) as error:
            return f"does not answer ({one_line(str(getattr(error, 'reason', error)))})"
        if status == 503:
            return f"still has a request for {left}"
        if status != 200 or not body.strip().isdigit():
            return f"answers {status} without a version"
        if int(body) < version:
            return f"has version {int(body)} of the routes, not {version}"
    return ""


def _get(url: str) -> tuple[int, str]:
    # Past the proxies of the environment: it is these that are asked.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_ANSWER) as answer:
            return answer.status, answer.read(64).decode("ascii", "replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""
