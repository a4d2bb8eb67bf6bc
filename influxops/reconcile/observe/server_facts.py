"""What the ledger knows of servers, for targets of which only some databases were looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from msgspec.structs import replace

from influxops.domain.database import Inventory
from influxops.domain.record import LedgerSnapshot, Server, State
from influxops.reconcile.observe.targets import describe
from influxops.reconcile.request import RunRequest
from influxops.reconcile.state import Observed
from influxops.report.model import TargetState


def with_facts(
    observed: Observed,
    memory: LedgerSnapshot,
    counted: Mapping[str, int] | None,
    whole: Collection[str],
) -> Observed:
    """Return what was read with what is known of targets that were only looked at."""
    servers = observed.ledger_view.servers
    inventories = {
        name: _with_server(inventory, servers.get(name))
        for name, inventory in observed.inventories.items()
    }
    observed = replace(observed, inventories=inventories)
    if counted is None:
        return observed
    reserved = Counter(r.target for r in memory.records.values() if r.state is State.ALLOCATED)
    used, learned = {}, []
    for name, inventory in inventories.items():
        server = servers.get(name)
        unrecorded = server.unrecorded if server is not None else None
        if unrecorded is None:
            unrecorded = max(len(inventory.databases) - counted.get(name, 0), 0)
            if name in whole and inventory.complete:
                facts = inventory.identity, inventory.edition, inventory.capacity
                learned.append(_server(name, *facts, unrecorded))
        # What a tenant has reserved for itself is not taken by another one.
        used[name] = counted.get(name, 0) + unrecorded - reserved[name]
    return replace(observed, used=used, learned=tuple(learned))


def described(observed: Observed, request: RunRequest) -> Iterator[TargetState]:
    """Yield the states of targets, with what is known of those that were only looked at."""
    learned = {server.target for server in observed.learned}
    for state in observed.targets:
        inventory = observed.inventories.get(state.name)
        if inventory is None or not state.reachable:
            yield state
            continue
        view = observed.ledger_view
        known = view.servers.get(state.name) if state.name not in view.replaced else None
        is_counted = state.name in learned or (known is not None and known.unrecorded is not None)
        used = observed.used.get(state.name) if is_counted else state.databases
        described = describe(state, inventory, request.rules)
        yield replace(described, databases=used)


def _server(
    name: str, identity: str | None, edition: str | None, capacity: int | None, unrecorded: int
) -> Server:
    return Server(name, identity, edition=edition, capacity=capacity, unrecorded=unrecorded)


def _with_server(inventory: Inventory, server: Server | None) -> Inventory:
    if server is None or inventory.identity not in (None, server.identity):
        return inventory
    return replace(
        inventory,
        edition=inventory.edition or server.edition,
        capacity=server.capacity if inventory.capacity is None else inventory.capacity,
    )
