"""What planning concludes from a tenant's record: claimed, moving, misplaced, lost."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from influxops.domain.database import UNMANAGED, Database, TargetCapabilities
from influxops.domain.finding import Finding, FindingKind
from influxops.domain.hint import Hint, typed
from influxops.domain.plan import Action, Change, TenantPlan
from influxops.domain.record import BACK, Record, State
from influxops.domain.text import format_time, summarize, truncate
from influxops.reconcile.policy import Rules
from influxops.reconcile.state import RunState

MAY_READ_ALL = "give its target a token that may read all"
IF_REPLACED = "check where the target leads; if its server was replaced on purpose"


def plan_from_record(record: Record, target: str | None, observed: RunState) -> TenantPlan:
    """Return a tenant as recorded, with its database as it is on one of its targets."""
    found = observed.database(target, record.database)
    return TenantPlan(
        record.tenant,
        record.database,
        UNMANAGED,
        target=target,
        before=found,
        after=found,
        record=record,
    )


def due_on(record: Record, now: datetime) -> str | None:
    """Return the target whose copy of a tenant's database may be dropped; None where none may."""
    if record.state is State.RETIRING:
        return record.target if record.drop_after is None or record.drop_after <= now else None
    is_due = record.drop_after is not None and record.drop_after <= now
    if record.state is State.READY and is_due and record.secondary_target != record.target:
        return record.secondary_target  # what it left behind when it was moved
    return None


# Claims and moves ----------------------------------------------------------------------------


def is_busy(record: Record, run: str) -> bool:
    """Return whether a tenant is claimed by another run than this one, which still lives."""
    return record.is_claimed and record.claimed_by != run


def bad_retention(plan: TenantPlan, rules: Rules) -> Iterator[Finding]:
    """Yield a warning where the server does not keep a tenant's data as it should."""
    if plan.before is None or plan.target is None:
        return
    fault = rules.targets[plan.target].capabilities.retention_fault(plan.before.retention)
    if fault:
        yield plan.warning(
            FindingKind.INVALID_RETENTION,
            f"its retention period {fault}",
            "set `retention` for it, or for all in [database]: `none` keeps data for ever",
        )


def busy(plan: TenantPlan, record: Record) -> TenantPlan:
    """Return a tenant, blocked because another run has claimed or changed it."""
    plan = plan.unchanged()
    if not record.claimed_by:
        changed = f"another run has changed it in the meantime: it is {record.state}"
        return plan.blocked(FindingKind.CLAIMED, changed, "run it again")
    doing = {State.MOVING: "moving", State.RETIRING: "retiring"}.get(record.state, "making")
    on = f" on {record.target}" if record.target else ""
    if record.state is State.READY and record.secondary_target is not None:
        doing, on = "dropping the old copy of", f" on {record.secondary_target}"
    message = f"another run ({record.claimed_by}) is {doing} its database{on}"
    return plan.blocked(FindingKind.CLAIMED, message, "run it again when that one has ended")


def is_copy(record: Record, home: str) -> bool:
    """Return whether what a target holds of a tenant is what a move left there, or copies to."""
    return home == record.secondary_target != record.target


def is_cut_over(record: Record) -> bool:
    """Return whether a tenant that is moving is on its new target: what may be dropped is known."""
    return record.state is State.MOVING and record.drop_after is not None


def is_move_back(record: Record) -> bool:
    """Return whether a move that was begun takes a tenant back to its old copy."""
    is_copied = record.state is State.MOVING and record.drop_after is None
    return is_copied and record.progress.startswith(BACK)


def not_copied(record: Record) -> Finding:
    """Return why the copy that a move left, or makes, is not dropped at once."""
    return Finding.error(
        FindingKind.MOVING,
        f"the copy on {record.secondary_target} belongs to a move, and may hold rows that "
        f"{record.target} "
        "lacks",
        Hint.command("retire --due", "{} drops an old copy when it is due, after a last pass"),
    )


def move_in_progress_finding(record: Record) -> Finding:
    """Return why a tenant that has a second copy of its database is blocked."""
    if record.state is State.MOVING:
        to = f"--to {shlex.quote(record.secondary_target or '')}"
        move = typed("move", record.tenant, options=to)
        message = f"it is moving from {record.target} to {record.secondary_target}"
        return Finding.error(
            FindingKind.MOVING, message, Hint.command(move, "end that first: run {}")
        )
    due = f" before {format_time(record.drop_after)}" if record.drop_after else ""
    return Finding.error(
        FindingKind.MOVING,
        f"it was moved, and the copy that it left on {record.secondary_target} is not dropped{due}",
        Hint.command(
            typed("retire --copies", record.tenant),
            "{} drops it now, after a last look; then run this again",
        ),
    )


