"""An application's own transaction, in which a tenant is recorded as wanted."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from influxops.errors import InfluxopsError, TransactionLost
from influxops.provisioner.pipeline import Works


def refuse_lost(connection: Any) -> None:
    """Refuse a connection that is closed, and a transaction that has failed.

    Psycopg would take the COMMIT of the latter for one that succeeded.
    """
    status = getattr(getattr(connection, "info", None), "transaction_status", None)
    what = ""
    if getattr(connection, "closed", False):
        what = "connection is closed or broken"
    elif getattr(status, "name", "") == "INERROR":
        what = "transaction has failed"
    if what:
        raise TransactionLost(
            f"the application's {what}, and nothing of its transaction is stored",
            hint="begin the transaction again, on a new connection",
        )


def record_wanted(
    works: Works, tenant: str, connection: Any, timeout: float
) -> Awaitable[None] | str | None:
    """Record that a tenant is wanted; return what to await, or why it was not recorded."""
    try:
        with works.engines.borrow() as (engine, run):
            ledger = engine.ledger
            if ledger is None or not ledger.implements("influxops_enqueue"):
                return "there is no ledger that could note it"
            return ledger.enqueue([tenant], connection, run.with_timeout(timeout))
    except Exception as error:
        return _why(error)


async def awaited(recording: Awaitable[None]) -> str | None:
    """Wait until a tenant is recorded as wanted; return why it was not."""
    try:
        await recording
    except Exception as error:
        return _why(error)
    return None


def _why(error: Exception) -> str:
    """Return why a tenant was not recorded; raise what says that the transaction is lost."""
    if isinstance(error, TransactionLost):
        raise error
    return error.message if isinstance(error, InfluxopsError) else repr(error)
