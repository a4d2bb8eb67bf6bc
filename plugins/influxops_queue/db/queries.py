"""What workers read and write in the database beside what procrastinate does itself.

Each method is one statement, on a connection whose search path is the queue's schema. Times are
those of the server's clock: workers on several machines need not agree on theirs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg
from msgspec import Struct
from psycopg import sql
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from influxops_postgres import PostgresLedgerSettings
from influxops_postgres.connection.advisory_locks import HELD
from influxops_queue.db.settings import BEAT, CHANNEL, LIMIT, queue_schema, short

Connection = psycopg.AsyncConnection[Any]

#: The longest name of a queue, in bytes: procrastinate makes channels of it, which take 63.
_LONGEST_QUEUE = 32

# The keys of all advisory locks that are held: a run that has claimed a tenant holds one.
_HELD = sql.SQL("ARRAY({})").format(HELD)
_GATE = sql.SQL(
    "SELECT set_config('lock_timeout', '5s', true), "
    "pg_advisory_xact_lock(hashtextextended({schema} || '/' || %(namespace)s::text, 0))"
)
# In the order of where they are stored: those that were taken are not read over and over again.
_TAKE_HINTS = sql.SQL("""
DELETE FROM hints WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM hints WHERE namespace = %(namespace)s AND ctid > %(after)s::tid
        ORDER BY ctid LIMIT %(most)s))
RETURNING tenant, noted_at, ctid::text
""")
#: Before the first hint.
FIRST = "(0,0)"

_WANTED = sql.SQL("""
SELECT tenant FROM {tenants}
 WHERE namespace = %(namespace)s AND state = 'pending' AND (error <> '') = %(tried)s
   AND tenant > %(after)s
 ORDER BY tenant LIMIT %(most)s
""")
_RESERVED = sql.SQL("""
SELECT tenant, extract(epoch FROM clock_timestamp() - state_since)::float8 FROM {tenants}
 WHERE namespace = %(namespace)s AND state = 'allocated' AND target = %(target)s
   AND tenant > %(after)s AND (claim_key IS NULL OR claim_key <> ALL ({held}))
 ORDER BY tenant LIMIT %(most)s
""")
# Created, and not confirmed by the process that created it, which takes seconds. What has been so
# for longer still was looked at in the meantime.
_LEFT_UNCONFIRMED = sql.SQL("""
SELECT tenant FROM {tenants}
 WHERE namespace = %(namespace)s AND state = 'unconfirmed' AND error = ''
   AND state_since < clock_timestamp() - interval '1 min'
   AND state_since > clock_timestamp() - interval '3 min' LIMIT 1
""")
_WAITING = sql.SQL("""
SELECT state, coalesce(target, ''), error <> '', count(*),
       count(*) FILTER (WHERE claim_key IS NULL OR claim_key <> ALL ({held})),
       extract(epoch FROM clock_timestamp() - min(state_since))::float8
  FROM {tenants} WHERE namespace = %(namespace)s AND state IN ('pending', 'allocated')
 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
""")
_HINTS = sql.SQL("""
SELECT count(*), extract(epoch FROM clock_timestamp() - min(noted_at))::float8
  FROM hints WHERE namespace = %(namespace)s
""")
_JOBS = sql.SQL("""
SELECT task_name, coalesce(args ->> 'target', ''), status::text,
       greatest(extract(epoch FROM scheduled_at - clock_timestamp())::float8, 0)
  FROM procrastinate_jobs WHERE queue_name = ANY (%(queues)s)
 ORDER BY task_name, 2, id
""")
# One whose connection says nothing any more may still have it here; another user sees no times.
_WORKERS = sql.SQL("""
SELECT extract(epoch FROM clock_timestamp() - backend_start)::float8 FROM pg_stat_activity
 WHERE datname = current_database() AND application_name = %(name)s
   AND coalesce(state_change > clock_timestamp() - make_interval(secs => {alive}), true)
 ORDER BY 1
""")
_FAILED = sql.SQL("""
SELECT tenant, coalesce(target, ''), error, extract(epoch FROM clock_timestamp() -
state_since)::float8
  FROM {tenants} WHERE namespace = %(namespace)s AND state IN ('pending', 'allocated')
   AND error <> '' ORDER BY state_since, tenant LIMIT %(most)s::int
""")
_DEFER = sql.SQL("""
SELECT procrastinate_defer_jobs_v1(ARRAY[ROW(
       %(queue)s::text, %(task)s::text, 0, %(lock)s::text, %(lock)s::text, %(args)s::jsonb,
       CASE WHEN %(delay)s::float8 > 0 THEN now() + make_interval(secs => %(delay)s::float8) END
       )::procrastinate_job_to_defer_v1])
 WHERE NOT EXISTS (SELECT FROM procrastinate_jobs
                    WHERE queueing_lock = %(lock)s::text AND status = 'todo')
