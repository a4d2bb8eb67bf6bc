"""What the queue needs of the configured ledger and of sources: that they are in PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from influxops.engine.engine import Engine
from influxops.errors import ConfigError
from influxops.runtime.context import Context

if TYPE_CHECKING:
    import psycopg

    from influxops.config.settings import Location

#: On this channel everybody is told that there may be something to do.
CHANNEL = "influxops_queue"
#: The most bytes of a name in PostgreSQL.
_LONGEST_NAME = 63


@runtime_checkable
class LedgerPlace(Protocol):
    """The settings of a ledger in PostgreSQL."""

    schema: str
    namespace: str

    def connect(self, context: Context) -> AbstractContextManager[psycopg.Connection[Any]]:
        """Connect for as long as the block and the run last."""

    def keywords(self) -> Mapping[str, Any]:
        """Return what psycopg takes to connect."""

    def location(self) -> Location | None:
        """Return where it is."""


@runtime_checkable
class RegistryPlace(Protocol):
    """The settings of a registry in PostgreSQL."""

    column: str
    query: str | None
    table_parts: tuple[str, ...]

    def connect(self, context: Context) -> AbstractContextManager[psycopg.Connection[Any]]:
        """Connect for as long as the block and the run last."""

    def location(self) -> Location | None:
        """Return where it is."""


def queue_place(engine: Engine) -> LedgerPlace:
    """Return the settings of the ledger that the queue stands beside.

    Raises:
        ConfigError: When there is no ledger, or it is not in PostgreSQL; or without procrastinate.
    """
    try:
        import procrastinate  # noqa: F401
    except ImportError:
        raise ConfigError(
            "the queue needs procrastinate, which is not installed",
            hint="pip install 'influxops[queue]'",
        ) from None
    ledger = engine.ledger
    if ledger is None:
        raise ConfigError(
            "the queue needs a ledger, and none is configured",
            hint='write [ledger] with kind = "postgres" into the configuration, and run '
            "`influxops ledger install` (docs/ledger.md)",
        )
    if ledger.missing is not None:
        raise ledger.missing
    settings = ledger.settings
    if not isinstance(settings, LedgerPlace):
        raise ConfigError(
            f"the queue needs a ledger in PostgreSQL, and the configured one is {ledger.kind}",
            hint='have [ledger] with kind = "postgres"',
        )
    return settings


def queue_schema(settings: LedgerPlace) -> str:
    """Return the schema that has the queue's tables, and nothing else.

    Raises:
        ConfigError: When the ledger's name leaves no room for its own.
    """
    name = f"{settings.schema}_queue"
    if len(name.encode()) > _LONGEST_NAME:
        raise ConfigError(
            f"the queue's schema would be called {name}, which is too long for PostgreSQL",
            hint="give the ledger a schema with a shorter name",
        )
    return name


def short(name: str) -> str:
    """Return a name, cut where it is longer than PostgreSQL takes, and still like no other's."""
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    kept = name.encode()[: _LONGEST_NAME - 13].decode(errors="ignore")
    return f"{kept} {digest}"


def reason(error: psycopg.Error) -> str:
    """Return what the server says, in one line."""
    return " ".join((error.diag.message_primary or str(error) or type(error).__name__).split())
