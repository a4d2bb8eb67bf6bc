"""One run at a time on one registry."""

from __future__ import annotations

import threading

import psycopg
import pytest

from influxops.plugin import Interrupted, LockBusy, RunContext, SourceError
from influxops_devserver.postgres import EmbeddedPostgres
from tests.pg import TestDatabase
from tests.postgres.conftest import MakeSource

_HOLDERS = """
    SELECT a.pid, a.backend_xmin IS NULL, a.state
      FROM pg_locks l JOIN pg_stat_activity a USING (pid)
     WHERE l.locktype = 'advisory' AND a.datname = current_database()
"""


def test_a_second_run_is_told_who_holds_the_lock(
    database: TestDatabase, make_source: MakeSource
) -> None:
    database.registry()
    with make_source().influxops_lock(RunContext()):
        with psycopg.connect(database.superuser_conninfo) as connection:
            holder = connection.execute(_HOLDERS).fetchone()
            assert holder is not None
        # The same table, spelt in another way.
        second = make_source(table="public.device_registry", lock_timeout="0.3")
        with pytest.raises(LockBusy) as caught, second.influxops_lock(RunContext()):
            pass
    message = caught.value.message
    assert f"influxops (pid {holder[0]}, user iot, from 127.0.0.1, since 20" in message
    assert caught.value.exit_code == 5


def test_the_lock_is_free_again_after_the_run_however_it_ends(
    database: TestDatabase, make_source: MakeSource
) -> None:
    database.registry()
    source = make_source(lock_timeout=0)
    with pytest.raises(ZeroDivisionError), source.influxops_lock(RunContext()):
        raise ZeroDivisionError
    with source.influxops_lock(RunContext()):
        pass
    with source.influxops_lock(RunContext()):
        pass


def test_a_run_waits_for_the_one_before_it(database: TestDatabase, make_source: MakeSource) -> None:
    database.registry()
    order: list[str] = []
    waits = threading.Event()

    class Watched(RunContext):
        def sleep(self, seconds: float) -> None:
            waits.set()
            super().sleep(seconds)

    def second() -> None:
        with make_source(lock_timeout=30).influxops_lock(Watched()):
            order.append("second")

    thread = threading.Thread(target=second)
    with make_source().influxops_lock(RunContext()):
        thread.start()
        assert waits.wait(20)
        order.append("first")
    thread.join(20)
    assert order == ["first", "second"]


def test_a_cancelled_run_stops_waiting(database: TestDatabase, make_source: MakeSource) -> None:
    database.registry()

    class Impatient(RunContext):
        def sleep(self, seconds: float) -> None:
            self.cancel()
            super().sleep(seconds)

    with (
        make_source().influxops_lock(RunContext()),
        pytest.raises(Interrupted),
        make_source(lock_timeout=60).influxops_lock(Impatient()),
    ):
        pass


@pytest.mark.parametrize(
    "values",
    [
        {"table": "others"},
        {"query": "SELECT tenant_id FROM device_registry WHERE tenant_id <> 'x'"},
        {"where": "tenant_id <> 'x'"},
        {"lock": "default"},
    ],
)
def test_runs_on_one_registry_database_share_its_lock_whatever_they_read(
    database: TestDatabase, make_source: MakeSource, values: dict[str, str]
) -> None:
    database.registry()
    with (
        make_source().influxops_lock(RunContext()),
        pytest.raises(LockBusy),
        make_source(lock_timeout=0, **values).influxops_lock(RunContext()),
    ):
        pass


def test_a_name_of_its_own_separates_a_registry(
    database: TestDatabase, make_source: MakeSource
) -> None:
    with (
        make_source().influxops_lock(RunContext()),
        make_source(lock="plant-2", lock_timeout=0).influxops_lock(RunContext()),
        pytest.raises(LockBusy),
        make_source(lock="plant-2", lock_timeout=0).influxops_lock(RunContext()),
    ):
        pass


def test_the_lock_s_transaction_is_idle_and_holds_up_no_vacuum(
    database: TestDatabase, make_source: MakeSource
) -> None:
    database.registry()
    database.execute(
        "ALTER ROLE iot SET idle_in_transaction_session_timeout = '50ms'",
        "ALTER ROLE iot SET transaction_timeout = '50ms'",
        superuser=True,
    )
    try:
        with (
            psycopg.connect(database.superuser_conninfo, autocommit=True) as connection,
            make_source().influxops_lock(RunContext()),
        ):
            connection.execute("SELECT pg_sleep(0.2)")
            holders = connection.execute(_HOLDERS).fetchall()
            assert [holder[1:] for holder in holders] == [(True, "idle in transaction")]
    finally:
        database.execute("ALTER ROLE iot RESET ALL", superuser=True)


def test_a_lock_that_was_lost_during_the_run_is_said_when_it_is_given_back(
    database: TestDatabase, make_source: MakeSource
) -> None:
    database.registry()
    done = []
    with (
        pytest.raises(SourceError, match="with the lock broke"),
        make_source().influxops_lock(RunContext()),
    ):
        database.execute(
            "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity"
            " WHERE application_name = 'influxops' AND datname = current_database()",
            superuser=True,
        )
        done.append("the run went on")
    assert done


def test_a_standby_offers_no_lock(
    standby: EmbeddedPostgres, database: TestDatabase, make_source: MakeSource
) -> None:
    source = make_source(port=standby.port, database="iotcloud")
    with (
        pytest.raises(SourceError, match="a standby holds no locks"),
        source.influxops_lock(RunContext()),
    ):
        pass


def test_no_connection_is_no_lock(make_source: MakeSource) -> None:
    source = make_source(port=1)
    with pytest.raises(SourceError, match="refused"), source.influxops_lock(RunContext()):
        pass
