"""Single tenants: where each is or goes, without reading everything (creating.py makes them).

What a run does for all tenants (run.py), for a few: their sources, their records and their
databases are looked up, and the same functions decide. What takes all tenants to see (two ids that
share a name, a registry that lost half of them) is left to full runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from influxops.domain.change import Action
from influxops.domain.database import Inventory
from influxops.domain.finding import Kind
from influxops.domain.plan import TenantPlan, Verdict
from influxops.domain.record import Memory, Record
from influxops.domain.selection import Scope
from influxops.domain.tenant import Tenant
from influxops.errors import InfluxopsError, TargetRefused
from influxops.plugin_host.source import SourceHandle
from influxops.plugin_host.target import TargetHandle
from influxops.reconcile.observe.ledger import ledger_view
from influxops.reconcile.observe.sources import apart, merged
from influxops.reconcile.observe.stale_ledger import looks_beside, stale_ledger
from influxops.reconcile.plan import lost, recorded
from influxops.reconcile.plan.desired import desire
from influxops.reconcile.plan.ensure import make_plan
from influxops.reconcile.request import RunRequest
from influxops.reconcile.state import LedgerView, Observed
from influxops.runtime.context import Context
from influxops.runtime.parallel import in_parallel


class Asked(Struct, frozen=True):
    """A tenant that somebody asks for."""

    tenant: str  # its id
    retention: str | None = None  # the retention period that it is made with, instead of its own
    target: str | None = None  # the only target that it may be made on


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
    identity: str | None = None  # of the server that its target led to
    #: Whether its database, which it had, is gone; a client may have created another one since.
    is_lost: bool = False


class Looked(Struct, frozen=True):
    """What was found out about some tenants."""

    places: Mapping[str, Place]  # by the tenant's id; one for each that was asked for
    #: What could not be read, by the full name of its section.
    failed: Mapping[str, InfluxopsError] = field(default_factory=dict)
    asked: frozenset[str] = frozenset()  # the full names of what was read well


class NotOffered(InfluxopsError):
    """A plugin lacks what single tenants need: nothing is wrong with what it leads to."""


class Known(Struct, frozen=True):
    """What is known of targets from before."""

    #: Those that are not to be asked now, with why.
    away: Mapping[str, str] = field(default_factory=dict)
    #: Those of them that answer, and refuse: what the ledger says of them may not be so any more.
    refused: Collection[str] = ()
    full: Mapping[str, str] = field(default_factory=dict)  # those that take nothing more, with why
    used: Mapping[str, int] | None = None  # how many databases each holds, by the ledger


def look_up(
    asked: Mapping[str, Asked],
    request: RunRequest,
    context: Context,
    known: Known,
    *,
    closely: bool = False,
) -> Looked:
    """Find out where tenants stand, and where those that have no database are to get one.

    Args:
        asked: The tenants, by id.
        request: What to ask.
        context: The run.
        known: What is known of the targets.
        closely: Whether a database is looked at though making it would tell that it is there.

    Raises:
        Interrupted: When the run is over.
    """
    reading = _Reading(context)
    tenants, memory = _read(asked, request, reading)
    if reading.failed or memory is None:
        why = "; ".join(f"{name}: {error.message}" for name, error in reading.failed.items())
        waiting = {id_: Place(id_, Step.WAIT, reason=why) for id_ in asked}
        return Looked(waiting, reading.failed, frozenset(reading.good))
    states = tuple(handle.state() for handle in request.targets)
    observed = Observed(tenants, targets=states, closed=known.full, used=known.used or {})
    observed = replace(observed, ledger_view=_recalled(memory, {}, request))
    desired = desire(observed, request.rules, _no_check)
    beside: dict[str, Inventory] = {}
    inventories = _look(desired, observed, request, known, reading, beside, closely=closely)
    observed = replace(
        observed, inventories=inventories, ledger_view=_recalled(memory, inventories, request)
    )
    observed, memory = lost.look_again(desired, observed, request, memory, reading)
    plan = make_plan(observed, desired, request.rules, Scope(), _no_check)
    plan = lost.held_as_lost(plan, request.targets, context)
    judge = _Judge(observed, request, reading, known, memory)
    if beside:
        held = replace(observed, inventories=beside, ledger_view=_recalled(memory, beside, request))
        stale = stale_ledger(held, desired, request, Scope(), context)
        judge.stale = {finding.tenant: finding.message for finding in stale}
    places = {
        id_: judge.place(plan.tenants[id_])
        if id_ in plan.tenants
        else Place(
            id_,
            Step.UNKNOWN,
            request.rules.template.name(id_),
            reason="no source has it (yet)",
            record=memory.records.get(id_),
        )
        for id_ in asked
    }
    return Looked(places, reading.failed, frozenset(reading.good))


def _no_check() -> None:
    """Go on: a server may have used up all the time, and what others said still counts."""


class _Reading:
    """Asks, and keeps what went wrong."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.failed: dict[str, InfluxopsError] = {}
        self.good: set[str] = set()

    def ask(self, calls: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
        """Return what calls give, by full name; those that fail are left out."""
        found = in_parallel(
            {name: partial(self._one, name, call) for name, call in calls.items()},
            self.context,
            say=False,
        )
        return {name: given for name, (good, given) in zip(calls, found, strict=True) if good}

    def _one(self, name: str, call: Callable[[], Any]) -> tuple[bool, Any]:
        try:
            given = call()
        except InfluxopsError as error:
            self.failed[name] = error
            return False, None
        self.good.add(name)
        return True, given


def _read(
    asked: Mapping[str, Asked], request: RunRequest, reading: _Reading
) -> tuple[list[Tenant], Memory | None]:
    """Look tenants up in all sources, and their records."""
    context = reading.context
    calls: dict[str, Callable[[], Any]] = {
        handle.full_name: partial(_find, handle, [*asked], context) for handle in request.sources
    }
    if request.ledger is not None:
        calls[request.ledger.full_name] = partial(request.ledger.memory, context, [*asked])
    given = reading.ask(calls)
    read = [(handle.name, given.get(handle.full_name, [])) for handle in request.sources]
    tenants = merged(*apart(read, request.sources), complete=not reading.failed)
    memory = given.get(request.ledger.full_name) if request.ledger is not None else Memory()
    return [_overridden(tenant, asked[tenant.id]) for tenant in tenants], memory


def _find(handle: SourceHandle, ids: Sequence[str], context: Context) -> list[Tenant]:
    if not handle.missing and not handle.implements("influxops_find"):
        raise NotOffered(
            f"the kind {handle.kind} cannot look up single tenants; a full run sees to them"
        )
    wanted = frozenset(ids)
    return [tenant for tenant in handle.find(ids, context) if tenant.id in wanted]


def _overridden(tenant: Tenant, asked: Asked) -> Tenant:
    given = {"retention": asked.retention, "target": asked.target}
    more = {name: value for name, value in given.items() if value is not None}
    return replace(tenant, attributes={**tenant.attributes, **more}) if more else tenant


def _recalled(
    memory: Memory, inventories: Mapping[str, Inventory], request: RunRequest
) -> LedgerView:
    return LedgerView() if request.ledger is None else ledger_view(memory, inventories)


def _look(
    desired: Mapping[str, TenantPlan],
    observed: Observed,
    request: RunRequest,
    known: Known,
    reading: _Reading,
    beside: dict[str, Inventory],
    *,
    closely: bool,
) -> dict[str, Inventory]:
    """Look at the databases of tenants, each on the targets that may hold it.

    Where there is one target and no ledger nothing is asked: making it tells that it was there.
    What others hold goes into `beside`: the ledger may be older than that.
    """
    if len(request.targets) == 1 and request.ledger is None and not closely:
        return {handle.name: Inventory({}) for handle in request.targets}
    names: defaultdict[str, set[str]] = defaultdict(set)
    others: defaultdict[str, set[str]] = defaultdict(set)
    for plan in desired.values():
        if not plan.database:
            continue
        found = observed.ledger_view.record(plan.tenant)
        # A place was reserved only after all the others were asked.
        homes = {found.target, found.other} if found is not None else set()
        where = homes & request.rules.targets.keys() if found and found.target in homes else set()
        for target in where or request.rules.targets:
            names[target or ""].add(plan.database)
        is_known = bool(where) and found is not None and found.state.is_promised
        for target in request.rules.targets.keys() - where if is_known else ():
            others[target].add(plan.database)
    calls: dict[str, Callable[[], Any]] = {
        handle.full_name: partial(_look_at, handle, names[handle.name], reading.context)
        for handle in request.targets
        if handle.name in names and handle.name not in known.away
    }
    calls |= looks_beside(request.targets, others, known.away, beside, reading.context)
    given = reading.ask(calls)
    inventories = {h.name: given[h.full_name] for h in request.targets if h.full_name in given}
    # Nothing is known of a target that was not asked, and nothing needs to be.
    for handle in request.targets:
        if handle.name not in names and handle.name not in known.away:
            inventories.setdefault(handle.name, Inventory({}))
    return inventories


def _look_at(handle: TargetHandle, names: Collection[str], context: Context) -> Inventory:
    if not handle.missing and not handle.implements("influxops_look"):
        raise NotOffered(
            f"the kind {handle.kind} cannot look at single databases; a full run sees to them"
        )
    return handle.look(names, context)


class _Judge:
    """Says what planning means for who waits for the answer."""

    def __init__(
        self,
        observed: Observed,
        request: RunRequest,
        reading: _Reading,
        known: Known,
        memory: Memory,
    ) -> None:
        self.observed, self.request, self.known = observed, request, known
        self.reading, self.memory = reading, memory
        self.stale: Mapping[str | None, str] = {}

    def place(self, plan: TenantPlan) -> Place:
        """Return where a tenant stands."""
        inventory = self.observed.inventories.get(plan.target or "")
        place = Place(
            plan.tenant,
            Step.NEVER,
            plan.database,
            plan.target,
            plan=plan,
            record=self.observed.ledger_view.records.get(plan.tenant),
            identity=inventory.identity if inventory else None,
        )
        if plan.finding is not None and plan.finding.kind is Kind.BUSY:
            return replace(place, step=Step.BUSY, reason=plan.finding.message)
        is_held = plan.verdict is Verdict.HELD
        if not is_held and (stale := self.stale.get(plan.tenant)):
            return replace(place, target=None, plan=None, reason=f"{stale}; a full run tells more")
        if plan.verdict is Verdict.UNKNOWN:
            return self._unread(place, plan)
        if replaced := self._replaced(plan):
            reason = (
                f"another server answers at {replaced} than the recorded one; `influxops ensure` "
                "tells more"
            )
            return replace(place, reason=reason)
        if is_held:
            reason = plan.finding.message if plan.finding is not None else "it is held"
            if plan.is_replacement:
                remedy = recorded.how_to_go_on(plan)
                reason = f"it is {reason} ({remedy.words(f'`influxops {remedy.value}`')})"
            return replace(place, reason=reason, is_lost=plan.is_replacement)
        if any(change.action is Action.UNRETIRE for change in plan.changes):
            reason = "it is retiring, and a source has it again: a full run keeps it"
            return replace(place, step=Step.WAIT, reason=reason, full_run=True)
        if self._may_be_anothers(plan, place.record):
            reason = f"a full run sees whether {plan.database} is another tenant's"
            return replace(place, step=Step.WAIT, reason=reason, full_run=True)
        if plan.before is not None:
            complete = all(change.action is not Action.COMPLETE for change in plan.changes)
            return replace(place, step=Step.THERE, complete=complete)
        return self._missing(place, plan)

    def _may_be_anothers(self, plan: TenantPlan, found: Record | None) -> bool:
        """Return whether a database may be that of a tenant which was not looked up.

        Ids alone give each tenant a name of its own; a source that names databases may give two
        the same. What is recorded as this tenant's was held against all others by then.
        """
        if self.request.ledger is None or all(
            handle.gives_ids_only for handle in self.request.sources
        ):
            return False
        if found is not None and found.database == plan.database and found.target is not None:
            return False
        return plan.before is not None or plan.database != self.request.rules.template.name(
            plan.tenant
        )

    def _unread(self, place: Place, plan: TenantPlan) -> Place:
        reason = plan.finding.message if plan.finding is not None else "it cannot be read"
        found = plan.record
        error = self.reading.failed.get(f"target:{found.target}") if found is not None else None
        if isinstance(error, TargetRefused) or (found and found.target in self.known.refused):
            return replace(place, step=Step.WAIT, reason=self._why(reason))
        if found is None or not found.is_promised or found.target not in self.observed.unread:
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
            if (error := self.reading.failed.get(f"target:{name}")) is not None
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

    def _missing(self, place: Place, plan: TenantPlan) -> Place:
        targets = self.request.targets
        if recorded.is_lost(plan.record):
            assert plan.record is not None
            why = recorded.why_lost(plan.record, self.observed)
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
        if len(targets) > 1 and self.request.ledger is None:
            why = "there are several targets and no ledger, so a full run places it"
            return replace(place, step=Step.WAIT, reason=why)
        if len(targets) > 1 and self.known.used is None:
            why = "the ledger cannot count what each target holds, so a full run places it"
            return replace(place, step=Step.WAIT, reason=why)
        return replace(place, step=Step.MAKE)
