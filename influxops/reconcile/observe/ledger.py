"""Reading the ledger, and holding it against what was read: the names that its targets have now."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from msgspec import Struct
from msgspec.structs import replace

from influxops.domain.database import Inventory
from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.domain.record import LedgerSnapshot, Record, Server, State
from influxops.errors import InfluxopsError, Interrupted, LedgerError
from influxops.plugin_host.ledger import LedgerHandle
from influxops.plugin_host.source import SourceHandle
from influxops.reconcile.observe.targets import describe
from influxops.reconcile.state import LedgerView, RunState
from influxops.report.model import LedgerState, TargetState
from influxops.runtime.context import RunContext


def ledger_view(memory: LedgerSnapshot, inventories: Mapping[str, Inventory]) -> LedgerView:
    """Return what is remembered, by the names that the targets have now.

    A server is known by its identity first: one that answers under another name was renamed, and
    one that answers in the place of a recorded one, which is nowhere else, has replaced it.
    """
    renamed = _renames(memory.servers, inventories)
    servers = {renamed.get(s.target, s.target): s for s in memory.servers}
    replaced = {
        name: servers[name]
        for name, inventory in inventories.items()
        if name in servers
        and servers[name].identity is not None
        and inventory.identity is not None  # else which server it is is unknown
        and servers[name].identity != inventory.identity
    }
    records = memory.records
    if renamed:
        there = {name: inventory.identity for name, inventory in inventories.items()}
        records = {id_: _renamed(record, renamed, there) for id_, record in records.items()}
    return LedgerView(
        is_configured=True,
        records=records,
        servers=servers,
        renamed=renamed,
        replaced=replaced,
        sources=memory.sources,
        now=memory.now or datetime.now(UTC),
    )


def tenants_of_new_sources(
    ledger_view: LedgerView, tenants: Iterable[tuple[str, str]], identities: Mapping[str, str]
) -> frozenset[str]:
    """Return the tenants that only sources have which the ledger has not seen.

    An empty namespace takes the first sources as they are. Tenants come as (id, source).
    """
    if not ledger_view.sources:
        return frozenset()
    new = {name for name, identity in identities.items() if identity not in ledger_view.sources}
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
    that server was replaced, and what was provisioned on it must not be mixed with the other's.
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
    """Return a record by the names that its targets have now, given by their old ones.

    One of the server that answers under its target's name was written since that name changed:
    `there` has the identity of the server that answers at each target.
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
    other = name(record.secondary_target, record.secondary_identity)
    if (target, other) == (record.target, record.secondary_target):
        return record
    return replace(record, target=target, secondary_target=other)


class ReadLedger(Struct, frozen=True):
    """What reading the ledger gave."""

    state: LedgerState
    memory: LedgerSnapshot | None
    findings: Sequence[Finding] = ()


def read_ledger(handle: LedgerHandle, context: RunContext) -> ReadLedger:
    """Read the ledger; one that cannot be read is reported and does not abort the run."""
    state = handle.state()
    try:
        memory = handle.load_records(None, context)
    except Interrupted:
        raise
    except InfluxopsError as error:
        context.log.debug("%s failed", handle.full_name, exc_info=True)
        return ReadLedger(replace(state, error=error.message), None, [failed_ledger(error)])
    return ReadLedger(replace(state, records=len(memory.records)), memory)


def failed_ledger(error: InfluxopsError) -> Finding:
    """Return the finding that the ledger could not be read or written."""
    return Finding(
        FindingKind.FAILED_LEDGER, Severity.ERROR, f"ledger: {error.message}", error.remedy
    )


def with_memory(observed: RunState, read: ReadLedger) -> RunState:
    """Return what was read with what the ledger says of it."""
    if read.memory is None:
        known = LedgerView(is_configured=True, error=read.state.error)
    else:
        known = ledger_view(read.memory, observed.inventories)
        tenants = ((tenant.id, tenant.source) for tenant in observed.tenants)
        known = replace(
            known,
            tenants_of_new_sources=tenants_of_new_sources(
                known, tenants, identities(observed.request.sources)
            ),
        )
    findings = [*read.findings]
    for old, new in known.renamed.items():
        findings.append(
            Finding.info(
                FindingKind.RENAMED_TARGET,
                f"its server is recorded as {old}; it is called {new} from now on",
                target=new,
            )
        )
    return replace(
        observed,
        ledger_view=known,
        ledger=read.state,
        findings=(*observed.findings, *findings),
    )


def without_ledger(observed: RunState, why: str) -> RunState:
    """Return what is known where the ledger can be read, but this run cannot live in it."""
    if observed.ledger_view.error:
        return observed
    ledger_view = replace(observed.ledger_view, error=why)
    state = replace(observed.ledger, error=why) if observed.ledger is not None else None
    finding = failed_ledger(LedgerError(why))
    return replace(
        observed, ledger_view=ledger_view, ledger=state, findings=(*observed.findings, finding)
    )


def identities(sources: Iterable[SourceHandle]) -> dict[str, str]:
    """Return what tells each source from every other, by its name; one of a program has none."""
    found = {}
    for handle in sources:
        if not handle.resolved.section.supplements:
            location = handle.location
            where = (location.identity or location.text) if location else handle.name
            found[handle.name] = f"{handle.kind}:{where}"
    return found


# Targets of which only some databases were looked at -----------------------------------------


def with_facts(
    observed: RunState,
    memory: LedgerSnapshot,
    counted: Mapping[str, int] | None,
    whole: Collection[str],
) -> RunState:
    """Return what was read with what is known of targets that were only looked at."""
    servers = observed.ledger_view.servers
    inventories = {
        name: _with_server(inventory, servers.get(name))
        for name, inventory in observed.inventories.items()
    }
    observed = replace(observed, inventories=inventories)
    reserved = Counter(r.target for r in memory.records.values() if r.state is State.ALLOCATED)
    used, learned = {}, []
    for name, inventory in inventories.items():
        if counted is None:
            break
        server = servers.get(name)
        unrecorded = server.unrecorded if server is not None else None
        if unrecorded is None:
            unrecorded = max(len(inventory.databases) - counted.get(name, 0), 0)
            if name in whole and inventory.complete:
                new = Server(name, inventory.identity, unrecorded=unrecorded)
                learned.append(replace(new, edition=inventory.edition, capacity=inventory.capacity))
        # What a tenant has reserved for itself is not taken by another one.
        used[name] = counted.get(name, 0) + unrecorded - reserved[name]
    observed = replace(observed, used=used, learned=tuple(learned))
    return replace(observed, targets=tuple(_described(observed)))


def _described(observed: RunState) -> Iterator[TargetState]:
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
        yield replace(describe(state, inventory, observed.rules), databases=used)


def _with_server(inventory: Inventory, server: Server | None) -> Inventory:
    if server is None or inventory.identity not in (None, server.identity):
        return inventory
    return replace(
        inventory,
        edition=inventory.edition or server.edition,
        capacity=server.capacity if inventory.capacity is None else inventory.capacity,
    )
