"""Installs the queue: its schema, and on request the triggers on registries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg

from influxops.domain.hint import Hint
from influxops.errors import LedgerError
from influxops.runtime.context import RunContext
from influxops_postgres import PostgresLedgerSettings
from influxops_postgres.connection.errors import CommitUnknown, explained, reason
from influxops_postgres.connection.pool import connected
from influxops_queue.db import schema, triggers
from influxops_queue.db.triggers import Registry


def installing(
    settings: PostgresLedgerSettings, context: RunContext, registries: Sequence[Registry] = ()
) -> Iterator[str]:
    """Bring the queue's schema, and triggers, to this version; yield in words what was done."""
    with (
        connected(settings, context) as connection,
        explained(context, lambda error: explain(error, settings)),
    ):
        yield from [step.name for step in schema.install(connection, settings)]
        for registry in registries:
            created = [*triggers.install(connection, registry, settings)]
            yield from (f"a trigger for {event} on {registry}" for event in created)


def explain(error: psycopg.Error, settings: PostgresLedgerSettings) -> LedgerError:
    """Return the error that says why the queue could not be used, and what to do."""
    place = settings.location().text
    return LedgerError(f"{place}: {reason(error)}", hint=_hint(error, settings))


def _hint(error: psycopg.Error, settings: PostgresLedgerSettings) -> str | Hint:
    if isinstance(error, CommitUnknown):
        return "run it again: what is there already is kept"
    match error.sqlstate:
        case None:
            return "try again; a pooler in between may have no free connection"
        case "42P01" | "3F000":
            return Hint.command("ledger install", "run {} first")
        case "42501":
            return (
                "run it as the user who owns the ledger's schema "
                f"{settings.schema}, and may make a schema in this database"
            )
        case "25006":
            return "have the ledger's section lead to a primary, as a user who may write"
        case "55P03" | "57014":
            return "another session holds a lock on it: try again"
    return "look at the server's log"
