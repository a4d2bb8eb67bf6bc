"""Workers as processes of their own, and what is seen of them in PostgreSQL."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg

from tests import outputs
from tests.integration.command import STUCK, Cli
from tests.pg import TestDatabase


@dataclass(frozen=True)
class Running:
    """A worker that says that it works."""

    process: subprocess.Popen[str]
    said: list[str]

    @property
    def url(self) -> str:
        """Where its health endpoint answers."""
        return next(line.split("on ")[1] for line in self.said if "/healthz" in line).split("/h")[0]

    def line(self) -> str:
        """What it says next; it is killed if it says nothing."""
        assert self.process.stderr is not None
        timer = threading.Timer(STUCK, self.process.kill)
        timer.start()
        try:
            line = self.process.stderr.readline()
            outputs.look(line)
            return line
        finally:
            timer.cancel()

    def end(self, number: int) -> tuple[int, str]:
        """Send it a signal; return its exit code, and what it said after its start."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=STUCK)
        assert out == ""
        return self.process.returncode, err


#: Run the command line with another limit for PostgreSQL's answers than everybody has, and with
#: other delays.
_WITH_LIMIT = """
import influxops_queue.db.settings as settings
settings.LIMIT, settings.BEAT = {limit}, {limit} / 4
from influxops.cli.main import main
raise SystemExit(main())
"""
_WITH_DELAY = """
import influxops_queue.worker.jobs as jobs
jobs.SOON = jobs._LONGEST = {delay}
from influxops.cli.main import main
raise SystemExit(main())
"""


@contextlib.contextmanager
def working(
    cli: Cli,
    *options: str,
    listens: bool = False,
    limit: float | None = None,
    delay: float | None = None,
) -> Iterator[Running]:
    """Run a worker; it is killed afterwards, if it is still there.

    Args:
        cli: The command line.
        *options: Options of the worker.
        listens: Whether it answers health checks.
        limit: Seconds that it waits for PostgreSQL; None for its own.
        delay: Seconds for which jobs are put off; None for its own.
    """
    if "--full-run-every" not in options:
        options = (*options, "--full-run-every", "0")
    if listens:
        options = (*options, "--listen", "127.0.0.1:0")
    text = _WITH_LIMIT.format(limit=limit) if limit is not None else ""
    text = _WITH_DELAY.format(delay=delay) if delay is not None else text
    program = [sys.executable, "-c", text] if text else []
    with cli.running("worker", *options, program=program) as process:
        assert process.stderr is not None
        said = [process.stderr.readline().strip() for _ in range(1 + listens)]
        assert "works for" in said[0], said[0] + process.stderr.read()
        yield Running(process, said)


def until(holds: Callable[[], Any], timeout: float = STUCK) -> Any:
    """Wait for what another process does; return what holds then.

    Where it does not come about, the ledger and the queue are shown of a database that it asks.
    """
    end = time.monotonic() + timeout
    while not (found := holds()):
        if time.monotonic() >= end:
            closure = getattr(holds, "__closure__", None) or ()
            asked = (each.cell_contents for each in closure)
            shown = "; ".join(_shown(each) for each in asked if isinstance(each, TestDatabase))
            raise AssertionError(f"it did not come about within {timeout} s: {found!r}; {shown}")
        time.sleep(0.05)
    return found


def _shown(db: TestDatabase) -> str:
    """What the ledger has of tenants that are not ready, and what waits in the queue."""
    queries: dict[str, LiteralString] = {
        "hints": "SELECT count(*) FROM influxops_queue.hints",
        "jobs": "SELECT task_name, args, status, attempts, scheduled_at - now(), worker_id "
        "FROM influxops_queue.procrastinate_jobs",
        "workers": "SELECT id, now() - last_heartbeat FROM influxops_queue.procrastinate_workers",
        "tenants": "SELECT target, state, error, claimed_by, claim_key, count(*), min(tenant), "
        "now() - min(state_since) FROM influxops.tenants WHERE state <> 'ready' "
        "GROUP BY 1, 2, 3, 4, 5",
    }
    found = {name: [[*map(str, row)] for row in rows(db, query)] for name, query in queries.items()}
    return f"{states(db)} {found}"


def rows(db: TestDatabase, query: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(db.conninfo) as connection:
        return connection.execute(query, values).fetchall()


def insert(db: TestDatabase, ids: Sequence[str]) -> None:
    """Register a device of each of these tenants, in one statement, as any program does."""
    with psycopg.connect(db.conninfo) as connection:
        connection.execute(
            "INSERT INTO device_registry (tenant_id) SELECT unnest(%s::text[])", [[*ids]]
        )


def states(db: TestDatabase) -> dict[str, int]:
    """How many tenants the ledger has in each state."""
    return dict(rows(db, "SELECT state, count(*) FROM influxops.tenants GROUP BY state"))


def jobs_so_far(db: TestDatabase) -> int:
    """How many jobs there have ever been."""
    query: LiteralString = (
        "SELECT CASE WHEN is_called THEN last_value ELSE 0 END "
        "FROM influxops_queue.procrastinate_jobs_id_seq"
    )
    return int(rows(db, query)[0][0])


def all_ready(db: TestDatabase, number: int) -> Callable[[], bool]:
    return lambda: states(db) == {"ready": number}


def check_each_once(db: TestDatabase) -> None:
    """See that the history tells of each tenant once that its database is there."""
    told = Counter(
        tenant
        for (tenant,) in rows(
            db,
            "SELECT tenant FROM influxops.history WHERE outcome = 'done' "
            "AND event IN ('created', 'found')",
        )
    )
    assert set(told.values()) <= {1}, [each for each in told.items() if each[1] > 1][:5]
