"""The connections of who listens: none waits for ever, and where one ends, all of them do.

A worker keeps its connections, and a proxy or a firewall may go on holding them and forward nothing
any more. So each wait for an answer has a limit, after which the worker's session ends, and begins
again with new connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg

from influxops.plugin import ConfigError
from influxops_postgres.connection.connection import cut
from influxops_postgres.connection.errors import reason

Connection = psycopg.AsyncConnection[Any]

#: Seconds that PostgreSQL may take for an answer to who listens, and between two signs of life of
#: the connection on which it only listens.
LIMIT, BEAT = 12.0, 3.0
#: How many connections hold a transaction each while it is found out what a pooler does, and the
#: seconds that one of them waits for a pooler which has no more.
_HELD, _HOLD = 4, 2.0

_SELF = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
_END = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  JOIN unnest(%s::int[], %s::timestamptz[]) AS left_behind (pid, start) USING (pid)
 WHERE backend_start = start
"""
_WHO = "SELECT pg_backend_pid()"
_WHERE = "SELECT pg_backend_pid(), current_setting('port'), host(inet_server_addr())"


class Connections:
    """The connections of one session: where one breaks or falls silent, all of them end."""

    def __init__(self, limit: float) -> None:
        self.why = ""  # why the first of them ended; empty while all are well
        self.ended = asyncio.Event()
        self.backends: list[tuple[int, datetime]] = []  # which the server has for them
        open_ = weakref.WeakSet[Connection]()
        self._open = open_
        loop = asyncio.get_running_loop()

        class Watched(psycopg.AsyncConnection[Any]):
            def __init__(me, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                me.last_words = ""
                me.add_notice_handler(me.listen_to)
                open_.add(me)

            def listen_to(me, said: psycopg.errors.Diagnostic) -> None:
                # What the server says on a connection that is asked nothing comes as a notice.
                if said.severity_nonlocalized == "FATAL":
                    me.last_words = said.message_primary or ""

            async def wait(me, gen: Any, *args: Any, **kwargs: Any) -> Any:
                timer = loop.call_later(limit, self._late, me, limit)
                try:
                    return await super().wait(gen, *args, **kwargs)
                except psycopg.OperationalError as error:
                    if me.closed:
                        self.end(me.last_words or reason(error))
                    raise
                finally:
                    timer.cancel()

        self.kind = Watched

    async def open(self, keywords: Mapping[str, Any], *, autocommit: bool = True) -> Connection:
        """Connect."""
        return await self.kind.connect(**keywords, autocommit=autocommit)

    async def note(self, connection: Connection) -> None:
        """Note which process the server has for a connection."""
        row = await (await connection.execute(_SELF)).fetchone()
        if row is not None:
            self.backends.append((row[0], row[1]))

    def end(self, why: str) -> None:
        """End all at once, for the first reason, though the server is silent; new ones work."""
        if not self.ended.is_set():
            self.why = why
            self.ended.set()
            for each in [*self._open]:
                cut(each)

    def _late(self, connection: Connection, limit: float) -> None:
        # One that only listens waits for nothing that was asked.
        if connection.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
            self.end(f"no answer within {limit:g} s")
            cut(connection)


async def end_left_behind(connection: Connection, backends: Sequence[tuple[int, datetime]]) -> None:
    """End what the server still has of an earlier session, and the locks that it holds with it."""
    if backends:
        pids, starts = zip(*backends, strict=True)
        await connection.execute(_END, [[*pids], [*starts]])


async def check_pooling(keywords: Mapping[str, Any], place: str, limit: float = LIMIT) -> None:
    """Refuse a pooler that lends its connections by the transaction.

    It sets nothing, for what a worker sets there would hold for other programs.
    """
    first = await Connections(limit).open(keywords)
    others = Connections(_HOLD)
    held: list[Connection] = []
    try:
        row = await (await first.execute(_WHERE)).fetchone()
        assert row is not None, "a SELECT without FROM gives one row"
        own, port, address = row
        seen, is_shared = set(), False
        try:
            for _ in range(_HELD):
                held.append(await others.open(keywords, autocommit=False))
                seen.add(await _pid(held[-1]))
        except psycopg.Error as error:  # it has no more of them, or lends by the statement
            is_shared = "statement pooling mode" in str(error)
        is_shared = is_shared or own in seen or await _pid(first) != own
        for each in held:
            with contextlib.suppress(psycopg.Error):
                await each.rollback()
        # One that lends its connections in turn may have had just the first one left.
        is_shared = is_shared or {await _pid(first), await _pid(first)} != {own}
    finally:
        for each in (first, *held):
            await each.close()
    if is_shared:
        where = f" of {address}" if address not in (None, keywords.get("host")) else ""
        raise ConfigError(
            f"{place}: the pooler there lends connections by the transaction or the statement, and "
            "a program that listens needs its own",
            hint=f"lead it past that, to port {port}{where}, where PostgreSQL itself "
            "listens, or to a pool with pool_mode = session",
        )


async def _pid(connection: Connection) -> int:
    row = await (await connection.execute(_WHO)).fetchone()
    assert row is not None, "a SELECT without FROM gives one row"
    return int(row[0])
