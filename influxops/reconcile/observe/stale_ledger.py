"""Notices that servers show what the ledger does not know: it was restored, or was gone round.

Where a server holds a tenant's database with its marker and the ledger has it elsewhere, or has
no record of it; where the recorded target lacks what no source asks for any more; where a namesake
was deleted after all that the ledger knows of a tenant. Inventories tell that by themselves; only
what looks like it is read again: the records, and what the markers say.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from influxops.domain.database import Inventory, Marker
from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.domain.hint import Hint, typed
from influxops.domain.plan import TenantPlan
from influxops.domain.record import Record, State
from influxops.domain.text import format_time
from influxops.errors import InfluxopsError, Interrupted
from influxops.plugin_host.target import TargetHandle
from influxops.reconcile.observe import ledger
from influxops.reconcile.request import RunRequest
from influxops.reconcile.state import LedgerView, RunState
from influxops.runtime.context import RunContext
from influxops.runtime.parallel import in_parallel

#: So many markers are read of each target; of databases beyond them nothing is said.
_MARKERS = 100
#: A deletion is later than what the ledger knows only if it is so by more than clocks and readings
#: are apart.
_APART = timedelta(seconds=10)
_MAY_BE_OLDER = "was the ledger restored from a backup?"
#: States without a target; what the ledger may not know has a target all the same.
_PLACELESS = (State.PENDING, State.RETIRED)


class Suspect(Struct, frozen=True):
    """A database that a target holds, complete, and no record explains."""

    tenant: str  # whose it is by its name
    target: str
    database: str
    since: datetime  # its marker is no older than that if the ledger should know of it
    record: Record | None = None  # what the ledger has of the tenant, which has another target


def stale_ledger(observed: RunState, desired: Mapping[str, TenantPlan] | None) -> list[Finding]:
    """Return what servers show and the ledger lacks; `desired` is None if sources are unread."""
    ledger_view, request, context = observed.ledger_view, observed.request, observed.context
    # A ledger that is new knows nothing yet.
    if request.ledger is None or not ledger_view.is_readable or not ledger_view.servers:
        return []
    suspects, missed = _noticed(observed, desired)
    tenants = {each.tenant for each in suspects} | {record.tenant for record, _ in missed}
    if not tenants:
        return []
    try:
        # Other runs go on: what they did since is no news to the ledger.
        memory = request.ledger.load_records(tenants, context)
    except Interrupted:
        raise
    except InfluxopsError:
        return []  # the run reports it when the ledger is to be written
    fresh = ledger.ledger_view(memory, observed.inventories)
    others = {id_: r for id_, r in ledger_view.records.items() if id_ not in tenants}
    known = replace(ledger_view, records={**others, **fresh.records}, servers=fresh.servers)
    suspects, missed = _noticed(replace(observed, ledger_view=known), desired)
    markers = _markers(suspects, request, context)
    asked = None if desired is None else desired.keys()
    return [
        *(_elsewhere(each, observed, asked) for each in suspects if _is_its(each, markers)),
        *(_missed(record, deleted, observed, asked) for record, deleted in missed),
    ]


def _noticed(
    observed: RunState, desired: Mapping[str, TenantPlan] | None
) -> tuple[list[Suspect], list[tuple[Record, datetime | None]]]:
    covers = observed.covers
    suspects = [each for each in _suspects(observed, desired or {}) if covers(each.tenant)]
    missed = [each for each in _deleted(observed, desired) if covers(each[0].tenant)]
    return suspects, missed


def _suspects(observed: RunState, desired: Mapping[str, TenantPlan]) -> Iterator[Suspect]:
    """Yield the complete databases of tenants that no record explains."""
    ledger_view = observed.ledger_view
    owners = {plan.database: plan.tenant for plan in desired.values()}
    explained: set[tuple[str | None, str]] = set()
    for record in ledger_view.records.values():
        owners.setdefault(record.database, record.tenant)
        if record.state not in _PLACELESS:
            explained |= {
                (record.target, record.database),
                (record.secondary_target, record.database),
            }
    for target, inventory in observed.inventories.items():
        if target in ledger_view.replaced:
            continue  # that is reported, and nothing on it is what was provisioned
        for name, database in inventory.databases.items():
            if database.complete is not True or (target, name) in explained:
                continue
            tenant = owners.get(name) or observed.rules.template.tenant_id(name)
            if tenant is None or tenant in ledger_view.tenants_of_new_sources:
                continue
            found = ledger_view.records.get(tenant)
            since = _known_since(found, target, inventory, ledger_view)
            if since is not None:
                placed = found if found and found.state not in _PLACELESS else None
                yield Suspect(tenant, target, name, since, placed)


def _known_since(
    record: Record | None, target: str, inventory: Inventory, ledger_view: LedgerView
) -> datetime | None:
    """Return from when on the ledger should know of a database; None where it need not.

    What is older than that was there before the ledger: it is recorded when it is found.
    """
    server = ledger_view.servers.get(target)
    first = server.since if server and server.identity == inventory.identity else None
    if record is None or record.state is State.PENDING:
        return first
    return record.state_since if record.state is State.RETIRED else record.created_at or first


def _deleted(
    observed: RunState, desired: Mapping[str, TenantPlan] | None
) -> Iterator[tuple[Record, datetime | None]]:
    """Yield the records of what was deleted later than all that they know, and when it was.

    What is missing and asked for by a source is lost, or elsewhere: that is reported anyway.
    """
    ledger_view = observed.ledger_view
    knows_all = observed.sources_complete and observed.has_registry
    for record in ledger_view.records.values():
        inventory = observed.inventories.get(record.target or "")
        if (
            record.state not in (State.READY, State.MOVING, State.UNCONFIRMED)
            or record.target in ledger_view.replaced
            or inventory is None
            or not inventory.complete
        ):
            continue
        deleted = _deleted_since(record, inventory, ledger_view)
        there = inventory.databases.get(record.database)
        if there is not None:
            # Without its marker it is what a writer has made.
            if deleted is not None and there.complete is True:
                yield record, deleted
            continue
        homes = observed.targets_holding(record.database)
        is_missed = desired is None or (knows_all and record.tenant not in desired)
        # What is elsewhere, and no record explains, is reported as such.
        if (is_missed and not homes) or (
            deleted is not None and homes == [record.secondary_target]
        ):
            yield record, deleted


def _deleted_since(
    record: Record, inventory: Inventory, ledger_view: LedgerView
) -> datetime | None:
    """Return when a namesake was deleted, if that is later than all that is known of a tenant."""
    ago = inventory.deleted_ago.get(record.database)
    if ago is None:
        return None
    # By the ledger's clock: a server's may be another.
    deleted = ledger_view.now - timedelta(seconds=ago)
    known = (record.created_at, record.state_since, ledger_view.confirmed(record))
    newest = max(filter(None, known), default=None)
    return deleted if newest is None or deleted > newest + _APART else None


def _markers(
    suspects: Iterable[Suspect], request: RunRequest, context: RunContext
) -> dict[tuple[str, str], Marker]:
    """Read what the markers of suspects say; those of tenants that are recorded elsewhere first."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for each in sorted(suspects, key=lambda each: each.record is None):
        if len(names[each.target]) < _MARKERS:
            names[each.target].append(each.database)
    reading = context.with_timeout(request.rules.reading)

    def read(handle: TargetHandle) -> dict[str, Marker]:
        try:
            return handle.get_markers(names[handle.name], reading)
        except Interrupted:
            context.check()
            return {}  # it answers no more, and what is not read is not suspected

    handles = [handle for handle in request.targets if names.get(handle.name)]
    found = in_parallel({handle.full_name: partial(read, handle) for handle in handles}, context)
    return {
        (handle.name, name): marker
        for handle, markers in zip(handles, found, strict=True)
        for name, marker in markers.items()
    }


