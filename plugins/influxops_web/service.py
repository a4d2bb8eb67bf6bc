"""What all endpoints share: one value, made when the service starts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from typing import Any, TypeVar

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from influxops.config.load import Config
from influxops.domain.durations import parse_duration
from influxops.domain.record import Record
from influxops.engine.engine import Engine
from influxops.errors import InfluxopsError, TransactionLost
from influxops.provisioner import Ensured, Provisioner
from influxops.provisioner.engine_pool import Engines
from influxops.provisioner.validation import Rules
from influxops.runtime.context import Context
from influxops_postgres.commit import CommitUnknown, confirming, was_committed
from influxops_web.auth import FIND, Claim, Operator, Sessions
from influxops_web.limits import Logins
from influxops_web.metrics import Metrics
from influxops_web.place import Place
from influxops_web.problems import away, unknown
from influxops_web.schema import Devices
from influxops_web.tokens import Role
from influxops_web.values import Fleet

T = TypeVar("T")
Connection = psycopg.AsyncConnection[dict[str, Any]]

log = logging.getLogger("influxops.web")

#: Seconds that a request waits for a connection; and for so long after one waited in vain, less.
_PATIENT, _AWAY, _IMPATIENT = 8.0, 5.0, 0.5
#: Seconds after which the pool stops to try for itself: who comes then makes it try at once, and
#: does not wait for the end of a pause that has become long while PostgreSQL was away.
_RECONNECT = 2.0
#: Seconds that it may keep one.
_WORK = 5.0
#: Seconds that finding out about a COMMIT may take whose answer was lost, and connecting for that.
_FIND_OUT, _CONNECT = 5.0, 2
#: Seconds that reading the ledger may take.
_LEDGER = 5.0
#: Seconds more than that after which a request gives it up: a reading ends itself, but one that
#: waits for a thread does not.
_SLACK = 1.0
_AUDIT = """
INSERT INTO {operator_audit_log}
       (token_id, who, role, via, method, path, tenant, status, address)
VALUES (%(token)s, %(who)s, %(role)s, %(via)s, %(method)s, %(path)s, %(tenant)s, %(status)s,
        %(address)s)
