"""Files that are read again, or by others: metrics, what Slack has, routes for a proxy."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from influxops.config.settings import InvalidSettings
from influxops.plugin import Route, Routes, RunContext
from influxops_influxdb3.settings import InfluxDB3Settings
from influxops_reports.prometheus import PrometheusReporter
from influxops_routes.formats import FORMATS
from influxops_slack.state import Failure, NotificationState
from tests.fuzz.inputs import broken, utf8
from tests.reports.samples import full_report

METRICS = [
    b"# HELP influxops_changes_total Changes made, by action.\n"
    b"# TYPE influxops_changes_total counter\n"
    b'influxops_changes_total{action="create",config="a \\"b\\" \\\\ \\n"} 3.0\n'
    b'# TYPE influxops_tenants gauge\ninfluxops_tenants{state="ok"} 1.0\n',
    b'influxops_target_databases{target="eu1"} NaN 12\ninfluxops_last_run_timestamp +Inf\n',
]


@given(data=broken(METRICS))
def test_a_broken_textfile_is_replaced_by_a_whole_one(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.prom"
    path.write_bytes(data)
    settings = PrometheusReporter.Settings.parse({"path": str(path)})
    PrometheusReporter("metrics", settings).influxops_report(full_report(), RunContext())
    found = {each.name for each in text_string_to_metric_families(path.read_text())}
    assert "influxops_changes" in found


NOW = datetime(2026, 11, 24, tzinfo=UTC)
STATES = [
    b'{"what":"0123456789abcdef","since":"2026-11-24T10:00:00Z","told":"2026-11-24T10:00:00Z"}',
    b'{"what":"x","since":"2026-11-24T10:00:00","told":"2026-11-24T10:00:00"}',
    b'{"what":"x","since":0,"told":1e300}',
]


@given(data=broken(STATES))
@example(data=STATES[1])
def test_a_broken_note_of_the_last_failure_is_none(tmp_path: Path, data: bytes) -> None:
    state = NotificationState(str(tmp_path), "ops", "https://hooks.example/x")
    state.path.write_bytes(data)
    assert Failure("x", NOW, NOW).is_news(state.load()) in (True, False)


def routes() -> st.SearchStrategy[Routes]:
    urls = st.sampled_from(["http://eu1:8181", "https://[::1]/a b/", "http://10.0.0.1"])
    route = st.builds(Route, database=utf8.filter(bool), tenant=utf8, target=utf8, url=urls)
    closed = st.builds(Route, database=utf8.filter(bool), tenant=utf8, reason=utf8)
    return st.lists(route | closed, max_size=5, unique_by=lambda each: each.database).map(
        lambda found: Routes(7, tuple(sorted(found, key=lambda each: each.database)))
    )


@given(routes())
def test_routes_are_read_as_they_were_written(given: Routes) -> None:
    found = json.loads(FORMATS["json"].render(given, 60))
    assert [Route(**each) for each in found["routes"]] == [*given.routes]
    rows = [*csv.DictReader(io.StringIO(FORMATS["csv"].render(given, 60), newline=""))]
    assert [Route(**each) for each in rows] == [*given.routes]


_SAFE = r"[A-Za-z0-9_.~%+*\\^()|-]"
_ENTRY = re.compile(rf'\t"{_SAFE}+" "{_SAFE}+ [a-z0-9_.*-]+";')
_SERVER = re.compile(r"upstream influxops_[a-z0-9_.-]+ \{ server [][\w.:%~-]+; keepalive 64; \}")
_LINE = re.compile(r'    "[^"$\\;]*" "[A-Za-z0-9_.:/%~\[\]-]*";')


@given(routes())
def test_routes_for_nginx_hold_no_word_that_ends_a_string(given: Routes) -> None:
    text = FORMATS["nginx"].render(given, 60)
    entries = [line for line in text.split("\n") if line.startswith("\t")]
    assert len(entries) >= len(given.routes)
    assert [line for line in entries if not _ENTRY.fullmatch(line)] == []


@given(
    broken([b"http://eu1.example:8181", b"https://[::1]:8181/influx/", b"http://10.0.0.1/a%20b"])
)
@example(b"http://a;b:80")
@example(b'http://a"b')
@example(b"http://a{b")
@example(b"http://a$b/")
def test_a_url_that_is_taken_is_a_server_for_nginx(data: bytes) -> None:
    try:
        url = InfluxDB3Settings.parse({"url": data.decode("latin-1")}).url
    except InvalidSettings:
        return
    text = FORMATS["nginx"].render(Routes(1, (Route("d", "t", "eu1", url),)), 60)
    after = text[text.index("upstream ") :].splitlines()
    assert _SERVER.fullmatch(after[0]), after[0]
    mapped = [line for line in after if line.startswith('    "')]
    assert len(mapped) == 3
    assert [line for line in mapped if not _LINE.fullmatch(line)] == []
