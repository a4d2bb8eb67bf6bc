"""Reading what concerns some tenants: their rows, their records, and where their databases may be.

The result is observed as a full reading is, so that state, guards and everything after them are
the same. What takes all tenants to see (two ids that share a name, a registry that lost half of
them) is left to full runs.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from influxops.domain.database import Inventory, TargetHints
from influxops.domain.naming import DEFAULT_TEMPLATE
from influxops.domain.plan import TenantPlan
from influxops.domain.record import LedgerSnapshot
from influxops.domain.tenant import Tenant
from influxops.errors import InfluxopsError, NotSupported
from influxops.plugin_host.source import SourceHandle
from influxops.plugin_host.target import TargetHandle
from influxops.reconcile.observe.ledger import ReadLedger, ledger_view, with_facts, with_memory
from influxops.reconcile.observe.sources import with_tenants
from influxops.reconcile.observe.targets import describe, in_time, label, slow_hint, unreachable
from influxops.reconcile.plan.desired import with_desired
from influxops.reconcile.request import RunRequest
from influxops.reconcile.state import LedgerView, RunState
from influxops.report.model import TargetState
from influxops.runtime.context import RunContext
from influxops.runtime.parallel import in_parallel

#: Seconds for which a target is looked at that should hold nothing of a tenant.
_BESIDE = 0.5
#: From so many on, looking at their databases once costs less than creating those that are there.
_TOGETHER = 20


def observe_selected(
    asked: Mapping[str, Mapping[str, str]],
    run: RunState,
    known: TargetHints,
    *,
    creating_tells: bool = False,
    reports: bool = False,
    retiring: bool = False,
) -> tuple[RunState | None, Mapping[str, InfluxopsError], Mapping[str, int] | None]:
    """Read some tenants, their records and their databases, each where it may be.

    Each is `asked` with attributes that override its own. Where `creating_tells` that a database
    was there, the only target without a ledger is not asked about a few. One that `reports` reads
    what is known of a target although there is only one. With `retiring`, those are looked at that
    no source has.

    Returns:
        What was read, or None where a source or the ledger could not be, so that nothing can be
        decided; what could not be read, by its section's full name; and how many databases the
        ledger counts on each target, or None where that was not asked.
    """
    request, context = run.request, run.context
    sections = (*request.sources, *request.targets, request.ledger)
    labels = {each.full_name: label(each) for each in sections if each is not None}
    reading = _Reading(context, labels if reports else {})
    given = reading.ask(_reads(asked, request, known, context, reports))
    if reading.failed:
        return None, reading.failed, None
    ledger = request.ledger
    memory = given[ledger.full_name] if ledger is not None else LedgerSnapshot()
    counted = known.used if known.used is not None else _counted(given.get(_COUNTS), known)
    found = [(handle.state(), given[handle.full_name]) for handle in request.sources]
    read = [(replace(state, tenants=len(tenants)), tenants) for state, tenants in found]
    observed = with_tenants(run, read)
    tenants = [
        replace(each, attributes={**each.attributes, **asked[each.id]}) for each in observed.tenants
    ]
    view = LedgerView() if ledger is None else ledger_view(memory, {})
    observed = with_desired(replace(observed, tenants=tenants, ledger_view=view), no_check)
    reads_targets = reports or chooses(request)
    is_simple = creating_tells and len(request.targets) == 1 and ledger is None
    # Nothing would keep what all of a target is, from one batch of tenants to the next.
    whole = _not_read_yet(observed, memory) if reads_targets and not is_simple else frozenset()
    if is_simple and len(asked) < _TOGETHER:
        observed = replace(
            observed,
            inventories={handle.name: Inventory({}) for handle in request.targets},
            targets=tuple(handle.state() for handle in request.targets),
            looked={},
        )
    else:
        observed = _look(observed, known, reading, whole, retiring)
    observed = replace(observed, closed=_full(known, memory, observed.inventories))
    if ledger is not None:
        state = replace(ledger.state(), records=len(memory.records))
        observed = with_memory(observed, ReadLedger(state, memory))
        observed = with_facts(observed, memory, counted, whole)
    return observed, reading.failed, counted


#: What the count of the ledger's databases is called beside the sections that are read.
_COUNTS = "counts"


def _counted(counts: Mapping[str, int] | None, known: TargetHints) -> Mapping[str, int] | None:
    if counts is None:
        return None
    # After the ledger has counted: a tenant that it has by now would count twice, and a target
    # seem full that is not.
    placed = known.in_flight()
    return {**counts, **{name: counts.get(name, 0) + n for name, n in placed.items()}}


def no_check() -> None:
    """Go on: a server may have used up all the time, and what others said still counts."""


class _Reading:
    """Asks, and keeps what went wrong; a section without a label is not named in the log."""

    def __init__(self, context: RunContext, labels: Mapping[str, str]) -> None:
        self.context, self._labels = context, labels
        self.failed: dict[str, InfluxopsError] = {}

    def ask(self, calls: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
        """Return what calls give, by full name; those that fail are left out."""
        given: dict[str, Any] = {}

        def one(name: str, call: Callable[[], Any]) -> None:
            try:
                given[name] = call()
            except InfluxopsError as error:
                self.failed[name] = error

        tasks = {self._labels.get(name, name): partial(one, name, calls[name]) for name in calls}
        in_parallel(tasks, self.context, say=bool(self._labels))
        return given


def _reads(
    asked: Collection[str],
    request: RunRequest,
    known: TargetHints,
    context: RunContext,
    reports: bool,
) -> dict[str, Callable[[], Any]]:
    """Return what reads tenants in all sources, and what the ledger has of them."""
    calls: dict[str, Callable[[], Any]] = {
        handle.full_name: partial(_find, handle, [*asked], context) for handle in request.sources
    }
    ledger = request.ledger
    if ledger is not None:
        calls[ledger.full_name] = partial(ledger.load_records, [*asked], context)
        if known.used is None and (reports or chooses(request)):
            calls[_COUNTS] = partial(ledger.count_by_target, context)
    return calls


def chooses(request: RunRequest) -> bool:
    """Return whether placing a tenant takes more than that there is a target."""
    policies = request.rules.targets.values()
    return len(policies) > 1 or any(each.capacity is not None for each in policies)


def _find(handle: SourceHandle, ids: Sequence[str], context: RunContext) -> list[Tenant]:
    if not handle.missing and not handle.implements("influxops_get_tenants"):
        raise NotSupported(
            f"the kind {handle.kind} cannot look up single tenants; a full run handles them"
        )
    wanted = frozenset(ids)
    return [tenant for tenant in handle.get_tenants(ids, context) if tenant.id in wanted]


def _look(
    observed: RunState,
    known: TargetHints,
    reading: _Reading,
    whole: Collection[str],
    retiring: bool,
) -> RunState:
    """Look at the databases of tenants, each on the targets that may hold it.

    Of a target that was never read in full, all is read once, where one is to be chosen: what is
    known of it is recorded then. Targets that should hold nothing of a tenant are looked at, too:
    the ledger may be older than what they hold.
    """
    request, rules = observed.request, observed.rules
    names: defaultdict[str, set[str]] = defaultdict(set)
    others: defaultdict[str, set[str]] = defaultdict(set)
    for plan in observed.desired.values():
        if not plan.database:
            continue
        # A target was reserved only after all the others were asked.
        where = _recorded_on(plan, observed)
        found = observed.ledger_view.record(plan.tenant)
        for target in where or rules.targets:
            names[target or ""].add(plan.database)
        is_known = bool(where) and found is not None and found.state.is_provisioned
        for target in rules.targets.keys() - where if is_known else ():
            others[target].add(plan.database)
    for record in observed.ledger_view.records.values() if retiring else ():
        if record.target is not None and record.target in rules.targets:
            names[record.target].add(record.database)
    beside: dict[str, Inventory] = {}

    def look_beside(handle: TargetHandle) -> None:
        with contextlib.suppress(InfluxopsError):
            context = reading.context.with_timeout(_BESIDE)
            inventory = handle.get_databases(others[handle.name], context)
            if inventory.databases:
                beside[handle.name] = inventory

    calls: dict[str, Callable[[], Any]] = {
        handle.full_name: partial(
            _look_at, handle, names[handle.name], request, reading.context, handle.name in whole
        )
        for handle in request.targets
        if handle.name in names and handle.name not in known.away
    }
    calls |= {
        f"beside {handle.name}": partial(look_beside, handle)
        for handle in request.targets
        if handle.name in others
        and handle.name not in known.away
        and not handle.missing
        and handle.implements("influxops_get_databases")
    }
    given = reading.ask(calls)
    inventories: dict[str, Inventory] = {}
    states: list[TargetState] = []
    findings = list(observed.findings)
    looked: dict[str, frozenset[str]] = {}
    for handle in request.targets:
        state, name = handle.state(), handle.name
        if handle.full_name in given:
            found_there: Inventory = given[handle.full_name]
            if name in beside:
                databases = {**beside[name].databases, **found_there.databases}
                found_there = replace(found_there, databases=databases)
            inventories[name] = found_there
            state = describe(state, found_there, rules)
            looked[name] = frozenset(names[name])
            if name not in whole:
                state = replace(state, databases=None)
        elif name in names:
            if name in known.away:
                states.append(replace(state, error=known.away[name]))
            else:
                reading_failed = unreachable(state, reading.failed[handle.full_name])
                states.append(reading_failed.state)
                findings += reading_failed.findings
            continue
        elif name in beside:
            inventories[name] = beside[name]
            state = replace(describe(state, beside[name], rules), databases=None)
            looked[name] = frozenset(others[name])
        elif name not in known.away:
            # Nothing is known of a target that was not asked, and nothing needs to be.
            inventories[name] = Inventory({}, complete=False)
            continue
        states.append(state)
    return replace(
        observed,
        inventories=inventories,
        targets=tuple(states),
        findings=tuple(findings),
        looked=looked,
    )


def _recorded_on(plan: TenantPlan, observed: RunState) -> set[str]:
    """Return the targets that have a tenant's database, or get it, by the ledger."""
    found = observed.ledger_view.record(plan.tenant)
    homes = (found.target, found.secondary_target) if found is not None else ()
    return {name for name in homes if name is not None and name in observed.rules.targets}