"""


class Service:
    """The service's parts.

    Args:
        config: The configuration.
        place: The database of the service.
        devices: What its table of devices is like.
        key: What session cookies are signed with.
    """

    def __init__(self, config: Config, place: Place, devices: Devices, key: bytes) -> None:
        self.config, self.place, self.devices, self.web = config, place, devices, place.web
        self.provisioner = Provisioner(config, budget=self.web.budget)
        self.sessions = Sessions(key, parse_duration(self.web.session))
        self.logins = Logins(self.web.logins)
        self.metrics = Metrics(self.provisioner)
        with Engine(config) as engine:
            self.rules = Rules(engine)
        self._engines = Engines(config, None)
        #: What was last read of the fleet, and when; and the reading that is under way.
        self.fleet: tuple[float, Fleet] | None = None
        self.reading_fleet: asyncio.Task[Fleet] | None = None
        self._pool: AsyncConnectionPool[Connection] | None = None
        self._away = -_AWAY  # when somebody last waited for a connection in vain

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run what works in the background, for as long as the block lasts."""
        self._pool = AsyncConnectionPool(
            connection_class=psycopg.AsyncConnection[dict[str, Any]],
            kwargs={
                "connect_timeout": 5,
                **self.place.keywords,
                "autocommit": True,
                "row_factory": dict_row,
                "prepare_threshold": None,  # a pooler in between may not keep them
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
            self._engines.close()
            await self._pool.close(timeout=1.0)

    # PostgreSQL ------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Yield a connection on which each statement is a transaction of its own.

        Nothing but PostgreSQL is waited for in the block.

        Raises:
            Problem: When PostgreSQL is away (503).
        """
        assert self._pool is not None, "the service runs"
        is_away = time.monotonic() - self._away < _AWAY
        try:
            lent = _lent(self._pool, _IMPATIENT if is_away else _PATIENT)
            async with lent as connection, asyncio.timeout(_WORK):
                yield connection
        except (psycopg.IntegrityError, psycopg.DataError, CommitUnknown):
            raise
        except (psycopg.Error, TransactionLost, TimeoutError) as error:
            if isinstance(error, PoolTimeout):
                self._away = time.monotonic()
            log.error("%s: %s", self.place.text, _reason(error))
            raise away() from error

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Yield a connection in a transaction, which is committed where this ends without an error.

        Raises:
            Problem: When PostgreSQL is away (503) and nothing was written, or when it is not known
                whether it was; the problem says which.
        """
        try:
            async with self.connection() as connection, confirming(connection):
                yield connection
        except CommitUnknown as lost:
            is_stored = await was_committed(lost.identity, self._connect, _FIND_OUT)
            if is_stored:
                return
            log.error("%s: %s", self.place.text, lost if is_stored is None else "rolled back")
            raise (unknown() if is_stored is None else away()) from lost

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        keywords = {"connect_timeout": _CONNECT, **self.place.keywords, "autocommit": True}
        return await psycopg.AsyncConnection.connect(**keywords)

    async def operator(self, claim: Claim) -> Operator | None:
        """Return who asks; None where the token is not known, revoked or over.

        Raises:
            Problem: When PostgreSQL is away.
        """
        async with self.connection() as connection:
            query = self.place.sql(FIND)
            cursor = await connection.execute(query, {"hash": claim.hash, "id": claim.token})
            row = await cursor.fetchone()
        if row is None:
            return None
        return Operator(row["id"], Role(row["role"]), row["name"], claim.via, claim.csrf)

    async def audit(self, entry: Mapping[str, Any]) -> None:
        """Write a line of the audit log.

        Raises:
            Problem: When PostgreSQL is away.
        """
        async with self.connection() as connection:
            await connection.execute(self.place.sql(_AUDIT), entry)

    # The ledger and InfluxDB -----------------------------------------------------------------

    async def with_engine(
        self, work: Callable[[Engine, Context], T], seconds: float = _LEDGER
    ) -> T:
        """Return what some work with an engine of its own gives, without keeping the event loop.

        Args:
            work: The work.
            seconds: What it may take.

        Raises:
            Problem: When the ledger cannot be read (503).
        """

        def call() -> T:
            with self._engines.run(seconds) as (engine, context):
                return work(engine, context)

        try:
            # What still waits for a thread then is never begun.
            return await asyncio.wait_for(asyncio.to_thread(call), seconds + _SLACK)
        except TimeoutError as error:
            log.error("%s: reading the ledger took longer than %g s", self.place.text, seconds)
            raise away() from error
        except InfluxopsError as error:
            log.error("%s", error.message)
            raise away() from error

    async def records(self, tenants: Collection[str] | None = None) -> Mapping[str, Record]:
        """Return what the ledger has of some tenants, or of all, by id.

        Raises:
            Problem: When it cannot be read (503).
        """

        def read(engine: Engine, context: Context) -> Mapping[str, Record]:
            assert engine.ledger is not None, "the service was started with one"
            return engine.ledger.memory(context, tenants).records

        return await self.with_engine(read)

    async def ensure(self, tenant: str) -> Ensured:
        """See to it that a tenant has its database, and wait for the budget at most."""
        found = await self.provisioner.aensure(tenant)
        if not found:
            log.warning("%s: no database yet: %s", tenant, found.reason)
        return found

    async def check(self, tenant: str) -> dict[str, Any]:
        """Return what `Provisioner.check` tells, within the budget."""
        budget = self.web.budget
        try:
            found = self.provisioner.acheck(tenant, timeout=budget)
            return await asyncio.wait_for(found, budget)
        except TimeoutError:
            return {"exists": None, "error": f"InfluxDB did not answer within {budget:g} s"}


@contextlib.asynccontextmanager
async def _lent(pool: AsyncConnectionPool[Connection], seconds: float) -> AsyncIterator[Connection]:
    """Yield a connection that works; those that the server has closed are replaced.

    The pool's own check waits longer after each one that it finds closed: after a restart of
    PostgreSQL, when all of them are, nobody would get one in time.
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


async def _works(connection: Connection) -> bool:
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


def _reason(error: BaseException) -> str:
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return error.diag.message_primary
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
