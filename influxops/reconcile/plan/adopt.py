"""The plan of `influxops adopt TENANT[=DATABASE]…`: a database becomes a tenant's, as it is named.

It is marked as any tenant's, nothing in it is renamed or changed, and what the ledger has of it
outranks the naming template from then on.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from influxops.domain.change import Action, Change
from influxops.domain.database import UNKNOWN, UNMANAGED, Database
from influxops.domain.durations import format_duration, parse_duration
from influxops.domain.finding import Finding, FindingKind, Severity, blocked
from influxops.domain.hint import Hint
from influxops.domain.plan import Plan, TenantPlan, TenantStatus
from influxops.domain.record import Record, State
from influxops.domain.text import did_you_mean, format_time, quote, summarize, truncate
from influxops.errors import ConfigError
from influxops.reconcile.operation import Operation
from influxops.reconcile.plan.desired import homes_of
from influxops.reconcile.plan.recorded import busy, is_busy, is_recreated, lost
from influxops.reconcile.plan.retire import on_the_move, standing
from influxops.reconcile.request import RunRequest
from influxops.reconcile.state import Observed
from influxops.runtime.context import RunContext


class Adopt(Operation, Struct, frozen=True):
    """Makes databases tenants', whatever they are called.

    Args:
        names: The database's name of each tenant, by its id; None for the one that it should have,
            as it is recorded or the plan would have it.
    """

    command: ClassVar[str] = "adopt"

    names: Mapping[str, str | None]

    def plan(
        self,
        observed: Observed,
        desired: Mapping[str, TenantPlan],
        request: RunRequest,
        context: RunContext,
    ) -> Plan:
        """Plan it.

        Raises:
            ConfigError: When no source knows one of them, or two are to get one database.
        """
        if not observed.ledger_view.is_readable:
            return Plan({})
        names = {id_: name or _own(id_, observed, desired) for id_, name in self.names.items()}
        self._refuse_unknown(names, observed, desired)
        owners = _owners(observed, desired, frozenset(names.values()))
        given = {t.id: t.attributes.get("database") for t in observed.tenants if t.id in self.names}
        plans = {}
        for id_, database in names.items():
            plan = TenantPlan(id_, database, UNMANAGED, record=observed.ledger_view.record(id_))
            if id_ not in desired:
                plans[id_] = plan.defer(
                    FindingKind.NOT_READ, "no source that could be read knows it"
                )
                continue
            if not database:
                plans[id_] = desired[id_]  # held, because it can have no name
                continue
            plan = _planned(plan, observed, owners, request, context)
            if plan.status in (TenantStatus.OK, TenantStatus.PENDING):
                notes = _notes(plan, desired[id_], given.get(id_), observed)
                plan = plan.note(*notes)
            plans[id_] = plan
        return Plan(plans)

    def _refuse_unknown(
        self, names: Mapping[str, str], observed: Observed, desired: Mapping[str, TenantPlan]
    ) -> None:
        for name, number in Counter(names.values()).items():
            if number > 1 and name:
                raise ConfigError(
                    f"two tenants are to adopt the database {truncate(name)}",
                    hint="a database is one tenant's",
                )
        if not observed.sources_complete:
            return
        for id_ in self.names:
            if id_ not in desired:
                raise ConfigError(
                    f"no source knows the tenant {quote(id_)}",
                    hint=did_you_mean(id_, desired) or "add it to the registry first",
                )


def _own(tenant: str, observed: Observed, desired: Mapping[str, TenantPlan]) -> str:
    """Return the name that a tenant's database should have; empty where it has no valid one."""
    record = observed.ledger_view.record(tenant)
    if record is not None:
        return record.database
    return desired[tenant].database if tenant in desired else ""


