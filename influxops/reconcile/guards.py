"""The guards: what is refused until it is allowed by name.

They see every planned change once, after planning and before anything is written; what they
refuse leaves the plan here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from influxops.domain.finding import FindingKind
from influxops.domain.hint import Hint
from influxops.domain.plan import Action, Change, Refusal, TenantPlan, TenantStatus
from influxops.domain.record import State
from influxops.domain.text import did_you_mean, pluralize, summarize, truncate
from influxops.errors import ConfigError
from influxops.reconcile.plan.recorded import IF_REPLACED, due_on, how_to_go_on, is_recreated
from influxops.reconcile.plan.warnings import tenant_databases
from influxops.reconcile.state import RunState

_CREATE_OR_DROP = (Action.CREATE, Action.DROP)


class Guard(Struct, frozen=True):
    """Keeps one kind of change from happening until it is allowed."""

    name: str  # what allows it
    what: str  # what it refuses, for the reference and for completion
    #: Whether it refuses a change, which is one of its `actions`.
    refuses: Callable[[TenantPlan, Change, RunState], bool] = lambda *_: False
    #: What it refuses of some tenants, as a sentence.
    message: Callable[[Sequence[TenantPlan]], str] = lambda plans: ""
    when: str = "only if that is what you want"  # when it is right to allow it
    why: str = ""  # why a change is refused, where its own reason does not say it; `{}`: where
    note: FindingKind | None = None  # the kind of a tenant's notes that say why instead
    actions: Collection[Action] = tuple(Action)  # those that it may refuse; none: whole runs
    #: Why all changes of a run are refused, and whose; None where they are not. That takes all
    #: tenants to see, and is left to full runs.
    run: Callable[[RunState], tuple[str, Iterable[TenantPlan]] | None] | None = None

    def refusal(self, message: str, plans: Iterable[TenantPlan]) -> Refusal:
        """Return one thing that it refuses, for the report."""
        return Refusal(self.name, message, tuple(plan.tenant for plan in plans), self.when)

    def refuse(
        self, plan: TenantPlan, refused: Sequence[Change], at: str = "its target"
    ) -> TenantPlan:
        """Return a tenant whose refused changes are not made; the others are."""
        changes = []
        now = plan.before
        for change in plan.changes:
            if change not in refused:
                # It finds the database as what was refused leaves it.
                after = change.after
                if after is not None and now is not None and change.action is Action.COMPLETE:
                    after = replace(now, complete=True)
                changes.append(replace(change, before=now, after=after))
                now = after
        reasons = dict.fromkeys(change.reason or change.action.value for change in refused)
        why = self.why.replace("{}", at) or ", ".join(reasons)
        if self.note is not None:
            why = "; ".join(note.message for note in plan.notes if note.kind is self.note)
        if plan.unseen_on and plan.before is None:
            why = f"it may be on {summarize(plan.unseen_on)}, which cannot be read"
        plan = replace(plan, target=plan.target if plan.before is not None else None)
        message = f"refused by the guard {self.name}: {why}"
        finding = plan.error(FindingKind.GUARD, message, Hint.allow(self.name, self.when))
        if self.name == "recreate-lost":
            finding = plan.error(FindingKind.LOST, f"lost: {why}", how_to_go_on(plan))
        return replace(
            plan,
            status=TenantStatus.GUARDED,
            finding=finding,
            after=now,
            changes=tuple(changes),
            refused=(*plan.refused, *refused),
            notes=tuple(note for note in plan.notes if note.kind is not self.note),
        )


# Which changes they refuse -------------------------------------------------------------------


def _is_on_another_server(plan: TenantPlan, change: Change, observed: RunState) -> bool:
    replaced = observed.ledger_view.replaced
    if not replaced and change.action is not Action.DROP:
        return False
    record, inventory = plan.record, observed.inventories.get(change.target)
    targets: set[str | None] = {change.target}
    if record is not None:
        targets |= {record.target, record.secondary_target if plan.move else None}
    if targets & replaced.keys():
        return True
    if record is None or inventory is None or change.action is not Action.DROP:
        return False
    if plan.is_replacement:
        return False  # it is not taken for the tenant's
    # What is to be dropped was created on another server than has it now.
    identities = {
        record.secondary_target: record.secondary_identity,
        record.target: record.identity,
    }
    return identities.get(change.target) not in (None, inventory.identity)


def _recreates_lost(plan: TenantPlan, change: Change, observed: RunState) -> bool:
    if plan.record is None or not plan.record.is_provisioned or plan.move:
        return False
    return change.action is Action.CREATE or plan.is_replacement


def _shortens_retention(plan: TenantPlan, change: Change, observed: RunState) -> bool:
    if not change.before or not change.after:
        return False
    actual, wanted = change.before.retention, change.after.retention
    return isinstance(wanted, int) and (actual is None or wanted < int(str(actual)))


def _drops(plan: TenantPlan, change: Change, observed: RunState) -> bool:
    """Return whether a change is a drop that was not decided before, by retiring a tenant."""
    if plan.is_replacement:
        return True  # nothing is created over what a client has written
    if change.action is not Action.DROP:
        return False
    decided = plan.record and due_on(plan.record, observed.ledger_view.now)
    return decided != change.target


# What they say of it -------------------------------------------------------------------------


def _number(plans: Sequence[TenantPlan]) -> str:
    return pluralize(len(plans), "tenant")


def _lost(plans: Sequence[TenantPlan]) -> str:
    message = f"{_number(plans)} had a database that is gone: {_named_databases(plans)}"
    again = sum(is_recreated(plan.record, plan.before) for plan in plans)
    if not again:
        return message
    which = f"of {again:,} of them" if len(plans) > 1 else "of it"
    return (
        f"{message}; clients have created another one in place {which}, which is dropped only "
        "where the guard drop is allowed, too"
    )


def _other_servers(
    guard: Guard, plans: Sequence[TenantPlan], observed: RunState
) -> Iterator[Refusal]:
    """Yield what is refused of servers that are not the recorded ones, written to or not."""
    view = observed.ledger_view
    replaced = view.replaced.keys()
    made = [
        plan
        for plan in plans
        if not (plan.record and replaced & {plan.record.target, plan.record.secondary_target})
        and not any(change.target in replaced for change in plan.refused)
    ]
    if made:
        message = f"{_number(made)} made on another server than the one that answers now: "
        yield guard.refusal(message + _named_databases(made), made)
    for name, known in view.replaced.items():
        state = next(state for state in observed.targets if state.name == name)
        recorded = [
            record.database
            for record in view.records.values()
            if name in (record.target, record.secondary_target)
        ]
        there = sum(each in observed.inventories[name].databases for each in recorded)
        message = (
            f"another server answers at {name}: its {state.capabilities.identity} is "
            f"{state.identity}, and that of the recorded one {known.identity}; it holds "
            f"{there:,} of the {pluralize(len(recorded), 'recorded database')}; nothing is "
            "written to it"
        )
        yield guard.refusal(message, plans)


# Of a whole run ------------------------------------------------------------------------------


def _empty_source(observed: RunState) -> tuple[str, Iterable[TenantPlan]] | None:
    if observed.tenants or not observed.sources_complete:
        return None
    records = observed.ledger_view.records.values()
    retiring = {(r.target, r.database) for r in records if r.state is State.RETIRING}
    databases = [each[1] for each in tenant_databases(observed) if each not in retiring]
    if not databases:
        return None
    more = ", …" if len(databases) > 1 else ""
    message = (
        f"the sources hold no tenant, but the targets hold "
        f"{pluralize(len(databases), 'tenant database')} ({databases[0]}{more}): "
        "is this the right registry?"
    )
    return message, ()


def _mass_change(observed: RunState) -> tuple[str, Iterable[TenantPlan]] | None:
    """Refuse a run that creates again, drops or misses too many recorded tenants."""
    records = observed.ledger_view.records
    if not records:
        return None
    provisioned = {id_ for id_, record in records.items() if record.is_provisioned}
    changing = {
        id_
        for id_, tenant in observed.plans.items()
        if id_ in provisioned and any(_is_drastic(tenant, each) for each in tenant.changes)
    }
    gone: set[str] = set()
    if observed.sources_complete and observed.has_registry:
        retiring = {r.tenant for r in records.values() if r.state is State.RETIRING}
        gone = provisioned - {tenant.id for tenant in observed.tenants} - retiring
    concerned = changing | gone
    # A single tenant is never many, however few exist.
    if len(concerned) < 2 or len(concerned) <= observed.rules.mass_change * len(provisioned):
        return None
    message = (
        f"{len(concerned):,} of {pluralize(len(provisioned), 'recorded tenant')} would be "
        f"recreated or dropped, or are in no source any more ({len(changing):,} to change, "
        f"{len(gone):,} gone): is the registry complete?"
    )
    return message, [tenant for tenant in observed.plans.values() if tenant.changes]


def _is_drastic(tenant: TenantPlan, change: Change) -> bool:
    """Return whether a change recreates or ends what was provisioned, not just an old copy."""
    if change.action is Action.DROP and tenant.record is not None:
        return change.target != tenant.record.secondary_target
    is_created = change.action is Action.CREATE and not tenant.move
    return is_created or change.action in (Action.DROP, Action.RETIRE)


def _of_note(
    name: str,
    what: str,
    note: FindingKind,
    when: str,
    message: Callable[[Sequence[TenantPlan]], str],
) -> Guard:
    """Return what refuses that tenants with a note of one kind are retired, or dropped for that."""

    def refuses(plan: TenantPlan, change: Change, observed: RunState) -> bool:
        return any(each.kind is note for each in plan.notes)

    return Guard(
        name, what, refuses, message, when, note=note, actions=(Action.RETIRE, Action.DROP)
    )


_GUARDS = (
    Guard(
        "unrecorded-changes",
        "creating and dropping while the ledger cannot be read or written",
        lambda _, change, seen: bool(seen.ledger_view.error),
        lambda plans: (
            "the ledger cannot be used, so no record would exist of what is created or "
            f"dropped for {_number(plans)}"
        ),
        actions=_CREATE_OR_DROP,
    ),
    Guard(
        "new-source",
        "changes of tenants of a source that the ledger has not seen before in this "
        "namespace; the first sources of an empty one are taken as they are",
        lambda plan, _, observed: plan.tenant in observed.ledger_view.tenants_of_new_sources,
        lambda plans: (
            f"{_number(plans)} of a source that the ledger has not seen before; is this "
            "the right registry, and the right namespace?"
        ),
    ),
    Guard(
        "replaced-server",
        "writing to a server that is not the recorded one",
        _is_on_another_server,
        when=IF_REPLACED,
        why="another server answers at {}",
    ),
    Guard(
        "recreate-lost",
        "making again what was ready and is gone, and dropping what a client has created in "
        "its place",
        _recreates_lost,
        _lost,
        "restore it if you can; to have all of them made again, empty",
    ),
    Guard(
        "unreachable",
        "creating, moving or dropping a database that may be on a server which cannot be read",
        lambda plan, *_: bool(plan.unseen_on),
        lambda plans: (
            f"{_number(plans)} may have a database on "
            f"{' or '.join(plans[0].unseen_on)}, which cannot be read: left alone"
        ),
        actions=(*_CREATE_OR_DROP, Action.MOVE),
    ),
    _of_note(
        "still-registered",
        "retiring a tenant that a source still has",
        FindingKind.STILL_REGISTERED,
        "take them out of the registry first; to retire them all the same",
        lambda plans: (
            f"{_number(plans)} still in a source, so that the next run would keep what "
            f"is to be dropped: {_named_databases(plans)}"
        ),
    ),
    _of_note(
        "recent-telemetry",
        "retiring, and dropping, where telemetry came within the last day, to any table that "
        "`telemetry` of the target does not leave out",
        FindingKind.RECENT_TELEMETRY,
        "stop what writes first; if what came is worth nothing",
        lambda plans: f"{_number(plans)} with telemetry of the last day: {_named_databases(plans)}",
    ),
    _of_note(
        "late-writes",
        "dropping the old copy of a moved tenant after three runs in a row found new rows in it",
        FindingKind.LATE_WRITES,
        "stop what writes there first; to copy the rest and drop it then",
        lambda plans: _listed(plans, 3, "dropped, though still written to"),
    ),
    Guard(
        "shorter-retention",
        "shortening a retention period, which hides older data at once",
        _shortens_retention,
        lambda plans: _listed(plans, 3, "given a shorter retention period"),
        actions=(Action.SET_RETENTION,),
    ),
    Guard(
        "overwrite",
        "importing into a database that has rows which the export lacks or has otherwise",
        lambda plan, *_: any(note.kind is FindingKind.NOT_EMPTY for note in plan.notes),
        lambda plans: (
            f"{_number(plans)} with rows in the database that the export lacks or has with other "
            f"values: {_named_databases(plans)}"
        ),
        "to keep the rows that only the database has, and give the others the export's values",
        note=FindingKind.NOT_EMPTY,
        actions=(Action.IMPORT,),
    ),
    Guard(
        "empty-source",
        "a run whose sources hold no tenant while the targets hold tenant databases",
        run=_empty_source,
        actions=(),
    ),
    # In full: each is to be decided.
    Guard(
        "drop",
        "dropping a database of a tenant that nothing has retired, and what a client has "
        "created in place of a lost one",
        _drops,
        lambda plans: _listed(plans, len(plans), "dropped"),
    ),
    Guard(
        "mass-change",
        "a run in which more than `mass_change` of `[ledger]` (a fifth) of the recorded "
        "tenants would be created again or dropped, or are in no source any more; a single "
        "tenant is never many",
        run=_mass_change,
        actions=(),
    ),
)
#: Each guard, by the name that allows it; the first one that refuses a change is reported.
GUARDS: Final[Mapping[str, Guard]] = {each.name: each for each in _GUARDS}

#: What guards were called in an earlier version: the new name, by the old one.
RENAMED: Final = {"lost": "recreate-lost", "unrecorded": "unrecorded-changes"}


def validate_guard_names(allow: Iterable[str]) -> frozenset[str]:
    """Return the names of the guards that are allowed."""
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


def guard(state: RunState, *, drops: bool = False) -> RunState:
    """Return what is planned without what the guards refuse."""
    allow = state.request.allow
    active = {name: each for name, each in GUARDS.items() if name not in allow}

    @cache  # of thousands of tenants, most have the same to be done
    def concerned(*actions: Action, beside: bool) -> list[Guard]:
        return [each for each in active.values() if beside or {*each.actions} & {*actions}]

    refused: dict[str, list[TenantPlan]] = {}
    changed: dict[str, TenantPlan] = {}
    replaced = state.ledger_view.replaced
    for id_, planned in state.plans.items():
        tenant = planned
        if drops and "unreachable" in allow and tenant.kind is FindingKind.NOT_READ:
            changed[id_] = tenant = replace(tenant, status=TenantStatus.OK, finding=None)
        if not tenant.changes and tenant.target not in replaced:
            continue
        actions = [change.action for change in tenant.changes]
        for each in concerned(*actions, beside=tenant.target in replaced):
            refuses, of, name = each.refuses, each.actions, each.name
            changes = [c for c in tenant.changes if c.action in of and refuses(tenant, c, state)]
            # A database on a server that replaced the recorded one is not the provisioned one, even
            # if its name and marker are right.
            is_beside = name == "replaced-server" and tenant.status is TenantStatus.OK
            is_beside = is_beside and tenant.target in replaced
            if name == "recreate-lost" and id_ in state.rules.recreate:
                continue
            if changes or is_beside:
                tenant = each.refuse(tenant, changes, _replaced(tenant, changes, state))
                refused.setdefault(name, []).append(tenant)
        if tenant is not planned:
            changed[id_] = tenant
    others = refused.pop("replaced-server", [])
    refusals = [active[n].refusal(active[n].message(p), p) for n, p in refused.items()]
    if "replaced-server" in active:
        refusals += _other_servers(active["replaced-server"], others, state)
    plans = {**state.plans, **changed} if changed else state.plans
    state = replace(state, plans=plans, refusals=tuple(refusals))
    for name, each in active.items() if not state.is_selected else ():
        if each.run is None or (drops and name == "empty-source"):
            continue
        if found := each.run(state):
            tenants = {
                id_: each.refuse(tenant, tenant.changes) if tenant.changes else tenant
                for id_, tenant in state.plans.items()
            }
            refusal = each.refusal(*found)
            state = replace(state, plans=tenants, refusals=(*state.refusals, refusal))
    return state


def _replaced(plan: TenantPlan, changes: Iterable[Change], state: RunState) -> str:
    """Return which of a tenant's targets leads to another server than the recorded one."""
    known = plan.record
    names = (
        *((known.target, known.secondary_target) if known is not None else ()),
        *(change.target for change in changes),
        plan.target,
    )
    replaced = state.ledger_view.replaced
    return next((name for name in names if name and name in replaced), "its target")


def _named_databases(plans: Sequence[TenantPlan]) -> str:
    return summarize([truncate(plan.database) for plan in plans])


def _listed(plans: Sequence[TenantPlan], limit: int, what: str) -> str:
    named = [
        f"{change.database} on {change.target}" + (f" ({change.reason})" if change.reason else "")
        for plan in plans[:limit]
        for change in plan.refused
        if change.action is not Action.CREATE
    ]
    more = f", and {len(plans) - limit:,} more" if len(plans) > limit else ""
    return f"would be {what}: {', '.join(named)}{more}"
