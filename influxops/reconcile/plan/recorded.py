"""What planning makes of a tenant's record: what is missing may be lost, or in another's hands."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from datetime import datetime

from influxops.domain.change import Action, Change
from influxops.domain.database import UNKNOWN, Database, TargetCapabilities
from influxops.domain.finding import Finding, FindingKind, Severity, blocked
from influxops.domain.hint import Hint
from influxops.domain.plan import TenantPlan
from influxops.domain.record import Record, State
from influxops.domain.text import format_time, summarize, truncate
from influxops.reconcile.policy import Rules
from influxops.reconcile.state import Observed


def due_on(record: Record, now: datetime) -> str | None:
    """Return the target whose copy of a tenant's database is to be dropped by now.

    Args:
        record: What is remembered of the tenant.
        now: The ledger's clock.

    Returns:
        None where nothing of it is.
    """
    if record.state is State.RETIRING:
        return record.target if record.drop_after is None or record.drop_after <= now else None
    is_due = record.drop_after is not None and record.drop_after <= now
    if record.state is State.READY and is_due and record.secondary_target != record.target:
        return record.secondary_target  # what it left behind when it was moved
    return None


def is_copy(record: Record, home: str) -> bool:
    """Return whether what a target holds of a tenant is what a move left there, or copies to."""
    return home == record.secondary_target != record.target


def not_copied(record: Record) -> Finding:
    """Return why the copy that a move left, or makes, is not dropped at once."""
    return blocked(
        FindingKind.MOVING,
        f"the copy on {record.secondary_target} belongs to a move, and may hold rows that "
        f"{record.target} "
        "lacks",
        Hint.command("retire --due", "{} drops an old copy when it is due, after a last pass"),
    )


def is_busy(record: Record, run: str) -> bool:
    """Return whether another run than this one, which still lives, has a tenant in its hands."""
    return record.is_claimed and record.claimed_by != run


def busy(plan: TenantPlan, record: Record) -> TenantPlan:
    """Return a tenant that another run has in its hands, or got hold of first."""
    if not record.claimed_by:
        changed = f"another run has changed it meanwhile: it is {record.state}"
        return plan.block(blocked(FindingKind.CLAIMED, changed, "run it again"))
    doing = {State.MOVING: "moving", State.RETIRING: "retiring"}.get(record.state, "making")
    on = f" on {record.target}" if record.target else ""
    if record.state is State.READY and record.secondary_target is not None:
        doing, on = "dropping the old copy of", f" on {record.secondary_target}"
    return plan.block(
        blocked(
            FindingKind.CLAIMED,
            f"another run ({record.claimed_by}) is {doing} its database{on}",
            "run it again when that one has ended",
        ),
    )


def is_elsewhere(record: Record, home: str, observed: Observed) -> bool:
    """Return whether a database was found on another target than the recorded one.

    What a run that died had only reserved is where it is found, once its target was read.
    """
    if record.target == home:
        return False
    return record.state is not State.ALLOCATED or record.target not in observed.inventories


def moving(record: Record) -> Finding:
    """Return the finding that a tenant is being moved, and has its database meanwhile."""
    was_cut_over = record.drop_after is not None
    message = (
        f"it was moved here from {record.secondary_target}, where the last rows are still to be "
        "looked for"
        if was_cut_over
        else f"its database is being copied to {record.secondary_target}"
    )
    if record.is_claimed:
        return Finding(FindingKind.MOVING, Severity.INFO, f"{message} by run {record.claimed_by}")
    to = record.target if was_cut_over else record.secondary_target
    hint = "go on with {}"
    if not was_cut_over:
        since = f" since {format_time(record.state_since)}" if record.state_since else ""
        message = f"the ledger has it as being copied to {record.secondary_target}{since}"
        hint += ", which writes over nothing that is newer there"
    return Finding(
        FindingKind.MOVING,
        Severity.WARNING,
        f"{message}, and no run is at it",
        Hint.command(f"move {shlex.quote(record.tenant)} --to {to}", hint),
        record.tenant,
        record.target,
        record.database,
    )


def misplaced(plan: TenantPlan, record: Record, home: str) -> Finding:
    """Return why a tenant is held whose database is elsewhere than recorded."""
    adopt = f"adopt {shlex.quote(plan.tenant)}={shlex.quote(plan.database)}"
    if (
        home == record.secondary_target
        and record.state is State.MOVING
        and record.drop_after is None
    ):
        return blocked(
            FindingKind.LOST,
            f"its database is not on {record.target} any more; what is on {home} is the copy that "
            "a move has begun, and perhaps not all of it",
            Hint.command(
                adopt, "bring it back from a backup; {} takes the copy, if that is all of it"
            ),
        )
    if home == record.secondary_target:
        return blocked(
            FindingKind.MISPLACED,
            f"its database is gone from {record.target}, where it is recorded {_since(record)}; "
            f"what is on {home} is the copy that it left there",
            Hint.command(adopt, "bring it back if you can; {} makes that copy its database"),
        )
    return blocked(
        FindingKind.MISPLACED,
        f"the database {plan.database} is on {home}, but recorded on {record.target}, "
        f"{_since(record)}",
        Hint.command(
            adopt, "find out which one holds the data; run {} if it is the one that was found"
        ),
    )


def unknown(plan: TenantPlan, record: Record, observed: Observed, rules: Rules) -> Finding | None:
    """Return why nobody can know whether a recorded tenant that was not found has its database.

    Returns:
        None where it is known that no target has it.
    """

    def finding(kind: FindingKind, message: str, remedy: str | Hint = "") -> Finding:
        return Finding(
            kind, Severity.ERROR, message, remedy, plan.tenant, record.target, plan.database
        )

    again = plan.tenant in rules.recreate
    if record.target not in rules.targets:
        if again:
            return None
        return finding(
            FindingKind.NOT_CONFIGURED,
            f"it is recorded on {record.target}, which is not configured any more",
            Hint.command(
                f"ensure --recreate {shlex.quote(plan.tenant)}",
                "configure that target again; run {} only if its server and the data are gone",
            ),
        )
    inventory = observed.inventories.get(record.target or "")
    if inventory is None:
        return finding(FindingKind.NOT_READ, f"its target {record.target} cannot be read")
    if not inventory.complete and not again:
        return finding(
            FindingKind.NOT_READ,
            f"it is recorded on {record.target}, which does not show all that it holds",
            "give its target a token that may read all",
        )
    if observed.unread and record.is_provisioned and not again:
        names = summarize(observed.unread)
        return finding(
            FindingKind.NOT_READ,
            f"it is recorded on {record.target} and not there; it may be on {names}, which cannot "
            "be read",
        )
    return None


def is_lost(record: Record | None) -> bool:
    """Return whether making a tenant's database would make anew what was promised."""
    return record is not None and record.is_provisioned


