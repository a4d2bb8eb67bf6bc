"""Installs the queue: its schema, and on request what notes each change of a registry."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg

from influxops.context import Context
from influxops.errors import LedgerError
from influxops.remedy import Remedy
from influxops_queue import schema
from influxops_queue.settings import LedgerPlace


def installing(settings: LedgerPlace, context: Context) -> Iterator[str]:
    """Bring the queue's schema to this program's version.

    Yields:
        Each step, as it is done; they are committed together.

    Raises:
        LedgerError: When it cannot be installed, and nothing was.
        Interrupted: When the run is over.
    """
    with settings.connect(context) as connection, explained(settings, context):
        for step in schema.install(connection, settings):
            yield step.name


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
        context.check()
        location = settings.location()
        place = location.text if location else "the ledger"
        raise LedgerError(f"{place}: {reason(error)}", hint=_hint(error, settings)) from error


def reason(error: psycopg.Error) -> str:
    """Return what the server says, in one line."""
    return " ".join((error.diag.message_primary or str(error) or type(error).__name__).split())


def _hint(error: psycopg.Error, settings: LedgerPlace) -> str | Remedy:
    match error.sqlstate:
        case None:
            return "try again"
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