""")
_RESCHEDULE = sql.SQL("""
UPDATE procrastinate_jobs
   SET args = %(args)s::jsonb, scheduled_at = now() + make_interval(secs => %(delay)s::float8)
 WHERE queueing_lock = %(lock)s::text AND status = 'todo' RETURNING id
""")
_RUN_NOW = sql.SQL("""
WITH hurried AS (
    UPDATE procrastinate_jobs SET scheduled_at = NULL
     WHERE queue_name = %(queue)s::text AND status = 'todo' AND scheduled_at > now()
       AND (%(locks)s::text[] IS NULL OR queueing_lock = ANY (%(locks)s))
    RETURNING id)
SELECT count(*), count(pg_notify('procrastinate_queue_v1#' || %(queue)s::text,
       json_build_object('type', 'job_inserted', 'job_id', id)::text)) FROM hurried
""")
_BRING_FORWARD = sql.SQL("""
UPDATE procrastinate_jobs SET scheduled_at = now() + make_interval(secs => %(delay)s::float8)
 WHERE queueing_lock = %(lock)s::text AND status = 'todo'
   AND scheduled_at > now() + make_interval(secs => %(delay)s::float8)
""")
_HINT = sql.SQL("INSERT INTO hints SELECT %(namespace)s, unnest(%(ids)s::text[])")
_NOTIFY = sql.SQL("SELECT pg_notify({channel}, '')")
_TARGETS_OF = sql.SQL("""
SELECT tenant, state, target FROM {tenants}
 WHERE namespace = %(namespace)s AND tenant = ANY (%(ids)s)