def is_recreated(record: Record | None, found: Database | None) -> bool:
    """Return whether a database is not the one that its tenant was promised.

    That one was marked, and what marks it stays as long as the database does. So it is gone, and a
    client's write has created another one of its name. One that was not seen to be marked may be a
    run's, which ended before it was complete.
    """
    if record is None or found is None or record.is_claimed:
        return False
    return record.state.is_provisioned and found.is_marked is False


def may_be_recreated(
    record: Record | None, found: Database, capabilities: TargetCapabilities
) -> bool:
    """Return whether what is in the place of a lost database is perhaps a client's."""
    is_lost = record is not None and record.state is State.LOST
    return is_lost and bool(capabilities.completion_marker) and found.is_marked is UNKNOWN


def seems_lost(record: Record, observed: Observed) -> bool:
    """Return whether a recorded tenant's database is gone, by what was read, and not known to be.

    Its target shows all that it holds, and no run has claimed the tenant.
    """
    inventory = observed.inventories.get(record.target or "")
    if (
        not record.is_provisioned
        or record.state is State.LOST
        or record.is_claimed
        or inventory is None
    ):
        return False
    found = inventory.databases.get(record.database)
    return is_recreated(record, found) or (found is None and inventory.complete)


def why_lost(record: Record, observed: Observed) -> str:
    """Return what is known of a database that is on no target any more; empty where it is not.

    Since when, which run made it, whether it is the same server, and what that knows of deleted
    databases of this name.
    """
    if not is_lost(record):
        return ""
    inventory = observed.inventories.get(record.target or "")
    seen = observed.ledger_view.confirmed(record)
    by = f" by run {record.created_by}" if record.created_by else ""
    made = (
        f"made{by} {format_time(record.created_at)}"
        if record.created_at is not None
        else f"made{by}"
    )
    parts = [f"it is gone from {record.target}, {made}"]
    if seen is not None:
        parts.append(f"last seen {format_time(seen)}")
    if inventory is None:
        parts.append("its target is not configured any more")
    elif inventory.identity is not None and record.identity is not None:
        same = inventory.identity == record.identity
        capabilities = next(
            (t.capabilities for t in observed.targets if t.name == record.target), None
        )
        word = capabilities.identity if capabilities else "identity"
        parts.append(
            f"the server is the same ({word} {record.identity})"
            if same
            else f"another server answers: {word} {inventory.identity}, not {record.identity}"
        )
    if inventory is not None and record.database in inventory.deleted:
        gone = inventory.deleted[record.database]
        until = f"; its data goes {format_time(gone)}" if gone is not None else ""
        parts.append(f"it was deleted there{until}")
    why = ", ".join(parts)
    found = inventory.databases.get(record.database) if inventory is not None else None
    if is_recreated(record, found):
        why += f"; a client has created another one of that name on {record.target}"
    other = observed.inventories.get(record.secondary_target or "")
    if (
        other is not None
        and record.secondary_target != record.target
        and record.database in other.databases
    ):
        copy = "what a move has copied so far" if record.drop_after is None else "its old copy"
        why += f"; {copy} is on {record.secondary_target}"
    return why


def lost(plan: TenantPlan, record: Record, observed: Observed) -> Finding:
    """Return why a tenant is held whose database a client has created again."""
    return blocked(FindingKind.LOST, f"lost: {why_lost(record, observed)}", how_to_go_on(plan))