def _is_its(suspect: Suspect, markers: Mapping[tuple[str, str], Marker]) -> bool:
    """Return whether a marker is the tenant's, and not of before the ledger knew of it.

    A marker has the hour in which its run began.
    """
    marker = markers.get((suspect.target, suspect.database))
    if marker is None or marker.tenant != suspect.tenant:
        return False
    return marker.at >= suspect.since.replace(minute=0, second=0, microsecond=0)


def _elsewhere(suspect: Suspect, observed: RunState, asked: Collection[str] | None) -> Finding:
    """Return the finding that a target holds a tenant's database, and the ledger knows nothing."""
    where, record = suspect.target, suspect.record
    at = ""
    remedy: str | Hint
    if record is not None:
        message = f"its database is on {where} with its marker, and recorded on {record.target}"
        inventory = observed.inventories.get(record.target or "")
        if inventory is None or suspect.database in inventory.databases:
            at = f"--target {shlex.quote(where)}"
        adopt = typed("adopt", f"{suspect.tenant}={suspect.database}", options=at)
        remedy = Hint.command(adopt, f"{_MAY_BE_OLDER} If {where} has the newer rows, run {{}}")
    else:
        message = f"its database is on {where} with its marker, and the ledger has no record of it"
        remedy = f"{_MAY_BE_OLDER} Its tenant is in no source; drop the database if it is gone"
        if asked is None:
            remedy = Hint.command("plan", f"{_MAY_BE_OLDER} {{}} tells more")
        elif suspect.tenant in asked:
            remedy = Hint.command("ensure", f"{_MAY_BE_OLDER} {{}} records what is there")
    return _finding(suspect.tenant, where, suspect.database, message, remedy)


def _missed(
    record: Record, deleted: datetime | None, observed: RunState, asked: Collection[str] | None
) -> Finding:
    """Return the finding that a database was deleted, and the ledger knows nothing of it."""
    where = record.target or ""
    what = f"{where} lacks its database"
    if deleted is not None:
        what = f"a database of its name was deleted on {where} {format_time(deleted)}"
        what += ", later than all that the ledger has of it"
    if record.database in observed.inventories[where].databases:
        remedy: str | Hint = f"{_MAY_BE_OLDER} What is there now was made since"
    elif observed.targets_holding(record.database):
        what += f"; {record.secondary_target} holds it"
        adopt = typed("adopt", f"{record.tenant}={record.database}")
        remedy = Hint.command(
            adopt, f"{_MAY_BE_OLDER} Run {{}} if {record.secondary_target} has all of it"
        )
    else:
        source = "" if asked is None else ", and in no source"
        what += f"; it is recorded there as {record.state.value}{source}"
        command = typed("retire", record.tenant)
        remedy = Hint.command(command, f"{_MAY_BE_OLDER} Run {{}} if that tenant is gone")
        if asked is None:
            remedy = Hint.command("plan", f"{_MAY_BE_OLDER} {{}} tells more")
    return _finding(record.tenant, where, record.database, what, remedy)


def _finding(tenant: str, target: str, database: str, message: str, remedy: str | Hint) -> Finding:
    return Finding(
        FindingKind.STALE_LEDGER, Severity.WARNING, message, remedy, tenant, target, database
    )