""")


class Waiting(Struct, frozen=True):
    """Tenants that wait for their databases, of one kind."""

    state: str  # `pending` or `allocated`
    target: str  # where their slot is reserved; empty without one
    tried: bool  # whether something stood in the way
    tenants: int  # how many there are
    free: int  # how many of them no live run has claimed
    oldest: float  # seconds for which the oldest has waited


class Job(Struct, frozen=True):
    """A job, or what is to become one."""

    task: str
    target: str  # the target that it is about; empty for others
    status: str  # `todo` or `doing`
    after: float | None  # seconds until it is to begin, where it was put off


class FailedTenant(Struct, frozen=True):
    """A tenant whose database could not be created."""

    tenant: str
    target: str  # the target where a slot is reserved for it; empty without one
    reason: str
    waits: float  # seconds since it was wanted


class QueueStats(Struct, frozen=True):
    """What is in the queue."""

    hints: int  # how many the workers have not looked at
    oldest_hint: float | None  # seconds since the oldest of them was noted; None without one
    waiting: tuple[Waiting, ...]
    jobs: tuple[Job, ...]
    workers: tuple[float, ...]  # seconds for which each worker that is alive has worked

    @property
    def oldest(self) -> float:
        """For how many seconds the oldest tenant has waited, looked at or not; 0 without one."""
        return max([self.oldest_hint or 0.0, *(each.oldest for each in self.waiting)])


class Queries:
    """The statements, for one ledger."""

    def __init__(self, settings: PostgresLedgerSettings) -> None:
        self.schema = queue_schema(settings)
        self._namespace = settings.namespace
        self._names = {
            "tenants": sql.Identifier(settings.schema, "tenants"),
            "schema": sql.Literal(self.schema),
            "channel": sql.Literal(CHANNEL),
            "held": _HELD,
            "alive": sql.Literal(LIMIT + BEAT),
        }
        name = settings.namespace
        if len(name.encode()) > _LONGEST_QUEUE:
            name = hashlib.sha256(name.encode()).hexdigest()[:_LONGEST_QUEUE]
        self.queue = name  # of what is about a target, or about tenants without one
        #: Of the connection that a worker listens on: another queue's workers have another one.
        self.worker_name = short(f"influxops worker {self.schema}/{name}")
        self.full_queue = f"{name}/full"  # of full runs, which not every worker makes

    async def _rows(
        self, connection: Connection, query: sql.SQL, **values: Any
    ) -> list[tuple[Any, ...]]:
        async with connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(
                query.format(**self._names), {"namespace": self._namespace, **values}
            )
            return await cursor.fetchall() if cursor.description else []

    def lock(self, task: str, target: str = "") -> str:
        """Return the lock of a job: one at a time has it, and one more may wait for it."""
        return "/".join(filter(None, (self.queue, task, target)))

    async def gate(self, connection: Connection) -> None:
        """Wait until no other worker takes hints; this one may until its transaction ends."""
        await self._rows(connection, _GATE)

    async def take_hints(
        self, connection: Connection, after: str, most: int
    ) -> tuple[dict[str, datetime], str]:
        """Take hints, with when each was noted, after a position (first `FIRST`); return the next.

        Without a commit they are back.
        """
        rows = await self._rows(connection, _TAKE_HINTS, after=after, most=most)
        last = max((_place(ctid) for *_, ctid in rows), default=_place(after))
        noted: dict[str, datetime] = {}
        for tenant, at, _ in rows:
            noted[tenant] = min(at, noted.get(tenant, at))
        return noted, f"({last[0]},{last[1]})"

    async def wanted(
        self, connection: Connection, after: str, most: int, *, tried: bool
    ) -> list[str]:
        """Return tenants without a target after another id, in order; those `tried` have failed."""
        rows = await self._rows(connection, _WANTED, after=after, most=most, tried=tried)
        return [id_ for (id_,) in rows]

    async def reserved(
        self, connection: Connection, target: str, after: str, most: int
    ) -> dict[str, float]:
        """Return tenants with a slot on a target, and for how many seconds each waits."""
        rows = await self._rows(connection, _RESERVED, target=target, after=after, most=most)
        return dict(rows)

    async def is_any_left_unconfirmed(self, connection: Connection) -> bool:
        """Return whether a database was created, and its process died before it confirmed that."""
        return bool(await self._rows(connection, _LEFT_UNCONFIRMED))

    async def stats(self, connection: Connection) -> QueueStats:
        """Return what is in the queue."""
        queues = [self.queue, self.full_queue]
        workers = await self._rows(connection, _WORKERS, name=self.worker_name)
        ((hints, oldest),) = await self._rows(connection, _HINTS)
        return QueueStats(
            hints,
            oldest,
            tuple(Waiting(*row) for row in await self._rows(connection, _WAITING)),
            tuple(Job(*row) for row in await self._rows(connection, _JOBS, queues=queues)),
            tuple(seconds for (seconds,) in workers),
        )

    async def failed(self, connection: Connection, most: int | None) -> list[FailedTenant]:
        """Return the tenants whose databases could not be created, the longest waiting first."""
        return [FailedTenant(*row) for row in await self._rows(connection, _FAILED, most=most)]

    async def defer(
        self,
        connection: Connection,
        task: str,
        target: str = "",
        *,
        delay: float = 0.0,
        tries: int = 0,
        queue: str = "",
    ) -> None:
        """Put a job into the queue, of all workers if none is named, unless the same waits there.

        It begins after `delay` seconds. The connection is in no transaction: this may fail because
        of another worker.
        """
        await self._rows(
            connection,
            _DEFER,
            queue=queue or self.queue,
            task=task,
            lock=self.lock(task, target),
            args=_args(target, tries),
            delay=delay,
        )

    async def reschedule(
        self, connection: Connection, task: str, target: str, *, delay: float, tries: int
    ) -> None:
        """Put a job off that could not be done now, with what was queued for it in the meantime."""
        lock, args = self.lock(task, target), _args(target, tries)
        if not await self._rows(connection, _RESCHEDULE, lock=lock, args=args, delay=delay):
            await self.defer(connection, task, target, delay=delay, tries=tries)

    async def bring_forward(self, connection: Connection, task: str, delay: float) -> None:
        """Let a job that was put off begin after so many seconds, if not before."""
        await self._rows(connection, _BRING_FORWARD, lock=self.lock(task), delay=delay)

    async def run_now(self, connection: Connection, locks: Sequence[str] | None = None) -> int:
        """Let jobs that were put off begin now, those with some locks or all; return how many."""
        rows = await self._rows(
            connection, _RUN_NOW, queue=self.queue, locks=None if locks is None else [*locks]
        )
        return int(rows[0][0])

    async def hint(self, connection: Connection, ids: Sequence[str]) -> None:
        """Leave hints about tenants."""
        await self._rows(connection, _HINT, ids=[*ids])

    async def notify(self, connection: Connection) -> None:
        """Notify all workers that there may be something to do."""
        await self._rows(connection, _NOTIFY)

    async def states(
        self, connection: Connection, ids: Sequence[str]
    ) -> Mapping[str, tuple[str, str | None]]:
        """Return the state and the target of those tenants that the ledger knows."""
        rows = await self._rows(connection, _TARGETS_OF, ids=[*ids])
        return {id_: (state, target) for id_, state, target in rows}


def _place(ctid: str) -> tuple[int, int]:
    block, _, line = ctid.strip("()").partition(",")
    return int(block), int(line)


def _args(target: str, tries: int) -> Jsonb:
    return Jsonb({"tries": tries, **({"target": target} if target else {})})
