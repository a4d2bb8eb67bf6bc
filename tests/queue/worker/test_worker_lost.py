"""A worker and databases that are gone, and that clients have created again."""

from __future__ import annotations

import pytest

from tests.conftest import GiveStandIn
from tests.integration.servers import Influx
from tests.pg import TestDatabase
from tests.queue.conftest import Queued
from tests.queue.workers import all_ready, insert, rows, states, until, working

pytestmark = pytest.mark.stand_in

_TABLES = (
    "SELECT table_name FROM system.tables WHERE database_name = 'telemetry_acme' AND NOT deleted"
)


def events(db: TestDatabase) -> list[str]:
    found = rows(db, "SELECT event FROM influxops.history WHERE tenant = 'acme' ORDER BY id")
    return [event for (event,) in found]


@pytest.mark.parametrize("how", ["a full run", "a hint"])
def test_a_client_s_database_is_left_alone_and_recorded_as_lost(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn, how: str
) -> None:
    db.registry()
    server: Influx = stand_in(max_databases=None)
    cli = queued("--trigger", url=server.url)
    with working(cli):
        insert(db, ["acme"])
        until(all_ready(db, 1))
    server.drop("telemetry_acme")
    server.write("telemetry_acme", "telemetry,device=d1 temperature=21.5")
    options = ("--full-run-every", "1h") if how == "a full run" else ()
    with working(cli, *options) as worker:
        if how == "a hint":
            db.execute(
                "INSERT INTO influxops_queue.hints VALUES ('default', 'acme')",
                "NOTIFY influxops_queue",
            )
        until(lambda: states(db) == {"lost": 1})
        if how == "a hint":
            said = worker.line()
            assert "acme: it is lost" in said
            assert "it holds 1 row in telemetry" in said
    assert server.rows("_internal", _TABLES) == [{"table_name": "telemetry"}]
    assert events(db) == ["created", "recreated"]
