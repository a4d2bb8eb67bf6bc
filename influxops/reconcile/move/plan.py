"""Planning to move tenants to other targets: which one goes where, and why one cannot."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct, field
from msgspec.structs import replace

from influxops.config.routing import RoutingTable
from influxops.domain.database import UNKNOWN, UNMANAGED, Database, Retention, Unknown
from influxops.domain.finding import Finding, FindingKind
from influxops.domain.hint import Hint, typed
from influxops.domain.plan import Action, TenantPlan, TenantStatus
from influxops.domain.record import Record, State
from influxops.domain.text import did_you_mean, pluralize, quote, summarize, truncate
from influxops.errors import ConfigError
from influxops.reconcile.plan import recorded
from influxops.reconcile.plan.desired import LOOK, refuse_unknown_targets
from influxops.reconcile.plan.ensure import new_database
from influxops.reconcile.plan.placement import Placement, placement_of
from influxops.reconcile.plan.recorded import is_cut_over, is_move_back
from influxops.reconcile.state import RunState


class MoveRequest(Struct, frozen=True):
    """What a move is for."""

    to: str | None = None  # the target that the tenants go to; None: where placement puts them
    back: bool = False  # whether they go back to where their old copies are
    away: str | None = None  # the target that all recorded tenants leave
    writers_paused: bool = False  # whether the user says that writers are paused
    cache_ttl: int = 60  # seconds for which clients may go on using a target that they looked up
    last_pass: int = 10  # seconds that the last pass before the cut-over may take
    routing: RoutingTable = field(default_factory=RoutingTable)  # the proxies of clients
    retire_after: int = 7 * 86400  # seconds for which the old copy is kept
    #: Tables that do not keep a tenant from being cut over where they cannot be copied.
    without_tables: tuple[str, ...] = ()


class Route(Struct, frozen=True):
    """From where to where one tenant goes."""

    source: str
    target: str
    was_cut_over: bool = False  # whether it is on `target` already, and only the rest is to come
    is_cancelled: bool = False  # whether a move that was begun is given up: it stays on `source`
    is_back: bool = False  # whether `target` holds an old copy, which keeps what only it has


def route_of(plan: TenantPlan) -> Route:
    """Return from where to where a planned move goes."""
    record = plan.record
    assert record is not None and record.target is not None
    change = plan.move
    assert change is not None
    if is_cut_over(record) and change.target == record.target:
        assert record.secondary_target is not None
        return Route(record.secondary_target, record.target, was_cut_over=True)
    is_old_copy = change.target == record.secondary_target and all(
        each.action is not Action.CREATE for each in plan.changes
    )
    is_begun = record.state is State.MOVING and not is_cut_over(record)
    return Route(
        record.target,
        change.target,
        is_cancelled=record.target == change.target,
        is_back=is_old_copy and (is_move_back(record) or not is_begun),
    )


class MovePlanner:
    """Decides which tenant goes where."""

    def __init__(self, goal: MoveRequest, state: RunState) -> None:
        self.goal, self.state, self.rules = goal, state, state.rules
        self.ledger_view = state.ledger_view
        self.handles = {handle.name: handle for handle in state.request.targets}
        self._placements: dict[str, Placement] = {}

    def plan(self) -> RunState:
        """Plan for all tenants that the move is for; the guards have not looked at it yet."""
        refuse_unknown_targets(self.rules, filter(None, (self.goal.to, self.goal.away)))
        tenants = {}
        for number, plan in enumerate(self._candidates()):
            if number % LOOK == 0:
                self.state.context.check()
            tenants[plan.tenant] = self.one(plan)
        return self.state.planned(tenants, self._notes() if self.goal.away else ())

    def _candidates(self) -> Iterator[TenantPlan]:
        away, desired = self.goal.away, self.state.desired
        if away is None:
            for id_ in sorted(self.state.context.tenants or ()):
                yield desired.get(id_) or self._in_no_source(id_)
            return
        for id_, plan in desired.items():
            record = self.ledger_view.record(id_)
            if record is not None:
                is_concerned = self._leaves(record, away)
            else:
                is_concerned = self.state.database(away, plan.database) is not None
            if is_concerned:
                yield plan
        for id_, record in self.ledger_view.records.items():
            # No source has them, and yet their data exists.
            is_there = self.ledger_view.record(id_) is not None
            if id_ not in desired and is_there and self._leaves(record, away):
                yield TenantPlan(id_, record.database, UNMANAGED)

    def _in_no_source(self, id_: str) -> TenantPlan:
        """Return a tenant that was named and no source has; its data may exist all the same."""
        record = self.ledger_view.record(id_)
        if record is not None:
            return TenantPlan(id_, record.database, UNMANAGED)
        if self.state.sources_complete and self.ledger_view.is_readable:
            raise ConfigError(
                f"neither a source nor the ledger knows the tenant {quote(id_)}",
                hint=did_you_mean(id_, self.state.desired)
                or "`influxops status` shows all that are known",
            )
        plan = TenantPlan(id_, "", UNMANAGED)
        return plan.blocked(FindingKind.UNKNOWN_TENANT, "the ledger does not know it")

    @staticmethod
    def _leaves(record: Record, away: str) -> bool:
        return record.target == away or (is_cut_over(record) and record.secondary_target == away)

    # One tenant ------------------------------------------------------------------------------

    def one(self, plan: TenantPlan) -> TenantPlan:
        """Plan for one tenant: that it is moved, or why it is not."""
        if not self.ledger_view.is_readable:
            message = f"the ledger cannot be used ({self.ledger_view.error}), so nothing is moved"
            return plan.mark_unknown(FindingKind.FAILED_LEDGER, message)
        record = self.ledger_view.record(plan.tenant)
        if record is None:
            return self._unrecorded(plan)
        before = self.state.database(record.target, record.database)
        plan = replace(plan, record=record, target=record.target, before=before).unchanged()
        if plan.status is TenantStatus.BLOCKED:
            return plan
        if record.is_claimed:
            return recorded.busy(plan, record)
        if finding := self._not_to_be_moved(record):
            return plan.block(finding)
        for name in filter(None, (record.target, self._target(record))):
            if name not in self.handles:
                message = f"it is recorded on {name}, which is not configured any more"
                return plan.mark_unknown(FindingKind.NOT_CONFIGURED, message)
            if name not in self.state.inventories:
                return plan.mark_unknown(FindingKind.NOT_READ, f"the target {name} cannot be read")
        if before is None:
            message = f"its database {truncate(record.database)} is not on {record.target}, where "
            message += "it is recorded"
            return plan.blocked(FindingKind.LOST, message, Hint.command("plan", "see {}"))
        if recorded.is_recreated(record, before):
            return recorded.lost(plan, self.state)
        if is_cut_over(record) and not self.goal.back:
            # What comes after the cut-over is still to be copied.
            other = record.secondary_target or ""
            unseen = () if other in self.state.inventories else (other,)
            reason = f"the rest of it from {other}" + (", which cannot be read" if unseen else "")
            return plan.with_changes(plan.change(Action.MOVE, reason=reason), unseen_on=unseen)
        if record.target != self._wish(record):
            return self._plan_move(plan, record, before)
        if record.state is not State.MOVING:
            return plan
        reason = f"it stays, and does not go to {record.secondary_target}"
        return plan.with_changes(plan.change(Action.MOVE, reason=reason))

    def _unrecorded(self, plan: TenantPlan) -> TenantPlan:
        if plan.status is TenantStatus.BLOCKED:
            return plan
        homes = self.state.targets_holding(plan.database)
        message = "the ledger does not know it" if homes else "it has no database yet"
        plan = replace(plan, target=homes[0] if homes else None)
        remedy = Hint.command("ensure", "run {} first, which records it")
        return plan.blocked(FindingKind.OUTCOME_UNKNOWN, message, remedy)

    def _wish(self, record: Record) -> str | None:
        """Return the target that a tenant is to go to; None where placement decides."""
        if not self.goal.back:
            return self.goal.to
        is_begun = record.state is State.MOVING and not is_cut_over(record)
        if is_begun and not is_move_back(record):
            return record.target  # it is given up
        return record.secondary_target

    def _target(self, record: Record) -> str | None:
        """Return the target that a move goes to; None where that is not decided yet."""
        wish = self._wish(record)
        if is_cut_over(record) and not self.goal.back:
            return None
        if record.state is State.MOVING and wish is None:
            return record.secondary_target
        return wish

    @staticmethod
    def _move(record: Record, target: str | None) -> str:
        return typed("move", record.tenant, options=f"--to {target}")

    def _not_to_be_moved(self, record: Record) -> Finding | None:
        """Return why a tenant is not to be moved as its record is."""
        to = self._wish(record)
        target, other, kind = record.target, record.secondary_target, FindingKind.MOVING
        if record.state is State.RETIRING:
            unretire = typed("unretire", record.tenant)
            message = "it is retiring, so it is not moved"
            remedy = Hint.command(unretire, "wait until it is dropped, or run {}")
            return Finding.error(FindingKind.RETIRING, message, remedy)
        if record.state not in (State.READY, State.MOVING):
            kind, message = (
                FindingKind.OUTCOME_UNKNOWN,
                f"it is recorded as {record.state.value}",
            )
            return Finding.error(kind, message, Hint.command("ensure", "run {} first"))
        if self.goal.back and to is None:
            message = "it has no old copy that it could be moved back to"
            return Finding.error(kind, message, "name the target that it is to go to")
        if is_cut_over(record):
            if to in (None, target) or self.goal.back:
                return None
            message = (
                f"it was moved from {other} to {target} just now, and the last rows on {other} are "
                "still to be looked for"
            )
            return Finding.error(
                kind, message, Hint.command(self._move(record, target), "finish that first: {}")
            )
        if record.state is State.MOVING and to not in (None, other, target):
            give_up = self._move(record, target)
            how = f"finish that first: {{}}; or give it up: influxops {give_up}"
            remedy = Hint.command(self._move(record, other), how)
            return Finding.error(kind, f"it is being moved to {other}", remedy)
        if record.state is State.READY and other not in (None, to) and target != to:
            drop = typed("retire --copies", record.tenant)
            remedy = Hint.command(drop, "{} drops it now, after a last look")
            return Finding.error(kind, f"its old copy on {other} is not dropped yet", remedy)
        if record.state is State.READY and other == to is not None and record.claimed_by:
            # It may have asked for the drop, which comes whenever the server gets to it.
            message = (
                f"the run {record.claimed_by} was dropping its old copy on {other} when it ended, "
                f"and {other} may still carry that out"
            )
            after = self._move(record, other)
            how = f"{{}} drops it after a last look; influxops {after} copies all then"
            drop = typed("retire --copies", record.tenant)
            return Finding.error(kind, message, Hint.command(drop, how))
        return None

    def _plan_move(self, plan: TenantPlan, record: Record, before: Database) -> TenantPlan:
        source = record.target or ""
        resumed = record.state is State.MOVING
        keeps_periods = self.rules.targets[source].capabilities.retention is not None
        if keeps_periods and before.retention is UNKNOWN:
            message = "its retention period cannot be read, so that the copy would keep its data "
            message += "for another time"
            advice = "give its target a token that may read it"
            return plan.blocked(FindingKind.RETENTION_NOT_READ, message, advice)
        if not self.handles[source].implements("influxops_copy"):
            message = f"targets of the kind {self.handles[source].kind} copy no databases"
            return plan.blocked(FindingKind.NOTE, message)
        target = record.secondary_target if resumed else self._wish(record)
        finding = self._not_there(plan, source, target, resumed=resumed) if target else None
        if finding is not None:
            return plan.block(finding)
        found = self.state.database(target, record.database)
        over = False
        if found is None and self.goal.back:
            message = f"its old copy on {target} is gone"
            remedy = Hint.command(
                typed("move", plan.tenant, options=f"--to {target}"), "{} copies all"
            )
            return plan.blocked(FindingKind.MOVING, message, remedy)
        if found is None:
            location = self._placement(source).choose(target or plan.pin)
            if location is None:
                return plan.blocked(*self._explain_no_placement(source, target or plan.pin))
            target, over = location.target, location.is_over_estimate
            found = self.state.database(target, record.database)
        if found is not None and record.secondary_target != target:
            return plan.blocked(
                FindingKind.IN_TWO_TARGETS,
                f"a database {truncate(record.database)} is on {target} already",
                "find out what it holds, and drop it there if it is not needed",
                target=source,
                facts={"copies": [{"target": source}, {"target": target}]},
            )
        changes = [plan.change(Action.MOVE, target, f"from {source}")]
        if found is None:
            capabilities = self.rules.targets[target or ""].capabilities
            after = new_database(before.retention, capabilities)
            reason = f"for what is moved from {source}"
            create = plan.change(
                Action.CREATE, target, reason, before=None, after=after, may_exceed_capacity=over
            )
            changes.insert(0, create)
        elif found.complete is False:
            after = replace(found, complete=True)
            changes.insert(0, plan.change(Action.COMPLETE, target, before=found, after=after))
        if found is not None and _is_shorter(found.retention, before.retention):
            after = replace(found, retention=before.retention)
            longer = plan.change(Action.SET_RETENTION, target, before=found, after=after)
            changes.insert(0, longer)
        plan = plan.note(*recorded.bad_retention(plan, self.rules))
        return plan.with_changes(*changes)

    def _not_there(
        self, plan: TenantPlan, source: str, target: str, *, resumed: bool
    ) -> Finding | None:
        """Return why a tenant cannot go to a target."""
        ours, theirs = self.handles[source], self.handles[target]
        if ours.kind != theirs.kind:
            message = f"{target} is of another kind ({theirs.kind}) than {source} ({ours.kind})"
            return Finding.error(FindingKind.NOTE, f"it cannot be moved: {message}", "")
        if resumed:
            return None
        if self.rules.targets[target].draining:
            return Finding.error(
                FindingKind.DRAINING,
                f"{target} is draining and gets nothing new",
                "choose another target",
            )
        if plan.pin not in (None, target):
            return Finding.error(
                FindingKind.MISPLACED,
                f"its target is to be {plan.pin}, as its source or [placement] pins say",
                f"change that to {target} first",
            )
        return None

    def _placement(self, source: str) -> Placement:
        """Return the places for what leaves a target: on others of its kind."""
        kind = self.handles[source].kind
        if kind not in self._placements:
            state = self.state
            self._placements[kind] = placement_of(
                self.rules,
                state.inventories,
                state.closed,
                state.used,
                lambda name: name != self.goal.away and self.handles[name].kind == kind,
            )
        return self._placements[kind]

    def close(self, source: str, target: str, why: str) -> None:
        """Give nothing more to a target that said that nothing more fits."""
        self._placement(source).locations[target].closed = why

    def _explain_no_placement(
        self, source: str, target: str | None
    ) -> tuple[FindingKind, str, str]:
        if target == self.goal.away:
            message = f"its target is to be {target}, as its source or [placement] pins say"
            return FindingKind.MISPLACED, message, "change that first"
        otherwise = "no other target of its kind can be reached"
        return self._placement(source).explain_no_placement(otherwise, target)

    # What is reported of a target that is drained ------------------------------------------------

    def _notes(self) -> Iterator[Finding]:
        away = self.goal.away or ""
        if not self.rules.targets[away].draining:
            yield Finding.warning(
                FindingKind.DRAINING,
                "it is active, so that new tenants may be placed on it in the meantime",
                Hint.setting("state", 'set {} to "draining"', f"target:{away}"),
                target=away,
            )
        inventory = self.state.inventories.get(away)
        if inventory is None:
            return
        known = {plan.database for plan in self.state.desired.values()}
        known |= {record.database for record in self.ledger_view.records.values()}
        rest = sorted(inventory.databases.keys() - known)
        if rest:
            yield Finding.warning(
                FindingKind.ORPHAN,
                f"{pluralize(len(rest), 'database')} of no known tenant will stay: "
                f"{summarize([truncate(name) for name in rest])}",
                "adopt, back up or drop them before the server is removed",
                target=away,
            )
        old = sorted(
            r.database
            for r in self.ledger_view.records.values()
            if r.secondary_target == away and r.state is State.READY
        )
        if old:
            yield Finding.info(
                FindingKind.RETIRING,
                f"{pluralize(len(old), 'old copy', 'old copies')} of moved tenants, kept until "
                f"due: {summarize([truncate(name) for name in old])}",
                Hint.command("retire --due", "{} drops them then"),
                target=away,
            )


def _is_shorter(period: Retention | Unknown, other: Retention | Unknown) -> bool:
    """Return whether a retention period is known to be shorter than another one."""
    if not isinstance(period, int) or isinstance(other, Unknown):
        return False
    return other is None or period < other
