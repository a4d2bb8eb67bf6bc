"""What planning makes of a tenant's record: what is missing may be lost, or in another's hands."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import datetime

from influxops.findings import Finding, Kind, Severity
from influxops.ledger import Record, State
from influxops.model import Inventory, TenantPlan
from influxops.reconcile.desired import held, hold
from influxops.reconcile.observe import Observed
from influxops.reconcile.rules import Rules
from influxops.remedy import Remedy
from influxops.text import some_of


def busy(plan: TenantPlan, record: Record) -> TenantPlan:
    """Return a tenant that another run, which still lives, has in its hands."""
    doing = {State.MOVING: "moving", State.RETIRING: "retiring"}.get(record.state, "making")
    on = f" on {record.target}" if record.target else ""
    return hold(
        plan,
        held(
            Kind.BUSY,
            f"another run ({record.holder}) is {doing} its database{on}",
            "run it again when that one has ended",
        ),
    )


def is_elsewhere(record: Record, home: str, observed: Observed) -> bool:
    """Return whether a database was found on another target than the recorded one.

    What a run that died had only reserved is where it is found, once its target was read.
    """
    if record.target == home:
        return False
    return record.state is not State.RESERVED or record.target not in observed.inventories


def moving(record: Record) -> Finding:
    """Return the finding that a tenant is being moved, and has its database meanwhile."""
    was_cut_over = record.due is not None
    message = (
        f"it was moved here from {record.other}, where the last rows are still to be looked for"
        if was_cut_over
        else f"its database is being copied to {record.other}"
    )
    if record.is_held:
        return Finding(Kind.MOVING, Severity.INFO, f"{message} by run {record.holder}")
    to = record.target if was_cut_over else record.other
    return Finding(
        Kind.MOVING,
        Severity.WARNING,
        f"{message}, and no run is at it",
        Remedy.command(f"move {shlex.quote(record.tenant)} --to {to}", "go on with {}"),
        record.tenant,
        record.target,
        record.database,
    )


def misplaced(plan: TenantPlan, record: Record, home: str) -> Finding:
    """Return why a tenant is held whose database is elsewhere than recorded."""
    if record.state is State.MOVING and home == record.other and record.due is None:
        return held(
            Kind.LOST,
            f"its database is not on {record.target} any more; what is on {home} is the copy that "
            "a move has begun, and perhaps not all of it",
            "find out what became of it, and bring it back from a backup",
        )
    return held(
        Kind.MISPLACED,
        f"the database {plan.database} is on {home}, but recorded on {record.target}, "
        f"{_since(record)}",
        Remedy.command(
            f"adopt {shlex.quote(plan.tenant)}={shlex.quote(plan.database)}",
            "find out which one holds the data; run {} if it is the one that was found",
        ),
    )


def unknown(plan: TenantPlan, record: Record, observed: Observed, rules: Rules) -> Finding | None:
    """Return why nobody can know whether a recorded tenant that was not found has its database.

    Returns:
        None where it is known that no target has it.
    """

    def finding(kind: Kind, message: str, remedy: str | Remedy = "") -> Finding:
        return Finding(
            kind, Severity.ERROR, message, remedy, plan.tenant, record.target, plan.database
        )

    again = plan.tenant in rules.recreate
    if record.target not in rules.targets:
        if again:
            return None
        return finding(
            Kind.NOT_CONFIGURED,
            f"it is recorded on {record.target}, which is not configured any more",
            Remedy.command(
                f"ensure --recreate {shlex.quote(plan.tenant)}",
                "configure that target again; run {} only if its server and the data are gone",
            ),
        )
    inventory = observed.inventories.get(record.target or "")
    if inventory is None:
        return finding(Kind.NOT_READ, f"its target {record.target} cannot be read")
    if not inventory.complete and not again:
        return finding(
            Kind.NOT_READ,
            f"it is recorded on {record.target}, which does not show all that it holds",
            "give its target a token that may read all",
        )
    if observed.unread and record.state.is_promised and not again:
        names = some_of(observed.unread)
        return finding(
            Kind.NOT_READ,
            f"it is recorded on {record.target} and not there; it may be on {names}, which cannot "
            "be read",
        )
    return None


def is_lost(record: Record | None) -> bool:
    """Return whether making a tenant's database would make anew what was promised."""
    return record is not None and record.state.is_promised


