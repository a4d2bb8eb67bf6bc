"""The target against a server: a real one when the environment names it, else the stand-in.

`INFLUXOPS_TEST_INFLUXDB_URL` and `INFLUXOPS_TEST_INFLUXDB_TOKEN` name a real one. What these tests
make there they drop, and they live within five databases.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import logging
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from influxops.plugin import (
    Action,
    Change,
    ChangeResult,
    Database,
    RunContext,
    Secret,
    TargetAuthError,
)
from influxops_devserver.testing import running_stand_in, start_stand_in
from influxops_influxdb3 import InfluxDB3Target
from influxops_influxdb3.errors import InfluxDBError, NotFound
from influxops_influxdb3.http.client import Client
from influxops_influxdb3.settings import InfluxDB3Settings
from tests.influxdb3.conftest import Creates, MakeTarget
from tests.integration.servers import LOCK

URL = os.environ.get("INFLUXOPS_TEST_INFLUXDB_URL")
TOKEN = "INFLUXOPS_TEST_INFLUXDB_TOKEN"


@dataclass(frozen=True)
class Place:
    """A server, and a prefix for tenants of one test's own."""

    settings: InfluxDB3Settings
    prefix: str

    def database(self, tenant: str) -> str:
        return f"telemetry_{tenant}"


@pytest.fixture(scope="module")
def server_settings() -> Iterator[InfluxDB3Settings]:
    if URL:
        token = Secret(env=TOKEN) if os.environ.get(TOKEN) else None
        yield InfluxDB3Settings.parse({"url": URL, "token": token})
        return
    with running_stand_in(wal_flush_interval="50ms") as stand_in:
        yield InfluxDB3Settings.parse({"url": stand_in.url})


@pytest.fixture
def place(server_settings: InfluxDB3Settings) -> Iterator[Place]:
    prefix = f"test-{uuid.uuid4().hex[:8]}-"
    with contextlib.ExitStack() as stack:
        if URL:
            fcntl.flock(stack.enter_context(LOCK.open("a")), fcntl.LOCK_EX)
        yield Place(server_settings, prefix)
        client, context = Client(server_settings), RunContext()
        for name in client.databases(context):
            if name.startswith(f"telemetry_{prefix}"):
                client.delete(context, name, hard_delete_at=datetime.now(UTC) - timedelta(days=1))
        client.close()


@pytest.fixture
def client(place: Place) -> Iterator[Client]:
    client = Client(place.settings)
    yield client
    client.close()


@pytest.fixture
def target(place: Place) -> Iterator[InfluxDB3Target]:
    target = InfluxDB3Target("eu1", place.settings)
    yield target
    target.influxops_close()


def statuses(
    target: InfluxDB3Target, changes: list[Change], context: RunContext
) -> Counter[ChangeResult]:
    return Counter(outcome.status for outcome in target.influxops_ensure(changes, context))


def test_a_tenant_from_nothing_to_gone(
    place: Place, target: InfluxDB3Target, client: Client, creates: Creates
) -> None:
    plain, managed = f"{place.prefix}plain", f"{place.prefix}managed"
    names = [place.database(plain), place.database(managed)]
    context = RunContext()
    assert not set(names) & set(target.influxops_list_databases((), context).databases)

    changes = creates(plain) + creates(managed, retention=2592000)
    assert statuses(target, changes, context) == {ChangeResult.DONE: 2}
    held = target.influxops_list_databases((), context).databases
    assert held[names[0]] == Database(None, True, False)
    assert held[names[1]] == Database(2592000, True, False)
    (row,) = client.query(context, names[0], "SELECT * FROM _init LIMIT 1")
    assert (row["source"], row["tenant"], row["value"]) == ("provisioning", plain, 1)

    assert statuses(target, changes, context) == {ChangeResult.DONE: 1, ChangeResult.UNKNOWN: 1}
    assert client.query(context, names[0], "SELECT COUNT(*) AS count FROM _init") == [{"count": 1}]
    assert held[names[0]].in_use is False

    later = [
        Change(Action.SET_RETENTION, plain, "eu1", names[0], after=Database(5400)),
        Change(Action.SET_RETENTION, managed, "eu1", names[1], after=Database(None)),
    ]
    assert statuses(target, later, context) == {ChangeResult.DONE: 2}
    held = target.influxops_list_databases((), context).databases
    assert (held[names[0]].retention, held[names[1]].retention) == (5400, None)

    drops = [Change(Action.DROP, plain, "eu1", names[0], before=held[names[0]])]
    assert statuses(target, drops, context) == {ChangeResult.DONE: 1}
    assert names[0] not in target.influxops_list_databases((), context).databases
    with pytest.raises(NotFound):
        client.query(context, names[0], "SELECT 1")


