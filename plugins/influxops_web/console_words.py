"""What the console's pages say in words: states, findings, what became of a button."""

from __future__ import annotations

import shlex
from datetime import datetime

from msgspec import Struct

from influxops.domain.finding import Severity
from influxops.domain.record import State
from influxops.domain.text import format_time, pluralize
from influxops_web.console_data import UNRECORDED, Row
from influxops_web.console_look import Contents

#: What each state of the ledger means.
STATES = {
    State.WANTED: "it should have a database, and has no place yet",
    State.RESERVED: "a place was taken for it, and its database is being made",
    State.UNCONFIRMED: "its database was made or found, and is perhaps not complete yet",
    State.READY: "its database is there",
    State.MOVING: "its database is being copied to another server",
    State.RETIRING: "its database is dropped once its time has come",
    State.RETIRED: "its database was dropped",
    State.LOST: "its database was there, and is gone",
    UNRECORDED: "no run has recorded it yet",
}
#: How each is coloured; the word itself is always there too.
COLOURS = {
    State.WANTED: "info",
    State.RESERVED: "info",
    State.UNCONFIRMED: "info",
    State.READY: "success",
    State.MOVING: "info",
    State.RETIRING: "secondary",
    State.RETIRED: "secondary",
    State.LOST: "danger",
    UNRECORDED: "warning",
}
#: States in which a tenant has a place on a target.
PLACED = frozenset(State) - {State.WANTED, State.RETIRED}

#: What became of `ensure`, by what is in the page's address then.
ENSURED = {
    "known": "The database is there.",
    "created": "The database was made just now.",
    "queued": "The database is not there yet. It is tried again by itself.",
    "failed": "The database is not there, and will not be before something else changes.",
}


class Found(Struct, frozen=True):
    """Something that an operator should know about a tenant."""

    severity: Severity
    message: str
    advice: str = ""  # what to do; empty where there is nothing to do


def findings(row: Row, contents: Contents | None, doubt: str = "") -> list[Found]:
    """Return what is to be said about a tenant, the worst first.

    Args:
        row: What the tables have of it.
        contents: What its server said; None where there is none to ask.
        doubt: Why its database may not be where the ledger has it; empty where nothing says so.
    """
    found = []
    if contents is not None and doubt:
        found.append(
            Found(
                Severity.ERROR,
                f"whether {row.target} is its place is not known: {doubt}",
                "`influxops plan` says what to do",
            )
        )
    is_promised = row.state is not None and State(row.state).is_promised
    is_recreated = is_promised and contents is not None and contents.marked is False
    if contents is not None and is_recreated:
        found.append(_recreated(row, contents))
    elif row.state == State.LOST:
        found.append(
            Found(
                Severity.ERROR,
                f"its database {row.database} was on {row.target}, and is gone",
                "restore it; `influxops ensure --help` says how it is made anew, empty, where the "
                "data is given up",
            )
        )
    elif contents is not None and contents.exists is False and row.state == State.READY:
        found.append(
            Found(
                Severity.ERROR,
                f"{row.target} does not have the database {row.database}, which was there",
                "run `influxops status` to see whether the server was replaced",
            )
        )
    if row.error:
        again = f" ({row.tries} tries)" if row.tries and row.tries > 1 else ""
        found.append(Found(Severity.ERROR, f"the last try failed{again}: {row.error}"))
    if contents is not None and contents.trouble:
        known = "not known now" if contents.exists is None else "not all is known"
        found.append(
            Found(
                Severity.WARNING,
                f"what is in the database is {known}: {contents.trouble}"
                if contents.exists is None
                else f"{known} of the database: {contents.trouble}",
                "the rest of this page comes from the ledger, and is known",
            )
        )
    if contents is not None and contents.complete is False and not is_recreated:
        found.append(
            Found(Severity.WARNING, "the database lacks its marker", "press Ensure, or wait")
        )
    if row.state is None:
        found.append(
            Found(
                Severity.WARNING,
                "the ledger has no record of it: no run has seen it yet",
                "press Ensure, or wait for the next run",
            )
        )
    elif row.status is None and row.state != State.RETIRED:
        found.append(
            Found(
                Severity.INFO,
                "the service's table of tenants does not have it: another source does, or did",
            )
        )
    if row.status == "suspended":
        found.append(Found(Severity.INFO, "it is suspended; its database is kept all the same"))
    if row.due is not None and row.state == State.RETIRING:
        found.append(Found(Severity.WARNING, f"its data is kept until {format_time(row.due)}"))
    elif row.due is not None and row.other:
        found.append(
            Found(
                Severity.INFO, f"its old copy on {row.other} is kept until {format_time(row.due)}"
            )
        )
    order = [Severity.ERROR, Severity.WARNING, Severity.INFO]
    return sorted(found, key=lambda each: order.index(each.severity))


def _recreated(row: Row, contents: Contents) -> Found:
    """Return what is to be said of a database that a client has created in place of a lost one."""
    rows = "an unknown number of rows"
    if contents.rows is not None:
        rows = ("at most " if contents.at_most else "") + pluralize(contents.rows, "row")
    return Found(
        Severity.ERROR,
        f"its database {row.database} is gone from {row.target}; a client has created another one "
        f"of that name, which holds {rows}",
        f"restore it if you can; `influxops adopt {shlex.quote(row.tenant)}` takes what clients "
        "have written since as the tenant's",
    )


def until(time: datetime | None) -> str:
    """Return a point in time in words; what is not there is said not to be."""
    return format_time(time) if time is not None else "never"
