"""The plan of `influxops adopt TENANT[=DATABASE]…`: a database becomes a tenant's, as it is named.

It is marked as any tenant's, nothing in it is renamed or changed, and what the ledger has of it
outranks the naming template from then on.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import ClassVar

from msgspec.structs import replace

from influxops.domain.database import UNKNOWN, UNMANAGED
from influxops.domain.durations import format_duration
from influxops.domain.finding import Finding, FindingKind
from influxops.domain.hint import Hint
from influxops.domain.plan import Action, Change, TenantPlan
from influxops.domain.record import Record, State
from influxops.domain.text import did_you_mean, format_time, quote, summarize, truncate
from influxops.errors import ConfigError
from influxops.reconcile.operation import RecordOperation
from influxops.reconcile.plan.recorded import (
    is_recreated,
    lost,
    move_in_progress_finding,
    plan_from_record,
)
from influxops.reconcile.state import RunState


class Adopt(RecordOperation):
    """Makes databases tenants', whatever they are called; None is the name that it should have."""

    command: ClassVar[str] = "adopt"

    def __init__(self, names: Mapping[str, str | None]) -> None:
        self.names = names
        self._owners: dict[str, list[tuple[str, str | None, str]]] = {}

    def candidates(self, state: RunState) -> Iterator[TenantPlan]:
        """Return them with the name that their database is to have."""
        desired = state.desired
        names = {id_: name or _own(id_, state) for id_, name in self.names.items()}
        self._refuse_unknown(names, state)
        self._owners = _owners(state, frozenset(names.values()))
        for id_, database in names.items():
            plan = TenantPlan(id_, database, UNMANAGED, record=state.ledger_view.record(id_))
            if id_ not in desired:
                plan = plan.defer(FindingKind.NOT_READ, "no source that could be read knows it")
            yield plan if database or id_ not in desired else desired[id_]

    def plan_one(self, plan: TenantPlan, state: RunState) -> TenantPlan:
        """Plan that a database becomes a tenant's, or say why it cannot."""
        record = plan.record
        home = _home(plan, state)
        is_in_place = record is not None and _is_in_place(record, plan, home)
        if record is not None and record.secondary_target is not None and not is_in_place:
            if finding := _not_left(plan, record, state):
                return plan.block(finding)
            plan = replace(plan, notes=(_left(plan, record),))
        if isinstance(home, TenantPlan):
            return home
        before = state.inventories[home].databases[plan.database]
        plan = replace(plan, target=home, before=before, after=before)
        for owner, target, why in self._owners.get(plan.database, ()):
            if owner != plan.tenant and target in (None, home):
                return plan.blocked(
                    FindingKind.NAME_COLLISION,
                    f"the database {truncate(plan.database)} on {home} {why} tenant {quote(owner)}",
                    "adopt another one, or give that tenant another database first",
                )
        capabilities = state.rules.targets[home].capabilities
        if rule := capabilities.validate_tenant(plan.tenant):
            return plan.blocked(FindingKind.INVALID_ID, f"its id {rule}", "rename the tenant")
        if rule := capabilities.validate_name(plan.database):
            message = f"the database's name {rule}"
            return plan.blocked(FindingKind.INVALID_NAME, message, "it can be no tenant's")
        plan = plan.with_changes(*_changes(plan, home, _kept_until(plan, state)))
        return plan.note(*_notes(plan, state))

    def _refuse_unknown(self, names: Mapping[str, str], state: RunState) -> None:
        for name, number in Counter(names.values()).items():
            if number > 1 and name:
                raise ConfigError(
                    f"two tenants are to adopt the database {truncate(name)}",
                    hint="a database is one tenant's",
                )
        for id_ in self.names if state.sources_complete else ():
            if id_ not in state.desired:
                raise ConfigError(
                    f"no source knows the tenant {quote(id_)}",
                    hint=did_you_mean(id_, state.desired) or "add it to the registry first",
                )


def _own(tenant: str, state: RunState) -> str:
    """Return the name that a tenant's database should have; empty where it has no valid one."""
    record, desired = state.ledger_view.record(tenant), state.desired.get(tenant)
    if record is not None:
        return record.database
    return desired.database if desired is not None else ""


def _not_left(plan: TenantPlan, record: Record, observed: RunState) -> Finding | None:
    """Return why a tenant cannot adopt what it has beside its database; None where that is gone.

    Then only the other copy is left: the one that a move left behind, or that one had begun.
    """
    if record.database != plan.database or not observed.database(
        record.secondary_target, plan.database
    ):
        return move_in_progress_finding(record)
    inventory = observed.inventories.get(record.target or "")
    if inventory is None or not inventory.complete:
        cannot = "cannot be read" if inventory is None else "does not show all that it holds"
        advice: str | Hint = "run it again when all of that can be read"
        if all(each.name != record.target for each in observed.targets):
            cannot = "is not configured any more"
            advice = Hint.command(
                f"ensure --recreate {shlex.quote(plan.tenant)}",
                "configure that target again; run {} only if its server and the data are gone",
            )
        message = f"it may still be on {record.target}, where it is recorded and which {cannot}"
        return Finding.error(FindingKind.NOT_READ, message, advice)
    now = plan_from_record(record, record.target, observed)
    if is_recreated(record, now.before):
        return lost(now, observed).finding
    return move_in_progress_finding(record) if now.before is not None else None


def _left(plan: TenantPlan, record: Record) -> Finding:
    """Return what is missing in the copy that is left of a tenant's database."""
    if record.state is State.MOVING and record.drop_after is None:
        missing = f"what was not copied yet from {record.target} is not in it"
    else:
        when = f" {format_time(record.created_at)}" if record.created_at else ""
        missing = f"what was written on {record.target} since it was moved there{when} is not in it"
    message = f"its database is gone from {record.target}; {missing}"
    return plan.warning(FindingKind.MOVING, message, target=record.secondary_target)