def _planned(
    plan: TenantPlan,
    observed: Observed,
    owners: Mapping[str, list[tuple[str, str | None, str]]],
    request: RunRequest,
    context: RunContext,
) -> TenantPlan:
    """Return a tenant with what makes a database its own, or why that cannot be."""
    record = plan.record
    if record is not None and is_busy(record, context.id):
        return busy(plan, record)
    home = _home(plan, observed, context)
    if (
        record is not None
        and record.secondary_target is not None
        and not _is_in_place(record, plan, home)
    ):
        if finding := _not_left(plan, record, observed):
            return plan.block(finding)
        plan = replace(plan, notes=(_left(plan, record),))
    if isinstance(home, TenantPlan):
        return home
    before = observed.inventories[home].databases[plan.database]
    plan = replace(plan, target=home, before=before, after=before)
    capabilities = request.rules.targets[home].capabilities
    for owner, target, why in owners.get(plan.database, ()):
        if owner != plan.tenant and target in (None, home):
            return plan.block(
                blocked(
                    FindingKind.NAME_COLLISION,
                    f"the database {truncate(plan.database)} on {home} {why} tenant {quote(owner)}",
                    "adopt another one, or give that tenant another database first",
                ),
            )
    if rule := capabilities.validate_tenant(plan.tenant):
        return plan.block(blocked(FindingKind.INVALID_ID, f"its id {rule}", "rename the tenant"))
    if rule := capabilities.validate_name(plan.database):
        return plan.block(
            blocked(
                FindingKind.INVALID_NAME, f"the database's name {rule}", "it can be no tenant's"
            ),
        )
    until = _kept_until(record, plan, observed, request)
    changes = tuple(_changes(plan, home, before, until))
    if not changes:
        return plan
    return replace(plan, status=TenantStatus.PENDING, changes=changes, after=changes[-1].after)


def _not_left(plan: TenantPlan, record: Record, observed: Observed) -> Finding | None:
    """Return why a tenant cannot adopt what it has beside its database; None where that is gone.

    Then only the other copy is left: the one that a move left behind, or that one had begun.
    """
    other = observed.inventories.get(record.secondary_target or "")
    if record.database != plan.database or other is None or plan.database not in other.databases:
        return on_the_move(record)
    place = observed.inventories.get(record.target or "")
    if place is None or not place.complete:
        cannot = "cannot be read" if place is None else "does not show all that it holds"
        advice: str | Hint = "run it again when all of that can be read"
        if all(each.name != record.target for each in observed.targets):
            cannot = "is not configured any more"
            advice = Hint.command(
                f"ensure --recreate {shlex.quote(plan.tenant)}",
                "configure that target again; run {} only if its server and the data are gone",
            )
        return blocked(
            FindingKind.NOT_READ,
            f"it may still be on {record.target}, where it is recorded and which {cannot}",
            advice,
        )
    now = standing(record, record.target, observed)
    if is_recreated(record, now.before):
        return lost(now, record, observed)
    return on_the_move(record) if now.before is not None else None


def _left(plan: TenantPlan, record: Record) -> Finding:
    """Return what is missing in the copy that is left of a tenant's database."""
    if record.state is State.MOVING and record.drop_after is None:
        missing = f"what was not copied yet from {record.target} is not in it"
    else:
        when = f" {format_time(record.created_at)}" if record.created_at else ""
        missing = f"what was written on {record.target} since it was moved there{when} is not in it"
    return Finding(
        FindingKind.MOVING,
        Severity.WARNING,
        f"its database is gone from {record.target}; {missing}",
        "",
        plan.tenant,
        record.secondary_target,
        plan.database,
    )


def _home(plan: TenantPlan, observed: Observed, context: RunContext) -> str | TenantPlan:
    """Return the target that holds a database, or the tenant with why that is not known."""
    covered = context.scope.targets
    homes = [each for each in homes_of(plan.database, observed) if context.scope.covers(None, each)]
    record = plan.record
    if record is not None and record.target in homes and record.secondary_target in homes:
        homes.remove(record.secondary_target)  # what a move has begun, or left behind
    unread = [each for each in observed.unread if context.scope.covers(None, each)]
    name = truncate(plan.database)
    if len(homes) > 1:
        copies = [{"target": home} for home in homes]
        finding = blocked(
            FindingKind.IN_TWO_TARGETS,
            f"the database {name} is on {' and on '.join(homes)}",
            f"find out which one holds its data, then say which: `--target {homes[0]}`",
        )
        return plan.block(replace(finding, facts={"copies": copies}))
    if unread:
        also = f"it is on {homes[0]}, and may be on" if homes else "it may be on"
        advice = f"; `--target {shlex.quote(homes[0])}` looks there alone" if homes else ""
        return plan.defer(
            FindingKind.NOT_READ,
            f"the database {name} must be found on one target: {also} {summarize(unread)}, which "
            "cannot be read",
            f"run it again when it can be read{advice}",
        )
    if homes:
        return homes[0]
    if hidden := [n for n, i in observed.inventories.items() if not i.complete]:
        where = f"; {summarize(hidden)} may hide it"
    else:
        where = ""
    known = [db for n, i in observed.inventories.items() for db in i.databases]
    place = summarize(sorted(covered)) if covered else "no target"
    return plan.block(
        blocked(
            FindingKind.NO_DATABASE,
            f"{place} {'does not hold' if covered else 'holds'} a database called {name}{where}",
            did_you_mean(plan.database, known) or "see to its name",
        ),
    )


