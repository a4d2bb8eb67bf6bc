"""What all endpoints share: one value, made when the service starts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import psycopg
from msgspec.structs import replace
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from influxops.domain.durations import parse_duration
from influxops.engine.engine import Engine
from influxops.errors import TransactionLost
from influxops.provisioner import DatabaseInspection, EnsureResult, InvalidRequest, Provisioner
from influxops.provisioner.engine_pool import Engines
from influxops.report.model import RunOrigin
from influxops.runtime.context import RunContext
from influxops_postgres.connection.commit import confirming, was_committed
from influxops_postgres.connection.connection import async_keywords
from influxops_postgres.connection.errors import CommitUnknown, reason
from influxops_web.api.problems import Problem, database_unavailable, missing_right, outcome_unknown
from influxops_web.db import queries
from influxops_web.db.connect import AsyncConnection, Database, DatabaseLocation
from influxops_web.db.schema import DeviceTable
from influxops_web.fleet import ConfiguredTarget, Fleet, ServerStatus
from influxops_web.security.api_keys import Role
from influxops_web.security.rate_limits import FailureRateLimit
from influxops_web.security.sessions import BEGINNING, FIND, Credentials, Operator, Sessions

log = logging.getLogger("influxops.web")

#: Seconds that a request waits for a connection; fewer for a while after one that got none.
_WAIT, _RECENTLY, _SHORT_WAIT = 8.0, 5.0, 0.5
#: Seconds after which the pool stops its own attempts: the next request makes it try at once, and
#: does not wait for the end of a pause that has become long while PostgreSQL was unavailable.
_RECONNECT = 2.0
#: Seconds that a request may keep it.
_WORK = 5.0
#: Seconds that finding out about a COMMIT may take whose answer was lost.
_FIND_OUT = 5.0
_AUDIT = """
INSERT INTO {operator_audit_log}
       (token_id, who, role, via, method, path, tenant, status, address)
VALUES (%(token)s, %(who)s, %(role)s, %(via)s, %(method)s, %(path)s, %(tenant)s, %(status)s,
        %(address)s)