def why_lost(record: Record, observed: Observed) -> str:
    """Return what is known of a database that is on no target any more; empty where it is not.

    Since when, which run made it, whether it is the same server, and what that knows of deleted
    databases of this name.
    """
    if not is_lost(record):
        return ""
    inventory = observed.inventories.get(record.target or "")
    seen = observed.recalled.confirmed(record)
    parts = [f"it was ready on {record.target}, {_since(record)}"]
    if seen is not None:
        parts.append(f"last seen {_time(seen)}")
    if inventory is None:
        parts.append("its target is not configured any more")
    elif inventory.identity is not None and record.identity is not None:
        same = inventory.identity == record.identity
        traits = next((t.traits for t in observed.targets if t.name == record.target), None)
        word = traits.identity if traits else "identity"
        parts.append(
            f"the server is the same ({word} {record.identity})"
            if same
            else f"another server answers: {word} {inventory.identity}, not {record.identity}"
        )
    if inventory is not None and record.database in inventory.deleted:
        gone = inventory.deleted[record.database]
        until = f"; its data goes {_time(gone)}" if gone is not None else ""
        parts.append(f"it was deleted there{until}")
    return ", ".join(parts)


def unretired(plan: TenantPlan) -> Finding:
    """Return the finding that a tenant which was retiring is in a source again."""
    assert plan.record is not None
    due = f", and would have been dropped after {_time(plan.record.due)}" if plan.record.due else ""
    return Finding(
        Kind.UNRETIRED,
        Severity.WARNING,
        f"it was retiring{due}: a source has it again, so it is kept",
        tenant=plan.tenant,
        target=plan.target,
        database=plan.database,
    )


def made_anew(plan: TenantPlan, inventory: Inventory) -> Finding:
    """Return the finding that a promised database is there, and not the one that was made."""
    deleted = plan.database in inventory.deleted
    gone = inventory.deleted.get(plan.database)
    why = "was deleted" if deleted else "has lost what says that it is complete"
    until = f" (the data of the deleted one goes {_time(gone)})" if gone is not None else ""
    return Finding(
        Kind.MADE_ANEW,
        Severity.WARNING,
        f"it {why}{until}, and is there again: what wrote to it has made it anew",
        "find out who deleted it; what it held before may be gone" if deleted else "",
        plan.tenant,
        plan.target,
        plan.database,
    )


def left_behind(
    observed: Observed, desired: Mapping[str, TenantPlan]
) -> tuple[set[tuple[str, str]], list[Finding]]:
    """Return the databases that no source asks for and the ledger explains, and what to tell.

    Args:
        observed: What was read.
        desired: What each tenant should have.

    Returns:
        The (target, name) of each, and a finding for those that somebody should know of.
    """
    explained: set[tuple[str, str]] = set()
    told: list[Finding] = []
    for record in observed.recalled.records.values():
        for target in filter(None, (record.target, record.other)):
            inventory = observed.inventories.get(target)
            if inventory is None or record.database not in inventory.databases:
                continue
            place = (target, record.database)
            if target == record.other:
                explained.add(place)
            elif record.tenant in desired:
                continue
            elif record.state is State.RETIRING:
                explained.add(place)
                due = f"dropped after {_time(record.due)}" if record.due else "to be dropped"
                told.append(_about(Kind.RETIRING, Severity.INFO, f"it is retiring: {due}", record))
            elif record.state is State.RETIRED:
                explained.add(place)
                message = (
                    f"its database {record.database} on {target} was dropped"
                    f"{f' {_time(record.since)}' if record.since else ''}, and is there again: "
                    "somebody still writes to it"
                )
                told.append(_about(Kind.BACK_AGAIN, Severity.WARNING, message, record))
    return explained, told


def _about(kind: Kind, severity: Severity, message: str, record: Record) -> Finding:
    remedy = "stop what writes to it, then drop it" if kind is Kind.BACK_AGAIN else ""
    return Finding(
        kind,
        severity,
        message,
        remedy,
        record.tenant,
        record.target,
        record.database,
    )


def _since(record: Record) -> str:
    if record.made is None:
        return f"by run {record.made_by}" if record.made_by else "by an earlier run"
    by = f" by run {record.made_by}" if record.made_by else ""
    return f"since {_time(record.made)}{by}"


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"
