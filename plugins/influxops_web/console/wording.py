"""The words of the console's pages: states, notices, the results of buttons."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from influxops.domain.database import DatabaseStats
from influxops.domain.finding import Severity
from influxops.domain.hint import typed
from influxops.domain.record import State
from influxops.domain.text import format_time, pluralize
from influxops.report.wording import without_slot
from influxops_web.console.runs import STYLE, OperatorRun
from influxops_web.console.servers import Contents
from influxops_web.db.queries import UNRECORDED, TenantRow
from influxops_web.fleet import FAULTS, Fault, ServerStatus

#: What each state of the ledger means.
STATES = {
    State.PENDING: "it should have a database, and has no target yet",
    State.ALLOCATED: "a slot is reserved for it, and its database is being created",
    State.UNCONFIRMED: "its database was made or found, and is perhaps not complete yet",
    State.READY: "its database is there",
    State.MOVING: "its database is being copied to another server",
    State.RETIRING: "its database is dropped once its time has come",
    State.RETIRED: "its database was dropped",
    State.LOST: "its database was there, and is gone",
    UNRECORDED: "no run has recorded it yet",
    **FAULTS,
}
#: How each is coloured; the word itself is always there too.
COLOURS: dict[str, str] = {
    **dict.fromkeys(map(str, State), "info"),
    State.READY: "success",
    State.RETIRING: "secondary",
    State.RETIRED: "secondary",
    State.LOST: "danger",
    UNRECORDED: "warning",
    **dict.fromkeys(FAULTS, "danger"),
    "unavailable": "warning",
}
#: States in which a tenant has a database on a target, or a slot for one.
PLACED = frozenset(State) - {State.PENDING, State.RETIRED}

#: The result of `ensure`, by the word in the page's address.
ENSURED = {
    "existing": "The database is there.",
    "created": "The database was created just now.",
    "queued": "The database is not there yet. Creating it is retried automatically.",
    "failed": "The database is not there, and will not be before something else changes.",
}


class Notice(Struct, frozen=True):
    """Something that an operator should know about a tenant."""

    severity: Severity
    message: str
    advice: str = ""  # what to do; empty where there is nothing to do


def notices(
    row: TenantRow, contents: Contents | None, doubt: str = "", fault: Fault | None = None
) -> list[Notice]:
    """Return what is to be said about a tenant, the worst first.

    `contents` is None where there is no server to ask; `doubt` says why its database may not be
    where the ledger has it, and `fault` what else outranks the ledger.
    """
    found: list[Notice] = []

    def add(severity: Severity, message: str, advice: str = "") -> None:
        found.append(Notice(severity, message, advice))

    word = fault.word if fault is not None else ""
    if fault is not None and word == "replaced":
        add(Severity.ERROR, fault.message, "`influxops plan` says what to do")
    elif contents is not None and doubt:
        what = f"whether {row.target} is its target is unknown: " if word != "missing" else ""
        add(Severity.ERROR, f"{what}{doubt}", "`influxops plan` says what to do")
    is_provisioned = row.state is not None and State(row.state).is_provisioned
    is_recreated = is_provisioned and contents is not None and contents.database.is_marked is False
    if contents is not None and is_recreated:
        found.append(_recreated(row, contents.stats))
    elif row.state == State.LOST:
        add(
            Severity.ERROR,
            f"its database {row.database} was on {row.target}, and is gone",
            "restore it; `influxops ensure --help` says how it is created again, empty, where the "
            "data is given up",
        )
    elif word == "missing" and not doubt:
        add(
            Severity.ERROR,
            f"{row.target} does not have the database {row.database}, which was there",
            "run `influxops status` to see whether the server was replaced",
        )
    if contents is not None and contents.retention_fault:
        message = f"the retention period of {row.database} {contents.retention_fault}"
        add(Severity.ERROR, message, "set another one: see retention in the configuration")
    if row.error:
        again = f" ({row.attempts} tries)" if row.attempts and row.attempts > 1 else ""
        add(Severity.ERROR, f"the last try failed{again}: {row.error}")
    if contents is not None and contents.trouble:
        known = (
            "what is in the database is not known now"
            if contents.exists is None
            else "not all is known of the database"
        )
        advice = "the rest of this page comes from the ledger, and is known"
        add(Severity.WARNING, f"{known}: {contents.trouble}", advice)
    if contents is not None and contents.stats.complete is False and not is_recreated:
        add(Severity.WARNING, "the database lacks its marker", "press Ensure, or wait")
    if row.state is None:
        message = "the ledger has no record of it: no run has seen it yet"
        add(Severity.WARNING, message, "press Ensure, or wait for the next run")
    elif row.status is None and row.state != State.RETIRED:
        message = "the service's table of tenants does not have it: another source does, or did"
        add(Severity.INFO, message)
    if row.status == "suspended":
        add(Severity.INFO, "it is suspended; its database is kept all the same")
    if row.drop_after is not None and row.state == State.RETIRING:
        add(Severity.WARNING, f"its data is kept until {format_time(row.drop_after)}")
    elif row.drop_after is not None and row.secondary_target:
        add(
            Severity.INFO,
            f"its old copy on {row.secondary_target} is kept until {format_time(row.drop_after)}",
        )
    order = [Severity.ERROR, Severity.WARNING, Severity.INFO]
    return sorted(found, key=lambda notice: order.index(notice.severity))


def slots(counts: Mapping[str, int], servers: Mapping[str, ServerStatus]) -> Notice | None:
    """Return what is to be said of tenants that have no slot; None while a server has one."""
    takers = [s for s in servers.values() if s.target is not None and s.target.state == "active"]
    number = counts.get(State.PENDING, 0)
    if not number or not takers or any(server.free != 0 for server in takers):
        return None
    text, remedy = without_slot(number)
    return Notice(Severity.WARNING, text, STYLE.advice(remedy))


def state_of(row: TenantRow) -> str:
    """Return what a tenant's state means."""
    if row.state == State.MOVING and row.drop_after is not None:
        return "it is on its new server; the last rows of the old one are being copied"
    if row.state == State.RETIRED and not row.database:
        return "it was given up before it had a database"
    return STATES[row.state or UNRECORDED]


def unit_of(run: OperatorRun) -> str:
    """Return what the figures of a run's stage count."""
    if run.stage.startswith("waiting"):
        return " s"
    return " rows" if run.stage.startswith(("copying", "comparing", "catching up")) else ""


def _recreated(row: TenantRow, stats: DatabaseStats) -> Notice:
    rows = "an unknown number of rows"
    if stats.rows is not None:
        rows = ("at most " if stats.at_most else "") + pluralize(stats.rows, "row")
    return Notice(
        Severity.ERROR,
        f"its database {row.database} is gone from {row.target}; a client has created another one "
        f"of that name, which holds {rows}",
        f"restore it if you can; `influxops {typed('adopt', row.tenant)}` takes what clients "
        "have written since as the tenant's",
    )
