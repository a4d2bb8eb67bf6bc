"""What a server answers: whatever it is, it is read, or an error says what is wrong."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from influxops.plugin import Action, Change, CopyRequest, Database, InfluxopsError, RunContext
from influxops_influxdb3 import InfluxDB3Target
from influxops_influxdb3.settings import InfluxDB3Settings
from tests.fuzz.inputs import broken, documents, rows
from tests.influxdb3.double import Asked, Double, Told

ANSWERS = [
    b'[{"iox::database":"_internal"},{"iox::database":"telemetry_acme"}]',
    b'[{"database_name":"telemetry_acme","retention_period_ns":2592000000000000,"deleted":false,'
    b'"table_name":"_init","tables":1}]',
    b'[{"database_name":"telemetry_acme-20261122T042629","deleted":true,'
    b'"hard_deletion_time":"2026-11-25T04:26:29"}]',
    b'{"error":"attempted to create a resource that already exists","data":null}',
    b'{"error":"partial write","data":[{"error_message":"invalid","line_number":1}]}',
    b'{"code":"invalid","message":"m"}',
    b"<!DOCTYPE html><html><title>502 Bad Gateway</title></html>",
    b'{"version":"3.10.0","revision":"d7","process_id":"x","product_name":"InfluxDB 3 Core"}',
    b'{"count":1,"time":"2026-11-24T10:00:00.000000001"}\n{"count":2}\n',
    b"",
]
NAMES = (
    "iox::database", "database_name", "retention_period_ns", "deleted", "hard_deletion_time",
    "table_name", "tables", "times", "column_name", "data_type", "series_key_columns", "files",
    "rows", "last", "min_time", "max_time", "row_count", "name", "count", "n", "first", "time",
    "span", "tenant", "source",
)  # fmt: skip
SPECIAL = st.sampled_from(
    ["telemetry_acme", "_init", "telemetry", "time", "Int64", "2026-11-24T10:00:00", "2026", ""]
)
bodies = st.one_of(
    broken(ANSWERS).map(lambda data: data.decode("latin-1")),
    documents.map(json.dumps),
    rows(*NAMES).map(json.dumps),
    st.lists(st.dictionaries(st.sampled_from(NAMES), SPECIAL | documents)).map(json.dumps),
    st.lists(st.dictionaries(st.sampled_from(NAMES), SPECIAL | documents)).map(
        lambda found: "\n".join(map(json.dumps, found))
    ),
)
statuses = st.sampled_from([200, 200, 200, 204, 301, 400, 401, 404, 409, 422, 429, 500, 503, 599])
headers = st.fixed_dictionaries(
    {"x-influxdb-version": st.sampled_from(["3.10.0", "2.7", "v3", "9" * 5_000, ""])},
    optional={
        "Retry-After": st.sampled_from(["0", "x", "9" * 400, "Mon, 1 Jan 9999999 00:00:00 GMT"]),
        "date": st.sampled_from(["x", "Mon, 1 Jan 99999999999999999999 00:00:00 GMT"]),
        "Location": st.sampled_from(["//[", "http://u:s3cr3t@x/", "\x80"]),
        "cluster-uuid": st.sampled_from(["a", "b", ""]),
        "Content-Type": st.sampled_from(["text/html", "application/json", "\xff"]),
        "Content-Encoding": st.sampled_from(["gzip", "br", "x"]),
    },
)
answers = st.builds(Told, statuses, bodies, headers)


@pytest.fixture(scope="module")
def server() -> Iterator[Double]:
    double = Double()
    yield double
    double.stop()


@pytest.fixture(scope="module")
def target(server: Double) -> Iterator[InfluxDB3Target]:
    settings = InfluxDB3Settings.parse({"url": server.url, "retries": 0})
    found = InfluxDB3Target("eu1", settings)
    yield found
    found.influxops_close()


def ask(target: InfluxDB3Target, what: int, context: RunContext) -> object:
    """Ask a server one of the things that there are to be asked."""
    began = datetime(2026, 11, 24, tzinfo=UTC)
    create = Change(
        Action.CREATE,
        tenant="acme",
        target="eu1",
        database="telemetry_acme",
        after=Database(None, complete=True),
    )
    order = CopyRequest("telemetry_acme", target, dry_run=True)
    asked: Any = (
        lambda: target.influxops_list_databases(("telemetry_acme",), context),
        lambda: target.influxops_get_databases(("telemetry_acme",), context),
        lambda: [*target.influxops_get_markers(("telemetry_acme",), context)],
        lambda: [*target.influxops_database_stats(("telemetry_acme",), context)],
        lambda: [*target.influxops_write_activity("telemetry_acme", began, began, 60, context)],
        lambda: [*target.influxops_ensure((create,), context)],
        lambda: [*target.influxops_create_databases((create,), context)],
        lambda: [*target.influxops_check(context)],
        lambda: [*target.influxops_copy(order, context)],
    )
    return asked[what]()


@pytest.mark.parametrize("what", range(9))
@given(told=st.lists(answers, min_size=1, max_size=5), well=st.integers(0, 4))
@example(told=[Told(200, "[{}]")], well=0)
@example(told=[Told(200, '[{"table_name": 1, "files": null}]')], well=1)
def test_an_answer_of_any_shape_is_read_or_an_error_of_the_server(
    what: int, told: list[Told], well: int, server: Double, target: InfluxDB3Target
) -> None:
    first = len(server.asked)

    def fault(asked: Asked, number: int) -> Told | None:
        number -= first + 1 + well
        return None if number < 0 else told[number % len(told)]

    server.fault = fault
    server.databases.clear()
    with contextlib.suppress(InfluxopsError):
        ask(target, what, RunContext(10.0))
