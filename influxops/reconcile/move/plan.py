"""Planning to move tenants to other targets: who goes where, and what stands in the way."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from influxops.domain.change import Action, Change
from influxops.domain.database import UNKNOWN, UNMANAGED, Database
from influxops.domain.finding import Finding, FindingKind, Severity, blocked
from influxops.domain.hint import Hint
from influxops.domain.plan import Plan, TenantPlan, TenantStatus
from influxops.domain.record import Record, State
from influxops.domain.text import did_you_mean, pluralize, quote, summarize, truncate
from influxops.errors import ConfigError
from influxops.reconcile.move.route import MoveRequest, is_cut_over
from influxops.reconcile.plan import recorded
from influxops.reconcile.plan.desired import LOOK
from influxops.reconcile.plan.ensure import new_database
from influxops.reconcile.plan.placement import Placement, placement_of
from influxops.reconcile.request import RunRequest
from influxops.reconcile.state import Observed
from influxops.runtime.context import RunContext


class MovePlanner:
    """Decides who goes where.

    Args:
        goal: What the move is for.
    """

    def __init__(self, goal: MoveRequest, observed: Observed, request: RunRequest) -> None:
        self.goal, self.observed, self.request = goal, observed, request
        self.ledger_view, self.rules = observed.ledger_view, request.rules
        self.handles = {handle.name: handle for handle in request.targets}
        self._placements: dict[str, Placement] = {}

    def plan(self, desired: Mapping[str, TenantPlan], context: RunContext) -> Plan:
        """Plan for all whom the move is for; the guards have not looked at it yet."""
        tenants = {}
        for number, plan in enumerate(self._candidates(desired, context)):
            if number % LOOK == 0:
                context.check()
            tenants[plan.tenant] = self.one(plan)
        return Plan(tenants, tuple(self._notes(desired)) if self.goal.away else ())

    def _candidates(
        self, desired: Mapping[str, TenantPlan], context: RunContext
    ) -> Iterator[TenantPlan]:
        away = self.goal.away
        if away is None:
            for id_ in sorted(context.scope.tenants or ()):
                yield desired.get(id_) or self._in_no_source(id_, desired)
            return
        inventory = self.observed.inventories.get(away)
        for id_, plan in desired.items():
            record = self.ledger_view.record(id_)
            if record is not None:
                is_concerned = self._leaves(record, away)
            else:
                is_concerned = inventory is not None and plan.database in inventory.databases
            if is_concerned:
                yield plan
        for id_, record in self.ledger_view.records.items():
            # No source has them, and yet their data is there.
            is_there = self.ledger_view.record(id_) is not None
            if id_ not in desired and is_there and self._leaves(record, away):
                yield TenantPlan(id_, record.database, UNMANAGED)

    def _in_no_source(self, id_: str, desired: Mapping[str, TenantPlan]) -> TenantPlan:
        """Return a tenant that was named and no source has; its data may be there all the same.

        Raises:
            ConfigError: When nobody knows it.
        """
        record = self.ledger_view.record(id_)
        if record is not None:
            return TenantPlan(id_, record.database, UNMANAGED)
        if self.observed.sources_complete and self.ledger_view.is_readable:
            raise ConfigError(
                f"neither a source nor the ledger knows the tenant {quote(id_)}",
                hint=did_you_mean(id_, desired) or "`influxops status` shows all that are known",
            )
        plan = TenantPlan(id_, "", UNMANAGED)
        return plan.block(blocked(FindingKind.UNKNOWN_TENANT, "the ledger does not know it", ""))

    @staticmethod
    def _leaves(record: Record, away: str) -> bool:
        return record.target == away or (is_cut_over(record) and record.secondary_target == away)

    # One tenant ------------------------------------------------------------------------------

    def one(self, plan: TenantPlan) -> TenantPlan:
        """Plan for one tenant: that it is moved, or why it is not."""
        ledger_view = self.ledger_view
        if not ledger_view.is_readable:
            message = f"the ledger cannot be used ({ledger_view.error}), so nothing is moved"
            return plan.mark_unknown(FindingKind.FAILED_LEDGER, message)
        record = ledger_view.record(plan.tenant)
        if record is None:
            return self._unrecorded(plan)
        inventory = self.observed.inventories.get(record.target or "")
        before = inventory.databases.get(record.database) if inventory else None
        plan = replace(
            plan, record=record, target=record.target, before=before, after=before, changes=()
        )
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
            if name not in self.observed.inventories:
                return plan.mark_unknown(FindingKind.NOT_READ, f"the target {name} cannot be read")
        if before is None:
            message = (
                f"its database {truncate(record.database)} is not on {record.target}, where it is "
                "recorded"
            )
            return plan.block(blocked(FindingKind.LOST, message, Hint.command("plan", "see {}")))
        if recorded.is_recreated(record, before):
            return recorded.lost(plan, self.observed)
        if is_cut_over(record):
            return self._rest(plan, record)
        if record.target == self.goal.to:
            return self._stays(plan, record)
        return self._away(plan, record, before)

    def _unrecorded(self, plan: TenantPlan) -> TenantPlan:
        if plan.status is TenantStatus.BLOCKED:
            return plan
        homes = self.observed.targets_holding(plan.database)
        message = "the ledger does not know it" if homes else "it has no database yet"
        plan = replace(plan, target=homes[0] if homes else None)
        remedy = Hint.command("ensure", "run {} first, which records it")
        return plan.block(blocked(FindingKind.OUTCOME_UNKNOWN, message, remedy))

    def _target(self, record: Record) -> str | None:
        """Return the target that a move goes to; None where that is not decided yet."""
        if is_cut_over(record):
            return None
        if record.state is State.MOVING and self.goal.to is None:
            return record.secondary_target
        return self.goal.to

    def _not_to_be_moved(self, record: Record) -> Finding | None:
        """Return why a tenant is not to be moved as its record stands."""
        me, to = shlex.quote(record.tenant), self.goal.to
        if record.state is State.RETIRING:
            return blocked(
                FindingKind.RETIRING,
                "it is retiring, so it is not moved",
                Hint.command(f"unretire {me}", "wait until it is dropped, or run {}"),
            )
        if record.state not in (State.READY, State.MOVING):
            remedy = Hint.command("ensure", "run {} first")
            return blocked(
                FindingKind.OUTCOME_UNKNOWN, f"it is recorded as {record.state.value}", remedy
            )
        if is_cut_over(record) and to not in (None, record.target):
            return blocked(
                FindingKind.MOVING,
                f"it was moved from {record.secondary_target} to {record.target} just now, and "
                "the last rows "
                f"on {record.secondary_target} are still to be looked for",
                Hint.command(f"move {me} --to {record.target}", "finish that first: {}"),
            )
        if is_cut_over(record):
            return None
        if record.state is State.MOVING and to not in (
            None,
            record.secondary_target,
            record.target,
        ):
            return blocked(
                FindingKind.MOVING,
                f"it is being moved to {record.secondary_target}",
                Hint.command(
                    f"move {me} --to {record.secondary_target}",
                    f"finish that first: {{}}; or give it up: influxops move {me} --to "
                    f"{record.target}",
                ),
            )
        is_other = record.secondary_target is not None and record.secondary_target != to
        if record.state is State.READY and is_other and record.target != to:
            return blocked(
                FindingKind.MOVING,
                f"its old copy on {record.secondary_target} is not dropped yet",
                Hint.command("retire --due", "run {} once its time has come"),
            )
        return None

    def _stays(self, plan: TenantPlan, record: Record) -> TenantPlan:
        """Plan for a tenant that is where it is to go; a move to elsewhere is given up."""
        if record.state is not State.MOVING:
            return plan
        change = self._change(
            plan, record.target or "", f"it stays, and does not go to {record.secondary_target}"
        )
        return plan.with_changes(change)

    def _rest(self, plan: TenantPlan, record: Record) -> TenantPlan:
        """Plan that what is still to come after the cut-over is copied."""
        unseen: tuple[str, ...] = ()
        if record.secondary_target not in self.observed.inventories:
            unseen = (record.secondary_target or "",)
        change = self._change(
            plan,
            record.target or "",
            f"the rest of it from {record.secondary_target}"
            + (", which cannot be read" if unseen else ""),
        )
        return replace(plan, status=TenantStatus.PENDING, changes=(change,), unseen_on=unseen)

    def _away(self, plan: TenantPlan, record: Record, before: Database) -> TenantPlan:
        source = record.target or ""
        resumed = record.state is State.MOVING
        keeps_periods = self.rules.targets[source].capabilities.retention is not None
        if keeps_periods and before.retention is UNKNOWN:
            message = (
                "its retention period cannot be read, so that the copy would keep its data for "
                "another time"
            )
            advice = "give its target a token that may read it"
            return plan.block(blocked(FindingKind.RETENTION_NOT_READ, message, advice))
        if not self.handles[source].implements("influxops_copy"):
            message = f"targets of the kind {self.handles[source].kind} copy no databases"
            return plan.block(blocked(FindingKind.NOTE, message, ""))
        target = record.secondary_target if resumed else self.goal.to
        finding = self._not_there(plan, source, target, resumed=resumed) if target else None
        if finding is not None:
            return plan.block(finding)
        there = target is not None and self._database(target, record.database)
        over = False
        if not there:
            location = self._placement(source).choose(target or plan.pin)
            if location is None:
                return plan.blocked(*self._no_place(source, target or plan.pin))
            target, over = location.target, location.is_over_estimate
            there = self._database(target, record.database)
        assert target is not None
        if there and record.secondary_target != target:
            message = f"a database {truncate(record.database)} is on {target} already"
            advice = "find out what it holds, and drop it there if nobody needs it"
            finding = blocked(FindingKind.IN_TWO_TARGETS, message, advice)
            copies = {"copies": [{"target": source}, {"target": target}]}
            return plan.block(replace(finding, target=source, facts=copies))
        changes = (
            *self._making(plan, target, before, there or None),
            self._change(plan, target, f"from {source}"),
        )
        return replace(plan, status=TenantStatus.PENDING, changes=changes, may_exceed_capacity=over)

    def _not_there(
        self, plan: TenantPlan, source: str, target: str, *, resumed: bool
    ) -> Finding | None:
        """Return why a tenant cannot go to a target."""
        ours, theirs = self.handles[source], self.handles[target]
        if ours.kind != theirs.kind:
            message = f"{target} is of another kind ({theirs.kind}) than {source} ({ours.kind})"
            return blocked(FindingKind.NOTE, f"it cannot be moved: {message}", "")
        if resumed:
            return None
        if self.rules.targets[target].draining:
            return blocked(
                FindingKind.DRAINING,
                f"{target} is draining and gets nothing new",
                "choose another target",
            )
        if plan.pin not in (None, target):
            return blocked(
                FindingKind.MISPLACED,
                f"its target is to be {plan.pin}, as its source or [placement] pins say",
                f"change that to {target} first",
            )
        return None

    def _database(self, target: str, name: str) -> Database | None:
        inventory = self.observed.inventories.get(target)
        return inventory.databases.get(name) if inventory else None

    def _placement(self, source: str) -> Placement:
        """Return the places for what leaves a target: on others of its kind."""
        kind = self.handles[source].kind
        if kind not in self._placements:
            self._placements[kind] = placement_of(
                self.observed,
                self.rules,
                lambda name: name != self.goal.away and self.handles[name].kind == kind,
            )
        return self._placements[kind]

    def close(self, source: str, target: str, why: str) -> None:
        """Give nothing more to a target that said that nothing more fits."""
        self._placement(source).locations[target].closed = why

    def _no_place(self, source: str, target: str | None) -> tuple[FindingKind, str, str]:
        if target == self.goal.away:
            message = f"its target is to be {target}, as its source or [placement] pins say"
            return FindingKind.MISPLACED, message, "change that first"
        otherwise = "no other target of its kind can be reached"
        return self._placement(source).no_place(otherwise, target)

    def _making(
        self, plan: TenantPlan, target: str, before: Database, there: Database | None
    ) -> Iterator[Change]:
        capabilities = self.rules.targets[target].capabilities
        if there is None:
            after = new_database(before.name, before.retention, capabilities)
            reason = f"for what is moved from {plan.target}"
            yield Change(Action.CREATE, plan.tenant, target, before.name, None, after, reason)
        elif there.complete is False:
            after = replace(there, complete=True)
            yield Change(Action.COMPLETE, plan.tenant, target, before.name, there, after)

    @staticmethod
    def _change(plan: TenantPlan, target: str, reason: str) -> Change:
        before = plan.before
        return Change(Action.MOVE, plan.tenant, target, plan.database, before, before, reason)

    # What is told of a target that is drained ------------------------------------------------

    def _notes(self, desired: Mapping[str, TenantPlan]) -> Iterator[Finding]:
        away = self.goal.away or ""
        if not self.rules.targets[away].draining:
            yield Finding(
                FindingKind.DRAINING,
                Severity.WARNING,
                "it is active, so that new tenants may be placed on it meanwhile",
                Hint.setting("state", 'set {} to "draining"', f"target:{away}"),
                target=away,
            )
        inventory = self.observed.inventories.get(away)
        if inventory is None:
            return
        known = {plan.database for plan in desired.values()}
        known |= {record.database for record in self.ledger_view.records.values()}
        rest = sorted(inventory.databases.keys() - known)
        if rest:
            yield Finding(
                FindingKind.ORPHAN,
                Severity.WARNING,
                f"{pluralize(len(rest), 'database')} of no tenant that is known stay: "
                f"{summarize([truncate(name) for name in rest])}",
                "see to them before the server goes",
                target=away,
            )
        old = sorted(
            r.database
            for r in self.ledger_view.records.values()
            if r.secondary_target == away and r.state is State.READY
        )
        if old:
            yield Finding(
                FindingKind.RETIRING,
                Severity.INFO,
                f"{pluralize(len(old), 'old copy', 'old copies')} of moved tenants, kept until "
                f"due: {summarize([truncate(name) for name in old])}",
                Hint.command("retire --due", "{} drops them then"),
                target=away,
            )