def _home(plan: TenantPlan, state: RunState) -> str | TenantPlan:
    """Return the target that holds a database, or the tenant with why that is not known."""
    context = state.context
    homes = [each for each in state.targets_holding(plan.database) if state.covers(None, each)]
    record = plan.record
    if record is not None and record.target in homes and record.secondary_target in homes:
        homes.remove(record.secondary_target)  # what a move has begun, or left behind
    unread = [each for each in state.unread if state.covers(None, each)]
    if len(homes) > 1:
        advice = f"find out which one holds its data, then say which: `--target {homes[0]}`"
        return plan.on_several(homes, advice)
    if unread:
        also = f"it is on {homes[0]}, and may be on" if homes else "it may be on"
        advice = f"; `--target {shlex.quote(homes[0])}` looks there alone" if homes else ""
        return plan.defer(
            FindingKind.NOT_READ,
            f"the database {truncate(plan.database)} must be found on one target: {also} "
            f"{summarize(unread)}, which cannot be read",
            f"run it again when it can be read{advice}",
        )
    if homes:
        return homes[0]
    hidden = [name for name, inventory in state.inventories.items() if not inventory.complete]
    where = f"; {summarize(hidden)} may hide it" if hidden else ""
    known = [name for inventory in state.inventories.values() for name in inventory.databases]
    nothing = f"{summarize(sorted(context.targets or ()))} does not hold"
    return plan.blocked(
        FindingKind.NO_DATABASE,
        f"{nothing if context.targets else 'no target holds'} a database called "
        f"{truncate(plan.database)}{where}",
        did_you_mean(plan.database, known) or "check its name",
    )


def _owners(state: RunState, names: frozenset[str]) -> dict[str, list[tuple[str, str | None, str]]]:
    """Return whose databases of some names are: (tenant, target, why), None for any target."""
    found: dict[str, list[tuple[str, str | None, str]]] = {name: [] for name in names}
    for record in state.ledger_view.records.values():
        if record.database in names and record.state not in (State.PENDING, State.RETIRED):
            for target in filter(None, (record.target, record.secondary_target)):
                found[record.database].append((record.tenant, target, "is recorded for"))
    for plan in state.desired.values():
        if plan.database in names:
            found[plan.database].append((plan.tenant, None, "is what is meant for"))
    return found


def _kept_until(plan: TenantPlan, state: RunState) -> datetime | None:
    """Return until when the copy on the recorded target is kept; None where that is no copy.

    The ledger may be older than a move: then what was written there since is the tenant's too.
    """
    record = plan.record
    if record is None or record.target == plan.target or record.database != plan.database:
        return None
    is_there = state.database(record.target, plan.database) is not None
    return state.keep_until() if is_there and state.request.ledger is not None else None


def _changes(plan: TenantPlan, home: str, until: datetime | None) -> Iterator[Change]:
    if plan.record is None or not _is_its(plan.record, plan, home):
        again = is_recreated(plan.record, plan.before)
        why = "with what clients have written since it was lost" if again else ""
        yield plan.change(Action.ADOPT, reason=why, until=until)
    if plan.before is not None and plan.before.complete is False:
        yield plan.change(Action.COMPLETE, after=replace(plan.before, complete=True))


def _is_its(record: Record, plan: TenantPlan, home: str) -> bool:
    """Return whether a database is a tenant's already, and not a client's in its place."""
    is_there = record.state in (State.READY, State.MOVING) and _is_in_place(record, plan, home)
    return is_there and not is_recreated(record, plan.before)


def _is_in_place(record: Record, plan: TenantPlan, home: str | TenantPlan) -> bool:
    """Return whether a database is where its tenant's is recorded, by its name."""
    return (record.database, record.target) == (plan.database, home)


def _notes(plan: TenantPlan, state: RunState) -> Iterator[Finding]:
    """Yield what adopting a database leaves behind, and what will be asked about it."""
    kept = next((change.until for change in plan.changes if change.until), None)
    record, desired = plan.record, state.desired[plan.tenant]
    if kept is not None and record is not None:
        yield plan.warning(
            FindingKind.RETIRING,
            f"what it has on {record.target} is its old copy from now on, kept until "
            f"{format_time(kept)}",
            Hint.command(
                "retire --due",
                f"{{}} copies then what only {record.target} has, and drops it once there is no "
                "more",
            ),
        )
    # Where it had a database before: as recorded, or as the plan would have it.
    name = record.database if record is not None else desired.database
    for target in state.targets_holding(name) if kept is None else ():
        is_before = record is None or record.target == target
        if is_before and (target, name) != (plan.target, plan.database):
            yield plan.warning(
                FindingKind.ORPHAN,
                f"its database {truncate(name)} on {target} belongs to no tenant from now on",
                "influxops leaves it alone; drop it once it holds nothing of worth",
            )
    tenants = (tenant for tenant in state.tenants if tenant.id == plan.tenant)
    given = [tenant.attributes.get("database") for tenant in tenants][-1]
    if given and given != plan.database:
        yield plan.warning(
            FindingKind.CONFLICT,
            f"its source calls its database {truncate(given)}: it is held until that says "
            f"{truncate(plan.database)}",
            "correct its `database` in the source",
        )
    wanted, period = desired.retention, plan.before.retention if plan.before else UNKNOWN
    if isinstance(wanted, int | None) and period is not UNKNOWN and wanted != period:
        period_text = "for ever" if wanted is None else format_duration(wanted)
        yield plan.info(
            FindingKind.NOTE, f"its retention period is kept now; `ensure` sets it to {period_text}"
        )
