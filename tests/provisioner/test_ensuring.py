"""One tenant, asked for by an application that waits."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from influxops import EnsureResult, InvalidRequest, Provisioner
from influxops.provisioner import DatabaseInspection, EnsureStatus
from influxops.provisioner import results as known
from influxops_devserver.testing import running_stand_in
from tests.conftest import GiveStandIn, StartProxy
from tests.integration.command import STUCK, Cli
from tests.integration.proxy import Answer, Seen
from tests.integration.servers import Influx
from tests.pg import TestDatabase
from tests.provisioner.conftest import Provide, configured, until

pytestmark = pytest.mark.stand_in


def test_a_new_tenant_costs_one_request_and_its_marker_follows(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    db.registry("acme")
    server = stand_in(max_databases=None, wal_flush_interval="1s")
    proxy = proxied(server)
    made = provide(targets={"eu1": proxy})
    found = made.ensure("acme")
    asked = [(seen.method, seen.path) for seen in proxy.seen]
    assert found == EnsureResult("acme", EnsureStatus.CREATED, "telemetry_acme", "eu1", proxy.url)
    assert found.is_ready
    assert asked == [("POST", "/api/v3/configure/database")]
    until(lambda: len(proxy.writes) > 1)
    assert until(lambda: "_init" in str(tables(server, "telemetry_acme")))
    until(lambda: server.markers("telemetry_acme") == 1)
    again = made.ensure("acme")
    assert (again.status, again.url, again.is_ready) == ("existing", proxy.url, True)


def tables(server: Influx, database: str) -> object:
    return server.rows(
        "_internal",
        f"SELECT table_name FROM system.tables WHERE database_name = '{database}'",
    )


def test_a_database_survives_a_crash_of_its_server_right_after_the_answer(
    provide: Provide, db: TestDatabase, tmp_path: Path
) -> None:
    db.registry("acme")
    data = tmp_path / "data"
    with running_stand_in(data_dir=data, wal_flush_interval="5s") as server:
        made = provide(targets={"eu1": server.url})
        assert made.ensure("acme").status == "created"
        server.kill()
    with running_stand_in(data_dir=data, port=server.port, wal_flush_interval="50ms") as server:
        assert Influx(server.url).databases() == ["telemetry_acme"]
        # What was lost is written again.
        assert until(lambda: "_init" in str(tables(Influx(server.url), "telemetry_acme")))


def test_a_database_that_is_there_is_known(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    server = stand_in(max_databases=None)
    server.create("telemetry_acme")
    found = provide(targets={"eu1": server}).ensure("acme")
    assert (found.status, found.database, found.url) == ("existing", "telemetry_acme", server.url)


def test_what_is_known_takes_no_50_microseconds(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    made = provide(targets={"eu1": stand_in(max_databases=None)})
    assert made.ensure("acme").is_ready
    best = min(timed(made.ensure, 200) for _ in range(50))
    assert best < 50e-6


def timed(ensure: object, times: int) -> float:
    assert callable(ensure)
    began = time.perf_counter()
    for _ in range(times):
        ensure("acme")
    return (time.perf_counter() - began) / times


def test_what_is_known_is_asked_again_when_its_time_is_over(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    server = stand_in(max_databases=None)
    made = provide(targets={"eu1": server}, cache_ttl=4.0)
    assert made.ensure("acme").status == "created"
    until(lambda: "_init" in str(tables(server, "telemetry_acme")))
    server.drop("telemetry_acme")
    assert made.ensure("acme").status == "existing"
    assert until(lambda: made.ensure("acme").status == "created")
    assert server.databases() == ["telemetry_acme"]


def test_many_that_are_there_are_looked_at_together_and_not_asked_for_one_by_one(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    ids = [f"t{number}" for number in range(300)]
    db.registry(*ids)
    server = stand_in(max_databases=None)
    for id_ in ids:
        server.create(f"telemetry_{id_}")
    proxy = proxied(server)
    # Shorter than theirs, which is a full run's to say.
    made = provide(targets={"eu1": proxy}, extra='[database]\nretention = "1d"\n')
    found = made.ensure_many([*ids, "nobody"], timeout=STUCK)
    assert [each.status for each in found] == [*["existing"] * 300, "failed"]
    assert sum("configure" in seen.path for seen in proxy.seen) < 100  # of small batches
    # None had its marker; a database that is looked at gets it.
    marked = "SELECT count(*) AS n FROM system.tables WHERE table_name = '_init'"
    until(lambda: server.rows("_internal", marked)[0]["n"] > 200)


def test_a_capacity_is_no_reason_to_read_all_of_a_server_for_each_batch(
    cli: Cli,
    db: TestDatabase,
    stand_in: GiveStandIn,
    proxied: StartProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in db.environment.items():
        monkeypatch.setenv(name, value)
    ids = [f"t{number}" for number in range(60)]
    db.registry(*ids)
    proxy = proxied(stand_in(max_databases=None))
    path = configured(cli, {"one": proxy})
    path.write_text(path.read_text().replace("[targets.one]\n", "[targets.one]\ncapacity = 99\n"))
    with Provisioner.from_config(path, full_runs=None) as made:
        found = made.ensure_many(ids, timeout=STUCK)
        asked = [seen for seen in proxy.seen if not seen.writes and b"database" in seen.body]
    assert {each.status for each in found} <= {"created"}
    assert asked
    assert all(b"telemetry_t" in seen.body for seen in asked), asked


def test_a_tenant_that_is_not_committed_is_its_own_result_and_nobody_elses(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme", "beta")
    made = provide(targets={"eu1": stand_in(max_databases=None)})
    with psycopg.connect(db.conninfo) as connection:
        connection.execute("INSERT INTO device_registry (tenant_id) VALUES ('later')")
        found = made.ensure_many(["acme", "later", "nobody", "beta"])
        assert [each.status for each in found] == ["created", "failed", "failed", "created"]
        assert "no source has it" in found[1].reason
    assert made.ensure("later").status == "created"


@pytest.mark.parametrize("id_", ["", " ", "a\nb", "a/b", "né", 7, None])
def test_an_id_that_no_database_can_have_is_a_mistake_of_the_program(
    provide: Provide, stand_in: GiveStandIn, id_: str
) -> None:
    made = provide(targets={"eu1": "http://127.0.0.1:1"})
    began = time.perf_counter()
    with pytest.raises(ValueError, match=r"id|name"):
        made.ensure(id_)
    with pytest.raises(InvalidRequest):
        made.inspect(id_)
    assert made.submit(id_) is False
    assert time.perf_counter() - began < 5


def test_a_target_or_retention_that_cannot_be_is_a_mistake_of_the_program(
    provide: Provide,
) -> None:
    made = provide(targets={"eu1": "http://127.0.0.1:1"})
    with pytest.raises(InvalidRequest, match="eu1"):
        made.ensure("acme", target="eu2")
    with pytest.raises(InvalidRequest, match="retention"):
        made.ensure("acme", retention="soon")
    with pytest.raises(InvalidRequest, match="retention"):
        made.ensure("acme", retention="1s")


@pytest.mark.parametrize("given", [{"target": 7}, {"target": ["eu1"]}, {"retention": 30}])
def test_what_is_no_text_is_a_mistake_of_the_program(provide: Provide, given: Any) -> None:
    made = provide(targets={"eu1": "http://127.0.0.1:1"})
    with pytest.raises(InvalidRequest, match="is text, not"):
        made.ensure("acme", **given)


@pytest.mark.parametrize("ids", ["acme", None, 7])
def test_one_id_instead_of_several_is_a_mistake_of_the_program(provide: Provide, ids: Any) -> None:
    made = provide(targets={"eu1": "http://127.0.0.1:1"})
    with pytest.raises(InvalidRequest, match="several ids are needed"):
        made.ensure_many(ids)


@pytest.mark.parametrize(
    "options",
    [{"timeout": None}, {"timeout": "2s"}, {"timeout": -1}, {"full_runs": 0}, {"cache_ttl": "60s"}],
)
def test_an_option_that_is_no_time_is_refused_before_it_is_used(
    provide: Provide, options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest, match=f"{next(iter(options))} is a number of seconds"):
        provide(targets={"eu1": "http://127.0.0.1:1"}, **options)


def test_a_retention_period_is_set_where_the_database_is_made(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme", "beta")
    server = stand_in(max_databases=None)
    made = provide(targets={"eu1": server}, extra='[database]\nretention = "30d"\n')
    assert made.ensure("acme", retention="90d").is_ready
    assert made.ensure("beta").is_ready
    assert server.retention("telemetry_acme") == 90 * 86_400
    assert server.retention("telemetry_beta") == 30 * 86_400


def test_a_full_server_fails_its_tenant(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry(*(f"t{number}" for number in range(7)))
    made = provide(targets={"eu1": stand_in()})
    found = made.ensure_many(f"t{number}" for number in range(7))
    assert sum(each.is_ready for each in found) == 5
    assert {each.status for each in found} == {"created", "failed"}
    assert all("full" in each.reason for each in found if not each.is_ready)


def test_one_call_at_a_time_works_on_a_tenant_and_the_others_get_its_result(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    db.registry("acme")
    proxy = proxied(stand_in(max_databases=None))
    made = provide(targets={"eu1": proxy})
    go_on, arrived = threading.Event(), threading.Event()

    def hold(seen: Seen) -> Answer:
        arrived.set()
        assert go_on.wait(20)
        return None

    proxy.before = hold
    found: list[EnsureResult] = []
    threads = [
        threading.Thread(target=lambda: found.append(made.ensure("acme"))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    assert arrived.wait(20)
    go_on.set()
    for thread in threads:
        thread.join()
    assert {each.status for each in found} <= {"created", "existing"}
    assert len(found) == 20
    made_there = [seen for seen in proxy.writes if "configure" in seen.path]
    assert len(made_there) == 1


@pytest.mark.parametrize("ledger", [False, True], ids=["alone", "with a ledger"])
def test_a_thousand_threads_with_a_thousand_tenants_share_connections_and_batches(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn, ledger: bool
) -> None:
    ids = [f"t{number:04}" for number in range(1000)]
    db.registry(*ids)
    server = stand_in(max_databases=None)
    made = provide(targets={"eu1": server}, timeout=50.0, ledger=ledger)
    before = sessions(db)
    found: list[EnsureResult] = []
    threads = [
        threading.Thread(target=lambda id_: found.append(made.ensure(id_)), args=(id_,))
        for id_ in ids
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.status for each in found} == {"created"}
    assert len(server.databases()) == 1000
    assert sessions(db) - before < 30


def sessions(db: TestDatabase) -> int:
    """Give how many sessions this test's database has had."""
    with psycopg.connect(db.superuser_conninfo) as connection:
        connection.execute("SELECT pg_stat_clear_snapshot()")
        row = connection.execute(
            "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
        assert row is not None
        return int(row[0])


def test_a_thousand_tasks_of_an_event_loop_are_served_without_a_thread_each(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    ids = [f"t{number:04}" for number in range(300)]
    db.registry(*ids)
    made = provide(targets={"eu1": stand_in(max_databases=None)}, timeout=50.0)
    most = 0

    async def all_of_them() -> list[EnsureResult]:
        nonlocal most
        tasks = [asyncio.create_task(made.aensure(id_)) for id_ in ids]
        while not all(task.done() for task in tasks):
            most = max(most, threading.active_count())
            await asyncio.sleep(0.01)
        return await asyncio.gather(*tasks)

    found = asyncio.run(all_of_them())
    assert {each.status for each in found} == {"created"}
    assert most < 40
    again = asyncio.run(made.aensure("t0001"))
    assert again.status == "existing"


def test_check_counts_telemetry_and_tells_none_from_nothing(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme", "beta")
    server = stand_in(max_databases=None)
    made = provide(targets={"eu1": server})
    nothing: dict[str, Any] = {"telemetry_count": 0, "rows": 0, "tables": ()}
    assert made.inspect("acme") == DatabaseInspection(False, **nothing)
    assert made.ensure("acme").is_ready
    assert made.inspect("acme") == DatabaseInspection(True, **nothing)
    server.write("telemetry_acme", "telemetry,device=a t=1\ntelemetry,device=b t=2")
    server.write("telemetry_acme", "cpu,device=a t=1 1767225600000000000")
    found = made.inspect("acme")
    assert (found.exists, found.telemetry_count, found.rows) == (True, 2, 3)
    cpu, telemetry = found.tables or ()
    assert (cpu.name, cpu.rows, cpu.at_most) == ("cpu", 1, False)
    assert cpu.last_write == datetime(2026, 1, 1, tzinfo=UTC)
    assert found.last_write == telemetry.last_write
    assert made.inspect("nobody") == DatabaseInspection(False, **nothing)
    server.create("telemetry_former")
    assert asyncio.run(made.ainspect("former")) == DatabaseInspection(True, **nothing)


def test_check_says_that_nobody_can_know(provide: Provide, db: TestDatabase) -> None:
    db.registry("acme")
    found = provide(targets={"eu1": "http://127.0.0.1:1"}).inspect("acme", timeout=1.0)
    assert found.exists is None
    assert "127.0.0.1:1" in found.error


def test_where_makes_nothing(provide: Provide, db: TestDatabase, stand_in: GiveStandIn) -> None:
    db.registry("acme", "beta")
    server = stand_in(max_databases=None)
    server.create("telemetry_beta")
    made = provide(targets={"eu1": server})
    nowhere = made.locate("acme")
    assert (nowhere.is_ready, nowhere.target, nowhere.url) == (False, None, "")
    assert nowhere.reason == "it is not there yet"
    assert made.locate("beta") == EnsureResult(
        "beta", EnsureStatus.EXISTING, "telemetry_beta", "eu1", server.url
    )
    assert server.databases() == ["telemetry_beta"]


def test_attributes_of_a_query_are_respected(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme", "beta", "gone")
    server = stand_in(max_databases=None)
    query = (
        "SELECT tenant_id, 'db_' || tenant_id AS database, interval '2 days' AS retention "
        "FROM device_registry WHERE tenant_id NOT LIKE 'g%' -- but these;"
    )
    made = provide(targets={"eu1": server}, source=f'query = "{query}"\n')
    found = made.ensure_many(["acme", "gone"])
    assert [(each.status, each.database) for each in found] == [
        ("created", "db_acme"),
        ("failed", "telemetry_gone"),
    ]
    assert server.retention("db_acme") == 2 * 86_400


def test_a_condition_is_respected(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme", "gone", "beta")
    made = provide(
        targets={"eu1": stand_in(max_databases=None)},
        source="where = \"tenant_id NOT LIKE 'g%' -- but these\"\n",
    )
    assert made.ensure("gone").status == "failed"
    assert made.ensure("acme").status == "created"
    assert [each.status for each in made.ensure_many(["gone", "beta"])] == ["failed", "created"]


def test_ids_of_any_type_of_column_are_found(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    id_ = "0c2f5e0e-7bd3-4f7e-8f3b-1a0d1f6f8a11"
    db.execute(
        "CREATE TABLE device_registry (tenant_id uuid)",
        "INSERT INTO device_registry VALUES ('0c2f5e0e-7bd3-4f7e-8f3b-1a0d1f6f8a11')",
    )
    made = provide(targets={"eu1": stand_in(max_databases=None)})
    found = made.ensure_many([id_, "no-uuid", id_.upper()])
    assert [each.status for each in found] == ["created", "failed", "failed"]
    assert made.ensure("also-none").status == "failed"


def test_of_more_tenants_than_are_remembered_those_go_that_came_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(known, "_MOST", 2)
    found, later = known.LocationCache(), time.monotonic() + 60
    for tenant in ("one", "two", "one", "three"):
        found.add(EnsureResult(tenant, EnsureStatus.EXISTING), later)
    assert [tenant for tenant in ("one", "two", "three") if found.get(tenant)] == ["one", "three"]
    found.add(EnsureResult("one", EnsureStatus.EXISTING), time.monotonic())
    assert found.get("one") is None