def _full(
    known: TargetHints, memory: LedgerSnapshot, inventories: Mapping[str, Inventory]
) -> dict[str, str]:
    """Return the targets that said a moment ago that they take nothing more."""
    said = {
        server.target: server.full
        for server in memory.servers
        if memory.now is not None and server.is_full(memory.now)
    }
    return {**{name: why for name, why in said.items() if name in inventories}, **known.full}


def _not_read_yet(observed: RunState, memory: LedgerSnapshot) -> frozenset[str]:
    """Return the targets to read in full: one is to be chosen, and it is not known what they hold.

    Without a ledger nothing keeps what is known of them.
    """
    plans = [plan for plan in observed.desired.values() if plan.database]
    if all(_recorded_on(plan, observed) for plan in plans):
        return frozenset()
    read = {server.target for server in memory.servers if server.unrecorded is not None}
    return frozenset(observed.rules.targets.keys() - read)


def _look_at(
    handle: TargetHandle,
    names: Collection[str],
    request: RunRequest,
    context: RunContext,
    whole: bool,
) -> Inventory:
    if not handle.missing and not handle.implements("influxops_get_databases"):
        raise NotSupported(
            f"the kind {handle.kind} cannot look at single databases; a full run handles them"
        )
    reading = context.with_timeout(request.rules.reading, slow_hint(request.rules))
    with in_time(request.rules, context):
        return handle.list_databases((), reading) if whole else handle.get_databases(names, reading)