def test_a_database_without_its_marker_gets_it(
    place: Place, target: InfluxDB3Target, client: Client
) -> None:
    tenant, context = f"{place.prefix}bare", RunContext()
    name = place.database(tenant)
    client.create(context, name)
    held = target.influxops_list_databases((), context).databases[name]
    assert held.complete is False
    change = Change(Action.COMPLETE, tenant, "eu1", name, before=held, after=Database())
    assert statuses(target, [change], context) == {ChangeResult.DONE: 1}
    assert target.influxops_list_databases((), context).databases[name].complete is True


def test_status_counts_what_devices_wrote(
    place: Place, target: InfluxDB3Target, client: Client
) -> None:
    tenant, context = f"{place.prefix}busy", RunContext()
    name = place.database(tenant)
    client.create(context, name)
    (fresh,) = target.influxops_database_stats([name], context)
    assert (fresh.telemetry_count, fresh.last_write, fresh.message) == (0, None, "")
    client.write(
        context,
        name,
        "telemetry,device=d1 temp=21.5 1700000000000000000\n"
        "telemetry,device=d2 temp=22.5 1700000001000000000",
    )
    (busy,) = target.influxops_database_stats([name], context)
    assert busy.telemetry_count == 2
    assert busy.last_write == datetime(2023, 11, 14, 22, 13, 21, tzinfo=UTC)


def test_activity_counts_what_devices_wrote_in_each_span_of_time(
    place: Place, target: InfluxDB3Target, client: Client
) -> None:
    tenant, context = f"{place.prefix}active", RunContext()
    name = place.database(tenant)
    client.create(context, name)
    since, until = datetime(2023, 11, 14, 21, tzinfo=UTC), datetime(2023, 11, 15, tzinfo=UTC)
    assert [*target.influxops_write_activity(name, since, until, 3600, context)] == []
    client.write(
        context,
        name,
        "telemetry,device=d1 temp=1 1699995599999999999\n"  # just before 21:00
        "telemetry,device=d1 temp=1 1699995600000000000\n"  # 21:00
        "telemetry,device=d1 temp=2 1700000000000000000\n"  # 22:13:20
        "telemetry,device=d2 temp=3 1700000001000000000\n"
        "telemetry,device=d2 temp=4 1700006400000000000",  # midnight
    )
    spans = dict(target.influxops_write_activity(name, since, until, 3600, context))
    assert spans == {since: 1, datetime(2023, 11, 14, 22, tzinfo=UTC): 2}


def test_what_the_server_refuses_is_told_in_its_own_words(place: Place, client: Client) -> None:
    context = RunContext()
    for attempt in (
        lambda: client.create(context, "a b"),
        lambda: client.write(context, "_bad", "t v=1"),
        lambda: client.query(context, "_internal", "SELEC 1"),
        lambda: client.set_retention(context, f"{place.prefix}nobody", 3600),
    ):
        with pytest.raises(InfluxDBError) as caught:
            attempt()
        assert caught.value.status in (400, 404)
        assert caught.value.server_message


# What needs a server that can be limited, counted or killed ------------------------------------


