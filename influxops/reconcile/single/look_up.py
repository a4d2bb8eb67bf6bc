"""Single tenants: where each is or goes, without reading everything (creating.py makes them).

What a run does for all tenants (run.py), for a few: their sources, their records and their
databases are looked up, and the same functions decide. What takes all tenants to see (two ids that
share a name, a registry that lost half of them) is left to full runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field
from msgspec.structs import replace

from influxops.domain.change import Action
from influxops.domain.finding import FindingKind
from influxops.domain.plan import Plan, TenantPlan, TenantStatus
from influxops.domain.record import Record
from influxops.domain.selection import Scope
from influxops.errors import InfluxopsError, TargetAuthError
from influxops.reconcile.guards import guard
from influxops.reconcile.observe.reread import confirm_losses
from influxops.reconcile.observe.selected import (
    Asked,
    Known,
    may_be_anothers,
    no_check,
    observe_selected,
)
from influxops.reconcile.observe.stale_ledger import stale_ledger
from influxops.reconcile.plan import contents, recorded
from influxops.reconcile.plan.desired import compute_desired
from influxops.reconcile.plan.ensure import make_plan
from influxops.reconcile.request import RunRequest
from influxops.reconcile.state import Observed
from influxops.runtime.context import RunContext


class Step(StrEnum):
    """What is to be done about a tenant."""

    THERE = "there"  # nothing: its database is there
    MADE = "made"  # nothing: its database was made
    MAKE = "make"  # its database is missing, and has a place
    WAIT = "wait"  # it cannot be decided now
    BUSY = "busy"  # another run has it in its hands, for a moment
    UNKNOWN = "unknown"  # no source has it
    NEVER = "never"  # it gets none until somebody decides


class Place(Struct, frozen=True):
    """Where a tenant stands."""

    tenant: str  # its id
    step: Step
    database: str = ""  # its database's name; empty where that is not known
    target: str | None = None  # the target that holds it, or will
    reason: str = ""  # why it is not there, or what else is to be said
    full_run: bool = False  # whether it is a full run that it waits for
    complete: bool = True  # False where what completes it is to be made
    plan: TenantPlan | None = None  # what was decided
    record: Record | None = None  # what the ledger has of it
    observed: Observed | None = None  # what that was decided from
    #: Whether its database, which it had, is gone; a client may have created another one since.
    is_lost: bool = False


class Looked(Struct, frozen=True):
    """What was found out about some tenants."""

    places: Mapping[str, Place]  # by the tenant's id; one for each that was asked for
    #: What could not be read, by the full name of its section.
    failed: Mapping[str, InfluxopsError] = field(default_factory=dict)
    asked: frozenset[str] = frozenset()  # the full names of what was read well
    #: How many databases the ledger counts on each target; None where that was not asked.
    counted: Mapping[str, int] | None = None


def look_up(
    asked: Mapping[str, Asked],
    request: RunRequest,
    context: RunContext,
    known: Known,
    *,
    verify: bool = False,
) -> Looked:
    """Find out where tenants stand, and where those that have no database are to get one.

    Args:
        asked: The tenants, by id.
        request: What to ask.
        context: The run.
        known: What is known of the targets.
        verify: Whether a database is looked at though making it would tell that it is there.

    Raises:
        Interrupted: When the run is over.
    """
    read = observe_selected(asked, request, context, known, creating_tells=not verify)
    if read.observed is None:
        why = "; ".join(f"{name}: {error.message}" for name, error in read.failed.items())
        waiting = {id_: Place(id_, Step.WAIT, reason=why) for id_ in asked}
        return Looked(waiting, read.failed, read.read)
    observed, rules, scope = read.observed, request.rules, Scope(frozenset(asked))
    desired = compute_desired(observed, rules, no_check)
    observed = confirm_losses(desired, observed, request, context)
    plan = make_plan(observed, desired, rules, scope, no_check)
    guarded = guard(plan, observed, rules, request.allow)
    guarded = contents.describe_recreated(guarded, request.targets, context)
    judge = _Judge(observed, request, read.failed, known, guarded)
    stale = stale_ledger(observed, desired, request, scope, context)
    judge.stale = {finding.tenant: finding.message for finding in stale}
    records = observed.ledger_view.records
    places = {
        id_: judge.place(plan.tenants[id_])
        if id_ in plan.tenants
        else Place(
            id_,
            Step.UNKNOWN,
            rules.template.name(id_),
            reason="no source has it (yet)",
            record=records.get(id_),
        )
        for id_ in asked
    }
    return Looked(places, read.failed, read.read, read.counted)


class _Judge:
    """Says what planning means for who waits for the answer."""

    def __init__(
        self,
        observed: Observed,
        request: RunRequest,
        failed: Mapping[str, InfluxopsError],
        known: Known,
        guarded: Plan,
    ) -> None:
        self.observed, self.request, self.known = observed, request, known
        self.failed, self.guarded = failed, guarded
        self.stale: Mapping[str | None, str] = {}

    def place(self, plan: TenantPlan) -> Place:
        """Return where a tenant stands."""
        guarded = self.guarded.tenants[plan.tenant]
        place = Place(
            plan.tenant,
            Step.NEVER,
            plan.database,
            plan.target,
            plan=plan,
            record=self.observed.ledger_view.records.get(plan.tenant),
            observed=self.observed,
        )
        if plan.finding is not None and plan.finding.kind is FindingKind.CLAIMED:
            return replace(place, step=Step.BUSY, reason=plan.finding.message)
        is_held = plan.status is TenantStatus.BLOCKED or plan.is_replacement
        if not is_held and (stale := self.stale.get(plan.tenant)):
            return replace(place, target=None, plan=None, reason=f"{stale}; a full run tells more")
        if plan.status is TenantStatus.UNKNOWN:
            return self._unread(place, plan)
        if replaced := self._replaced(plan):
            reason = (
                f"another server answers at {replaced} than the recorded one; `influxops ensure` "
                "tells more"
            )
            return replace(place, reason=reason)
        if is_held:
            finding = guarded.finding if plan.is_replacement else plan.finding
            reason = finding.message if finding is not None else "it is held"
            if plan.is_replacement:
                remedy = recorded.how_to_go_on(plan)
                reason = f"it is {reason} ({remedy.words(f'`influxops {remedy.value}`')})"
            return replace(place, reason=reason, is_lost=plan.is_replacement)
        if any(change.action is Action.UNRETIRE for change in plan.changes):
            reason = "it is retiring, and a source has it again: a full run keeps it"
            return replace(place, step=Step.WAIT, reason=reason, full_run=True)
        if may_be_anothers(plan, self.observed, self.request):
            reason = f"a full run sees whether {plan.database} is another tenant's"
            return replace(place, step=Step.WAIT, reason=reason, full_run=True)
        if plan.before is not None:
            complete = all(change.action is not Action.COMPLETE for change in plan.changes)
            return replace(place, step=Step.THERE, complete=complete)
        return self._missing(place, plan, guarded)

    def _unread(self, place: Place, plan: TenantPlan) -> Place:
        reason = plan.finding.message if plan.finding is not None else "it cannot be read"
        found = plan.record
        error = self.failed.get(f"target:{found.target}") if found is not None else None
        if isinstance(error, TargetAuthError) or (found and found.target in self.known.refused):
            return replace(place, step=Step.WAIT, reason=self._why(reason))
        if found is None or not found.is_provisioned or found.target not in self.observed.unread:
            return replace(place, step=Step.WAIT, reason=self._why(reason))
        # It was promised, and nothing says that it is gone.
        return replace(
            place,
            step=Step.THERE,
            target=found.target,
            reason=f"so the ledger says; {self._why(f'{found.target} cannot be asked')}",
        )

    def _why(self, reason: str) -> str:
        failed = {
            name: error.message
            for name in self.observed.unread
            if (error := self.failed.get(f"target:{name}")) is not None
        }
        errors = [*{**self.known.away, **failed}.values()]
        return f"{reason}: {errors[0]}" if errors and errors[0] else reason

    def _replaced(self, plan: TenantPlan) -> str | None:
        """Return the target of a tenant that leads to another server than it was promised on."""
        places = (plan.target, plan.record.target if plan.record is not None else None)
        replaced = self.observed.ledger_view.replaced
        # Of a target that was not asked, nothing is known.
        asked = {name for name, each in self.observed.inventories.items() if each.identity}
        return next((name for name in places if name in replaced and name in asked), None)

    def _missing(self, place: Place, plan: TenantPlan, guarded: TenantPlan) -> Place:
        targets = self.request.targets
        if recorded.is_lost(plan.record):
            assert plan.record is not None
            why = recorded.explain_lost(plan.record, self.observed)
            return replace(
                place,
                reason=f"it is lost: {why}; a full run tells more, and what to do",
                is_lost=True,
            )
        if plan.unseen_on:
            names = ", ".join(plan.unseen_on)
            return replace(
                place, step=Step.WAIT, reason=self._why(f"it may be on {names}, not asked now")
            )
        if guarded.status is TenantStatus.GUARDED and guarded.finding is not None:
            remedy = guarded.finding.remedy
            return replace(place, reason=f"{guarded.finding.message} ({remedy})")
        if len(targets) > 1 and self.request.ledger is None:
            why = "there are several targets and no ledger, so a full run places it"
            return replace(place, step=Step.WAIT, reason=why)
        if len(targets) > 1 and not self.observed.used:
            why = "the ledger cannot count what each target holds, so a full run places it"
            return replace(place, step=Step.WAIT, reason=why)
        return replace(place, step=Step.MAKE)
