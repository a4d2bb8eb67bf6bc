"""Routes: which server the clients of each database are led to, by what a ledger remembers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from msgspec import Struct

from influxops.domain.record import LedgerSnapshot, Record, Server, State

#: States in which a tenant's clients have somewhere to go to: where its record says it is.
_ROUTED = frozenset({State.READY, State.MOVING, State.RETIRING})


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


def routes_of(
    snapshot: LedgerSnapshot, urls: Mapping[str, str], name: Callable[[str], str]
) -> Routes:
    """Return where a ledger leads the clients of its tenants; what was dropped is left out.

    A target that is not configured has no URL; `name` is for a tenant that has no database yet.
    """
    servers = {server.target: server for server in snapshot.servers}
    found: dict[str, Route] = {}
    for record in snapshot.records.values():
        if record.state is State.RETIRED:
            continue
        database, target = record.database or name(record.tenant), record.target or ""
        why = next(_unrouted(record, servers, urls, snapshot.now), "")
        if not why:
            found[database] = Route(database, record.tenant, target, urls[target])
        else:  # a name that is free for another tenant again may be recorded twice
            found.setdefault(database, Route(database, record.tenant, reason=why))
    return Routes(snapshot.route_version, tuple(found[each] for each in sorted(found)))


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
    known = server.identity if server is not None else None
    if record.identity not in (None, known or record.identity):
        yield "on a server that was replaced"
