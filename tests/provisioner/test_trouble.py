"""Servers that are away or hang: nobody waits for long, and nothing is lost."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from influxops import EnsureResult, Provisioner
from influxops_devserver.testing import running_stand_in
from tests.conftest import GiveStandIn, StartProxy
from tests.integration.proxy import Answer, Proxy, Seen
from tests.integration.servers import Influx
from tests.pg import TestDatabase
from tests.pg_proxy import end
from tests.provisioner.conftest import Provide, insert, until
from tests.provisioner.test_places import recorded

pytestmark = pytest.mark.stand_in

#: What this machine may need beside the budget, when others work on it too.
SLACK = 3.0


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def quickest(made: Provisioner, ids: list[str]) -> float:
    """Give how long the quickest of some calls took."""
    return min(seconds(lambda id_=id_: made.ensure(id_)) for id_ in ids)  # type: ignore[misc]


class Holding:
    """Lets a proxy hold all requests until it is let go."""

    def __init__(self, proxy: Proxy) -> None:
        self.let_go, self.arrived = threading.Event(), threading.Event()
        proxy.before = self._hold

    def _hold(self, seen: Seen) -> Answer:
        self.arrived.set()
        self.let_go.wait(60)
        return None


@pytest.fixture
def holding() -> Iterator[Callable[[Proxy], Holding]]:
    made: list[Holding] = []

    def hold(proxy: Proxy) -> Holding:
        made.append(Holding(proxy))
        return made[-1]

    yield hold
    for each in made:
        each.let_go.set()


def test_a_dead_server_costs_the_first_caller_the_budget_and_the_others_nothing(
    provide: Provide, db: TestDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    ids = [f"t{number}" for number in range(50)]
    db.registry(*ids)
    with running_stand_in(max_databases=None, wal_flush_interval="50ms") as server:
        made = provide(targets={"eu1": server.url}, timeout=2.0)
        with caplog.at_level(logging.DEBUG, "influxops"):
            assert made.ensure("t0").is_ready
            until(lambda: "eu1: 1 completed" in caplog.text)
        server.kill()
        found: list[EnsureResult] = []
        assert seconds(lambda: found.append(made.ensure("t1"))) < 2 + SLACK
        assert (found[0].status, found[0].is_ready, found[0].url) == ("queued", False, "")
        assert until(lambda: made.health().trouble)
        assert quickest(made, ids[2:]) < 1e-3
        assert "connection refused" in made.ensure("t2").reason
        health = made.health()
        assert health.pending == 49
        assert (health.oldest or 0) > 0
        assert list(health.trouble) == ["target:eu1"]
    with (
        caplog.at_level(logging.INFO, "influxops"),
        running_stand_in(max_databases=None, wal_flush_interval="50ms", port=server.port) as server,
    ):
        assert seconds(lambda: until(lambda: not made.health().trouble)) < 5
        assert made.wait(timeout=20)
        # The one that was created before is in no request, and nothing creates it on the side.
        assert Influx(server.url).databases() == sorted(f"telemetry_{id_}" for id_ in ids[1:])
        assert made.ensure("t49").status == "existing"
    told = [record.message for record in caplog.records]
    away, back = (each for each in told if each.startswith("target:eu1"))
    assert away.startswith("target:eu1: creating telemetry_t1 on")
    assert back.startswith("target:eu1: it answers again, after")


def test_a_hanging_server_costs_the_first_callers_the_budget_and_the_others_nothing(
    provide: Provide,
    db: TestDatabase,
    stand_in: GiveStandIn,
    proxied: StartProxy,
    holding: Callable[[Proxy], Holding],
) -> None:
    ids = [f"t{number}" for number in range(60)]
    db.registry(*ids)
    proxy = proxied(stand_in(max_databases=None))
    made = provide(targets={"eu1": proxy}, timeout=2.0)
    held = holding(proxy)
    took: list[float] = []
    threads = [
        threading.Thread(
            target=lambda id_: took.append(seconds(lambda: made.ensure(id_))), args=(i,)
        )
        for i in ids[:10]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(took) < 2 + SLACK
    assert until(lambda: made.health().trouble)
    assert quickest(made, ids[10:]) < 1e-3
    held.let_go.set()
    assert seconds(lambda: until(lambda: not made.health().trouble)) < 5
    assert made.wait(timeout=30)
    assert all(made.ensure(id_) for id_ in ids)


def test_a_hanging_server_keeps_no_event_loop(
    provide: Provide,
    db: TestDatabase,
    stand_in: GiveStandIn,
    proxied: StartProxy,
    holding: Callable[[Proxy], Holding],
) -> None:
    db.registry("acme")
    proxy = proxied(stand_in(max_databases=None))
    made = provide(targets={"eu1": proxy}, timeout=1.0)
    held = holding(proxy)

    async def work() -> EnsureResult:
        task = asyncio.create_task(made.aensure("acme"))
        turns = 0
        while not task.done():
            await asyncio.sleep(0.01)
            turns += 1
        assert turns > 10
        held.let_go.set()
        assert await made.wait_async("acme", timeout=20)
        return await task

    assert asyncio.run(work()).status == "queued"
    assert made.ensure("acme").status == "existing"


def test_a_registry_that_is_away_is_no_exception(
    provide: Provide, stand_in: GiveStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PG_PORT", "1")
    made = provide(targets={"eu1": stand_in(max_databases=None)}, timeout=2.0)
    found = made.ensure("acme")
    assert found.status == "queued"
    assert "connect" in found.reason
    assert quickest(made, ["a", "b", "c", "d"]) < 1e-3
    assert made.locate("acme").status == "queued"
    assert made.inspect("acme").exists is None


def test_a_registry_that_lacks_its_table_says_so(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    made = provide(targets={"eu1": stand_in(max_databases=None)}, timeout=2.0)
    found = made.ensure("acme")
    assert found.status == "queued"
    assert "device_registry" in found.reason
    db.registry("acme")
    assert made.wait(timeout=20)
    assert made.ensure("acme").is_ready


def test_a_request_does_nothing_but_take_note(
    provide: Provide,
    db: TestDatabase,
    stand_in: GiveStandIn,
    proxied: StartProxy,
    holding: Callable[[Proxy], Holding],
) -> None:
    ids = [f"t{number}" for number in range(100)]
    db.registry(*ids[:-1])
    server = stand_in(max_databases=None)
    proxy = proxied(server)
    made = provide(targets={"eu1": proxy})
    held = holding(proxy)
    took = [seconds(lambda id_=id_: made.submit(id_)) for id_ in ids]  # type: ignore[misc]
    assert sorted(took)[50] < 1e-3
    assert made.health().pending == 100
    assert not made.wait(timeout=0.05)
    held.let_go.set()
    assert made.wait(*ids[:-1], timeout=30)
    assert len(server.databases()) == 99
    # The last one is committed only now, and its database is still created.
    insert(db, ids[-1])
    assert made.wait(timeout=30)
    assert "telemetry_t99" in server.databases()
    health = made.health()
    assert (health.pending, health.oldest, health.trouble) == (0, None, {})


def test_who_waits_is_not_behind_all_that_was_requested(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    made = provide(targets={"eu1": stand_in().url}, timeout=2.0)
    for number in range(20_000):
        made.submit(f"t{number}")
    assert made.health().pending == 20_000
    assert made.ensure("acme").status == "created"
    assert made.health().pending == 20_000


@pytest.mark.parametrize("ledger", [False, True], ids=["alone", "with a ledger"])
def test_500_tenants_that_come_while_influxdb_is_away_all_get_their_database(
    provide: Provide, db: TestDatabase, ledger: bool
) -> None:
    ids = [f"t{number:03}" for number in range(500)]
    db.registry()
    with running_stand_in(max_databases=None, wal_flush_interval="50ms") as server:
        made = provide(targets={"eu1": server.url}, timeout=1.0, ledger=ledger)
        server.kill()
    for start in range(0, 500, 50):
        insert(db, *ids[start : start + 50])
        for id_ in ids[start : start + 50]:
            assert made.ensure(id_).status == "queued"
    with running_stand_in(
        max_databases=None, wal_flush_interval="50ms", port=server.port
    ) as server:
        assert made.wait(timeout=60)
        there = Influx(server.url)
        assert there.databases() == [f"telemetry_{id_}" for id_ in ids]
        until(lambda: sum(marked(there)) == 500, timeout=60)


def test_a_database_whose_making_was_not_answered_is_completed_all_the_same(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    db.registry("acme")
    server = stand_in(max_databases=None)
    proxy = proxied(server)
    made = provide(targets={"eu1": proxy}, timeout=1.0)
    let_go = threading.Event()

    def hold(seen: Seen) -> None:
        if seen.path == "/api/v3/configure/database":
            let_go.wait(30)

    proxy.after = hold
    try:
        assert made.ensure("acme").status == "queued"
        assert server.databases() == ["telemetry_acme"]
    finally:
        let_go.set()
    assert made.wait(timeout=20)
    assert made.ensure("acme").status == "existing"
    until(lambda: sum(marked(server)) == 1)


def test_what_was_created_is_completed_although_the_ledgers_session_broke(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    db.registry("acme")
    server = stand_in(max_databases=None)
    proxy = proxied(server)
    broken: list[int] = []

    def break_session(seen: Seen) -> None:
        if seen.path == "/api/v3/configure/database" and not broken:
            with psycopg.connect(db.superuser_conninfo) as connection:
                sessions = connection.execute(
                    "SELECT pid FROM pg_locks JOIN pg_database AS d ON d.oid = database "
                    "WHERE locktype = 'advisory' AND datname = current_database()"
                ).fetchall()
            broken.extend(pid for (pid,) in sessions)
            for pid in broken:
                end(db, pid)

    proxy.after = break_session
    made = provide(targets={"eu1": proxy}, ledger=True)
    assert made.ensure("acme").status == "created"
    assert len(broken) == 1
    until(lambda: recorded(db)["acme"] == ("ready", "eu1"))
    assert sum(marked(server)) == 1


def marked(server: Influx) -> list[int]:
    rows = server.rows(
        "_internal", "SELECT count(*) AS n FROM system.tables WHERE table_name = '_init'"
    )
    return [int(row["n"]) for row in rows]


def test_a_slow_server_delays_only_its_own_tenants(
    provide: Provide,
    db: TestDatabase,
    stand_in: GiveStandIn,
    proxied: StartProxy,
    holding: Callable[[Proxy], Holding],
) -> None:
    ids = [f"t{number}" for number in range(6)]
    db.registry(*ids)
    slow, well = proxied(stand_in(max_databases=None)), stand_in(max_databases=None)
    pins = "[placement.pins]\n" + "".join(
        f'{id_} = "{"slow" if number % 2 else "well"}"\n' for number, id_ in enumerate(ids)
    )
    made = provide(
        targets={"slow": slow, "well": well}, extra=pins, ledger=True, timeout=3.0, cache_ttl=0.0
    )
    assert [made.ensure(id_).target for id_ in ids[:2]] == ["well", "slow"]
    held = holding(slow)
    assert made.ensure("t3").status == "queued"
    assert [*until(lambda: made.health().trouble)] == ["target:slow"]
    assert "slow" in made.ensure("t3").reason
    # Tenants that are on the other one, or are to be created there, are served concurrently.
    assert made.ensure("t0").status == "existing"
    assert made.ensure("t2").status == "created"
    recorded = made.ensure("t1")
    assert (recorded.status, recorded.target) == ("existing", "slow")
    assert "so the ledger says" in recorded.reason
    assert made.ensure("t5").status == "queued"
    held.let_go.set()
    assert made.wait(timeout=20)
    assert [made.ensure(id_).target for id_ in ids[:4]] == ["well", "slow", "well", "slow"]