def moving(record: Record) -> Finding:
    """Return the finding that a tenant is being moved; it has its database in the meantime."""
    was_cut_over, to, hint = is_cut_over(record), record.target, "go on with {}"
    message = (
        f"it was moved here from {record.secondary_target}, where the last rows are still to be "
        "looked for"
        if was_cut_over
        else f"its database is being copied to {record.secondary_target}"
    )
    if record.is_claimed:
        return Finding.info(FindingKind.MOVING, f"{message} by run {record.claimed_by}")
    if not was_cut_over:
        since = f" since {format_time(record.state_since)}" if record.state_since else ""
        message = f"the ledger has it as being copied to {record.secondary_target}{since}"
        to = record.secondary_target
        if not is_move_back(record):
            hint = f"{hint}, which writes over nothing that is newer there"
    return Finding.warning(
        FindingKind.MOVING,
        f"{message}, and no run is at it",
        Hint.command(typed("move", record.tenant, options=f"--to {to}"), hint),
        tenant=record.tenant,
        target=record.target,
        database=record.database,
    )


def unretire(plan: TenantPlan) -> tuple[Change, Finding]:
    """Return what keeps a tenant that was retiring and is in a source again, and what to report."""
    assert plan.record is not None
    due = plan.record.drop_after
    until = f", and would have been dropped after {format_time(due)}" if due else ""
    message = f"it was retiring{until}: a source has it again, so it is kept"
    change = plan.change(Action.UNRETIRE, after=plan.before)
    return change, plan.warning(FindingKind.UNRETIRED, message)


# Elsewhere than recorded ---------------------------------------------------------------------


def is_elsewhere(record: Record, home: str, observed: RunState) -> bool:
    """Return whether a database was found on another target than the recorded one.

    What a run that died had only reserved is where it is found, once its target was read.
    """
    if record.target == home:
        return False
    return record.state is not State.ALLOCATED or record.target not in observed.inventories


def misplaced(plan: TenantPlan, record: Record, home: str, observed: RunState) -> TenantPlan:
    """Return a tenant blocked whose database is elsewhere than recorded."""
    if observed.is_replaced(record.target):
        # Its own server may come back, with all that it holds.
        why = f"another server answers at {record.target}, where it is recorded; {home} has a copy"
        return plan.blocked(FindingKind.MISPLACED, why, Hint.allow("replaced-server", IF_REPLACED))
    adopt = typed("adopt", f"{plan.tenant}={plan.database}")
    by = f" by run {record.created_by}" if record.created_by else ""
    since = f"since {format_time(record.created_at)}{by}" if record.created_at else by.strip()
    since = since or "by an earlier run"
    if (
        home == record.secondary_target
        and record.state is State.MOVING
        and record.drop_after is None
    ):
        message = (
            f"its database is not on {record.target} any more; what is on {home} is the copy that "
            "a move has begun, and perhaps not all of it"
        )
        how = "bring it back from a backup; {} takes the copy, if that is all of it"
        return plan.blocked(FindingKind.LOST, message, Hint.command(adopt, how))
    if home == record.secondary_target:
        message = (
            f"its database is gone from {record.target}, where it is recorded {since}; "
            f"what is on {home} is the copy that it left there"
        )
        how = "bring it back if you can; {} makes that copy its database"
    else:
        message = f"the database {plan.database} is on {home}, but recorded on {record.target}, "
        message += since
        how = "find out which one holds the data; run {} if it is the one that was found"
    return plan.blocked(FindingKind.MISPLACED, message, Hint.command(adopt, how))


def explain_unknown(
    plan: TenantPlan, record: Record, observed: RunState, rules: Rules
) -> Finding | None:
    """Explain why a recorded but missing database may exist all the same; None where none does."""
    again = plan.tenant in rules.recreate
    on, kind, remedy = f"it is recorded on {record.target}", FindingKind.NOT_READ, Hint.advise("")
    inventory = observed.inventories.get(record.target or "")
    if record.target not in rules.targets:
        if again:
            return None
        message, kind = f"{on}, which is not configured any more", FindingKind.NOT_CONFIGURED
        remedy = Hint.command(
            f"ensure --recreate {shlex.quote(plan.tenant)}",
            "configure that target again; run {} only if its server and the data are gone",
        )
    elif inventory is None:
        message = f"its target {record.target} cannot be read"
    elif again:
        return None
    elif not inventory.complete:
        message = f"{on}, which does not show all that it holds"
        remedy = Hint.advise(MAY_READ_ALL)
    elif inventory.identity is None and record.identity is not None:
        # A server says which one it is with each answer; what is between it and us does not.
        message = f"{on}, and what answered there did not say which server it is"
    elif observed.unread and record.is_provisioned:
        names = summarize(observed.unread)
        message = f"{on} and not there; it may be on {names}, which cannot be read"
    else:
        return None
    return plan.error(kind, message, remedy, target=record.target)