class Requests(logging.Handler):
    """Counts the requests that are logged for who debugs."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message.endswith(" ms"):
            self.lines.append(message)


@pytest.fixture
def requests() -> Iterator[Requests]:
    handler, logger = Requests(), logging.getLogger("influxops")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before)


@pytest.mark.stand_in
def test_a_thousand_tenants_take_seconds_and_a_thousand_and_ten_requests(
    make_target: MakeTarget, creates: Creates, requests: Requests
) -> None:
    with running_stand_in(max_databases=None, max_tables=None, wal_flush_interval="1s") as stand_in:
        target, context = make_target(url=stand_in.url, capacity="unlimited"), RunContext()
        changes = creates(*(f"tenant{number}" for number in range(1000)))
        begin = time.monotonic()
        target.influxops_list_databases((), context)
        assert statuses(target, changes, context) == {ChangeResult.DONE: 1000}
        held = target.influxops_list_databases((), context).databases
        seconds = time.monotonic() - begin
        target.influxops_close()
    assert all(held[change.database].complete is True for change in changes)
    assert 1000 <= len(requests.lines) <= 1010
    assert seconds < 60


@pytest.mark.stand_in
def test_seven_tenants_and_room_for_five(make_target: MakeTarget, creates: Creates) -> None:
    with running_stand_in(max_databases=5, wal_flush_interval="20ms") as stand_in:
        target, context = make_target(url=stand_in.url), RunContext()
        changes = creates(*"abcdefg")
        assert statuses(target, changes, context) == {
            ChangeResult.DONE: 5,
            ChangeResult.NO_CAPACITY: 2,
        }
        assert len(target.influxops_list_databases((), context).databases) == 5
        target.influxops_close()


@pytest.mark.stand_in
def test_a_server_without_room_for_tables(make_target: MakeTarget, creates: Creates) -> None:
    with running_stand_in(max_databases=None, max_tables=3, wal_flush_interval="20ms") as stand_in:
        target, context = make_target(url=stand_in.url), RunContext()
        found = statuses(target, creates(*"abcdefgh"), context)
        assert found[ChangeResult.DONE] == 3
        assert 1 <= found[ChangeResult.FAILED] <= 2
        assert found[ChangeResult.NO_CAPACITY] == 5 - found[ChangeResult.FAILED]
        target.influxops_close()


@pytest.mark.stand_in
def test_a_server_that_wants_another_token(
    make_target: MakeTarget, creates: Creates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFLUXDB_TOKEN", "apiv3_wrong")
    with running_stand_in(wal_flush_interval="20ms", with_auth=True) as stand_in:
        target = make_target(url=stand_in.url, token=Secret(env="INFLUXDB_TOKEN"))
        with pytest.raises(TargetAuthError):
            target.influxops_list_databases((), RunContext())
        assert statuses(target, creates(*"abc"), RunContext()) == {
            ChangeResult.FAILED: 1,
            ChangeResult.SKIPPED: 2,
        }
        target.influxops_close()


@pytest.mark.faults
@pytest.mark.stand_in
def test_a_server_killed_half_way_and_started_again_loses_nothing_that_was_called_done(
    tmp_path: Path, make_target: MakeTarget, creates: Creates
) -> None:
    options = {"data_dir": tmp_path, "max_databases": None, "wal_flush_interval": "1s"}
    stand_in = start_stand_in(**options)  # type: ignore[arg-type]
    changes = creates(*(f"t{number}" for number in range(200)))
    target, context = make_target(url=stand_in.url), RunContext()
    target.influxops_list_databases((), context)
    finished = itertools.count(1)
    killed = threading.Event()

    def progress(count: int) -> None:
        if next(finished) == 60:
            stand_in.kill()
            killed.set()

    outcomes = []
    again = None

    def start_again() -> None:
        nonlocal again
        killed.wait(30)
        again = start_stand_in(port=stand_in.port, **options)  # type: ignore[arg-type]

    starter = threading.Thread(target=start_again)
    starter.start()
    try:
        again_told = RunContext(on_progress=progress)
        again_told.id, context = context.id, again_told
        outcomes = list(target.influxops_ensure(changes, context))
        starter.join()
        done = {o.change.database for o in outcomes if o.status is ChangeResult.DONE}
        client = Client(InfluxDB3Settings.parse({"url": stand_in.url}))
        for name in done:
            assert client.query(RunContext(), name, "SELECT * FROM _init LIMIT 1"), name
        client.close()
        missing = [o.change for o in outcomes if o.status is not ChangeResult.DONE]
        assert set(statuses(target, missing, RunContext())) <= {ChangeResult.DONE}
        held = target.influxops_list_databases((), RunContext()).databases
        assert all(held[change.database].complete is True for change in changes)
    finally:
        starter.join()
        target.influxops_close()
        for one in (stand_in, again):
            if one is not None:
                one.kill()
                if one.process.stdout is not None:
                    one.process.stdout.close()
