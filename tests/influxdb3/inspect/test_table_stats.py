"""What a target tells of the tables of a database: rows, the last write, and what is not known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from influxops.config.settings import InvalidSettings
from influxops.plugin import DatabaseStats, RunContext, TableStats
from influxops_devserver.testing import StandInOptions, running_stand_in
from influxops_influxdb3 import InfluxDB3Target
from influxops_influxdb3.settings import InfluxDB3Settings
from tests.devserver.api import Api
from tests.influxdb3.conftest import MakeTarget
from tests.influxdb3.copies import new_database, target, write
from tests.influxdb3.double import QUERY_FILE_LIMIT, Asked, Double, Held, Told

BEGIN = datetime(2023, 11, 14, 22, tzinfo=UTC)
SPAN = timedelta(minutes=10)  # of one file
#: A server whose queries may touch three files.
FEW_FILES: StandInOptions = {
    "wal_flush_interval": "10ms",
    "wal_snapshot_size": 1,
    "query_file_limit": 3,
}
MARKER = "_init,source=provisioning,tenant=a value=1i,initialized=1i 1799999999000000000"


def _nanoseconds(time: datetime) -> int:
    return int(time.timestamp()) * 10**9


def lines(table: str, number: int, *, begin: datetime = BEGIN, every: timedelta = SPAN) -> str:
    """Return so many lines of a table, each in a file of its own unless they are nearer."""
    times = (_nanoseconds(begin + every * count) for count in range(number))
    return "\n".join(f"{table},device=a v={at % 7} {at}" for at in times)


def into_files(api: Api) -> None:
    """Have all that was written leave the log for files."""
    for _ in range(3):
        write(api, "ticks", "tick f=1 0")


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    """A server that writes what was flushed to files at once."""
    options: StandInOptions = {
        "max_databases": None,
        "max_tables": None,
        "wal_flush_interval": "10ms",
        "wal_snapshot_size": 1,
    }
    with running_stand_in(**options) as stand_in:
        yield Api(stand_in.url)


@pytest.fixture
def database(api: Api) -> str:
    name = new_database()
    write(api, name, MARKER)
    return name


def described(url: str, database: str, **settings: object) -> DatabaseStats:
    ours = target("eu1", url, **settings)
    try:
        (stats,) = ours.influxops_database_stats([database], RunContext())
    finally:
        ours.influxops_close()
    return stats


def test_every_table_counts_and_the_marker_does_not(api: Api, database: str) -> None:
    write(api, database, lines("cpu", 3), lines("m", 2, begin=BEGIN + timedelta(days=1)))
    write(api, database, f"od'\\ \"d,device=a v=1 {_nanoseconds(BEGIN)}")
    stats = described(api.url, database)
    newest = BEGIN + timedelta(days=1) + SPAN
    assert stats.tables == (
        TableStats("cpu", 3, last_write=BEGIN + 2 * SPAN),
        TableStats("m", 2, last_write=newest),
        TableStats("od' \"d", 1, last_write=BEGIN),
    )
    assert (stats.telemetry_count, stats.rows, stats.at_most) == (0, 6, False)
    assert (stats.last_write, stats.complete, stats.message) == (newest, True, "")


def test_the_count_of_telemetry_is_that_of_its_table(api: Api, database: str) -> None:
    write(api, database, lines("telemetry", 4), lines("cpu", 3))
    stats = described(api.url, database)
    assert (stats.telemetry_count, stats.rows) == (4, 7)


def test_a_table_that_a_refused_write_left_without_time_holds_no_rows(
    api: Api, database: str
) -> None:
    write(api, database, lines("cpu", 3))
    assert api.write(database, "telemetry,device=a v=1,v=2").status == 400
    stats = described(api.url, database)
    assert stats.tables == (
        TableStats("cpu", 3, last_write=BEGIN + 2 * SPAN),
        TableStats("telemetry", 0),
    )
    assert (stats.telemetry_count, stats.last_write) == (0, BEGIN + 2 * SPAN)
    assert stats.message == ""


@pytest.mark.parametrize("newer", [False, True], ids=["all in files", "newer rows in none"])
def test_a_table_of_more_files_than_a_query_may_read_has_at_most_the_rows_of_its_files(
    newer: bool,
) -> None:
    database, last = new_database(), BEGIN + 499 * SPAN
    with running_stand_in(wal_flush_interval="10ms", wal_snapshot_size=1) as stand_in:
        api = Api(stand_in.url)
        write(api, database, lines("cpu", 500))
        write(api, database, lines("m", 5))
        into_files(api)
        assert api.query(database, "SELECT COUNT(*) FROM cpu").status == 500
        if newer:
            last += timedelta(seconds=2)
            write(api, database, lines("cpu", 1, begin=last))
        stats = described(stand_in.url, database)
    assert stats.tables == (
        TableStats("cpu", 500 + newer, at_most=True, last_write=last),
        TableStats("m", 5, last_write=BEGIN + 4 * SPAN),
    )
    assert (stats.rows, stats.at_most) == (505 + newer, True)
    assert (stats.last_write, stats.message) == (last, "")


def test_a_row_in_two_files_is_counted_once_unless_there_are_too_many(api: Api) -> None:
    few, many = new_database(), new_database()
    for name, number in ((few, 3), (many, 450)):
        for _ in range(2):
            write(api, name, lines("cpu", number))
            into_files(api)
    (cpu,) = described(api.url, few).tables or ()
    assert (cpu.rows, cpu.at_most) == (3, False)
    (cpu,) = described(api.url, many).tables or ()
    assert (cpu.rows, cpu.at_most) == (900, True)


def test_a_server_with_a_lower_limit_is_asked_for_less() -> None:
    database = new_database()
    with running_stand_in(**FEW_FILES) as stand_in:
        api = Api(stand_in.url)
        write(api, database, lines("cpu", 5), lines("m", 3), lines("telemetry", 8))
        into_files(api)
        stats = described(stand_in.url, database)
    assert stats.tables == (
        TableStats("cpu", 5, at_most=True, last_write=BEGIN + 4 * SPAN),
        TableStats("m", 3, last_write=BEGIN + 2 * SPAN),
        TableStats("telemetry", 8, at_most=True, last_write=BEGIN + 7 * SPAN),
    )
    assert (stats.telemetry_count, stats.message) == (8, "")


def test_a_server_that_says_its_limit_is_asked_for_less_in_the_next_statement(
    server: Double, target: InfluxDB3Target
) -> None:
    listed = json.dumps([{"name": "cpu", "files": 20, "rows": 40, "last": 10**18}])
    refusal = QUERY_FILE_LIMIT.replace("432", "10")

    def fault(asked: Asked, number: int) -> Told | None:
        sql = _sql(asked)
        if "system.parquet_files" in sql:
            return Told(200, listed)
        return Told(500, refusal) if 'FROM "cpu"' in sql and "time >" not in sql else None

    server.databases = {"telemetry_a": Held(tables={"_init", "cpu"})}
    server.fault = fault

    def statements() -> int:
        server.asked.clear()
        (stats,) = target.influxops_database_stats(["telemetry_a"], RunContext())
        assert (stats.rows, stats.at_most) == (40, True)
        return sum('FROM "cpu"' in _sql(asked) for asked in server.asked)

    assert statements() == 2, "with the marker's table, and with bounds of time"
    assert statements() == 2


def _sql(asked: Asked) -> str:
    return str(asked.document.get("q", "")) if asked.path.endswith("query_sql") else ""


def test_files_that_are_not_listed_do_not_hinder_counting(
    server: Double, target: InfluxDB3Target
) -> None:
    server.databases = {"telemetry_a": Held(tables={"_init", "cpu", "m"})}
    server.statistics["telemetry_a"] = {"count": 7, "last": "2023-11-14T22:00:00"}

    def fault(asked: Asked, number: int) -> Told | None:
        if "system.parquet_files" in _sql(asked):
            return Told(drop=True)
        return Told(500, QUERY_FILE_LIMIT) if _sql(asked).count(" UNION ALL ") == 2 else None

    server.fault = fault
    (stats,) = target.influxops_database_stats(["telemetry_a"], RunContext())
    assert (stats.rows, stats.last_write, stats.message) == (14, BEGIN, "")
    files = [asked for asked in server.asked if "system.parquet_files" in _sql(asked)]
    assert len(files) == 2, "they are asked for again, and not for long"


@pytest.mark.parametrize("wrote", [False, True], ids=["quiet for a day", "written to recently"])
def test_without_a_list_of_too_many_files_only_the_last_day_is_known(
    server: Double, target: InfluxDB3Target, wrote: bool
) -> None:
    def fault(asked: Asked, number: int) -> Told | None:
        sql = _sql(asked)
        if "system.parquet_files" in sql:
            return Told(drop=True)
        return Told(500, QUERY_FILE_LIMIT) if 'FROM "cpu"' in sql and "time >" not in sql else None

    server.databases = {"telemetry_a": Held(tables={"_init", "cpu"})}
    server.fault = fault
    if wrote:
        server.statistics["telemetry_a"] = {"count": 7, "last": "2023-11-14T22:00:00"}
    (stats,) = target.influxops_database_stats(["telemetry_a"], RunContext())
    assert stats.tables == (TableStats("cpu", last_write=BEGIN if wrote else None),)
    assert (stats.rows, stats.last_write) == (None, BEGIN if wrote else None)
    assert stats.message == (
        "cpu: more files than this server's query-file-limit lets one query read: not counted"
    )
    assert stats.complete is True


def test_a_table_that_cannot_be_read_is_named_and_hides_no_other(
    server: Double, target: InfluxDB3Target
) -> None:
    tables = {f"m{number}" for number in range(9)}
    server.databases = {"telemetry_a": Held(tables={"_init", "telemetry", *tables})}
    server.statistics["telemetry_a"] = {"count": 2, "last": "2023-11-14T22:00:00"}
    server.fault = lambda asked, number: (
        Told(500, "record batch of another length") if 'FROM "m4"' in _sql(asked) else None
    )
    (stats,) = target.influxops_database_stats(["telemetry_a"], RunContext())
    unread = {table.name for table in stats.tables or () if table.rows is None}
    assert unread == {"m4"}
    assert (stats.telemetry_count, stats.rows, stats.last_write) == (2, None, None)
    assert stats.message == "m4: the server answered 500: record batch of another length"


def test_a_server_in_trouble_is_no_fault_of_its_tables(
    server: Double, make_target: MakeTarget
) -> None:
    server.databases = {"telemetry_a": Held(tables={f"m{number}" for number in range(40)})}
    server.fault = lambda asked, number: (
        Told(503, "too much to do") if 'FROM "m' in _sql(asked) else None
    )
    (stats,) = make_target(retries=0).influxops_database_stats(["telemetry_a"], RunContext())
    assert (stats.tables, stats.rows) == (None, None)
    assert "too much to do" in stats.message
    assert len(server.asked) < 12


def test_very_many_tables_are_counted_by_few_statements(api: Api, database: str) -> None:
    write(api, database, *(f"t{number},d=a v=1 {_nanoseconds(BEGIN)}" for number in range(120)))
    stats = described(api.url, database)
    assert (len(stats.tables or ()), stats.rows, stats.last_write) == (120, 120, BEGIN)


def test_the_setting_says_whose_rows_are_telemetry(api: Api, database: str) -> None:
    write(api, database, lines("cpu", 3), lines("m", 2), lines("telemetry", 1))
    stats = described(api.url, database, telemetry=["m", "disk"])
    assert {t.name: t.is_telemetry for t in stats.tables or ()} == {
        "cpu": False,
        "m": True,
        "telemetry": False,
    }
    assert (stats.rows, stats.telemetry_count) == (6, 1)


@pytest.mark.parametrize("value", [[], [""], ["_init"], ["m", "_init"], "m", [1]])
def test_a_setting_that_names_no_measurement_is_refused(value: object) -> None:
    with pytest.raises(InvalidSettings):
        InfluxDB3Settings.parse({"url": "http://127.0.0.1:1", "telemetry": value})


# Over time -----------------------------------------------------------------------------------


def test_what_a_tenant_wrote_over_thirty_days_is_known_for_all_tables(
    api: Api, database: str
) -> None:
    every, days = timedelta(minutes=10), 30
    write(api, database, lines("cpu", days * 144, every=every))
    write(api, database, lines("m", days, every=timedelta(days=1)))
    assert api.write(database, "bad,device=a v=1,v=2").status == 400
    into_files(api)
    assert api.query(database, "SELECT COUNT(*) FROM cpu").status == 500
    ours = target("eu1", api.url)
    since = BEGIN.replace(hour=0)
    until = since + timedelta(days=days)
    spans = dict(ours.influxops_write_activity(database, since, until, 86400, RunContext()))
    ours.influxops_close()
    assert spans.pop(since) == 12 + 1
    assert spans == {since + timedelta(days=day): 145 for day in range(1, days)}


def test_tables_of_other_databases_and_dropped_ones_are_none_of_a_tenant(
    api: Api, database: str
) -> None:
    """A server tells the columns of a dropped table, and files by the numbers of tables."""
    write(api, database, lines("old", 3, begin=BEGIN + timedelta(days=1)))
    write(api, database, lines("cpu", 500))
    write(api, database, lines("m", 2, begin=BEGIN + timedelta(days=9)))
    other = new_database()
    for table in ("m", "m2", "cpu"):
        write(api, other, lines(table, 1))
    into_files(api)
    api.send("DELETE", "/api/v3/configure/table", query={"db": database, "table": "old"})
    stats = described(api.url, database)
    assert stats.tables == (
        TableStats("cpu", 500, at_most=True, last_write=BEGIN + 499 * SPAN),
        TableStats("m", 2, last_write=BEGIN + timedelta(days=9) + SPAN),
    )
    ours = target("eu1", api.url)
    since = BEGIN.replace(hour=0)
    until = since + timedelta(days=10)
    spans = dict(ours.influxops_write_activity(database, since, until, 86400, RunContext()))
    ours.influxops_close()
    assert sum(spans.values()) == 502


def test_a_span_of_too_many_files_is_asked_for_by_halves() -> None:
    database = new_database()
    with running_stand_in(**FEW_FILES) as stand_in:
        write(Api(stand_in.url), database, lines("cpu", 100))
        into_files(Api(stand_in.url))
        ours = target("eu1", stand_in.url)
        since, until = BEGIN, BEGIN + timedelta(days=1)
        spans = dict(ours.influxops_write_activity(database, since, until, 3600, RunContext()))
        ours.influxops_close()
    assert sum(spans.values()) == 100
    assert spans[BEGIN] == 6


def test_a_table_without_time_holds_no_rows_among_very_many_and_beside_very_large_ones() -> None:
    database = new_database()
    options: StandInOptions = {**FEW_FILES, "max_databases": None, "max_tables": None}
    with running_stand_in(**options) as stand_in:
        api = Api(stand_in.url)
        write(api, database, lines("a", 5))
        write(api, database, *(lines(f"m{number}", 1) for number in range(60)))
        assert api.write(database, "zz,device=a v=1,v=2").status == 400
        into_files(api)
        stats = described(stand_in.url, database)
    found = {table.name: table for table in stats.tables or ()}
    assert found["zz"] == TableStats("zz", 0)
    assert found["a"] == TableStats("a", 5, at_most=True, last_write=BEGIN + 4 * SPAN)
    assert (len(found), stats.last_write, stats.message) == (62, BEGIN + 4 * SPAN, "")


def test_a_table_that_an_answer_leaves_out_is_not_said_to_be_empty(
    server: Double, target: InfluxDB3Target
) -> None:
    server.databases = {"telemetry_a": Held(tables={"_init", "cpu"})}
    row = json.dumps([{"name": "_init", "count": 1, "last": "2023-11-14T22:00:00"}])
    server.fault = lambda asked, number: Told(200, row) if 'FROM "cpu"' in _sql(asked) else None
    (stats,) = target.influxops_database_stats(["telemetry_a"], RunContext())
    assert stats.tables == (TableStats("cpu"),)
    assert (stats.rows, stats.last_write, stats.complete) == (None, None, True)
    assert stats.message == "cpu: the server answered without it"
