"""Holding what targets said against what they hold now: that is what calls a change good."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from influxops.domain.database import UNKNOWN, UNMANAGED, Database, Inventory
from influxops.domain.finding import FindingKind
from influxops.domain.hint import Hint
from influxops.domain.plan import Action, Change, ChangeResult, Outcome, TenantPlan, TenantStatus
from influxops.reconcile.plan.recorded import was_recreated
from influxops.reconcile.state import RunState

#: What a tenant's own verdict is where one of its changes ended so, the worst first.
_FINDINGS = {
    ChangeResult.FAILED: (TenantStatus.FAILED, FindingKind.CHANGE_FAILED),
    ChangeResult.NO_CAPACITY: (TenantStatus.FAILED, FindingKind.CHANGE_FAILED),
    ChangeResult.SKIPPED: (TenantStatus.FAILED, FindingKind.NOT_ATTEMPTED),
    ChangeResult.UNCONFIRMED: (TenantStatus.UNKNOWN, FindingKind.UNCONFIRMED),
    ChangeResult.UNKNOWN: (TenantStatus.UNKNOWN, FindingKind.OUTCOME_UNKNOWN),
}

_LOOK_CLOSELY = Hint.command("ensure --verify", "run {}, which reads back what was written")


_READ_AGAIN = "run it again, which reads how it ended"


def incomplete(outcomes: Iterable[Outcome], observed: RunState) -> Iterator[Change]:
    """Yield what completes the databases that were made, and of which a part was lost."""
    for outcome in outcomes:
        found = observed.database(outcome.change.target, outcome.change.database)
        if found is None or found.complete is not False or not _completes(outcome):
            continue
        if outcome.status in (ChangeResult.DONE, ChangeResult.UNKNOWN):
            yield replace(
                outcome.change,
                action=Action.COMPLETE,
                before=found,
                after=replace(found, complete=True),
            )


def with_completion(outcomes: Sequence[Outcome], completions: Iterable[Outcome]) -> list[Outcome]:
    """Return how changes ended, taking in how their databases were completed afterwards."""
    ended = {(o.change.tenant, o.change.database): o for o in completions}
    found = []
    for outcome in outcomes:
        last = ended.get((outcome.change.tenant, outcome.change.database))
        good = (ChangeResult.DONE, ChangeResult.UNKNOWN)
        if last is not None and last.status not in good and _completes(outcome):
            outcome = replace(outcome, status=last.status, message=last.message, remedy=last.remedy)
        found.append(outcome)
    return found


def _completes(outcome: Outcome) -> bool:
    """Return whether a change should have left its database complete: one a database does."""
    return outcome.change.action in (Action.CREATE, Action.COMPLETE)


def verify(
    plans: Iterable[TenantPlan],
    outcomes: Iterable[Outcome],
    observed: RunState,
    closed: Mapping[str, str],
    ended: Mapping[str, Sequence[Outcome]] | None = None,
    planned: Mapping[str, Inventory] | None = None,
) -> dict[str, TenantPlan]:
    """Return tenants with the results of their changes, without those to try on another target.

    A target that was `closed` before keeps nothing going; `ended` has what was tried before, and
    `planned` what targets held when their changes were planned.
    """
    by_tenant: dict[str, list[Outcome]] = {plan.tenant: [] for plan in plans}
    for outcome in outcomes:
        by_tenant[outcome.change.tenant].append(outcome)
    found = {}
    for plan in plans:
        own = [settled(o, plan, observed, planned) for o in by_tenant[plan.tenant]]
        if any(_wants_another_place(o, closed) for o in own):
            continue
        decided = [_decided(c, own) for c in plan.changes if not c.needs_target]
        before = (ended or {}).get(plan.tenant, ())
        own = [*before, *own, *decided]
        if len(own) > 1:
            places = {change.action: place for place, change in enumerate(plan.changes)}
            own.sort(key=lambda outcome: places.get(outcome.change.action, 0))
        found[plan.tenant] = _with_outcomes(plan, own, observed)
    return found


def _decided(change: Change, others: Sequence[Outcome]) -> Outcome:
    """Return how a change ends that the ledger alone makes: it is written down next.

    A database is recorded for a tenant only once it is marked as that tenant's.
    """
    if change.action is Action.ADOPT and any(o.status is not ChangeResult.DONE for o in others):
        return Outcome(change, ChangeResult.SKIPPED, "not recorded: it could not be marked")
    return Outcome(change, ChangeResult.DONE)


def closed_by(outcomes: Iterable[Outcome], closed: Mapping[str, str]) -> dict[str, str]:
    """Return the targets that said that nothing more fits, with what they said."""
    full = {o.change.target: o.message for o in outcomes if _wants_another_place(o, closed)}
    return {**full, **closed}


def _wants_another_place(outcome: Outcome, closed: Mapping[str, str]) -> bool:
    # A plugin that says it of anything else would keep the run going in circles.
    return (
        outcome.status is ChangeResult.NO_CAPACITY
        and outcome.change.action is Action.CREATE
        and outcome.change.target not in closed
    )


def settled(
    outcome: Outcome,
    plan: TenantPlan,
    observed: RunState,
    planned: Mapping[str, Inventory] | None = None,
) -> Outcome:
    """Return the outcome of a change, corrected by what its target holds afterwards."""
    change, status = outcome.change, outcome.status
    state = next((state for state in observed.targets if state.name == change.target), None)
    if state is None or not state.reachable:
        if status is not ChangeResult.DONE:
            return outcome
        why = state.error if state is not None else "it was not asked"
        return replace(
            outcome,
            status=ChangeResult.UNKNOWN,
            message=f"it was done, but could not be read again: {why}",
            remedy=_LOOK_CLOSELY,
            partially_applied=True,
        )
    found = observed.database(change.target, change.database)
    applied = (found is None) != (change.before is None)
    is_made = status in (ChangeResult.DONE, ChangeResult.UNKNOWN)
    is_lost = is_made and _deleted_meanwhile(change, (planned or {}).get(change.target), observed)
    good = _is_good(change, found, managed=plan.retention is not UNMANAGED)
    if is_made and good and not is_lost:
        if change.action is Action.DROP:
            until = observed.inventories[change.target].deleted.get(change.database)
            change = replace(change, until=until)
        done = ChangeResult.DONE
        return replace(
            outcome, change=change, status=done, message="", remedy="", partially_applied=applied
        )
    outcome = replace(outcome, partially_applied=applied)
    if status is ChangeResult.UNCONFIRMED:
        return replace(outcome, remedy=_LOOK_CLOSELY)
    if is_lost:
        # A server creates a database for any write, so that the marker has made what was lost.
        again = "which created it again, empty"
        if found is not None and found.in_use is not False:
            again = "and created again, which clients have done or the marker"
        return replace(
            outcome,
            status=ChangeResult.UNCONFIRMED,
            message=f"it was deleted while its marker was written, {again}",
            remedy="if its data is needed, restore it; what is there is kept by the next run",
        )
    is_drop = change.action is Action.DROP
    # What a write makes is there again without a marker.
    if (
        status is ChangeResult.DONE
        and is_drop
        and was_recreated(change.database, change.target, observed)
    ):
        return replace(
            outcome,
            status=ChangeResult.FAILED,
            message="it was dropped, and exists again: something probably still writes to it",
            remedy="stop what writes to it, then run it again",
        )
    if status is ChangeResult.DONE:
        difference = "another retention period"
        if change.action is not Action.SET_RETENTION and found and found.complete is False:
            difference = "that it is not complete"
        return replace(
            outcome,
            status=ChangeResult.FAILED,
            message="its target said that it was done, but reading it again shows "
            + (difference if found is not None else "no such database"),
            remedy="another program may have changed it; run it again",
        )
    if status is ChangeResult.UNKNOWN and outcome.abandoned:
        return replace(outcome, remedy=outcome.remedy or _READ_AGAIN)
    if status is ChangeResult.UNKNOWN and (found is None or found.complete is False):
        return replace(outcome, status=ChangeResult.FAILED, remedy=outcome.remedy or "run it again")
    return outcome


def _deleted_meanwhile(change: Change, before: Inventory | None, observed: RunState) -> bool:
    """Return whether a database that a change was to complete was deleted since it was planned."""
    if change.action is not Action.COMPLETE or before is None:
        return False
    was, after = before.databases.get(change.database), observed.inventories[change.target]
    found = after.databases.get(change.database)
    if was is None or found is None:
        return False
    if was.in_use is True and found.in_use is False:
        return True  # whether the server still tells of what was deleted, or not
    known, now = (each.deleted.get(change.database, False) for each in (before, after))
    return before.complete and now is not False and now != known


def _is_good(change: Change, found: Database | None, *, managed: bool) -> bool:
    """Return whether a database is as a change should have left it."""
    if change.action is Action.DROP or change.after is None:
        return found is None
    if found is None or found.complete is False:
        # A retention period may be right in a database that was never finished.
        return found is not None and change.action is Action.SET_RETENTION
    if change.action is Action.COMPLETE or not managed or found.retention is UNKNOWN:
        return True
    return found.retention == change.after.retention


def _with_outcomes(plan: TenantPlan, outcomes: list[Outcome], observed: RunState) -> TenantPlan:
    """Return a tenant with how its changes ended, and the verdict that follows from it."""
    after = observed.database(plan.target, plan.database)
    plan = replace(plan, outcomes=tuple(outcomes), after=after)
    if after is not None and after.retention is UNKNOWN and plan.retention is not UNMANAGED:
        why = "its retention period cannot be read, so whether it is right is unknown"
        plan = plan.note(plan.warning(FindingKind.RETENTION_NOT_READ, why, database=None))
    if plan.refused:
        return plan  # what a guard refuses needs a decision first
    failed = [outcome for outcome in outcomes if outcome.status is not ChangeResult.DONE]
    if not failed:
        return replace(plan, status=TenantStatus.CHANGED, finding=None)
    worst = [*_FINDINGS]
    bad = min(failed, key=lambda outcome: worst.index(outcome.status))
    verdict, kind = _FINDINGS[bad.status]
    message = bad.message or f"{bad.change.action.value} ended as {bad.status.value}"
    finding = plan.error(kind, message, bad.remedy, target=bad.change.target)
    return replace(plan, status=verdict, finding=finding)
