"""Planning the fewest moves after which no target is full, or all hold the same number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from influxops.domain.database import UNMANAGED
from influxops.domain.finding import Finding, FindingKind
from influxops.domain.hint import Hint
from influxops.domain.plan import TenantPlan, TenantStatus
from influxops.domain.record import Record, State
from influxops.reconcile.move.plan import MovePlanner, MoveRequest
from influxops.reconcile.plan.placement import Location
from influxops.reconcile.plan.recorded import is_cut_over
from influxops.reconcile.state import RunState


class RebalancePlanner(MovePlanner):
    """Chooses tenants of full targets, with the policy `spread` also of the fullest ones.

    What a move leaves behind is not counted: it is dropped without another move.
    """

    def __init__(self, goal: MoveRequest, state: RunState) -> None:
        super().__init__(goal, state)
        self._assigned: dict[str, str] = {}  # where tenants are to go
        self._leaving: Counter[str | None] = Counter()  # old copies, and what is being moved away
        for record in self.ledger_view.records.values():
            if record.state is State.MOVING and not is_cut_over(record):
                self._leaving[record.target] += 1
            elif record.state in (State.READY, State.MOVING) and record.secondary_target:
                self._leaving[record.secondary_target] += 1

    def plan(self) -> RunState:
        """Plan moves that were begun, then those that are needed beside them."""
        if not self.ledger_view.is_readable:
            return self.state.planned({})
        before = {name: self._held(self._location(name)) for name in self._active}
        tenants = {plan.tenant: plan for plan in (*self._begun(), *self._chosen())}
        return self.state.planned(tenants, self._levels(before) if tenants else ())

    def _wish(self, record: Record) -> str | None:
        return self._assigned.get(record.tenant)

    @property
    def _active(self) -> list[str]:
        """The targets that were read and are not draining, in the order of the configuration."""
        targets = self.rules.targets.items()
        inventories = self.state.inventories
        return [name for name, each in targets if name in inventories and not each.draining]

    def _location(self, target: str) -> Location:
        return self._placement(target).locations[target]

    def _held(self, location: Location) -> int:
        """Return how many databases a target holds once its old copies are dropped."""
        return location.used - self._leaving[location.target]

    def _begun(self) -> Iterator[TenantPlan]:
        """Plan that moves go on which no run is at."""
        for record in self.ledger_view.records.values():
            if record.state is State.MOVING and not record.is_claimed:
                yield self.one(self._of(record))

    def _of(self, record: Record) -> TenantPlan:
        known = self.state.desired.get(record.tenant)
        return known or TenantPlan(record.tenant, record.database, UNMANAGED)

    def _chosen(self) -> Iterator[TenantPlan]:
        """Plan one move after the other until none is needed any more, or none is possible."""
        movable = {name: self._movable(name) for name in self._active}
        while pair := self._next_pair([name for name in self._active if movable[name]]):
            source, target = pair
            record = movable[source].pop()
            self._assigned[record.tenant] = target
            plan = self.one(self._of(record))
            if plan.changes:
                self._leaving[source] += 1
                yield plan

    def _movable(self, target: str) -> list[Record]:
        """Return the tenants of a target that may go, the last one first created."""
        found = [
            record
            for record in self.ledger_view.records.values()
            if record.target == target
            and record.state is State.READY
            and record.secondary_target is None
            and not record.is_claimed
            and (plan := self._of(record)).pin is None
            and plan.status is TenantStatus.OK
        ]
        oldest = datetime.min.replace(tzinfo=UTC)
        return sorted(found, key=lambda r: (r.created_at or oldest, r.tenant))

    def _next_pair(self, sources: list[str]) -> tuple[str, str] | None:
        """Return from where to where a tenant goes next; None where none has to, or can."""
        for source in sorted(sources, key=lambda name: -self._held(self._location(name))):
            ours = self._location(source)
            candidates = [
                each
                for name in self._active
                if self.handles[name].kind == self.handles[source].kind
                and self._relieves(ours, each := self._location(name))
            ]
            if self.rules.policy == "spread":
                candidates.sort(key=self._held)
            if candidates:
                return source, candidates[0].target
        return None

    def _relieves(self, ours: Location, theirs: Location) -> bool:
        """Return whether it is better that a target has one more, and another one less."""
        held, other = self._held(ours), self._held(theirs) + 1
        if theirs is ours or not theirs.has_room:
            return False
        is_over = ours.capacity is not None and held > ours.capacity
        if theirs.capacity is not None and other >= theirs.capacity + is_over:
            return False
        is_full = ours.capacity is not None and held >= ours.capacity
        return is_full or (self.rules.policy == "spread" and held > other)

    def _levels(self, before: dict[str, int]) -> Iterator[Finding]:
        """Yield how full targets are, and will be."""
        parts = []
        for name, held in before.items():
            location = self._location(name)
            of = f" of {location.capacity:,}" if location.capacity is not None else ""
            parts.append(f"{name} {held:,} → {self._held(location):,}{of}")
        copies = Hint.command("retire --copies", "{} drops old copies, which hold slots until then")
        yield Finding.info(FindingKind.MOVING, f"databases: {', '.join(parts)}", copies)
