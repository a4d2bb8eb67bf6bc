"""Installs the queue: its schema, and on request what notes each change of a registry."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import psycopg

from influxops.domain.hint import Remedy
from influxops.errors import LedgerError
from influxops.runtime.context import Context
from influxops_postgres.commit import CommitUnknown, check_run
from influxops_queue import schema, trigger
from influxops_queue.settings import LedgerPlace, reason
from influxops_queue.trigger import Registry


def installing(
    settings: LedgerPlace, context: Context, registries: Sequence[Registry] = ()
) -> Iterator[str]:
    """Bring the queue's schema to this program's version, and registries' triggers.

    Args:
        settings: The ledger's.
        context: The run.
        registries: The tables that get triggers.

    Yields:
        Each thing that was installed, once it was.

    Raises:
        LedgerError: When it cannot be installed.
        Interrupted: When the run is over.
    """
    with settings.connect(context) as connection, explained(settings, context):
        yield from [step.name for step in schema.install(connection, settings)]
        for registry in registries:
            made = [*trigger.install(connection, registry, settings)]
            yield from (f"a trigger for {event} on {registry}" for event in made)


@contextlib.contextmanager
def explained(settings: LedgerPlace, context: Context) -> Iterator[None]:
    """Let what psycopg raises in the block be a LedgerError that says what to do.

    Raises:
        LedgerError: When it raises something.
        Interrupted: When that was because the run is over.
    """
    try:
        yield
    except psycopg.Error as error:
        check_run(context, error)
        location = settings.location()
        place = location.text if location else "the ledger"
        raise LedgerError(f"{place}: {reason(error)}", hint=_hint(error, settings)) from error


def _hint(error: psycopg.Error, settings: LedgerPlace) -> str | Remedy:
    if isinstance(error, CommitUnknown):
        return "run it again: what is there already is kept"
    match error.sqlstate:
        case None:
            return "try again; a pooler in between may have no free connection"
        case "42P01" | "3F000":
            return Remedy.command("ledger install", "run {} first")
        case "42501":
            return (
                "run it as the user who owns the ledger's schema "
                f"{settings.schema}, and may make a schema in this database"
            )
        case "25006":
            return "have the ledger's section lead to a primary, as a user who may write"
        case "55P03" | "57014":
            return "somebody keeps it busy: try again"
    return "look at the server's log"
