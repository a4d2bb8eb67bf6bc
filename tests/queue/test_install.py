"""`influxops queue install`."""

from __future__ import annotations

import psycopg

from tests.pg import TestDatabase
from tests.queue.conftest import Queued


def test_installing_again_changes_nothing(queued: Queued, db: TestDatabase) -> None:
    cli = queued()
    done = cli("queue", "install")
    assert done.code == 0, done.all
    assert "nothing to do, the queue is in the schema influxops_queue" in done.out


def test_who_notes_that_a_tenant_is_wanted_tells_the_workers(
    queued: Queued, db: TestDatabase
) -> None:
    queued()
    with psycopg.connect(db.conninfo, autocommit=True) as connection:
        connection.execute("LISTEN influxops_queue")
        for state in ("retired", "wanted"):
            connection.execute(
                "INSERT INTO influxops.tenants (namespace, tenant, state) "
                "VALUES ('default', %(state)s, %(state)s)",
                {"state": state},
            )
            told = [each.channel for each in connection.notifies(timeout=2, stop_after=1)]
            assert told == (["influxops_queue"] if state == "wanted" else [])
