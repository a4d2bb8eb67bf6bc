"""What the ledger says of what was read: which targets it knows, and by which name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from msgspec import Struct, field
from msgspec.structs import replace

from influxops.domain.database import Inventory
from influxops.domain.record import Memory, Record, Server, State


class Recalled(Struct, frozen=True):
    """What is remembered, by the names that the targets have now."""

    #: Whether a ledger is configured, even one that could not be read.
    is_configured: bool = False
    error: str = ""  # why it could not be read
    records: Mapping[str, Record] = field(default_factory=dict)  # by the tenant's id
    servers: Mapping[str, Server] = field(default_factory=dict)  # by the name of their target
    renamed: Mapping[str, str] = field(default_factory=dict)  # new names of targets, by old ones
    #: What was recorded of targets where another server answers now, by the target's name.
    replaced: Mapping[str, Server] = field(default_factory=dict)
    sources: frozenset[str] = frozenset()  # the sources that it has seen, by their identity
    now: datetime = field(default_factory=lambda: datetime.now(UTC))  # the ledger's clock
    #: The tenants that only sources have which it has not seen.
    strangers: frozenset[str] = frozenset()

    @property
    def is_there(self) -> bool:
        """Whether it could be read."""
        return self.is_configured and not self.error

    def record(self, tenant: str) -> Record | None:
        """Return the record of a tenant that has, or had, a place; None where there is none."""
        record = self.records.get(tenant)
        if record is None or record.state in (State.WANTED, State.RETIRED):
            return None
        return record

    def confirmed(self, record: Record) -> datetime | None:
        """Return when a tenant's database was last seen: by itself, or with all of its target."""
        server = self.servers.get(record.target or "")
        read = server.read if server and record.state is State.READY else None
        return max(filter(None, (record.confirmed, read)), default=None)

    def having(self, records: Mapping[str, Record]) -> Recalled:
        """Return this with some records as they stand now."""
        return replace(self, records={**self.records, **records}) if records else self


def recalled(memory: Memory, inventories: Mapping[str, Inventory]) -> Recalled:
    """Return what is remembered, by the names that the targets have now.

    A server is known by its identity first: one that answers under another name was renamed, and
    one that answers in the place of a recorded one, which is nowhere else, has replaced it.

    Args:
        memory: What the ledger gave.
        inventories: What each target holds, by its name now.
    """
    renamed = _renames(memory.servers, inventories)
    servers = {renamed.get(s.target, s.target): s for s in memory.servers}
    replaced = {
        name: servers[name]
        for name, inventory in inventories.items()
        if name in servers
        and servers[name].identity is not None
        and servers[name].identity != inventory.identity
    }
    records = memory.records
    if renamed:
        there = {name: inventory.identity for name, inventory in inventories.items()}
        records = {id_: _renamed(record, renamed, there) for id_, record in records.items()}
    return Recalled(
        is_configured=True,
        records=records,
        servers=servers,
        renamed=renamed,
        replaced=replaced,
        sources=memory.sources,
        now=memory.now or datetime.now(UTC),
    )


def strangers(
    recalled: Recalled, tenants: Iterable[tuple[str, str]], identities: Mapping[str, str]
) -> frozenset[str]:
    """Return the tenants that only sources have which the ledger has not seen.

    An empty namespace takes the first sources as they are.

    Args:
        recalled: What is remembered.
        tenants: (id, source) of each tenant that was read.
        identities: What tells each source from every other, by its name; one that only adds to
            others has none.
    """
    if not recalled.sources:
        return frozenset()
    new = {name for name, identity in identities.items() if identity not in recalled.sources}
    if not new:
        return frozenset()
    found: set[str] = set()
    known: set[str] = set()
    for id_, source in tenants:
        (found if source in new else known).add(id_)
    return frozenset(found - known)


def _renames(servers: Iterable[Server], inventories: Mapping[str, Inventory]) -> dict[str, str]:
    """Return the new names of the targets that lead to their servers under another one.

    A name that is still remembered for another server, which answers nowhere now, is no new name:
    that server was replaced, and what was promised on it must not be mixed with the other's.
    """
    servers = [*servers]
    names: defaultdict[str, list[str]] = defaultdict(list)
    for name, inventory in inventories.items():
        if inventory.identity is not None:
            names[inventory.identity].append(name)
    missing = {s.target for s in servers if s.identity is not None and s.identity not in names}
    return {
        server.target: now[0]
        for server in servers
        if (now := names.get(server.identity or ""))
        and server.target not in now
        and now[0] not in missing
    }


def _renamed(record: Record, names: Mapping[str, str], there: Mapping[str, str | None]) -> Record:
    """Return a record by the names that its targets have now.

    One of the server that answers under its target's name was written since that name changed.

    Args:
        record: The record.
        names: New names of targets, by old ones.
        there: The identity of the server that answers at each target.
    """

    def name(target: str | None, identity: str | None) -> str | None:
        if (
            target is None
            or target not in names
            or (identity is not None and identity == there.get(target))
        ):
            return target
        return names[target]

    target = name(record.target, record.identity)
    other = name(record.other, record.other_identity)
    if (target, other) == (record.target, record.other):
        return record
    return replace(record, target=target, other=other)
