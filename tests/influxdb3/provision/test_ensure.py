"""Ensuring databases: few requests, honest outcomes, whatever happens to the server."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from msgspec.structs import replace

from influxops.plugin import Action, Change, ChangeResult, Database, Outcome, RunContext, Secret
from influxops_influxdb3 import InfluxDB3Target
from influxops_influxdb3.errors import WrongServer
from influxops_influxdb3.http.client import Client
from tests.influxdb3.conftest import Creates, MakeTarget
from tests.influxdb3.double import UNAUTHENTICATED, Asked, Double, Held, Told

NAMES = [f"t{number:02}" for number in range(20)]


def ensure(
    target: InfluxDB3Target, changes: list[Change], context: RunContext | None = None
) -> list[Outcome]:
    outcomes = list(target.influxops_ensure(changes, context or RunContext()))
    assert Counter(o.change for o in outcomes) == Counter(changes), "one outcome a change"
    return outcomes


def statuses(outcomes: list[Outcome]) -> Counter[ChangeResult]:
    return Counter(outcome.status for outcome in outcomes)


def change(action: Action, tenant: str, retention: int | None = None) -> Change:
    name = f"telemetry_{tenant}"
    after = None if action is Action.DROP else Database(retention, complete=True)
    return Change(action, tenant, "eu1", name, before=Database(), after=after)


# The batch -----------------------------------------------------------------------------------


def test_a_tenant_costs_one_request_and_the_batch_one_barrier(
    server: Double, target: InfluxDB3Target, creates: Creates
) -> None:
    server.max_databases = 1000
    changes = creates(*(f"n{number}" for number in range(300)))
    outcomes = ensure(target, changes)
    assert statuses(outcomes) == {ChangeResult.DONE: 300}
    assert len(server.asked) <= 303
    assert len(server.writes) == 300
    assert [write.is_barrier for write in server.writes].index(True) == 299
    assert {name for name, _ in server.durable} == {change.database for change in changes}


def test_one_tenant_is_one_request(
    server: Double, target: InfluxDB3Target, creates: Creates
) -> None:
    assert statuses(ensure(target, creates("enabled"))) == {ChangeResult.DONE: 1}
    assert len(server.asked) == 1
    assert server.databases["telemetry_enabled"].tables == {"_init"}


def test_the_marker_is_the_same_point_within_an_hour(
    server: Double, target: InfluxDB3Target, creates: Creates
) -> None:
    for minute in (0, 59):
        context = RunContext()
        context.started = datetime(2026, 11, 22, 4, minute, 59, 999, tzinfo=UTC)
        ensure(target, creates("enabled"), context)
    assert [write.body for write in server.writes] == [
        "_init,source=provisioning,tenant=enabled value=1i,initialized=1i 1795320000000000000"
    ] * 2


@pytest.mark.parametrize(
    ("tenant", "tag"),
    [
        ("a b", r"a\ b"),
        ("a,b=c", r"a\,b\=c"),
        ("ends in \\", r"ends\ in\ \\"),
        ("two\nlines", r"two\ lines"),
        ("münchen", "münchen"),
    ],
)
def test_any_tenant_id_makes_one_line(
    server: Double, target: InfluxDB3Target, tenant: str, tag: str
) -> None:
    ensure(target, [replace(change(Action.CREATE, "x"), tenant=tenant)])
    (line,) = server.writes[0].body.split("\n")
    assert f",tenant={tag} value=1i,initialized=1i " in line


def test_no_more_than_two_requests_are_in_flight(
    server: Double, target: InfluxDB3Target, creates: Creates
) -> None:
    server.max_databases = 100
    now, most, lock = 0, 0, threading.Lock()
    both = threading.Barrier(2, timeout=5)

    def fault(asked: Asked, number: int) -> None:
        nonlocal now, most
        if not asked.is_write or asked.is_barrier:
            return
        with lock:
            now += 1
            most = max(most, now)
        both.wait()  # only passes when there are two at once
        with lock:
            now -= 1

    server.fault = fault
    ensure(target, creates(*NAMES, "last"))
    assert most == 2


def test_progress_is_told_once_a_change(
    server: Double, target: InfluxDB3Target, creates: Creates
) -> None:
    told: list[int] = []
    ensure(target, creates(*NAMES), RunContext(on_progress=told.append))
    assert sum(told) == len(NAMES), "also for those that the server had no room for"


@pytest.mark.parametrize("retention", [None, 2592000])
def test_connections_are_kept_and_used_again(
    server: Double, target: InfluxDB3Target, creates: Creates, retention: int | None
) -> None:
    server.max_databases = 100
    context = RunContext()
    target.influxops_list_databases((), context)
    ensure(target, creates(*NAMES, retention=retention), context)
    target.influxops_list_databases((), context)
    assert len(server.asked) > 20
    assert len({asked.client for asked in server.asked}) <= 2


def test_nothing_is_done_before_the_barrier(
    server: Double, target: InfluxDB3Target, creates: Creates
) -> None:
    barrier = threading.Event()
    server.max_databases = 100
    server.fault = lambda asked, n: barrier.set() if asked.is_barrier else None
    for outcome in target.influxops_ensure(creates(*NAMES), RunContext()):
        assert barrier.is_set()
        assert outcome.status is ChangeResult.DONE


# Retention, markers, drops -------------------------------------------------------------------


def test_a_managed_retention_is_set_when_the_database_is_made(
    server: Double, target: InfluxDB3Target, creates: Creates
) -> None:
    outcomes = ensure(target, creates("a", "b", retention=2592000))
    assert statuses(outcomes) == {ChangeResult.DONE: 2}
    assert {name: held.retention for name, held in server.databases.items()} == {
        "telemetry_a": "30d",
        "telemetry_b": "30d",
    }
    assert {name for name, _ in server.durable} == {"telemetry_a", "telemetry_b"}
    assert len(server.writes) == 2


def test_each_action_does_what_it_says(server: Double, target: InfluxDB3Target) -> None:
    names = ("set", "clear", "mark", "drop")
    server.databases = {f"telemetry_{name}": Held("60d") for name in names}
    context = RunContext()
    outcomes = ensure(
        target,
        [
            change(Action.SET_RETENTION, "set", 5400),
            change(Action.SET_RETENTION, "clear", None),
            change(Action.COMPLETE, "mark"),
            change(Action.DROP, "drop"),
        ],
        context,
    )
    assert statuses(outcomes) == {ChangeResult.DONE: 4}
    assert server.databases == {
        "telemetry_set": Held("90m"),
        "telemetry_clear": Held(None),
        "telemetry_mark": Held("60d", {"_init"}),
    }
    ((name, hard_delete_at),) = server.deleted
    assert name == "telemetry_drop"
    at = datetime.fromisoformat(hard_delete_at)
    assert abs(at - context.started - timedelta(hours=72)) < timedelta(seconds=2)


def test_dropped_data_stays_for_three_days_of_the_servers_clock(
    server: Double, target: InfluxDB3Target
) -> None:
    ahead = datetime.now(UTC) + timedelta(days=30)
    server.date = format_datetime(ahead, usegmt=True)
    server.databases = {"telemetry_a": Held()}
    context = RunContext()
    target.influxops_list_databases((), context)
    ensure(target, [change(Action.DROP, "a")], context)
    at = datetime.fromisoformat(server.deleted[0][1])
    assert abs(at - ahead - timedelta(hours=72)) < timedelta(minutes=1)


def test_a_drop_makes_room_for_a_create(server: Double, target: InfluxDB3Target) -> None:
    server.databases = {f"telemetry_old{n}": Held() for n in range(5)}
    outcomes = ensure(target, [change(Action.CREATE, "new"), change(Action.DROP, "old1")])
    assert statuses(outcomes) == {ChangeResult.DONE: 2}


def test_a_database_that_is_there_already_is_left_to_the_re_read_and_marked(
    server: Double, target: InfluxDB3Target, creates: Creates
) -> None:
    server.databases = {"telemetry_a": Held("7d")}
    by_tenant = {o.change.tenant: o for o in ensure(target, creates("a", "b", retention=3600))}
    assert by_tenant["a"].status is ChangeResult.UNKNOWN
    assert "there already" in by_tenant["a"].message
    assert by_tenant["b"].status is ChangeResult.DONE
    assert server.databases["telemetry_a"] == Held("7d", {"_init"})


def test_what_is_gone_meanwhile_fails_alone(server: Double, target: InfluxDB3Target) -> None:
    server.databases = {"telemetry_here": Held()}
    outcomes = ensure(
        target,
        [
            change(Action.SET_RETENTION, "gone", 3600),
            change(Action.SET_RETENTION, "here", 3600),
            change(Action.DROP, "gone"),
        ],
    )
    found = {(o.change.action, o.change.tenant): o.status for o in outcomes}
    assert found[Action.SET_RETENTION, "gone"] is ChangeResult.FAILED
    assert found[Action.SET_RETENTION, "here"] is ChangeResult.DONE
    assert found[Action.DROP, "gone"] is ChangeResult.UNKNOWN


# Limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("retention", [None, 2592000])
def test_a_full_server_takes_what_it_can_and_is_not_asked_for_each_of_the_rest(
    server: Double, target: InfluxDB3Target, creates: Creates, retention: int | None
) -> None:
    outcomes = ensure(target, creates(*NAMES, retention=retention))
    assert statuses(outcomes) == {ChangeResult.DONE: 5, ChangeResult.NO_CAPACITY: 15}
    full = [o for o in outcomes if o.status is ChangeResult.NO_CAPACITY]
    assert {o.message for o in full} == {
        "the server answered 422: Adding a new database would exceed limit of 5 databases"
    }
    assert all(o.remedy for o in full)
    done = {o.change.database for o in outcomes if o.status is ChangeResult.DONE}
    assert {name for name, _ in server.durable} == done
    assert len(server.asked) <= 17


def test_other_changes_go_on_where_no_room_is_left(
    server: Double, target: InfluxDB3Target, creates: Creates
) -> None:
    server.databases = {f"telemetry_old{n}": Held() for n in range(5)}
    outcomes = ensure(
        target,
        [
            *creates("new1", "new2", "new3", "new4"),
            change(Action.COMPLETE, "old1"),
            change(Action.SET_RETENTION, "old2", 3600),
        ],
    )
    assert statuses(outcomes) == {ChangeResult.NO_CAPACITY: 4, ChangeResult.DONE: 2}
    assert server.durable


@pytest.mark.parametrize("retention", [None, 2592000])
def test_at_the_limit_of_tables_no_more_databases_without_marker_are_made(
    server: Double, target: InfluxDB3Target, creates: Creates, retention: int | None
) -> None:
    server.max_databases, server.max_tables = 100, 3
    outcomes = ensure(target, creates(*NAMES, retention=retention))
    found = statuses(outcomes)
    assert found[ChangeResult.DONE] == 3
    assert 1 <= found[ChangeResult.FAILED] <= 2, "at most those in flight"
    assert found[ChangeResult.NO_CAPACITY] == 17 - found[ChangeResult.FAILED]
    for outcome in outcomes:
        if outcome.status is ChangeResult.FAILED:
            assert outcome.message.startswith("the database has been made, its marker has not: ")
            assert outcome.partially_applied
            assert server.databases[outcome.change.database].tables == set()
    assert len(server.databases) == 3 + found[ChangeResult.FAILED]


def test_a_name_that_the_server_refuses_fails_alone(
    server: Double, target: InfluxDB3Target, creates: Creates
) -> None:
    outcomes = ensure(target, creates("a", "münchen", "b", "ä"))
    by_tenant = {o.change.tenant: o for o in outcomes}
    assert by_tenant["a"].status is by_tenant["b"].status is ChangeResult.DONE
    assert by_tenant["münchen"].status is by_tenant["ä"].status is ChangeResult.FAILED
    assert "must be ASCII" in by_tenant["ä"].message
    assert len(server.durable) == 2, "the last write was refused and could be no barrier"


# A token that is refused -----------------------------------------------------------------------


def test_a_wrong_token_stops_the_target_at_once(
    server: Double,
    make_target: MakeTarget,
    creates: Creates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.token = "apiv3_right"
    monkeypatch.setenv("INFLUXDB_TOKEN", "apiv3_wrong")
    outcomes = ensure(make_target(token=Secret(env="INFLUXDB_TOKEN")), creates(*NAMES))
    assert len(server.asked) == 1
    assert statuses(outcomes) == {ChangeResult.FAILED: 1, ChangeResult.SKIPPED: 19}
    assert {"does not accept the token" in o.message for o in outcomes} == {True}
    assert not any("apiv3" in o.message + str(o.remedy) for o in outcomes)


def test_a_token_that_is_withdrawn_half_way_makes_no_done_a_lie(
    server: Double, target: InfluxDB3Target, creates: Creates
) -> None:
    server.max_databases = 100
    server.fault = lambda asked, number: Told(401, UNAUTHENTICATED) if number > 10 else None
    outcomes = ensure(target, creates(*NAMES))
    assert statuses(outcomes)[ChangeResult.DONE] == 0
    assert server.durable == set()
    assert len(server.asked) <= 14


def test_a_token_that_disappears_stops_the_target(
    server: Double,
    make_target: MakeTarget,
    creates: Creates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("INFLUXDB_TOKEN", raising=False)
    outcomes = ensure(make_target(token=Secret(env="INFLUXDB_TOKEN")), creates(*NAMES))
    assert server.asked == []
    assert ChangeResult.DONE not in statuses(outcomes)
    assert all("INFLUXDB_TOKEN" in o.message for o in outcomes)


# Another server behind the URL ---------------------------------------------------------------


def test_a_url_that_leads_to_another_server_half_way_stops_the_batch(
    server: Double, target: InfluxDB3Target, creates: Creates
) -> None:
    server.max_databases = 100
    first, context = server.cluster_uuid, RunContext()
    target.influxops_list_databases((), context)

    def fault(asked: Asked, number: int) -> None:
        if len(server.writes) == 6:
            server.cluster_uuid = "the-other-one"

    server.fault = fault
    outcomes = ensure(target, creates(*NAMES), context)
    assert ChangeResult.DONE not in statuses(outcomes)
    assert len(server.writes) <= 8, "those in flight, and none after them"
    found = [o for o in outcomes if o.status is ChangeResult.FAILED]
    assert found
    assert all(f"its cluster-uuid is the-other-one, not {first}" in o.message for o in outcomes)
    assert all("several servers" in str(o.remedy) for o in found)
    with pytest.raises(WrongServer):
        target.influxops_list_databases((), context)
    assert target.influxops_list_databases((), RunContext()).identity == "the-other-one"


@pytest.mark.parametrize("was_there", [False, True])
def test_each_of_two_that_are_created_at_once_is_told_with_the_server_that_answered_it(
    server: Double,
    target: InfluxDB3Target,
    creates: Creates,
    monkeypatch: pytest.MonkeyPatch,
    was_there: bool,
) -> None:
    right = server.cluster_uuid
    first, second = creates("a", "b")
    answered, later, told = (threading.Event() for _ in range(3))
    create = Client.create

    def fault(asked: Asked, number: int) -> None:
        if asked.document["db"] == first.database:
            server.cluster_uuid = "the-other-one"
        else:
            assert answered.wait(10)
            server.cluster_uuid = right

    def slow(self: Client, context: RunContext, database: str, *rest: Any) -> str | None:
        try:
            return create(self, context, database, *rest)
        finally:
            # Between the answer and what is made of that, the right server answers.
            (answered if database == first.database else later).set()
            assert (later if database == first.database else told).wait(10)

    monkeypatch.setattr(Client, "create", slow)
    if was_there:
        server.databases[first.database] = Held()
    server.fault = fault
    found = target.influxops_create_databases([first, second], RunContext())
    assert next(found).identity == "the-other-one"
    told.set()
    with pytest.raises(WrongServer):
        next(found)


@pytest.mark.parametrize("action", [Action.CREATE, Action.SET_RETENTION, Action.DROP])
def test_a_server_that_is_not_the_configured_one_is_never_written_to(
    server: Double, make_target: MakeTarget, action: Action
) -> None:
    server.databases = {} if action is Action.CREATE else {"telemetry_a": Held("7d")}
    target = make_target(cluster_uuid="somebody-else")
    (outcome,) = ensure(target, [change(action, "a", 3600)])
    assert outcome.status is ChangeResult.FAILED
    assert "not somebody-else" in outcome.message
    assert [asked.path for asked in server.asked] == ["/ping"]


def test_a_server_that_is_the_configured_one_is_written_to(
    server: Double, make_target: MakeTarget, creates: Creates
) -> None:
    target = make_target(cluster_uuid=server.cluster_uuid)
    assert statuses(ensure(target, creates("a"))) == {ChangeResult.DONE: 1}


# Servers that go away ------------------------------------------------------------------------


def test_a_server_that_is_killed_half_way_makes_no_done_a_lie(
    server: Double, make_target: MakeTarget, creates: Creates
) -> None:
    server.max_databases = 100
    killed = threading.Event()

    def fault(asked: Asked, number: int) -> Told | None:
        if number > 10:
            if not killed.is_set():
                killed.set()
                threading.Thread(target=server.kill).start()
            return Told(drop=True)
        return None

    server.fault = fault
    outcomes = ensure(make_target(retries=1), creates(*NAMES))
    found = statuses(outcomes)
    assert found[ChangeResult.DONE] == 0
    assert found[ChangeResult.SKIPPED] >= 7, "they are not all waited for"
    assert found[ChangeResult.UNCONFIRMED] >= 8, "written, but never confirmed"
    assert all(o.message for o in outcomes)


@pytest.mark.parametrize("when", [5, 19, 20])
def test_a_restart_half_way_has_the_lost_markers_written_again(
    server: Double, target: InfluxDB3Target, creates: Creates, when: int
) -> None:
    server.max_databases = 100
    context = RunContext()
    target.influxops_list_databases((), context)
    writes = 0

    def fault(asked: Asked, number: int) -> Told | None:
        nonlocal writes
        writes += asked.is_write
        if asked.is_write and writes == when:
            server.restart()
            return Told(drop=True)
        return None

    server.fault = fault
    changes = creates(*NAMES)
    outcomes = ensure(target, changes, context)
    assert statuses(outcomes) == {ChangeResult.DONE: 20}
    assert {name for name, _ in server.durable} == {change.database for change in changes}
    assert len({write.body for write in server.writes}) == 20, "the same points"


@pytest.mark.parametrize("last", ["z", "a name that is refused, so another is the barrier"])
def test_a_barrier_that_fails_once_is_tried_with_the_whole_batch(
    server: Double, make_target: MakeTarget, creates: Creates, last: str
) -> None:
    server.max_databases = 100
    barriers = 0

    def fault(asked: Asked, number: int) -> Told | None:
        nonlocal barriers
        lasting = asked.is_barrier and asked.query["db"].isidentifier()
        barriers += lasting
        if lasting and barriers == 1:
            server.pending.clear()
            return Told(500, "the WAL is gone")
        return None

    server.fault = fault
    outcomes = ensure(make_target(retries=0), creates(*NAMES, last))
    done = {o.change.database for o in outcomes if o.status is ChangeResult.DONE}
    assert len(done) == (21 if last == "z" else 20)
    assert {name for name, _ in server.durable} == done


def test_several_nodes_behind_one_url_are_told_and_not_written_to_for_ever(
    server: Double, target: InfluxDB3Target, creates: Creates
) -> None:
    server.max_databases = 1000

    def fault(asked: Asked, number: int) -> None:
        server.process_id = f"node {number % 3}"

    server.fault = fault
    outcomes = ensure(target, creates(*(f"n{number}" for number in range(100))))
    assert statuses(outcomes) == {ChangeResult.UNCONFIRMED: 100}
    assert {o.message for o in outcomes} == {
        "the database is there, its marker is not confirmed: another process of the server "
        "answers each time"
    }
    assert all(o.remedy.value == "url" for o in outcomes)
    assert len(server.asked) <= 210


def test_a_proxy_that_lets_no_barrier_pass_makes_nothing_called_good(
    server: Double, target: InfluxDB3Target, creates: Creates
) -> None:
    server.fault = lambda asked, n: Told(500, "no") if asked.is_barrier else None
    outcomes = ensure(target, creates("a", "b", "c"))
    assert statuses(outcomes) == {ChangeResult.UNCONFIRMED: 3}
    assert server.durable == set()


def test_a_database_that_no_answer_spoke_of_is_not_said_to_be_there(
    server: Double, make_target: MakeTarget, creates: Creates
) -> None:
    def fault(asked: Asked, number: int) -> Told | None:
        hers = asked.query.get("db") == "telemetry_c"
        return Told(503, "no") if hers or asked.is_barrier else None

    server.fault = fault
    by_tenant = {o.change.tenant: o for o in ensure(make_target(retries=0), creates(*"abc"))}
    assert by_tenant["a"].status is by_tenant["b"].status is ChangeResult.UNCONFIRMED
    assert (by_tenant["c"].status, by_tenant["c"].partially_applied) == (
        ChangeResult.UNKNOWN,
        False,
    )
    assert by_tenant["c"].message == "its marker is not confirmed: the server answered 503: no"


def test_a_barrier_that_hangs_leaves_all_unconfirmed_soon(
    server: Double, make_target: MakeTarget, creates: Creates
) -> None:
    hang = threading.Event()
    server.fault = lambda asked, n: (hang.wait(30), None)[1] if asked.is_barrier else None
    begin = time.monotonic()
    outcomes = ensure(make_target(read_timeout=0.3), creates("a", "b", "c"))
    assert time.monotonic() - begin < 3
    hang.set()
    assert statuses(outcomes) == {ChangeResult.UNCONFIRMED: 2, ChangeResult.UNKNOWN: 1}
    assert all(o.message.endswith("no answer within 0.3 s, tried twice") for o in outcomes)


def test_a_database_whose_marker_was_refused_was_made_all_the_same(
    server: Double, target: InfluxDB3Target, creates: Creates
) -> None:
    server.fault = lambda asked, n: Told(400, '{"error":"no"}') if asked.is_write else None
    (outcome,) = ensure(target, creates("a", retention=3600))
    assert (outcome.status, outcome.partially_applied) == (ChangeResult.FAILED, True)
    assert outcome.message == (
        "the database has been made, its marker has not: the server answered 400: no"
    )


def test_a_barrier_that_never_passes_leaves_all_unconfirmed(
    server: Double, make_target: MakeTarget, creates: Creates
) -> None:
    server.max_databases = 100
    server.fault = lambda asked, n: Told(503, "WAL is full") if asked.is_barrier else None
    outcomes = ensure(make_target(retries=0), creates(*NAMES))
    assert statuses(outcomes) == {ChangeResult.UNCONFIRMED: 20}
    assert {o.message for o in outcomes} == {
        "the database is there, its marker is not confirmed: the server answered 503: WAL is full"
    }
    assert all(o.partially_applied and "`ensure --verify`" in str(o.remedy) for o in outcomes)


def test_a_lost_answer_is_left_to_the_re_read(
    server: Double, make_target: MakeTarget, creates: Creates
) -> None:
    def fault(asked: Asked, number: int) -> Told | None:
        lost = asked.path.endswith("/database") and "telemetry_b" in asked.body
        return Told(drop=True) if lost else None

    server.fault = fault
    outcomes = ensure(make_target(retries=1), creates("a", "b", "c", retention=3600))
    by_tenant = {o.change.tenant: o for o in outcomes}
    assert by_tenant["b"].status is ChangeResult.UNKNOWN
    assert "lost" in by_tenant["b"].message
    assert by_tenant["a"].status is by_tenant["c"].status is ChangeResult.DONE


@pytest.mark.parametrize("seen_before", [True, False])
def test_a_server_that_is_down_is_not_waited_for_tenant_by_tenant(
    server: Double, make_target: MakeTarget, creates: Creates, seen_before: bool
) -> None:
    target, context = make_target(retries=2), RunContext()
    if seen_before:
        target.influxops_list_databases((), context)
    server.stop()
    begin = time.monotonic()
    outcomes = ensure(target, creates(*NAMES), context)
    assert time.monotonic() - begin < 5
    found = statuses(outcomes)
    assert 1 <= found[ChangeResult.FAILED] <= 3, "two in a row, and what was in flight"
    assert found[ChangeResult.SKIPPED] == 20 - found[ChangeResult.FAILED]
    assert all("connection refused" in o.message for o in outcomes)


# Runs that end -------------------------------------------------------------------------------


def test_an_interrupted_run_starts_nothing_new_and_confirms_what_was_written(
    server: Double, target: InfluxDB3Target, creates: Creates
) -> None:
    server.max_databases = 100
    context = RunContext()

    def fault(asked: Asked, number: int) -> Told | None:
        if len(server.writes) == 8:
            context.cancel()
        return None

    server.fault = fault
    outcomes = ensure(target, creates(*NAMES), context)
    done = {o.change.database for o in outcomes if o.status is ChangeResult.DONE}
    assert 8 <= len(done) <= 9, "those in flight are waited for"
    assert {name for name, _ in server.durable} == done
    skipped = [o for o in outcomes if o.status is ChangeResult.SKIPPED]
    assert len(skipped) >= 20 - len(done) - 1, "one may have been on its way"
    assert {o.message for o in skipped} == {"not tried: the run was interrupted"}


def test_a_deadline_ends_a_batch_in_time(
    server: Double, target: InfluxDB3Target, creates: Creates
) -> None:
    server.max_databases = 100
    hang = threading.Event()

    def fault(asked: Asked, number: int) -> Told | None:
        if 6 <= number <= 7:
            hang.wait(10)
        return None

    server.fault = fault
    begin = time.monotonic()
    outcomes = ensure(target, creates(*NAMES), RunContext(timeout=1))
    assert time.monotonic() - begin < 8
    hang.set()
    found = statuses(outcomes)
    assert found[ChangeResult.SKIPPED] >= 12
    done = {o.change.database for o in outcomes if o.status is ChangeResult.DONE}
    assert done <= {name for name, _ in server.durable}


@pytest.mark.parametrize("first", ["silence", "504", "a broken connection"])
def test_a_drop_that_was_not_answered_stays_open_whatever_is_answered_next(
    server: Double, make_target: MakeTarget, first: str
) -> None:
    server.databases = {"telemetry_a": Held()}
    carried_out, deletes = threading.Event(), itertools.count(1)

    def fault(asked: Asked, number: int) -> Told | None:
        if asked.method != "DELETE":
            return None
        if first == "silence" and next(deletes) == 1:
            carried_out.wait(20)
            return None
        return Told(drop=True) if first == "a broken connection" else Told(504)

    server.fault = fault
    target = make_target(read_timeout=0.5, retries=1)
    (outcome,) = ensure(target, [change(Action.DROP, "a")])
    carried_out.set()
    assert (outcome.status, outcome.abandoned) == (ChangeResult.UNKNOWN, True)


def test_an_interrupted_run_does_not_wait_for_a_server_that_hangs(
    server: Double,
    target: InfluxDB3Target,
    creates: Creates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("influxops_influxdb3.http.transport.GRACE", 0.2)
    server.max_databases = 100
    context, hang = RunContext(), threading.Event()

    def fault(asked: Asked, number: int) -> Told | None:
        if "telemetry_t07" in asked.query.get("db", ""):
            context.cancel()
            hang.wait(25)
        return None

    server.fault = fault
    begin = time.monotonic()
    by_tenant = {o.change.tenant: o for o in ensure(target, creates(*NAMES), context)}
    assert time.monotonic() - begin < 10
    hang.set()
    assert by_tenant["t07"].status is ChangeResult.UNKNOWN
    # A barrier, which tells whether its marker is durable, would have to be waited for, too.
    assert by_tenant["t04"].status is ChangeResult.UNCONFIRMED
    assert by_tenant["t19"].status is ChangeResult.SKIPPED


def test_a_run_that_is_over_writes_nothing(
    server: Double, target: InfluxDB3Target, creates: Creates
) -> None:
    context = RunContext()
    context.cancel()
    assert statuses(ensure(target, creates(*NAMES), context)) == {ChangeResult.SKIPPED: 20}
    assert server.asked == []


def test_nothing_to_do_is_no_request(server: Double, target: InfluxDB3Target) -> None:
    assert ensure(target, []) == []
    assert server.asked == []
