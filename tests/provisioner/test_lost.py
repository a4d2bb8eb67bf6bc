"""What an application learns of databases that are lost, and of those that clients create."""

from __future__ import annotations

import threading
from pathlib import Path

import psycopg
import pytest

from influxops import Provisioner
from influxops_devserver.testing import running_stand_in
from tests.conftest import GiveStandIn, StartProxy
from tests.integration.command import Cli
from tests.integration.proxy import Answer, Seen
from tests.integration.servers import Influx
from tests.pg import TestDatabase
from tests.provisioner.conftest import Provide, until
from tests.provisioner.test_places import recorded

pytestmark = pytest.mark.stand_in

CLIENT = "telemetry,device=d1 temperature=21.5\ntelemetry,device=d2 temperature=22.5"


def events(db: TestDatabase) -> list[str]:
    with psycopg.connect(db.conninfo) as connection:
        rows = connection.execute("SELECT event FROM influxops.history ORDER BY id").fetchall()
    return [event for (event,) in rows]


def unmarked(server: Influx) -> bool:
    return not server.rows(
        "_internal",
        "SELECT table_name FROM system.tables WHERE database_name = 'telemetry_acme' "
        "AND table_name = '_init' AND deleted = false",
    )


def ready(db: TestDatabase) -> bool:
    return recorded(db)["acme"][0] == "ready"


def told_as_lost(made: Provisioner) -> str:
    """See that each call says that the database is lost; return why."""
    found = made.ensure("acme")
    assert (found.status, found.is_ready) == ("failed", False)
    assert made.locate("acme").status == "failed"
    checked = made.inspect("acme")
    assert (checked.exists, checked.telemetry_count) == (False, 0)
    assert "lost" in checked.error
    (again,) = made.ensure_many(["acme"])
    assert again.reason == found.reason
    return found.reason


def test_a_database_that_a_client_created_again_is_lost(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    server = stand_in(max_databases=None)
    made = provide(targets={"one": server}, ledger=True, cache_ttl=0.0)
    assert made.ensure("acme").status == "created"
    until(lambda: ready(db))
    server.drop("telemetry_acme")
    server.write("telemetry_acme", CLIENT)
    why = told_as_lost(made)
    assert "a client has created another one of that name on one" in why
    assert "it holds 2 rows in telemetry" in why
    assert "`influxops adopt acme`" in why
    assert unmarked(server)
    assert recorded(db)["acme"] == ("lost", "one")
    assert events(db) == ["created", "recreated"]


def test_it_is_lost_on_a_server_that_was_replaced_too(
    provide: Provide, db: TestDatabase, cli: Cli, tmp_path: Path
) -> None:
    db.registry("acme")
    with running_stand_in(data_dir=tmp_path / "first", wal_flush_interval="50ms") as first:
        made = provide(targets={"one": Influx(first.url)}, ledger=True, cache_ttl=0.0)
        assert made.ensure("acme").status == "created"
        until(lambda: ready(db))
        assert cli("ensure").code == 0  # the ledger knows the server by now
        first.kill()
    folder = tmp_path / "second"
    with running_stand_in(data_dir=folder, port=first.port, wal_flush_interval="50ms") as second:
        server = Influx(second.url)
        server.write("telemetry_acme", CLIENT)
        assert made.ensure("acme").status != "existing"  # it notices that while it asks
        until(lambda: made.ensure("acme").status == "failed")
        refused = made.ensure("acme")
        assert "another server answers at one" in refused.reason
        assert recorded(db)["acme"] == ("ready", "one")
        assert cli("ensure", "--allow", "replaced-server").code == 1
        assert "another server answers" in told_as_lost(made)
        assert unmarked(server)
        made.close(0.0)


def test_full_runs_in_the_background_leave_it_alone_and_record_it(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn, cli: Cli
) -> None:
    db.registry("acme")
    server = stand_in(max_databases=None)
    first = provide(targets={"one": server}, ledger=True)
    assert first.ensure("acme").status == "created"
    until(lambda: ready(db))
    first.close()
    server.drop("telemetry_acme")
    server.write("telemetry_acme", CLIENT)
    made = provide(targets={"one": server}, ledger=True, full_runs=300.0)
    made.start()
    until(lambda: recorded(db)["acme"][0] == "lost")
    assert events(db)[-1] == "recreated"
    assert unmarked(server)


def test_a_tenant_is_ready_only_once_its_marker_was_seen(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    server = stand_in(max_databases=None, wal_flush_interval="1s")
    made = provide(targets={"one": server}, ledger=True)
    assert made.ensure("acme").status == "created"
    assert recorded(db)["acme"] == ("unconfirmed", "one")
    until(lambda: ready(db))
    assert server.markers("telemetry_acme") == 1
    assert events(db) == ["created"]


def test_what_a_process_that_died_left_without_a_marker_is_completed(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    server = stand_in(max_databases=None, wal_flush_interval="1s")
    first = provide(targets={"one": server}, ledger=True)
    assert first.ensure("acme").status == "created"
    until(lambda: ready(db))
    first.close()
    # As a process leaves it that is killed right after it has made it.
    server.drop("telemetry_acme")
    server.write("telemetry_acme", CLIENT)
    db.execute("UPDATE influxops.tenants SET state = 'unconfirmed'")
    made = provide(targets={"one": server}, ledger=True)
    assert made.ensure("acme").status == "existing"
    until(lambda: ready(db))
    assert server.markers("telemetry_acme") == 1


def test_a_marker_that_is_lost_with_a_deleted_namesake_is_written_again_before_it_is_ready(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    server = stand_in(max_databases=None, wal_flush_interval="1s")
    made = provide(targets={"one": server}, ledger=True, cache_ttl=0.0)
    server.request("POST", "/api/v3/write_lp?db=telemetry_acme&no_sync=true", body=CLIENT.encode())
    server.drop("telemetry_acme")
    assert made.ensure("acme").status == "created"
    until(lambda: ready(db))
    assert server.markers("telemetry_acme") == 1
    assert made.ensure("acme").status == "existing"


@pytest.mark.parametrize("ledger", [False, True], ids=["alone", "with a ledger"])
def test_what_is_gone_before_it_is_complete_is_not_created_by_its_marker(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy, ledger: bool
) -> None:
    db.registry("acme")
    server = stand_in(max_databases=None)
    proxy = proxied(server)
    refused = threading.Event()

    def refuse(seen: Seen) -> Answer:
        if "/write_lp" not in seen.path or refused.is_set():
            return None
        server.drop("telemetry_acme")  # as a server does not have it that was replaced
        refused.set()
        return 400, "text/plain", b"not now"

    proxy.before = refuse
    made = provide(targets={"one": proxy}, ledger=ledger, cache_ttl=0.0)
    assert made.ensure("acme").status == "created"
    assert refused.wait(30)
    first = len(proxy.seen)
    # It is looked for, and looked for again, before a marker would be written.
    until(lambda: sum(b"telemetry_acme" in seen.body for seen in proxy.seen[first:]) > 1)
    assert server.databases() == []
    if ledger:
        assert "lost" in told_as_lost(made)
