"""Routes: which server the clients of each database are led to, by what a ledger remembers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from msgspec import Struct

from influxops.domain.record import LedgerSnapshot, Record, Server, State

#: States in which a tenant's clients have somewhere to go to: where its record says it is.
_ROUTED = frozenset({State.READY, State.MOVING, State.RETIRING})
#: Why a tenant on a server in whose place another one answers has no route.
_REPLACED = "on a server that was replaced"


class Route(Struct, frozen=True):
    """Where the clients of one database are led."""

    database: str  # its name
    tenant: str  # its id
    target: str = ""  # empty where there is no server for them now
    url: str = ""  # of that target
    reason: str = ""  # why there is none: a word or two


class Routes(Struct, frozen=True):
    """Where the clients of all databases are led, at one moment."""

    version: int  # a greater one is newer
    routes: tuple[Route, ...]  # each database once, in the order of their names
    #: Where those on a server that was replaced were led: no clients are to go there, however many.
    replaced: tuple[Route, ...] = ()


def routes_of(
    snapshot: LedgerSnapshot, urls: Mapping[str, str], name: Callable[[str], str]
) -> Routes:
    """Return where a ledger leads the clients of its tenants; what was dropped is left out.

    A target that is not configured has no URL; `name` is for a tenant that has no database yet.
    """
    servers = {server.target: server for server in snapshot.servers}
    found: dict[str, Route] = {}
    replaced: list[Route] = []
    for record in snapshot.records.values():
        if record.state is State.RETIRED:
            continue
        database, target = record.database or name(record.tenant), record.target or ""
        why = [*_unrouted(record, servers, urls, snapshot.now)]
        led = Route(database, record.tenant, target, urls.get(target, ""))
        if not why:
            found[database] = led
        else:  # a name that is free for another tenant again may be recorded twice
            found.setdefault(database, Route(database, record.tenant, reason=why[0]))
        if _REPLACED in why:
            replaced.append(led)
    routes = tuple(found[each] for each in sorted(found))
    return Routes(snapshot.route_version, routes, tuple(replaced))


def _unrouted(
    record: Record, servers: Mapping[str, Server], urls: Mapping[str, str], now: datetime | None
) -> Iterator[str]:
    """Yield why the clients of a tenant have nowhere to go to."""
    if record.state not in _ROUTED:
        yield record.state.value
    if record.state is State.RETIRING and record.claimed_by:
        # The run that drops it has claimed it, and looks again before that.
        due = record.drop_after
        if due is None or now is None or due <= now or record.secondary_target is not None:
            yield "being dropped"
    if record.target not in urls:
        yield "on a target that is not configured"
    server = servers.get(record.target or "")
    if server is not None:
        answers = server.replaced_by or server.identity
        if answers and record.identity != answers and (server.replaced_by or record.identity):
            yield _REPLACED
