"""Makes databases for an application that waits: one request each, durable with its answer.

The marker, whose write would wait for a flush of the write-ahead log, is left for later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from influxops.plugin import Change, ChangeResult, Outcome, RunContext
from influxops_influxdb3.errors import (
    CHECK_URL,
    AlreadyExists,
    BadRequest,
    DatabaseLimit,
    LimitReached,
    NotFound,
    Operation,
    WrongServer,
)
from influxops_influxdb3.http.client import Client
from influxops_influxdb3.http.thread_map import in_flight

#: Requests under way at once; the server does one change of its catalog at a time (measured).
_IN_FLIGHT = 2
#: What is wrong with one database, and with no other.
_OF_ONE_DATABASE = (BadRequest, NotFound, LimitReached)


def create_databases(
    client: Client, expected: str | None, changes: Sequence[Change], context: RunContext
) -> Iterator[Outcome]:
    """Create databases, on the expected server alone; yield each outcome once it is known."""
    if expected is not None:
        _refuse_another(client, expected, context)
    full: list[Outcome] = []

    def still_open() -> Iterator[Change]:
        for change in changes:
            context.check()
            if full:
                # What the server said of one holds for all that would come after it.
                rest.append(change)
            else:
                yield change

    rest: list[Change] = []
    for _, outcome in in_flight(still_open(), partial(_create, client, context), limit=_IN_FLIGHT):
        if outcome.status is ChangeResult.NO_CAPACITY:
            full.append(outcome)
        yield outcome
    for change in rest:
        yield Outcome(change, ChangeResult.NO_CAPACITY, full[0].message, full[0].remedy)


def _create(client: Client, context: RunContext, change: Change) -> Outcome:
    found = change.after.retention if change.after else None
    retention = found if isinstance(found, int) else None
    try:
        identity = client.create(context, change.database, retention)
    except AlreadyExists as error:
        there = "it was there already"
        return Outcome(change, ChangeResult.DONE, there, identity=error.identity)
    except DatabaseLimit as error:
        return Outcome(change, ChangeResult.NO_CAPACITY, error.reason, error.remedy)
    except _OF_ONE_DATABASE as error:
        return Outcome(change, ChangeResult.FAILED, error.reason, error.remedy)
    return Outcome(change, ChangeResult.DONE, partially_applied=True, identity=identity)


def _refuse_another(client: Client, expected: str, context: RunContext) -> None:
    client.ping(context)
    if client.cluster_uuid != expected:
        raise WrongServer(
            f"another server answers there: its cluster-uuid is {client.cluster_uuid}, "
            f"not {expected}",
            operation=Operation.PING,
            url=client.url,
            hint=CHECK_URL,
        )