def may_be_anothers(plan: TenantPlan, observed: RunState) -> bool:
    """Return whether a database may be that of a tenant which was not read.

    Ids alone give each tenant a name of its own; a source that names databases may give two the
    same. What is recorded as this tenant's was held against all others then.
    """
    request = observed.request
    if request.ledger is None or all(handle.gives_ids_only for handle in request.sources):
        return False
    found = observed.ledger_view.records.get(plan.tenant)
    if found is not None and found.database == plan.database and found.target is not None:
        return False
    return plan.before is not None or plan.database != request.rules.template.name(plan.tenant)


def reads_single(request: RunRequest) -> bool:
    """Return whether single tenants can be read without missing what a full reading would show.

    A ledger holds the names of all; without one they are those of their ids.
    """
    offered = all(
        handle.missing is None and handle.implements(hook)
        for handles, hook in (
            (request.sources, "influxops_get_tenants"),
            (request.targets, "influxops_get_databases"),
        )
        for handle in handles
    )
    ledger = request.ledger
    if ledger is not None:
        counts = len(request.targets) < 2 or ledger.implements("influxops_count_by_target")
        return offered and ledger.missing is None and counts
    ids_only = all(handle.gives_ids_only for handle in request.sources)
    return offered and ids_only and request.rules.template.text == DEFAULT_TEMPLATE
