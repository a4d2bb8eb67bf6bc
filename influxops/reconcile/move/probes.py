"""Asks proxies whether they still lead clients to the server that a tenant has left.

A proxy answers with the version of the routes that it uses, and with 503 while a request of the
database that it had led to the old server is not over: also one of an old worker, which goes on
with the routes of before a reload (docs/routing.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from urllib.parse import quote, quote_plus

from influxops.domain.finding import Check
from influxops.domain.plan import TenantPlan
from influxops.domain.text import one_line, truncate
from influxops.runtime.cancellation import WaitTimeout
from influxops.runtime.context import RunContext
from influxops.runtime.parallel import in_parallel

#: Seconds for one answer, and before all are asked again.
_ANSWER, _ASK_AGAIN = 2.0, 0.2


def wait_for_proxies(
    probes: Sequence[str],
    newest: Callable[[], int],
    plan: TenantPlan,
    left: str,
    end: float,
    context: RunContext,
) -> str:
    """Wait until no proxy leads a tenant's clients to a target that it leaves, or until `end`.

    It returns which proxy may still do so, and why; else empty. `newest` reads the ledger's version
    of the routes.
    """
    version = newest()
    context.on_stage(
        f"waiting for proxies to lead nobody to {truncate(plan.database)} on {left}", 0
    )
    try:
        while why := why_not_yet(probes, version, plan.database, left, context, newest):
            if time.monotonic() >= end:
                break
            context.sleep(_ASK_AGAIN)
    finally:
        context.on_stage("", 0)
    return why


def why_not_yet(
    probes: Sequence[str],
    version: int,
    database: str,
    left: str,
    context: RunContext,
    newest: Callable[[], int] | None = None,
) -> str:
    """Return which proxy may still lead clients to a target that a tenant has left; else empty.

    All are asked for this version of the routes, since when they do not lead there; one that is
    greater than the `newest` says nothing.
    """
    # In each form in which clients may send the name.
    forms = sorted({quote(database, safe=""), quote_plus(database)})
    queries = [f"in_flight={quote(left)}:{form}" for form in forms]
    found = _asked(probes, queries, left, context)
    if newest is not None and any(has > version for has, _ in found.values()):
        newer = newest()
    else:
        newer = max(has for has, _ in found.values())
    whys = ((url, why or _differs(has, version, newer)) for url, (has, why) in found.items())
    return "; ".join(f"{_name(url)} {why}" for url, why in whys if why)


def check_proxies(
    probes: Sequence[str], newest: int | None, context: RunContext
) -> Iterator[Check]:
    """Yield whether each proxy answers, and with the ledger's version of the routes if known."""
    for url, (has, why) in _asked(probes, [""], "a target", context).items():
        why = why or _differs(has, has if newest is None else newest, newest or has)
        advice = "see that it loads new routes (`influxops docs routing`)"
        fine = f"{_name(url)} has version {has} of the routes"
        yield Check("probe", not why, f"{_name(url)} {why}" if why else fine, why and advice)


def _differs(has: int, version: int, newest: int) -> str:
    """Return why a proxy's version of the routes is none that has those of `version`."""
    if has < version:
        return f"has version {has} of the routes, not {version}"
    return (
        f"has version {has} of the routes, and the ledger {newest}: that was restored "
        "(`influxops docs restoring`)"
        if has > newest
        else ""
    )


def _name(url: str) -> str:
    # What a URL asks for may have a secret of the proxy's.
    return one_line(url.split("?")[0])


def _asked(
    probes: Sequence[str], queries: Sequence[str], left: str, context: RunContext
) -> dict[str, tuple[int, str]]:
    """Ask each proxy; return the version that it has, or why it has not said one."""
    tasks = {url: partial(_ask, url, queries, left, context) for url in probes}
    return dict(zip(tasks, in_parallel(tasks, context, say=False), strict=True))


def _ask(url: str, queries: Sequence[str], left: str, context: RunContext) -> tuple[int, str]:
    versions = []
    for query in queries:
        whole = f"{url}{'&' if '?' in url else '?'}{query}" if query else url
        try:
            status, body = context.run_abandonable(partial(_get, whole), within=2 * _ANSWER)
        except (OSError, WaitTimeout) as error:
            return -1, f"does not answer ({one_line(str(getattr(error, 'reason', error)))})"
        if status == 503:
            return -1, f"still has a request for {left}"
        if status != 200 or not body.strip().isdigit():
            return -1, f"answers {status} without a version"
        versions.append(int(body))
    return min(versions), ""


def _get(url: str) -> tuple[int, str]:
    import urllib.request  # slow to import, and few runs ask proxies
    from http.client import HTTPException
    from urllib.error import HTTPError

    # Past the proxies of the environment: it is these that are asked.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_ANSWER) as answer:
            return answer.status, answer.read(64).decode("ascii", "replace")
    except HTTPError as error:
        with error:
            return error.code, ""
    except HTTPException as error:
        raise OSError(str(error)) from None
