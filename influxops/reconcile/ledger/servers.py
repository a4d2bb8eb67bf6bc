"""What a run learned of servers and of sources, for the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime

from msgspec.structs import replace

from influxops.domain.record import Event, HistoryEntry, Record, Server, State
from influxops.reconcile.observe.ledger import identities
from influxops.reconcile.state import RunState


class ServerFacts:
    """Computes the facts of servers and the sources that are to be written, with their entries."""

    def __init__(self, state: RunState) -> None:
        self.observed, self.request, self.ledger_view = state, state.request, state.ledger_view
        self.entries: list[HistoryEntry] = []

    def servers(self, records: Iterable[Record]) -> tuple[Server, ...]:
        """Return the facts of all servers that were read in full and did not replace another.

        Also of those that another one has replaced, or that are back, which changes routes.
        """
        if self.observed.is_selected:
            return (*self._answering(), *self._learned())
        servers = [*self._answering()]
        records = [*records]
        missed, placed = self._missed(records), self._placed_on(records)
        reachable = {state.name for state in self.observed.targets if state.reachable}
        for name, inventory in self.observed.inventories.items():
            known = self.ledger_view.replaced.get(name)
            if name not in reachable or not inventory.complete:
                continue
            if known is not None:
                if "replaced-server" not in self.request.allow:
                    continue
                before, after = known.identity or "", inventory.identity or ""
                entry = HistoryEntry(Event.REPLACED_SERVER, target=name, before=before, after=after)
                self.entries.append(self.request.signed(entry))
            read: datetime | None = self._now
            if name in missed:  # keep the time of the last read that found all recorded databases
                read = (
                    self.ledger_view.servers[name].read
                    if name in self.ledger_view.servers
                    else None
                )
            facts = Server(
                name,
                inventory.identity,
                read=read,
                edition=inventory.edition,
                capacity=inventory.capacity,
                unrecorded=max(len(inventory.databases) - placed[name], 0),
            )
            servers.append(self._full(facts))
        for old, new in self.ledger_view.renamed.items():
            entry = HistoryEntry(Event.RENAMED_TARGET, target=new, before=old, after=new)
            self.entries.append(self.request.signed(entry))
        return tuple(servers)

    def sources(self) -> frozenset[str]:
        """Return the sources that the ledger sees for the first time, where that is allowed."""
        if self.ledger_view.sources and "new-source" not in self.request.allow:
            return frozenset()
        read = {state.name for state in self.observed.sources if not state.error}
        seen = {each for name, each in identities(self.request.sources).items() if name in read}
        new = frozenset(seen) - self.ledger_view.sources
        for identity in sorted(new if self.ledger_view.sources else ()):
            entry = HistoryEntry(Event.NEW_SOURCE, after=identity)
            self.entries.append(self.request.signed(entry))
        return new

    @property
    def _now(self) -> datetime:
        return self.ledger_view.now

    def _missed(self, records: Iterable[Record]) -> set[str | None]:
        """Return the targets that lack a database which stays recorded as ready on them.

        This run does not change such records: their tenants are in no source or out of scope.
        """
        written = {record.tenant: record for record in records}
        known = (written.get(id_, record) for id_, record in self.ledger_view.records.items())
        return {
            record.target
            for record in known
            if record.state is State.READY
            and record.target in self.observed.inventories
            and self.observed.database(record.target, record.database) is None
        }

    def _placed_on(self, records: Iterable[Record]) -> Counter[str | None]:
        """Count the databases that are recorded on each target."""
        now = {**self.ledger_view.records, **{record.tenant: record for record in records}}
        placeless = (State.PENDING, State.RETIRED)
        return Counter(
            target
            for record in now.values()
            if record.state not in placeless
            for target in {record.target, record.secondary_target}
        )

    def _answering(self) -> Iterator[Server]:
        """Yield servers of which it is new that another one answers in their place, or none."""
        replaced = self.ledger_view.replaced
        for name, inventory in self.observed.inventories.items():
            known = self.ledger_view.servers.get(name)
            if known is None or known.identity is None or inventory.identity is None:
                continue
            if name in replaced and "replaced-server" in self.request.allow:
                continue
            answers = inventory.identity if name in replaced else None
            if known.replaced_by != answers:
                # Nothing else: what else is known may have changed since it was read.
                yield Server(name, known.identity, replaced_by=answers or "")

    def _learned(self) -> tuple[Server, ...]:
        """Return the facts of servers that a run for single tenants read or found to be full."""
        learned = {server.target: server for server in self.observed.learned}
        for name, inventory in self.observed.inventories.items():
            known = self.ledger_view.servers.get(name)
            if name in self.observed.closed and not (known and known.is_full(self._now)):
                learned.setdefault(name, Server(name, inventory.identity))
        return tuple(self._full(server) for name, server in learned.items() if self._is_known(name))

    def _is_known(self, target: str) -> bool:
        """Return whether a target is reachable, and its server is the one that is recorded."""
        answers = {state.name for state in self.observed.targets if state.reachable}
        return target in answers and target not in self.ledger_view.replaced

    def _full(self, server: Server) -> Server:
        why = self.observed.closed.get(server.target)
        return server if why is None else replace(server, full=why, full_at=self._now)