def find_shared_databases(
    records: Iterable[Record], desired: Mapping[str, TenantPlan], observed: RunState
) -> dict[str, Finding]:
    """Return why tenants are blocked whose database is another tenant's as well, by their ids.

    No program writes such records; a person did, and dropping would take the other's data.
    """
    records = [*records]
    owners: dict[str, set[str]] = {r.database: set() for r in records if r.database}
    for other in observed.ledger_view.records.values():
        if other.database in owners and other.state not in (State.PENDING, State.RETIRED):
            owners[other.database].add(other.tenant)
    for id_, plan in desired.items():
        if plan.database in owners:
            owners[plan.database].add(id_)
    return {
        record.tenant: Finding.error(
            FindingKind.NAME_COLLISION,
            f"its recorded database {truncate(record.database)} is also that of "
            f"{summarize(others)}",
            "find out whose it is, and correct the record of the other in the ledger",
        )
        for record in records
        if record.state is not State.RETIRED
        and (others := sorted(owners.get(record.database, set()) - {record.tenant}))
    }


# Lost ----------------------------------------------------------------------------------------


def is_recreated(record: Record | None, found: Database | None) -> bool:
    """Return whether a database is not the one that was provisioned for its tenant.

    That one was marked, and what marks it stays as long as the database does. So it is gone, and a
    client's write has created another one of its name. One that was not seen to be marked may be a
    run's, which ended before it was complete.
    """
    if record is None or found is None or record.is_claimed:
        return False
    return record.state.is_provisioned and found.is_marked is False


def seems_lost(record: Record, observed: RunState) -> bool:
    """Return whether a recorded tenant's database is gone, by what was read, and not known to be.

    Its target shows all that it holds, and no run has claimed the tenant.
    """
    if not record.is_provisioned or record.state is State.LOST or record.is_claimed:
        return False
    found = observed.database(record.target, record.database)
    return is_recreated(record, found) or (found is None and observed.shows_all(record.target))


def was_recreated(database: str, target: str, observed: RunState) -> bool:
    """Return whether a database was deleted, and created again by a late write.

    Nothing but a write creates one without a marker where another of its name was deleted.
    """
    inventory = observed.inventories[target]
    found = inventory.databases[database]
    return found.complete is False and database in inventory.deleted


def explain_lost(record: Record | None, observed: RunState) -> str:
    """Explain what is known of a database that no target has any more; empty where one may.

    Since when, which run created it, whether it is the same server, and what that knows of deleted
    databases of this name.
    """
    if record is None or not record.is_provisioned:
        return ""
    inventory = observed.inventories.get(record.target or "")
    seen = observed.ledger_view.confirmed(record)
    by = f" by run {record.created_by}" if record.created_by else ""
    made = (
        f"created{by} at {format_time(record.created_at)}"
        if record.created_at is not None
        else f"created{by}"
    )
    parts = [made]
    if seen is not None:
        parts.append(f"last seen {format_time(seen)}")
    if inventory is None:
        parts.append("its target is not configured any more")
    elif inventory.identity is not None and record.identity is not None:
        capabilities = next(
            (t.capabilities for t in observed.targets if t.name == record.target),
            TargetCapabilities(),
        )
        server = f"another server answers: {capabilities.identity} {inventory.identity}, not "
        server += record.identity
        if inventory.identity == record.identity:
            server = f"same server: {capabilities.identity} {record.identity}"
        parts.append(server)
    if inventory is not None and record.database in inventory.deleted:
        gone = inventory.deleted[record.database]
        until = f": its data is kept until {format_time(gone)}" if gone is not None else ""
        parts.append(f"deleted there{until}")
    why = f"missing on {record.target} ({', '.join(parts)})"
    if is_recreated(record, observed.database(record.target, record.database)):
        why += f"; a client has created another one of that name on {record.target}"
    if record.secondary_target != record.target and observed.database(
        record.secondary_target, record.database
    ):
        copy = "what a move has copied so far" if record.drop_after is None else "its old copy"
        why += f"; {copy} is on {record.secondary_target}"
    return why


def lost(plan: TenantPlan, observed: RunState) -> TenantPlan:
    """Return a tenant blocked whose database a client has created again."""
    message = f"lost: {explain_lost(plan.record, observed)}"
    return plan.blocked(FindingKind.LOST, message, how_to_go_on(plan))


def recreated_note(plan: TenantPlan, observed: RunState) -> TenantPlan:
    """Return a tenant to be retired, with a note where a client has created its database again."""
    if not is_recreated(plan.record, plan.before):
        return plan
    return plan.note(plan.warning(FindingKind.LOST, f"lost: {explain_lost(plan.record, observed)}"))


def how_to_go_on(plan: TenantPlan) -> Hint:
    """Return what to do about a tenant whose database is gone."""
    recreate = f"ensure --recreate {shlex.quote(plan.tenant)}"
    if not is_recreated(plan.record, plan.before):
        return Hint.command(recreate, "restore it if you can; {} makes it again, empty")
    assert plan.record is not None
    old = ""
    if plan.record.secondary_target is not None and plan.record.drop_after is not None:
        old = (
            f"; after either, influxops retire --due copies what its old copy on "
            f"{plan.record.secondary_target} has, when that is due"
        )
    return Hint.command(
        typed("adopt", plan.tenant),
        "restore it if you can; {} takes what clients have written since as the tenant's; "
        f"influxops {recreate} --allow drop drops that, and makes an empty one" + old,
    )