def how_to_go_on(plan: TenantPlan) -> Hint:
    """Return what to do about a tenant whose database is gone."""
    tenant = shlex.quote(plan.tenant)
    if not is_recreated(plan.record, plan.before):
        again = "restore it if you can; {} makes it again, empty"
        return Hint.command(f"ensure --recreate {tenant}", again)
    assert plan.record is not None
    old = ""
    if plan.record.secondary_target is not None and plan.record.drop_after is not None:
        old = (
            f"; after either, influxops retire --due copies what its old copy on "
            f"{plan.record.secondary_target} has, when that is due"
        )
    return Hint.command(
        f"adopt {tenant}",
        "restore it if you can; {} takes what clients have written since as the tenant's; "
        f"influxops ensure --recreate {tenant} --allow drop drops that, and makes an empty one"
        + old,
    )


def unretired(plan: TenantPlan) -> tuple[Change, Finding]:
    """Return what keeps a tenant that was retiring and is in a source again, and what to tell."""
    assert plan.record is not None
    due = plan.record.drop_after
    until = f", and would have been dropped after {format_time(due)}" if due else ""
    now = plan.before
    change = Change(Action.UNRETIRE, plan.tenant, plan.target or "", plan.database, now, now)
    finding = Finding(
        FindingKind.UNRETIRED,
        Severity.WARNING,
        f"it was retiring{until}: a source has it again, so it is kept",
        tenant=plan.tenant,
        target=plan.target,
        database=plan.database,
    )
    return change, finding


def left_behind(
    observed: Observed, desired: Mapping[str, TenantPlan]
) -> tuple[set[tuple[str, str]], list[Finding]]:
    """Return the databases that no source asks for and the ledger explains, and what to tell.

    Returns:
        The (target, name) of each, and a finding for those that somebody should know of.
    """
    explained: set[tuple[str, str]] = set()
    told: list[Finding] = []
    promised = {
        (record.target, record.database)
        for record in observed.ledger_view.records.values()
        if record.state is not State.RETIRED
    }
    for record in observed.ledger_view.records.values():
        homes = [
            (target, inventory.databases[record.database])
            for target, inventory in observed.inventories.items()
            if record.database in inventory.databases
        ]
        for target, found in homes:
            place = (target, record.database)
            if target == record.secondary_target:
                explained.add(place)
            elif record.tenant in desired or place in explained:
                continue
            elif record.state is State.RETIRING and target == record.target:
                explained.add(place)
                due = (
                    f"dropped after {format_time(record.drop_after)}"
                    if record.drop_after
                    else "to be dropped"
                )
                told.append(
                    Finding(
                        FindingKind.RETIRING,
                        Severity.INFO,
                        f"it is retiring: {due}",
                        tenant=record.tenant,
                        target=target,
                        database=record.database,
                    )
                )
            elif record.state is State.RETIRED and place not in promised:
                # Wherever it is: a writer may have cached another place.
                explained.add(place)
                told.append(_back_again(record, target, found))
    return explained, told


def _back_again(record: Record, target: str, found: Database) -> Finding:
    """Return the finding that the database of a retired tenant is there again."""
    when = f" {format_time(record.state_since)}" if record.state_since else ""
    whose = (
        f"its database {truncate(record.database)} was dropped{when}, and is on {target} again: "
    )
    return Finding(
        FindingKind.RECREATED_AFTER_DROP,
        Severity.WARNING,
        # What a write makes by itself has no marker.
        whose + ("a late write made it" if found.complete is False else "somebody made it"),
        Hint.command(f"retire {shlex.quote(record.tenant)}", "stop what writes to it, then run {}"),
        record.tenant,
        target,
        record.database,
    )


def came_back(database: str, target: str, observed: Observed) -> bool:
    """Return whether a database that nobody asks for is one that was deleted and written to since.

    Nothing but a write makes one without a marker where another of its name was deleted.
    """
    inventory = observed.inventories[target]
    found = inventory.databases[database]
    return found.complete is False and database in inventory.deleted


def sharing(
    records: Iterable[Record], desired: Mapping[str, TenantPlan], observed: Observed
) -> dict[str, Finding]:
    """Return why tenants are held whose database is another tenant's as well, by their ids.

    Nothing writes such records; somebody did it by hand, and dropping would take the other's data.

    Args:
        records: Theirs.
        desired: What each tenant of the sources should have.
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
        record.tenant: blocked(
            FindingKind.NAME_COLLISION,
            f"its recorded database {truncate(record.database)} is also that of "
            f"{summarize(others)}",
            "find out whose it is, and correct the record of the other in the ledger",
        )
        for record in records
        if record.state is not State.RETIRED
        and (others := sorted(owners.get(record.database, set()) - {record.tenant}))
    }


def _since(record: Record) -> str:
    if record.created_at is None:
        return f"by run {record.created_by}" if record.created_by else "by an earlier run"
    by = f" by run {record.created_by}" if record.created_by else ""
    return f"since {format_time(record.created_at)}{by}"