def _owners(
    observed: Observed, desired: Mapping[str, TenantPlan], names: frozenset[str]
) -> dict[str, list[tuple[str, str | None, str]]]:
    """Return whose databases of some names are: (tenant, target, why), None for any target."""
    found: dict[str, list[tuple[str, str | None, str]]] = {name: [] for name in names}
    for record in observed.ledger_view.records.values():
        if record.database in names and record.state not in (State.PENDING, State.RETIRED):
            for target in filter(None, (record.target, record.secondary_target)):
                found[record.database].append((record.tenant, target, "is recorded for"))
    for plan in desired.values():
        if plan.database in names:
            found[plan.database].append((plan.tenant, None, "is what is meant for"))
    return found


def _kept_until(
    record: Record | None, plan: TenantPlan, observed: Observed, request: RunRequest
) -> datetime | None:
    """Return until when the copy at the recorded place is kept; None where that is no copy.

    The ledger may be older than a move: then what was written there since is the tenant's too.
    """
    if record is None or record.target == plan.target or record.database != plan.database:
        return None
    place = observed.inventories.get(record.target or "")
    if request.ledger is None or place is None or plan.database not in place.databases:
        return None
    kept = parse_duration(request.ledger.settings.retire_after)
    return observed.ledger_view.now + timedelta(seconds=kept)


def _changes(
    plan: TenantPlan, home: str, before: Database, until: datetime | None
) -> Iterable[Change]:
    record = plan.record
    if record is None or not _is_its(record, plan, home):
        again = is_recreated(record, before)
        why = "with what clients have written since it was lost" if again else ""
        yield Change(Action.ADOPT, plan.tenant, home, plan.database, before, before, why, until)
    if before.complete is False:
        after = replace(before, complete=True)
        yield Change(Action.COMPLETE, plan.tenant, home, plan.database, before, after)


def _is_its(record: Record, plan: TenantPlan, home: str) -> bool:
    """Return whether a database is a tenant's already, and not a client's in its place."""
    is_there = record.state in (State.READY, State.MOVING) and _is_in_place(record, plan, home)
    return is_there and not is_recreated(record, plan.before)


def _is_in_place(record: Record, plan: TenantPlan, home: str | TenantPlan) -> bool:
    """Return whether a database is where its tenant's is recorded, by its name."""
    return (record.database, record.target) == (plan.database, home)


def _notes(
    plan: TenantPlan, desired: TenantPlan, given: str | None, observed: Observed
) -> Iterable[Finding]:
    """Tell what adopting a database leaves behind, and what will be asked about it."""

    def note(
        kind: FindingKind, severity: Severity, message: str, remedy: str | Hint = ""
    ) -> Finding:
        return Finding(kind, severity, message, remedy, plan.tenant, plan.target, plan.database)

    kept = next((change.until for change in plan.changes if change.until), None)
    if kept is not None and plan.record is not None:
        where = plan.record.target
        yield note(
            FindingKind.RETIRING,
            Severity.WARNING,
            f"what it has on {where} is its old copy from now on, kept until {format_time(kept)}",
            Hint.command(
                "retire --due",
                f"{{}} copies then what only {where} has, and drops it once there is no more",
            ),
        )
    for target, name in _before(plan, desired, observed) if kept is None else ():
        if (target, name) != (plan.target, plan.database):
            yield note(
                FindingKind.ORPHAN,
                Severity.WARNING,
                f"its database {truncate(name)} on {target} belongs to no tenant from now on",
                "influxops leaves it alone; drop it once it holds nothing of worth",
            )
    if given and given != plan.database:
        yield note(
            FindingKind.CONFLICT,
            Severity.WARNING,
            f"its source calls its database {truncate(given)}: it is held until that says "
            f"{truncate(plan.database)}",
            "correct its `database` in the source",
        )
    wanted, period = desired.retention, plan.before.retention if plan.before else UNKNOWN
    if isinstance(wanted, int | None) and period is not UNKNOWN and wanted != period:
        yield note(
            FindingKind.NOTE,
            Severity.INFO,
            f"its retention period is kept now; `ensure` sets it to {_period(wanted)}",
        )


def _before(plan: TenantPlan, desired: TenantPlan, observed: Observed) -> Iterable[tuple[str, str]]:
    """Return where the tenant had a database before: as recorded, or as the plan would have it."""
    record = plan.record
    name = record.database if record is not None else desired.database
    for target in homes_of(name, observed) if name else ():
        if record is None or record.target == target:
            yield target, name


def _period(seconds: int | None) -> str:
    return "for ever" if seconds is None else format_duration(seconds)