"""


class Service:
    """The service's parts; session cookies are signed with `key`."""

    def __init__(
        self, engine: Engine, location: DatabaseLocation, device_table: DeviceTable, key: bytes
    ) -> None:
        self.config, self.location, self.web = engine.config, location, location.web
        self.device_table = device_table
        self.targets = {each.name: ConfiguredTarget.of(each) for each in engine.targets}
        assert engine.ledger is not None, "the service is started with one"
        #: Seconds for which a retired tenant's database is kept.
        self.retire_after = parse_duration(engine.ledger.settings.retire_after)
        config = replace(engine.config, door="api")
        self.provisioner = Provisioner(config, timeout=self.web.timeout)
        #: For what the console begins, and for what is asked beside the Provisioner.
        self.engines = Engines(replace(engine.config, door="console"), None)
        self.fleet = Fleet(self.engines, self.provisioner, self.targets, self.web.timeout)
        self.sessions = Sessions(key, parse_duration(self.web.session_ttl))
        self.failures = FailureRateLimit(self.web.login_rate_per_minute)
        #: What is audited of those who bring no good token, some of whom only look for the login.
        self.anonymous = FailureRateLimit(self.web.login_rate_per_minute)
        self._pool: AsyncConnectionPool[AsyncConnection] | None = None
        self._waited_at = -_RECENTLY  # when a request last waited for a connection and got none

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run what works in the background, for as long as the block lasts."""
        self._pool = AsyncConnectionPool(
            connection_class=AsyncConnection,
            kwargs={
                **async_keywords(self.location.settings),
                "autocommit": True,
                "row_factory": dict_row,
            },
            min_size=1,
            max_size=self.web.connections,
            reconnect_timeout=_RECONNECT,
            open=False,
            name="influxops-web",
        )
        await self._pool.open()
        self.provisioner.start()
        try:
            yield
        finally:
            await asyncio.to_thread(self.provisioner.close)
            await asyncio.to_thread(self.fleet.close)
            await self._pool.close(timeout=1.0)

    # PostgreSQL ------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Database]:
        """Yield a connection on which each statement is a transaction of its own.

        Nothing but PostgreSQL is waited for in the block.
        """
        assert self._pool is not None, "the service runs"
        is_unavailable = time.monotonic() - self._waited_at < _RECENTLY
        try:
            lent = _lent(self._pool, _SHORT_WAIT if is_unavailable else _WAIT)
            async with lent as connection, asyncio.timeout(_WORK):
                yield Database(connection, self.location)
        except (psycopg.IntegrityError, psycopg.DataError, CommitUnknown):
            raise
        except (psycopg.Error, TransactionLost, TimeoutError) as error:
            if isinstance(error, PoolTimeout):
                self._waited_at = time.monotonic()
            log.error("%s: %s", self.location.text, reason(error))
            is_denied = isinstance(error, psycopg.errors.InsufficientPrivilege)
            raise (missing_right() if is_denied else database_unavailable()) from error

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Database]:
        """Yield a connection in a transaction, which is committed where this ends without an error.

        Where PostgreSQL is unavailable, a Problem says that nothing was written, or that this is
        unknown.
        """
        try:
            async with self.connection() as database, confirming(database.connection):
                yield database
        except CommitUnknown as lost:
            settings, asking = self.location.settings, RunContext(_FIND_OUT)
            is_stored = await asyncio.to_thread(was_committed, settings, asking, lost)
            if is_stored:
                return
            log.error("%s: %s", self.location.text, lost if is_stored is None else "rolled back")
            raise (outcome_unknown() if is_stored is None else database_unavailable()) from lost

    async def operator(self, credentials: Credentials) -> Operator | None:
        """Return the operator; None where the token is unknown, revoked or expired."""
        async with self.connection() as database:
            values = {
                "hash": credentials.hash,
                "id": credentials.token,
                "beginning": credentials.beginning,
            }
            rows = await database.rows(FIND, values)
        if not rows:
            return None
        (row,) = rows
        return Operator(
            row["id"],
            Role(row["role"]),
            row["name"],
            credentials.via,
            credentials.csrf,
            bytes(row["hash"])[:BEGINNING],
        )

    async def audit(self, entry: Mapping[str, Any]) -> None:
        """Write a line of the audit log."""
        async with self.connection() as database:
            await database.execute(_AUDIT, entry)

    # InfluxDB --------------------------------------------------------------------------------

    async def servers(self, *, soon: bool = False) -> dict[str, ServerStatus]:
        """Return the servers as they were read last, and what the ledger has of each.

        With `soon`, a reading that takes long is not waited for where the last one is not old.
        """
        async with self.connection() as database:
            recorded = await queries.targets(database)
        return await self.fleet.servers(recorded, soon=soon)

    async def create(self, tenant: str, name: str, origin: RunOrigin) -> EnsureResult:
        """Create a tenant, and ensure its database; the tenant stays if that cannot be."""
        try:
            self.provisioner.validate(tenant)
        except InvalidRequest as error:
            raise Problem(422, "no-such-id", str(error)) from None
        async with self.transaction() as database:
            if not await queries.add_tenant(database, tenant, name):
                raise Problem(409, "tenant-exists", f"there is a tenant {tenant} already")
            await self.provisioner.aenqueue(tenant, database.connection, origin=origin)
        return await self.ensure(tenant, origin)

    async def ensure(self, tenant: str, origin: RunOrigin) -> EnsureResult:
        """Ensure that a tenant has its database; it takes no longer than the timeout."""
        found = await self.provisioner.aensure(tenant, origin=origin)
        if not found.is_ready:
            log.warning("%s: no database yet: %s", tenant, found.reason)
        return found

    async def where(self, tenant: str) -> EnsureResult | str:
        """Return where a tenant's database is, or why that is not known within the timeout."""
        try:
            return await asyncio.wait_for(self.provisioner.alocate(tenant), self.web.timeout)
        except TimeoutError:
            return "no server answered in time"
        except InvalidRequest as error:
            return str(error)

    async def inspect(self, tenant: str) -> DatabaseInspection:
        """Return what `Provisioner.inspect` does, within the timeout."""
        timeout = self.web.timeout
        try:
            found = self.provisioner.ainspect(tenant, timeout=timeout)
            return await asyncio.wait_for(found, timeout)
        except TimeoutError:
            return DatabaseInspection(error=f"InfluxDB did not answer within {timeout:g} s")


@contextlib.asynccontextmanager
async def _lent(
    pool: AsyncConnectionPool[AsyncConnection], seconds: float
) -> AsyncIterator[AsyncConnection]:
    """Yield a connection that works; those that the server has closed are replaced.

    The pool's own check waits longer after each one that it finds closed: after a restart of
    PostgreSQL, when all of them are, no request would get one in time.
    """
    end = time.monotonic() + seconds
    while True:
        connection = await pool.getconn(end - time.monotonic())
        try:
            if await _works(connection):
                async with connection:
                    yield connection
                return
            await connection.close()
        finally:
            await pool.putconn(connection)


async def _works(connection: AsyncConnection) -> bool:
    """Tell whether a connection works, and ask it where it looks as if it was closed.

    The server says nothing on an idle connection but that it ends it: that costs no round trip.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if not poll.poll(0):
        return True
    try:
        async with asyncio.timeout(_WORK):
            await AsyncConnectionPool.check_connection(connection)
    except (psycopg.Error, TimeoutError):
        return False
    return True
