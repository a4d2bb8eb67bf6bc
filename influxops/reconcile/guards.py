"""The guards: what is refused until it is allowed by name.

They see every planned change once, after planning and before anything is written; what they
refuse leaves the plan here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Final

from msgspec.structs import replace

from influxops.domain.change import Action, Change
from influxops.domain.finding import Finding, FindingKind
from influxops.domain.hint import Hint
from influxops.domain.plan import Plan, Refusal, TenantPlan, TenantStatus
from influxops.domain.record import State
from influxops.domain.text import did_you_mean, pluralize, summarize, truncate
from influxops.errors import ConfigError
from influxops.reconcile.plan.recorded import due_on, how_to_go_on, is_lost, is_recreated
from influxops.reconcile.plan.warnings import tenant_databases
from influxops.reconcile.policy import Rules
from influxops.reconcile.state import Observed

_CREATE_OR_DROP = (Action.CREATE, Action.DROP)


class Guard:
    """Keeps one kind of change from happening until it is allowed."""

    name: ClassVar[str]  # what allows it
    when: ClassVar[str] = "only if that is what you want"  # when it is right to allow it

    def refuses(self, plan: TenantPlan, change: Change, observed: Observed) -> bool:
        """Return whether it refuses a change."""
        return False

    def message(self, plans: Sequence[TenantPlan]) -> str:
        """Return what it refuses of some tenants, as a sentence."""
        return ""

    def refusals(self, plans: Sequence[TenantPlan], observed: Observed) -> list[Refusal]:
        """Return what it refuses, for the report."""
        return [self.refusal(self.message(plans), plans)] if plans else []

    def refusal(self, message: str, plans: Iterable[TenantPlan] = ()) -> Refusal:
        """Return one thing that it refuses."""
        return Refusal(self.name, message, tuple(plan.tenant for plan in plans), self.when)

    def reason(self, plan: TenantPlan, refused: Sequence[Change]) -> str:
        """Return why changes of one tenant are refused."""
        return ", ".join(dict.fromkeys(c.reason or c.action.value for c in refused))

    def finding(self, plan: TenantPlan, why: str) -> Finding:
        """Return what explains that changes of a tenant are refused."""
        message = f"refused by the guard {self.name}: {why}"
        return plan.error(FindingKind.GUARD, message, Hint.allow(self.name, self.when))

    def refuse(self, plan: TenantPlan, refused: Sequence[Change]) -> TenantPlan:
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
        why = self.reason(plan, refused)
        if plan.unseen_on and plan.before is None:
            why = f"it may be on {summarize(plan.unseen_on)}, which cannot be read"
        target = plan.target if plan.before is not None else None
        plan = replace(plan, target=target)
        return replace(
            plan,
            status=TenantStatus.GUARDED,
            finding=self.finding(plan, why),
            after=now,
            changes=tuple(changes),
            refused=(*plan.refused, *refused),
            may_exceed_capacity=False,
        )


class UnrecordedChanges(Guard):
    """Refuses to create and to drop what the ledger would not know of."""

    name = "unrecorded-changes"

    def refuses(self, plan: TenantPlan, change: Change, observed: Observed) -> bool:
        return bool(observed.ledger_view.error) and change.action in _CREATE_OR_DROP

    def message(self, plans: Sequence[TenantPlan]) -> str:
        return (
            "the ledger cannot be used, so no record would exist of what is created or dropped for "
            f"{pluralize(len(plans), 'tenant')}"
        )


class NewSource(Guard):
    """Refuses changes of tenants that only a source has which the ledger has not seen."""

    name = "new-source"

    def refuses(self, plan: TenantPlan, change: Change, observed: Observed) -> bool:
        return plan.tenant in observed.ledger_view.tenants_of_new_sources

    def message(self, plans: Sequence[TenantPlan]) -> str:
        return (
            f"{pluralize(len(plans), 'tenant')} of a source that the ledger has not seen "
            "before; is this the right registry, and the right namespace?"
        )


class ReplacedServer(Guard):
    """Refuses servers other than the recorded ones, even where nothing is to be written."""

    name = "replaced-server"
    when = "check where the target leads; if its server was replaced on purpose"

    def refuses(self, plan: TenantPlan, change: Change, observed: Observed) -> bool:
        record, inventory = plan.record, observed.inventories.get(change.target)
        targets: set[str | None] = {change.target}
        if record is not None:
            targets |= {record.target, record.secondary_target if plan.move else None}
        if targets & observed.ledger_view.replaced.keys():
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

    def reason(self, plan: TenantPlan, refused: Sequence[Change]) -> str:
        return "another server answers at its target"

    def refusals(self, plans: Sequence[TenantPlan], observed: Observed) -> list[Refusal]:
        view = observed.ledger_view
        replaced, found = view.replaced.keys(), []
        made = [
            plan
            for plan in plans
            if not (plan.record and replaced & {plan.record.target, plan.record.secondary_target})
            and not any(change.target in replaced for change in plan.refused)
        ]
        if made:
            message = (
                f"{pluralize(len(made), 'tenant')} made on another server than the one that "
                f"answers now: {_named_databases(made)}"
            )
            found.append(self.refusal(message, made))
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
            found.append(self.refusal(message, plans))
        return found


class RecreateLost(Guard):
    """Refuses to create again what was provisioned and is gone."""

    name = "recreate-lost"
    when = "restore it if you can; to have all of them made again, empty"

    def refuses(self, plan: TenantPlan, change: Change, observed: Observed) -> bool:
        creates = change.action is Action.CREATE or plan.is_replacement
        return creates and is_lost(plan.record) and not plan.move

    def message(self, plans: Sequence[TenantPlan]) -> str:
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

    def finding(self, plan: TenantPlan, why: str) -> Finding:
        return plan.error(FindingKind.LOST, f"lost: {why}", how_to_go_on(plan))


class Unreachable(Guard):
    """Refuses changes of tenants that may have a database on a target that cannot be read."""

    name = "unreachable"

    def refuses(self, plan: TenantPlan, change: Change, observed: Observed) -> bool:
        return change.action in (*_CREATE_OR_DROP, Action.MOVE) and bool(plan.unseen_on)

    def message(self, plans: Sequence[TenantPlan]) -> str:
        return (
            f"{pluralize(len(plans), 'tenant')} may have a database on "
            f"{' or '.join(plans[0].unseen_on)}, which cannot be read: left alone"
        )


class NoteGuard(Guard):
    """Refuses that tenants with a note of one kind are retired, or dropped for that."""

    note: ClassVar[FindingKind]

    def refuses(self, plan: TenantPlan, change: Change, observed: Observed) -> bool:
        retires = change.action in (Action.RETIRE, Action.DROP)
        return retires and any(note.kind is self.note for note in plan.notes)

    def reason(self, plan: TenantPlan, refused: Sequence[Change]) -> str:
        return "; ".join(note.message for note in plan.notes if note.kind is self.note)

    def refuse(self, plan: TenantPlan, refused: Sequence[Change]) -> TenantPlan:
        """Return the tenant without the changes; the note explains that, and is gone."""
        notes = tuple(note for note in plan.notes if note.kind is not self.note)
        return replace(super().refuse(plan, refused), notes=notes)


class StillRegistered(NoteGuard):
    """Refuses to retire what a source still has."""

    name = "still-registered"
    when = "take them out of the registry first; to retire them all the same"
    note = FindingKind.STILL_REGISTERED

    def message(self, plans: Sequence[TenantPlan]) -> str:
        return (
            f"{pluralize(len(plans), 'tenant')} still in a source, so that the next run would keep "
            f"what is to be dropped: {_named_databases(plans)}"
        )


class RecentTelemetry(NoteGuard):
    """Refuses to retire and to drop what was written to recently."""

    name = "recent-telemetry"
    when = "stop what writes first; if what came is worth nothing"
    note = FindingKind.RECENT_TELEMETRY

    def message(self, plans: Sequence[TenantPlan]) -> str:
        number = pluralize(len(plans), "tenant")
        return f"{number} with telemetry of the last day: {_named_databases(plans)}"


class LateWrites(NoteGuard):
    """Refuses to drop an old copy that is still written to."""

    name = "late-writes"
    when = "stop what writes there first; to copy the rest and drop it then"
    note = FindingKind.LATE_WRITES

    def message(self, plans: Sequence[TenantPlan]) -> str:
        return _listed(plans, 3, "dropped, though still written to")


class ShorterRetention(Guard):
    """Refuses a shorter retention period, which loses data."""

    name = "shorter-retention"

    def refuses(self, plan: TenantPlan, change: Change, observed: Observed) -> bool:
        if change.action is not Action.SET_RETENTION or not change.before or not change.after:
            return False
        actual, wanted = change.before.retention, change.after.retention
        return isinstance(wanted, int) and (actual is None or wanted < int(str(actual)))

    def message(self, plans: Sequence[TenantPlan]) -> str:
        return _listed(plans, 3, "given a shorter retention period")


class Dropping(Guard):
    """Refuses a drop that was not decided before, by retiring a tenant."""

    name = "drop"

    def refuses(self, plan: TenantPlan, change: Change, observed: Observed) -> bool:
        if plan.is_replacement:
            return True  # nothing is created over what a client has written
        if change.action is not Action.DROP:
            return False
        decided = plan.record and due_on(plan.record, observed.ledger_view.now)
        return decided != change.target

    def message(self, plans: Sequence[TenantPlan]) -> str:
        return _listed(plans, len(plans), "dropped")  # in full: each is to be decided


class RunGuard(Guard):
    """Refuses all changes of a run; it takes all tenants to see, and is left to full runs."""

    def refusal_of(self, plan: Plan, observed: Observed, rules: Rules) -> Refusal | None:
        """Return why all changes of a run are refused; None where they are not."""
        raise NotImplementedError


class EmptySource(RunGuard):
    """Refuses the changes where the sources are empty and the targets are not."""

    name = "empty-source"

    def refusal_of(self, plan: Plan, observed: Observed, rules: Rules) -> Refusal | None:
        if observed.tenants or not observed.sources_complete:
            return None
        records = observed.ledger_view.records.values()
        retiring = {(r.target, r.database) for r in records if r.state is State.RETIRING}
        databases = [each[1] for each in tenant_databases(observed, rules) if each not in retiring]
        if not databases:
            return None
        more = ", …" if len(databases) > 1 else ""
        return self.refusal(
            f"the sources hold no tenant, but the targets hold "
            f"{pluralize(len(databases), 'tenant database')} ({databases[0]}{more}): "
            "is this the right registry?",
        )


class MassChange(RunGuard):
    """Refuses a run that creates again, drops or misses too many recorded tenants."""

    name = "mass-change"

    def refusal_of(self, plan: Plan, observed: Observed, rules: Rules) -> Refusal | None:
        records = observed.ledger_view.records
        promised = {id_ for id_, record in records.items() if record.is_provisioned}
        changing = {
            id_
            for id_, tenant in plan.tenants.items()
            if id_ in promised and any(self._is_drastic(tenant, each) for each in tenant.changes)
        }
        gone: set[str] = set()
        if observed.sources_complete and observed.has_registry:
            retiring = {r.tenant for r in records.values() if r.state is State.RETIRING}
            gone = promised - {tenant.id for tenant in observed.tenants} - retiring
        concerned = changing | gone
        # A single tenant is never many, however few exist.
        if len(concerned) < 2 or len(concerned) <= rules.mass_change * len(promised):
            return None
        return self.refusal(
            f"{len(concerned):,} of {pluralize(len(promised), 'recorded tenant')} would be "
            f"recreated or dropped, or are in no source any more ({len(changing):,} to change, "
            f"{len(gone):,} gone): is the registry complete?",
            (tenant for tenant in plan.tenants.values() if tenant.changes),
        )

    @staticmethod
    def _is_drastic(tenant: TenantPlan, change: Change) -> bool:
        """Return whether a change recreates or ends what was provisioned, not just an old copy."""
        if change.action is Action.DROP and tenant.record is not None:
            return change.target != tenant.record.secondary_target
        is_created = change.action is Action.CREATE and not tenant.move
        return is_created or change.action in (Action.DROP, Action.RETIRE)


#: Each guard, by the name that allows it; the first one that refuses a change is reported.
GUARDS: Final[Mapping[str, Guard]] = {
    kind.name: kind()
    for kind in (
        *(UnrecordedChanges, NewSource, ReplacedServer, RecreateLost, Unreachable),
        *(StillRegistered, RecentTelemetry, LateWrites, ShorterRetention),
        *(EmptySource, Dropping, MassChange),
    )
}

#: What guards were called in an earlier version: the new name, by the old one.
RENAMED: Final = {"lost": "recreate-lost", "unrecorded": "unrecorded-changes"}


def validate_guard_names(allow: Iterable[str]) -> frozenset[str]:
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
        kind = tenant.finding.kind if tenant.finding is not None else None
        if drops and "unreachable" in allow and kind is FindingKind.NOT_READ:
            tenant = replace(tenant, status=TenantStatus.OK, finding=None)
        for name, each in active.items():
            changes = [c for c in tenant.changes if each.refuses(tenant, c, observed)]
            # A database on a server that replaced the recorded one is not the provisioned one, even
            # if its name and marker are right.
            is_beside = name == "replaced-server" and tenant.status is TenantStatus.OK
            is_beside = is_beside and tenant.target in observed.ledger_view.replaced
            if name == "recreate-lost" and id_ in rules.recreate:
                continue
            if changes or is_beside:
                tenant = each.refuse(tenant, changes)
                refused.setdefault(name, []).append(tenant)
        tenants[id_] = tenant
    last = refused.pop("replaced-server", [])
    refusals = [
        r for name, plans in refused.items() for r in active[name].refusals(plans, observed)
    ]
    if "replaced-server" in active:
        refusals += active["replaced-server"].refusals(last, observed)
    plan = replace(plan, tenants=tenants, refusals=tuple(refusals))
    for each in active.values() if not observed.is_selected else ():
        if not isinstance(each, RunGuard) or (drops and isinstance(each, EmptySource)):
            continue
        if refusal := each.refusal_of(plan, observed, rules):
            tenants = {
                id_: each.refuse(tenant, tenant.changes) if tenant.changes else tenant
                for id_, tenant in plan.tenants.items()
            }
            plan = replace(plan, tenants=tenants, refusals=(*plan.refusals, refusal))
    return plan


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
