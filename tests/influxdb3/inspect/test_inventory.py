"""What a target says that it holds, and what `status` and `doctor` say of it."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from influxops.config.settings import InvalidSettings
from influxops.plugin import (
    UNKNOWN,
    Check,
    Database,
    RunContext,
    Secret,
    Severity,
    TargetAuthError,
    TargetError,
)
from influxops_devserver.testing import running_stand_in
from influxops_influxdb3 import InfluxDB3Target
from influxops_influxdb3.errors import NotInfluxDB3
from influxops_influxdb3.http.client import Client
from influxops_influxdb3.settings import InfluxDB3Settings
from tests.devserver.api import Api
from tests.influxdb3.conftest import Creates, MakeTarget
from tests.influxdb3.double import UNAUTHENTICATED, Asked, Double, Held, Told


def test_an_inventory_is_two_requests_however_many_databases(
    server: Double, target: InfluxDB3Target
) -> None:
    server.databases = {f"telemetry_{n}": Held(tables={"_init"}) for n in range(3000)}
    inventory = target.influxops_list_databases((), RunContext())
    assert len(inventory.databases) == 3000
    assert len(server.asked) == 2


def test_an_inventory_tells_retention_marker_and_telemetry(
    server: Double, target: InfluxDB3Target
) -> None:
    server.databases = {
        "telemetry_a": Held(tables={"_init", "telemetry"}),
        "telemetry_b": Held("30d", {"_init"}),
        "telemetry_c": Held("1h"),
        "telemetry_d": Held(tables={"cpu"}),
    }
    inventory = target.influxops_list_databases((), RunContext())
    assert inventory.databases == {
        "telemetry_a": Database(None, True, True),
        "telemetry_b": Database(2592000, True, False),
        "telemetry_c": Database(3600, False, False),
        "telemetry_d": Database(None, False, True),
    }
    assert inventory.complete
    assert (inventory.edition, inventory.version) == ("Core", "3.10.0-nightly")
    assert inventory.identity == server.cluster_uuid
    assert inventory.capacity == 5


def test_the_recorded_inventory_is_read(server: Double, target: InfluxDB3Target) -> None:
    recorded = (
        '[{"database_name":"_internal","retention_period_ns":604800000000000},'
        '{"database_name":"telemetry_auto","table_name":"_init"},'
        '{"database_name":"telemetry_auto","table_name":"telemetry"},'
        '{"database_name":"telemetry_enabled","table_name":"_init"},'
        '{"database_name":"telemetry_test-tenant","retention_period_ns":2592000000000000,'
        '"table_name":"_init"}]'
    )
    server.fault = lambda asked, n: Told(200, recorded) if "query_sql" in asked.path else None
    databases = target.influxops_list_databases((), RunContext()).databases
    assert databases == {
        "telemetry_auto": Database(None, True, True),
        "telemetry_enabled": Database(None, True, False),
        "telemetry_test-tenant": Database(2592000, True, False),
    }


def test_no_limit_is_assumed_of_another_edition(server: Double, target: InfluxDB3Target) -> None:
    server.edition = "Enterprise"
    inventory = target.influxops_list_databases((), RunContext())
    assert (inventory.edition, inventory.capacity) == ("Enterprise", None)


@pytest.mark.parametrize("column", ["hard_deletion_time", "hard_deletion_date", ""])
def test_a_release_is_asked_for_the_columns_that_it_has(
    server: Double, target: InfluxDB3Target, column: str
) -> None:
    server.version, server.deletion_column = "3.2.1", column
    server.databases = {"telemetry_a": Held("30d", {"_init"})}
    server.renamed = ["telemetry_b-20261122T042629"]
    server.removed = {server.renamed[0]: {"hard_deletion_time": "2026-11-25T04:26:29"}}
    for _ in range(2):
        inventory = target.influxops_list_databases((), RunContext())
        assert inventory.databases == {"telemetry_a": Database(2592000, True, False)}
        assert inventory.complete
        assert "telemetry_b" in inventory.deleted
    found = target.influxops_get_databases(["telemetry_a"], RunContext())
    assert found.complete
    refused = ("hard_deletion_time", "hard_deletion_date", "").index(column)
    assert len(server.asked) == 2 + 2 + 1 + refused  # what it lacks is asked for once


def test_an_older_release_is_named_and_no_token_is_advised(
    server: Double, target: InfluxDB3Target
) -> None:
    server.version = "3.0.3"
    server.databases = {"telemetry_a": Held()}
    no_table = "Error during planning: table 'public.system.databases' not found"
    server.fault = lambda asked, number: (
        Told(400, no_table) if asked.path.endswith("query_sql") else None
    )
    (finding,) = target.influxops_list_databases((), RunContext()).findings
    assert "token" not in finding.hint
    assert "it is InfluxDB 3.0.3, and influxops needs 3.2.1 or newer" in finding.hint
    release = next(c for c in target.influxops_check(RunContext()) if c.name == "release")
    assert (release.ok, release.hint) == (False, "upgrade the server")


def test_tables_are_counted_with_the_databases_and_warned_of_before_they_are_used_up(
    server: Double, target: InfluxDB3Target
) -> None:
    server.databases = {
        "telemetry_a": Held(tables={"_init", *(f"t{n}" for n in range(1799))}),
        "other": Held(),
    }
    inventory = target.influxops_list_databases((), RunContext())
    assert (inventory.tables, inventory.table_capacity) == (1800, 2000)
    assert len(server.asked) == 2
    tables = next(c for c in target.influxops_check(RunContext()) if c.name == "tables")
    assert tables.ok is None
    assert tables.message.startswith("1,800 of 2,000 tables in all databases")
    server.databases["telemetry_a"].tables.remove("t1")
    tables = next(c for c in target.influxops_check(RunContext()) if c.name == "tables")
    assert tables.ok


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_token_that_may_not_read_the_system_tables_leaves_things_unknown(
    server: Double, target: InfluxDB3Target, status: int
) -> None:
    server.databases = {"telemetry_a": Held("30d", {"_init"})}
    server.fault = lambda asked, n: Told(status) if "query_sql" in asked.path else None
    inventory = target.influxops_list_databases((), RunContext())
    assert inventory.databases == {"telemetry_a": Database()}
    assert inventory.databases["telemetry_a"].complete is UNKNOWN
    assert not inventory.complete
    (finding,) = inventory.findings
    assert (finding.kind, finding.severity) == ("partial-inventory", Severity.WARNING)
    assert finding.target == "eu1"
    assert finding.hint


def test_a_wrong_token_is_one_request_and_one_clear_message(
    server: Double, make_target: MakeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.token = "apiv3_right"
    monkeypatch.setenv("INFLUXDB_TOKEN", "apiv3_wrong")
    with pytest.raises(TargetAuthError, match="does not accept the token") as caught:
        make_target(token=Secret(env="INFLUXDB_TOKEN")).influxops_list_databases((), RunContext())
    assert "apiv3" not in str(caught.value)
    assert len(server.asked) == 1


def test_a_server_that_lists_nothing_either_refuses(
    server: Double, target: InfluxDB3Target
) -> None:
    server.fault = lambda asked, n: Told(401, UNAUTHENTICATED) if asked.path != "/ping" else None
    with pytest.raises(TargetAuthError):
        target.influxops_list_databases((), RunContext())
    assert len(server.asked) == 3


def test_a_server_that_is_unwell_is_an_error_and_never_an_empty_inventory(
    server: Double, make_target: MakeTarget
) -> None:
    server.fault = lambda asked, n: Told(500) if "query_sql" in asked.path else None
    with pytest.raises(TargetError, match="500"):
        make_target(retries=0).influxops_list_databases((), RunContext())


def test_a_retention_period_beyond_what_64_bits_hold_hides_no_database() -> None:
    with running_stand_in() as stand_in:
        client = Client(InfluxDB3Settings.parse({"url": stand_in.url}))
        client.create(RunContext(), "telemetry_a", 400_000 * 86_400)
        client.write(RunContext(), "telemetry_a", "_init value=1i 1")
        client.close()
        target = InfluxDB3Target("eu1", InfluxDB3Settings.parse({"url": stand_in.url}))
        ((name, database),) = target.influxops_list_databases((), RunContext()).databases.items()
        target.influxops_close()
    assert (name, database.complete) == ("telemetry_a", True)
    nanoseconds = 400_000 * 86_400 * 10**9 % 2**64  # as the real server counts
    assert database.retention == nanoseconds // 10**9


# What the table of the marker does not prove ---------------------------------------------------


@pytest.mark.parametrize(
    ("held", "lost", "complete"),
    [
        (Held(tables={"_init"}), False, True),
        (Held(tables={"_init"}), True, False),
        (Held("30d", {"_init"}), True, UNKNOWN),
        (Held("30d"), False, False),
    ],
    ids=["there", "lost", "perhaps too old", "no table"],
)
def test_a_marker_that_is_looked_at_closely_is_its_row_and_not_its_table(
    server: Double, target: InfluxDB3Target, held: Held, lost: bool, complete: object
) -> None:
    server.databases = {"telemetry_a": held, "telemetry_b": Held(tables={"_init"})}
    server.without_row = {"telemetry_a", "telemetry_b"} if lost else set()
    databases = target.influxops_list_databases({"telemetry_a", "gone"}, RunContext()).databases
    assert databases["telemetry_a"].complete is complete
    assert databases["telemetry_b"].complete is True, "nobody asked for it"


def test_a_marker_table_that_a_refused_line_has_left_hides_no_other(
    make_target: MakeTarget,
) -> None:
    """Each query of it is 500 until a good line comes: it holds no marker."""
    names = ["telemetry_a", "telemetry_b"]
    with running_stand_in(wal_flush_interval="10ms") as stand_in:
        api, ours = Api(stand_in.url), make_target(url=stand_in.url, retries=0)
        marker = "_init,source=provisioning,tenant=b value=1i,initialized=1i"
        assert api.write("telemetry_a", f"{marker},value=1i").status == 400
        assert api.write("telemetry_b", marker).status == 204
        found = ours.influxops_list_databases(names, RunContext()).databases
        assert [found[name].complete for name in names] == [False, True]
        assert [name for name, _ in ours.influxops_get_markers(names, RunContext())] == names[1:]
        assert api.write("telemetry_a", marker).status == 204
        found = ours.influxops_list_databases(names, RunContext()).databases
        assert [found[name].complete for name in names] == [True, True]


def test_a_marker_that_cannot_be_read_is_unknown(server: Double, target: InfluxDB3Target) -> None:
    server.databases = {name: Held(tables={"_init"}) for name in ("telemetry_a", "telemetry_b")}
    server.fault = lambda asked, number: (
        Told(500, "record batch of another length")
        if asked.path.endswith("query_sql") and asked.document["db"] == "telemetry_a"
        else None
    )
    found = target.influxops_list_databases(list(server.databases), RunContext()).databases
    assert [found[name].complete for name in sorted(found)] == [UNKNOWN, True]


@pytest.mark.parametrize(("retention", "complete"), [(None, False), (86_400, False)])
def test_a_marker_that_this_run_sent_and_that_is_not_there_was_lost(
    server: Double,
    target: InfluxDB3Target,
    creates: Creates,
    retention: int | None,
    complete: object,
) -> None:
    context = RunContext()
    target.influxops_list_databases((), context)
    list(target.influxops_ensure(creates("a", "b", retention=retention), context))
    server.without_row = {"telemetry_a"}
    found = target.influxops_list_databases({"telemetry_a", "telemetry_b"}, context).databases
    assert (found["telemetry_a"].complete, found["telemetry_b"].complete) == (complete, True)
    if retention is not None:
        other = target.influxops_list_databases({"telemetry_a"}, RunContext()).databases
        assert other["telemetry_a"].complete is UNKNOWN, "for another run it may be too old"


def test_a_marker_of_the_hour_that_a_short_period_may_have_taken_proves_nothing(
    server: Double, target: InfluxDB3Target, creates: Creates
) -> None:
    context = RunContext()
    context.started -= timedelta(hours=1)
    target.influxops_list_databases((), context)
    list(target.influxops_ensure(creates("a", retention=3600), context))
    server.without_row = {"telemetry_a"}
    found = target.influxops_list_databases({"telemetry_a"}, context).databases
    assert found["telemetry_a"].complete is UNKNOWN


@pytest.mark.parametrize(("seconds", "complete"), [(2, False), (30, True)])
def test_the_marker_of_a_name_that_was_deleted_moments_ago_is_read_back(
    server: Double, target: InfluxDB3Target, seconds: int, complete: bool
) -> None:
    clock = datetime.now(UTC) + timedelta(days=3)  # the server's counts
    server.date = format_datetime(clock, usegmt=True)
    server.databases = {"telemetry_a": Held(tables={"_init"}), "telemetry_b": Held()}
    server.renamed = [f"telemetry_a-{clock - timedelta(seconds=seconds):%Y%m%dT%H%M%S}"]
    server.without_row = {"telemetry_a"}
    context = RunContext()
    found = target.influxops_list_databases((), context).databases
    assert [*found] == ["telemetry_a", "telemetry_b"]
    assert found["telemetry_a"].complete is complete
    # It stays in doubt for all of the run, however long that takes.
    server.date = format_datetime(clock + timedelta(minutes=5), usegmt=True)
    again = target.influxops_list_databases((), context).databases
    assert again["telemetry_a"].complete is complete


def test_when_the_data_of_the_newest_deleted_database_of_a_name_goes_is_told(
    server: Double, target: InfluxDB3Target
) -> None:
    server.renamed = [
        "a-b-20261122T044147",
        "a-b-20261122T044147-7",  # two in one second
        "a-b-20261121T000000",
        "c-20261122T044139",
        "odd",
    ]
    server.removed = {
        "a-b-20261122T044147-7": {"hard_deletion_time": "2026-11-25T04:41:47Z"},
        "a-b-20261121T000000": {"hard_deletion_time": "2026-12-24T00:00:00Z"},
    }
    found = target.influxops_list_databases((), RunContext())
    assert found.deleted == {"a-b": datetime(2026, 11, 25, 4, 41, 47, tzinfo=UTC), "c": None}
    assert found.databases == {}


def test_a_server_that_does_not_answer_closely_is_not_read(
    server: Double, make_target: MakeTarget
) -> None:
    server.databases = {"telemetry_a": Held(tables={"_init"})}
    server.fault = lambda asked, n: Told(503) if "FROM _init" in asked.body else None
    with pytest.raises(TargetError, match="503"):
        make_target(retries=0).influxops_list_databases({"telemetry_a"}, RunContext())


# The rules -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("telemetry_a", ""),
        ("0", ""),
        ("x" * 511, ""),
        ("", "is empty"),
        ("a/b", "holds a slash"),
        ("_a", "does not start with"),
        ("münchen", "holds something else"),
        ("a b", "holds something else"),
        ("x" * 512, "has 512 characters, more than the 511"),
    ],
)
def test_names_that_the_server_refuses_are_known_before(name: str, rule: str) -> None:
    found = InfluxDB3Target.capabilities.validate_name(name)
    assert found.startswith(rule)
    assert bool(found) == bool(rule)


@pytest.mark.parametrize(
    ("tenant", "rule"),
    [
        ("a, b=c \\ ü", ""),
        ("a\\", "ends with a backslash"),
        ("a\nb", "holds a control character"),
        ("a\x7f", "holds a control character"),
        ("a\ud800", "holds half of a character"),
    ],
)
def test_ids_that_no_tag_can_hold_are_known_before(tenant: str, rule: str) -> None:
    found = InfluxDB3Target.capabilities.validate_tenant(tenant)
    assert found.startswith(rule)
    assert bool(found) == bool(rule)


# status --------------------------------------------------------------------------------------


def test_status_counts_telemetry(server: Double, target: InfluxDB3Target) -> None:
    server.databases = {
        "telemetry_a": Held(tables={"telemetry"}),
        "telemetry_b": Held(),
        "telemetry_c": Held(tables={"telemetry"}),
    }
    server.statistics["telemetry_a"] = {"count": 4, "last": "2023-11-14T22:13:20.000000001"}
    server.statistics["telemetry_c"] = {"count": 0}
    names = ["telemetry_a", "telemetry_b", "telemetry_c", "telemetry_gone"]
    stats = {one.name: one for one in target.influxops_database_stats(names, RunContext())}
    assert stats["telemetry_a"].telemetry_count == 4
    assert stats["telemetry_a"].last_write == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert (stats["telemetry_b"].telemetry_count, stats["telemetry_b"].message) == (0, "")
    assert (stats["telemetry_c"].telemetry_count, stats["telemetry_c"].last_write) == (0, None)
    assert stats["telemetry_gone"].telemetry_count is None
    assert stats["telemetry_gone"].message == "there is no such database"
    assert stats["telemetry_a"].complete is False, "there is no table"


def test_status_does_not_ask_what_the_inventory_has_told(
    server: Double, target: InfluxDB3Target
) -> None:
    server.databases = {"telemetry_a": Held(tables={"_init"})}
    context = RunContext()
    target.influxops_list_databases((), context)
    assert [
        s.telemetry_count for s in target.influxops_database_stats(["telemetry_a"], context)
    ] == [0]
    assert len(server.asked) == 3, "only the marker itself"
    list(target.influxops_database_stats(["telemetry_a"], RunContext()))
    assert len(server.asked) == 5, "another run asks again: for tables, and how much is in them"


def test_status_of_one_that_fails_does_not_hide_the_others(
    server: Double, make_target: MakeTarget
) -> None:
    server.databases = {"telemetry_a": Held(), "telemetry_b": Held()}
    server.fault = lambda asked, n: (
        Told(500, "boom") if asked.document["db"] == "telemetry_a" else None
    )
    described = make_target(retries=0).influxops_database_stats(
        ["telemetry_a", "telemetry_b"], RunContext()
    )
    stats = {one.name: one for one in described}
    assert stats["telemetry_a"].telemetry_count is None
    assert "boom" in stats["telemetry_a"].message
    assert stats["telemetry_b"].telemetry_count == 0


def test_status_costs_a_request_a_database_and_one_for_their_tables(
    server: Double, target: InfluxDB3Target
) -> None:
    names = [f"telemetry_{number}" for number in range(20)]
    server.databases = {
        name: Held(tables={"_init", *(f"m{table}" for table in range(number))})
        for number, name in enumerate(names, 1)
    }
    stats = list(target.influxops_database_stats(names, RunContext()))
    assert {one.name: len(one.tables or ()) for one in stats} == {
        name: number for number, name in enumerate(names, 1)
    }
    assert all(one.complete is True for one in stats)
    assert len(server.asked) == 1 + len(names)


def test_status_of_a_token_that_may_not_read_the_catalog_asks_each_database_for_its_tables(
    server: Double, target: InfluxDB3Target
) -> None:
    names = ["telemetry_a", "telemetry_b"]
    server.databases = {name: Held(tables={"_init", "m"}) for name in names}
    server.fault = lambda asked, n: (
        Told(401, "no rights") if asked.document["db"] == "_internal" else None
    )
    stats = list(target.influxops_database_stats(names, RunContext()))
    assert [len(one.tables or ()) for one in stats] == [1, 1]
    assert len(server.asked) == 1 + 3 * len(names), "tables, files and how much"


@pytest.mark.parametrize(
    ("held", "lost", "complete"),
    [
        (Held(tables={"_init"}), False, True),
        (Held(tables={"_init"}), True, False),
        (Held("30d", {"_init"}), True, UNKNOWN),
        (Held("30d", {"_init"}), False, True),
        (Held("30d"), False, False),
    ],
    ids=["there", "lost", "perhaps too old", "there with a period", "no table"],
)
def test_status_says_whether_the_marker_itself_is_there(
    server: Double, target: InfluxDB3Target, held: Held, lost: bool, complete: object
) -> None:
    server.databases = {"telemetry_a": held}
    server.without_row = {"telemetry_a"} if lost else set()
    context = RunContext()
    target.influxops_list_databases((), context)
    (stats,) = target.influxops_database_stats(["telemetry_a"], context)
    assert (stats.complete, stats.telemetry_count) == (complete, 0)


def test_status_of_a_run_that_is_over_still_names_every_database(
    server: Double, target: InfluxDB3Target
) -> None:
    context = RunContext()
    context.cancel()
    stats = list(target.influxops_database_stats(["telemetry_a", "telemetry_b"], context))
    assert [one.name for one in stats] == ["telemetry_a", "telemetry_b"]
    assert all(one.message and one.telemetry_count is None for one in stats)
    assert server.asked == []


# doctor --------------------------------------------------------------------------------------


def _checks(target: InfluxDB3Target) -> dict[str, Check]:
    return {check.name: check for check in target.influxops_check(RunContext())}


def test_doctor_is_content_with_a_server_that_is_right(
    server: Double, make_target: MakeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.token = "apiv3_right"
    server.databases = {"telemetry_a": Held()}
    monkeypatch.setenv("INFLUXDB_TOKEN", "apiv3_right")
    target = make_target(token=Secret(env="INFLUXDB_TOKEN"), cluster_uuid=server.cluster_uuid)
    checks = _checks(target)
    assert {name: check.ok for name, check in checks.items()} == {
        "InfluxDB reachable": True,
        "identity": True,
        "token": True,
        "rights": True,
        "capacity": True,
        "release": True,
        "tables": True,
        "clock": True,
    }
    assert "Core 3.10.0-nightly" in checks["InfluxDB reachable"].message
    assert "1 database, 4 slots free (capacity 5" in checks["capacity"].message
    assert all(asked.method in ("GET", "POST") and not asked.is_write for asked in server.asked)


def test_doctor_tells_a_refused_token_from_a_server_that_is_down(
    server: Double, make_target: MakeTarget
) -> None:
    server.token = "apiv3_right"
    checks = _checks(make_target())
    assert checks["InfluxDB reachable"].ok
    assert checks["token"].ok is False
    assert checks["token"].hint
    server.stop()
    checks = _checks(make_target(retries=0))
    assert [*checks] == ["InfluxDB reachable"]
    assert checks["InfluxDB reachable"].ok is False
    assert "connection refused" in checks["InfluxDB reachable"].message


def test_doctor_explains_a_token_without_rights(server: Double, target: InfluxDB3Target) -> None:
    server.system_tables = False
    check = _checks(target)["rights"]
    assert check.ok is False
    assert "resource token" in str(check.hint)


def test_doctor_says_when_a_server_is_full(server: Double, make_target: MakeTarget) -> None:
    server.databases = {f"telemetry_{n}": Held() for n in range(5)}
    full = _checks(make_target())["capacity"]
    assert "5 databases, 0 slots free (capacity 5, estimated" in full.message and full.hint
    more = _checks(make_target(capacity=7))["capacity"]
    assert "2 slots free (capacity 7, configured)" in more.message
    last = _checks(make_target(capacity=6))["capacity"]
    assert "5 databases, 1 slot free (capacity 6, configured)" in last.message
    assert _checks(make_target(capacity="unlimited"))["capacity"].ok


def test_doctor_notices_another_server_behind_the_url(make_target: MakeTarget) -> None:
    assert _checks(make_target(cluster_uuid="somebody-else"))["identity"].ok is False


@pytest.mark.parametrize(
    ("ahead", "ok", "says"),
    [
        (1, True, "agree"),
        (60, None, "ahead of"),
        (-60, None, "behind"),
        (7200, False, "ahead of"),
    ],
)
def test_doctor_compares_the_clocks(
    server: Double, target: InfluxDB3Target, ahead: int, ok: bool | None, says: str
) -> None:
    server.date = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
    check = _checks(target)["clock"]
    assert check.ok is ok
    assert says in check.message


def test_doctor_warns_of_a_token_in_clear_text(make_target: MakeTarget) -> None:
    settings = {"retries": 0, "connect_timeout": 0.1}
    target = make_target(
        url="http://no-such-host.invalid", token=Secret(env="INFLUXDB_TOKEN"), **settings
    )
    checks = target.influxops_check(RunContext(timeout=5))
    check = next(iter(checks))
    assert (check.name, check.ok) == ("TLS", None)
    assert "clear text" in check.message


# settings ------------------------------------------------------------------------------------


def test_the_location_is_the_url_without_its_trailing_slash() -> None:
    location = InfluxDB3Settings.parse({"url": "https://influx.example:8181/eu/"}).location()
    assert location.text == "https://influx.example:8181/eu"
    assert location.host == "influx.example"
    assert location.is_remote
    assert not location.is_default


def test_a_url_that_nobody_set_is_known_as_the_default() -> None:
    location = InfluxDB3Settings.parse({}).location()
    assert (location.text, location.is_default) == ("http://localhost:8181", True)
    assert not location.is_remote


def test_a_scheme_in_capitals_is_the_same(make_target: MakeTarget) -> None:
    assert (
        InfluxDB3Settings.parse({"url": "HTTPS://Influx.example"}).url == "https://Influx.example"
    )
    target = make_target(
        url="HTTP://no-such-host.invalid", token=Secret(env="INFLUXDB_TOKEN"), retries=0
    )
    check = next(iter(target.influxops_check(RunContext(timeout=5))))
    assert (check.name, check.ok) == ("TLS", None)
    assert "clear text" in check.message


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@influx.example:8181",
        "http://hunter2@influx.example",
        "https://influx.example?token=hunter2",
        "https://influx.example/#hunter2",
        "influx.example:8181/hunter2",
        "ftp://hunter2.example",
        "http://",
        "http://influx.example:hunter2",
        "http://[hunter2",
        "http://influx example/hunter2",
        "",
    ],
)
def test_a_url_that_cannot_be_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        InfluxDB3Settings.parse({"url": url})
    assert "hunter2" not in str(caught.value)
    assert "url" in str(caught.value)


def test_a_key_without_its_certificate_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="client_cert"):
        InfluxDB3Settings.parse({"client_key": "key.pem"})


def test_importing_the_plugin_does_not_import_http() -> None:
    code = "import influxops_influxdb3, sys; sys.exit('http.client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_closed_target_can_be_closed_again(target: InfluxDB3Target) -> None:
    target.influxops_list_databases((), RunContext())
    target.influxops_close()
    target.influxops_close()


@pytest.mark.parametrize("refused", [False, True])
def test_rows_that_name_no_database_are_no_list_of_databases(
    server: Double, target: InfluxDB3Target, refused: bool
) -> None:
    def fault(asked: Asked, number: int) -> Told | None:
        if asked.path == "/ping":
            return None
        if refused and asked.path == "/api/v3/query_sql":
            return Told(400, "error: no such column")
        return Told(200, '[{"a": {"b": []}}]')

    server.fault = fault
    with pytest.raises(NotInfluxDB3, match="rows that are no databases"):
        target.influxops_list_databases((), RunContext())
    with pytest.raises(NotInfluxDB3, match="rows that are no databases"):
        target.influxops_get_databases({"telemetry_a"}, RunContext())
