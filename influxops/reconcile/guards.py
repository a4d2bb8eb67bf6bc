"""The guards: what is refused until somebody allows it by name.

They see every planned change once, after planning and before anything is written; what they
refuse leaves the plan here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from influxops.domain.change import Action, Change
from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.domain.hint import Hint
from influxops.domain.plan import Plan, Refusal, TenantPlan, TenantStatus
from influxops.domain.record import State
from influxops.domain.text import did_you_mean, pluralize, summarize, truncate
from influxops.errors import ConfigError
from influxops.reconcile.plan.recorded import due_on, how_to_go_on, is_lost, is_recreated
from influxops.reconcile.plan.warnings import tenant_databases
from influxops.reconcile.policy import Rules
from influxops.reconcile.state import Observed


class Guard(Struct, frozen=True):
    """Keeps one kind of change from happening until it is allowed."""

    refuses: Callable[[TenantPlan, Change, Observed], bool]  # whether it refuses a change
    #: Says what all that it refuses comes to.
    message: Callable[[list[TenantPlan]], str]
    #: What a tenant whose change it refuses is told as.
    kind: FindingKind = FindingKind.GUARD
    when: str = "only if that is what you want"  # when it is right to allow it
    why: str = ""  # why it refuses a change, where that is not what the change is for
    note: FindingKind | None = (
        None  # the note of a tenant for which it refuses, where it goes by one
    )


def _shortens(plan: TenantPlan, change: Change, observed: Observed) -> bool:
    if change.action is not Action.SET_RETENTION or not change.before or not change.after:
        return False
    actual, wanted = change.before.retention, change.after.retention
    return isinstance(wanted, int) and (actual is None or wanted < int(str(actual)))


def _listed(plans: list[TenantPlan], most: int, what: str) -> str:
    named = [
        f"{change.database} on {change.target}" + (f" ({change.reason})" if change.reason else "")
        for plan in plans[:most]
        for change in plan.refused
        if change.action is not Action.CREATE
    ]
    more = f", and {len(plans) - most:,} more" if len(plans) > most else ""
    return f"would be {what}: {', '.join(named)}{more}"


def _never(plan: TenantPlan, change: Change, observed: Observed) -> bool:
    """Refuse no single change: it is about all of a run."""
    return False


def _is_on_replaced(plan: TenantPlan, change: Change, observed: Observed) -> bool:
    places: set[str | None] = {change.target}
    if plan.record is not None:
        places |= {plan.record.target, plan.record.secondary_target if plan.move else None}
    return bool(places & observed.ledger_view.replaced.keys()) or _is_of_another(
        plan, change, observed
    )


def _is_of_another(plan: TenantPlan, change: Change, observed: Observed) -> bool:
    """Return whether what is to be dropped was made on another server than has it now."""
    record, inventory = plan.record, observed.inventories.get(change.target)
    if record is None or inventory is None or change.action is not Action.DROP:
        return False
    if plan.is_replacement:
        return False  # nobody takes it for the tenant's
    identities = {
        record.secondary_target: record.secondary_identity,
        record.target: record.identity,
    }
    return identities.get(change.target) not in (None, inventory.identity)


def _is_undecided_drop(plan: TenantPlan, change: Change, observed: Observed) -> bool:
    """Return whether a drop is one that nobody has decided on before, by retiring a tenant."""
    if plan.is_replacement:
        return True  # nothing is created over what a client has written
    if change.action is not Action.DROP:
        return False
    decided = plan.record and due_on(plan.record, observed.ledger_view.now)
    return decided != change.target


def _retires(kind: FindingKind) -> Callable[[TenantPlan, Change, Observed], bool]:
    """Return what refuses that a tenant with such a note is retired, or dropped for that."""
    return lambda plan, change, observed: (
        change.action in (Action.RETIRE, Action.DROP) and any(n.kind is kind for n in plan.notes)
    )


#: Each guard, by the name that allows it; the first one that refuses a change is told.
GUARDS: Final[Mapping[str, Guard]] = {
    "unrecorded-changes": Guard(
        lambda plan, change, observed: (
            bool(observed.ledger_view.error) and change.action in (Action.CREATE, Action.DROP)
        ),
        lambda plans: (
            "the ledger cannot be used, so that nobody would know of what is made or dropped for "
            f"{pluralize(len(plans), 'tenant')}"
        ),
    ),
    "new-source": Guard(
        lambda plan, change, observed: plan.tenant in observed.ledger_view.tenants_of_new_sources,
        lambda plans: (
            f"{pluralize(len(plans), 'tenant')} of a source that the ledger has not seen "
            "before; is this the right registry, and the right namespace?"
        ),
    ),
    "replaced-server": Guard(
        _is_on_replaced,
        lambda plans: "",
        when="check where the target leads; if its server was replaced on purpose",
        why="another server answers at its target",
    ),
    "recreate-lost": Guard(
        lambda plan, change, observed: (
            (change.action is Action.CREATE or plan.is_replacement)
            and is_lost(plan.record)
            and not plan.move
        ),
        lambda plans: _lost(plans),
        FindingKind.LOST,
        "restore it if you can; to have all of them made again, empty",
    ),
    "unreachable": Guard(
        lambda plan, change, observed: (
            change.action in (Action.CREATE, Action.DROP, Action.MOVE) and bool(plan.unseen_on)
        ),
        lambda plans: (
            f"{pluralize(len(plans), 'tenant')} may have a database on "
            f"{' or '.join(plans[0].unseen_on)}, which cannot be read: left alone"
        ),
    ),
    "still-registered": Guard(
        _retires(FindingKind.STILL_REGISTERED),
        lambda plans: (
            f"{pluralize(len(plans), 'tenant')} still in a source, so that the next run would keep "
            f"what is to be dropped: {_named_databases(plans)}"
        ),
        when="take them out of the registry first; to retire them all the same",
        note=FindingKind.STILL_REGISTERED,
    ),
    "recent-telemetry": Guard(
        _retires(FindingKind.RECENT_TELEMETRY),
        lambda plans: (
            f"{pluralize(len(plans), 'tenant')} with telemetry of the last day: "
            f"{_named_databases(plans)}"
        ),
        when="stop what writes first; if what came is worth nothing",
        note=FindingKind.RECENT_TELEMETRY,
    ),
    "late-writes": Guard(
        _retires(FindingKind.LATE_WRITES),
        lambda plans: _listed(plans, 3, "dropped, though still written to"),
        when="stop what writes there first; to copy the rest and drop it then",
        note=FindingKind.LATE_WRITES,
    ),
    "shorter-retention": Guard(
        _shortens,
        lambda plans: _listed(plans, 3, "given a shorter retention period"),
    ),
    "empty-source": Guard(_never, lambda plans: ""),
    "drop": Guard(
        _is_undecided_drop,
        # Named in full: somebody has to decide about each.
        lambda plans: _listed(plans, len(plans), "dropped"),
    ),
    "mass-change": Guard(_never, lambda plans: ""),
}


#: What guards were called in an earlier version: the new name, by the old one.
RENAMED: Final = {"lost": "recreate-lost", "unrecorded": "unrecorded-changes"}


def known(allow: Iterable[str]) -> frozenset[str]:
    """Return the names of the guards that are allowed.

    Raises:
        ConfigError: When no guard has such a name.
    """
    names = frozenset(allow)
    for name in sorted(names - GUARDS.keys()):
        if name in RENAMED:
            raise ConfigError(
                f"the guard {name!r} was renamed to {RENAMED[name]!r}",
                hint=f"use `--allow {RENAMED[name]}`",
            )
        raise ConfigError(
            f"no guard is called {name!r}",
            hint=did_you_mean(name, GUARDS) or f"guards: {', '.join(GUARDS)}",
        )
    return names


def guard(
    plan: Plan, observed: Observed, rules: Rules, allow: frozenset[str], *, drops: bool = False
) -> Plan:
    """Return a plan without what the guards refuse.

    Args:
        allow: The names of the guards that are allowed.
        drops: Whether the plan takes databases away.
    """
    active = {name: each for name, each in GUARDS.items() if name not in allow}
    refused: dict[str, list[TenantPlan]] = {}
    tenants = {}
    for id_, tenant in plan.tenants.items():
        if drops and "unreachable" in allow and _is_only_unseen(tenant):
            tenant = replace(tenant, status=TenantStatus.OK, finding=None)
        for name, each in active.items():
            if name == "recreate-lost" and id_ in rules.recreate:
                continue
            changes = [c for c in tenant.changes if each.refuses(tenant, c, observed)]
            if changes:
                tenant = _without(tenant, changes, name)
                refused.setdefault(name, []).append(tenant)
        is_right = tenant.status is TenantStatus.OK
        if (
            is_right
            and "replaced-server" in active
            and tenant.target in observed.ledger_view.replaced
        ):
            # What stands on another server is not what was promised, however much it looks it.
            tenant = _without(tenant, [], "replaced-server")
            refused.setdefault("replaced-server", []).append(tenant)
        tenants[id_] = tenant
    refusals = [
        Refusal(
            name,
            GUARDS[name].message(plans),
            tuple(plan.tenant for plan in plans),
            GUARDS[name].when,
        )
        for name, plans in refused.items()
        if name != "replaced-server"
    ]
    if "replaced-server" in active:
        refusals += _replaced_servers(refused.get("replaced-server", ()), observed)
    reads_all = not observed.is_selected  # what takes all tenants to see is left to full runs
    if not drops and reads_all and "empty-source" in active and observed.sources_complete:
        empty = [*_empty_source(plan, observed, rules)]
        refusals += empty
        if empty:  # what is retired, or dropped for that, may be gone from the registry by mistake
            tenants = {id_: _refused(each, "empty-source") for id_, each in tenants.items()}
    plan = replace(plan, tenants=tenants, refusals=tuple(refusals))
    checks_mass = reads_all and "mass-change" in active
    return _mass_change(plan, observed, rules) if checks_mass else plan


def _lost(plans: list[TenantPlan]) -> str:
    """Say whose databases are gone, and how many of them clients have created again."""
    named = _named_databases(plans)
    message = f"{pluralize(len(plans), 'tenant')} had a database that is gone: {named}"
    again = sum(is_recreated(plan.record, plan.before) for plan in plans)
    if not again:
        return message
    which = f"of {again:,} of them" if len(plans) > 1 else "of it"
    return (
        f"{message}; clients have created another one in place {which}, which is dropped only "
        "where the guard drop is allowed, too"
    )


def _named_databases(plans: list[TenantPlan]) -> str:
    return summarize([truncate(plan.database) for plan in plans])


def _refused(tenant: TenantPlan, name: str) -> TenantPlan:
    """Return a tenant of which a guard lets nothing be changed."""
    return _without(tenant, [*tenant.changes], name) if tenant.changes else tenant


def _replaced_servers(plans: Iterable[TenantPlan], observed: Observed) -> Iterable[Refusal]:
    """Refuse servers that are not the recorded ones, whether there is something to write or not."""
    plans = [*plans]
    replaced = observed.ledger_view.replaced.keys()
    made = [
        plan
        for plan in plans
        if not (plan.record and replaced & {plan.record.target, plan.record.secondary_target})
        and not any(change.target in replaced for change in plan.refused)
    ]
    if made:
        yield Refusal(
            "replaced-server",
            f"{pluralize(len(made), 'tenant')} made on another server than the one that "
            f"answers now: {_named_databases(made)}",
            tuple(plan.tenant for plan in made),
            GUARDS["replaced-server"].when,
        )
    tenants = tuple(plan.tenant for plan in plans)
    for name, known in observed.ledger_view.replaced.items():
        state = next(state for state in observed.targets if state.name == name)
        word = state.capabilities.identity
        recorded = [
            r.database
            for r in observed.ledger_view.records.values()
            if name in (r.target, r.secondary_target)
        ]
        there = sum(each in observed.inventories[name].databases for each in recorded)
        yield Refusal(
            "replaced-server",
            f"another server answers at {name}: its {word} is {state.identity}, and that of the "
            f"recorded one {known.identity}; it holds {there:,} of the "
            f"{pluralize(len(recorded), 'recorded database')}; nothing is written to it",
            tenants,
            GUARDS["replaced-server"].when,
        )


def _mass_change(plan: Plan, observed: Observed, rules: Rules) -> Plan:
    """Refuse all changes of a run that makes anew, drops or misses too many recorded tenants."""
    promised = {id_ for id_, r in observed.ledger_view.records.items() if r.is_provisioned}
    changing = {
        id_
        for id_, tenant in plan.tenants.items()
        if id_ in promised and any(_is_drastic(tenant, change) for change in tenant.changes)
    }
    gone: set[str] = set()
    if observed.sources_complete and observed.has_registry:
        retiring = {
            r.tenant for r in observed.ledger_view.records.values() if r.state is State.RETIRING
        }
        gone = promised - {tenant.id for tenant in observed.tenants} - retiring
    concerned = changing | gone
    # A single tenant is never many, however few there are.
    if len(concerned) < 2 or len(concerned) <= rules.mass_change * len(promised):
        return plan
    message = (
        f"{len(concerned):,} of {pluralize(len(promised), 'recorded tenant')} would be made anew, "
        f"dropped or are in no source any more ({len(changing):,} to change, {len(gone):,} gone): "
        "is the registry complete?"
    )
    tenants = {id_: _refused(tenant, "mass-change") for id_, tenant in plan.tenants.items()}
    waiting = tuple(id_ for id_, tenant in plan.tenants.items() if tenant.changes)
    return replace(
        plan,
        tenants=tenants,
        refusals=(*plan.refusals, Refusal("mass-change", message, waiting)),
    )


def _is_drastic(tenant: TenantPlan, change: Change) -> bool:
    """Return whether a change makes anew or ends what was promised; an old copy is not it."""
    if change.action is Action.DROP and tenant.record is not None:
        return change.target != tenant.record.secondary_target
    is_made = change.action is Action.CREATE and not tenant.move
    return is_made or change.action in (Action.DROP, Action.RETIRE)


def _is_only_unseen(tenant: TenantPlan) -> bool:
    return tenant.finding is not None and tenant.finding.kind is FindingKind.NOT_READ


def _without(tenant: TenantPlan, refused: list[Change], name: str) -> TenantPlan:
    """Return a tenant whose refused changes are not made; the others are."""
    changes = []
    now = tenant.before
    for change in tenant.changes:
        if change not in refused:
            # It finds the database as what was refused leaves it.
            after = change.after
            if after is not None and now is not None and change.action is Action.COMPLETE:
                after = replace(now, complete=True)
            changes.append(replace(change, before=now, after=after))
            now = after
    unseen = tenant.unseen_on if tenant.before is None else ()
    reasons = dict.fromkeys(c.reason or c.action.value for c in refused)
    why = GUARDS[name].why or ", ".join(reasons)
    if unseen:
        why = f"it may be on {summarize(unseen)}, which cannot be read"
    notes, told = tenant.notes, GUARDS[name].note
    if told is not None:
        why = "; ".join(note.message for note in notes if note.kind is told)
        notes = tuple(note for note in notes if note.kind is not told)
    kind = GUARDS[name].kind
    finding = Finding(
        kind,
        Severity.ERROR,
        f"lost: {why}" if kind is FindingKind.LOST else f"refused by the guard {name}: {why}",
        how_to_go_on(tenant) if kind is FindingKind.LOST else Hint.allow(name, GUARDS[name].when),
        tenant.tenant,
        tenant.target if tenant.before else None,
        tenant.database,
    )
    return replace(
        tenant,
        status=TenantStatus.GUARDED,
        finding=finding,
        notes=notes,
        target=tenant.target if tenant.before is not None else None,
        after=now,
        changes=tuple(changes),
        refused=(*tenant.refused, *refused),
        may_exceed_capacity=False,
    )


def _empty_source(plan: Plan, observed: Observed, rules: Rules) -> Iterable[Refusal]:
    if observed.tenants:
        return
    records = observed.ledger_view.records.values()
    retiring = {(r.target, r.database) for r in records if r.state is State.RETIRING}
    databases = [each[1] for each in tenant_databases(observed, rules) if each not in retiring]
    if databases:
        more = ", …" if len(databases) > 1 else ""
        yield Refusal(
            "empty-source",
            f"the sources hold no tenant, but the targets hold "
            f"{pluralize(len(databases), 'tenant database')} ({databases[0]}{more}): "
            "is this the right registry?",
        )
