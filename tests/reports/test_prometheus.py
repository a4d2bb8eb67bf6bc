"""The textfile: exact names, counters that go on, a success that is remembered."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from influxops.plugin import (
    DeadlineExceeded,
    Finding,
    FindingKind,
    Report,
    ReporterError,
    RunContext,
    RunOrigin,
    Severity,
    __version__,
)
from influxops_reports.prometheus import PrometheusReporter
from tests.reports.samples import EU1, EU2, REGISTRY, full_report, outcome, report, tenant

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
STARTED = 1795316400.0
CONFIG = "/etc/influxops.toml"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "influxops.prom"


def write(path: Path, told: Report) -> Samples:
    settings = PrometheusReporter.Settings(path=str(path))
    PrometheusReporter("reporter:prom", settings).influxops_report(told, RunContext())
    return read(path)


def read(path: Path) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items() - {("config", CONFIG)})): sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"influxops_{name}", frozenset(labels.items())


def test_the_names_are_as_documented(path: Path) -> None:
    write(path, report())
    written = write(path, full_report())
    assert {name for name, _ in written} == {
        "influxops_info",
        "influxops_last_run_success",
        "influxops_last_run_timestamp_seconds",
        "influxops_last_success_timestamp_seconds",
        "influxops_tenants",
        "influxops_target_up",
        "influxops_target_free_slots",
        "influxops_target_info",
        "influxops_target_databases",
        "influxops_target_capacity",
        "influxops_target_tables",
        "influxops_target_table_capacity",
        "influxops_refused",
        "influxops_findings",
        "influxops_changes_total",
        "influxops_run_seconds",
    }
    for name in {name for name, _ in written}:
        assert f"\n# TYPE {name} " in f"\n{path.read_text()}"


def test_a_run_is_told_in_full(path: Path) -> None:
    written = write(path, full_report())
    assert written[key("last_run_success")] == 0
    assert written[key("run_seconds")] == 2.13
    states = ["ok", "changed", "pending", "blocked", "guarded", "failed", "unknown"]
    assert [written[key("tenants", state=s)] for s in states] == [1, 1, 0, 1, 1, 1, 1]
    assert written[key("target_up", target="eu1")] == 1
    assert written[key("target_up", target="eu2")] == 0
    assert written[key("target_free_slots", target="eu1")] == 2
    assert key("target_free_slots", target="eu2") not in written
    assert written[key("target_databases", target="eu1")] == 3
    assert written[key("target_capacity", target="eu1")] == 5
    assert written[key("target_tables", target="eu1")] == 8
    assert written[key("target_table_capacity", target="eu1")] == 2000
    assert written[key("refused", guard="shorter-retention")] == 1
    assert key("target_databases", target="eu2") not in written
    assert written[key("last_run_timestamp_seconds")] == STARTED + 2.13
    assert written[key("info", version=__version__)] == 1
    info = key("target_info", target="eu1", cluster_uuid="6f1c-a", edition="Core", version="3.10.0")
    assert written[info] == 1
    assert sum(name == "influxops_target_info" for name, _ in written) == 1
    assert written[key("findings", kind="unreachable", severity="error")] == 1
    assert written[key("findings", kind="orphan", severity="info")] == 1
    assert written[key("changes_total", action="create")] == 1
    assert written[key("changes_total", action="drop")] == 0


def test_the_last_success_is_kept_through_failed_runs(path: Path) -> None:
    assert key("last_success_timestamp_seconds") not in write(path, report(exit_code=1))
    for exit_code in (0, 1, 4, 130, 1):
        written = write(path, report(seconds=7, exit_code=exit_code))
        assert written[key("last_run_success")] == (exit_code == 0)
        assert written[key("last_success_timestamp_seconds")] == STARTED + 7


def test_changes_are_counted_on_through_all_runs(path: Path) -> None:
    two = report(outcomes=[outcome("a"), outcome("b"), outcome("c", status="failed")])
    one = report(outcomes=[outcome("a", "set-retention")])
    for told in (two, one, two):
        written = write(path, told)
    assert written[key("changes_total", action="create")] == 4
    assert written[key("changes_total", action="set-retention")] == 1
    assert written[key("changes_total", action="add-marker")] == 0


def test_a_dry_run_leaves_the_file_alone(path: Path) -> None:
    settings = PrometheusReporter.Settings(path=str(path))
    reporter = PrometheusReporter("reporter:prom", settings)
    reporter.influxops_report(report(dry_run=True), RunContext())
    assert not path.exists()
    write(path, report())
    before = path.read_bytes()
    reporter.influxops_report(report(dry_run=True, exit_code=1), RunContext())
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        b"influxops_changes_total{action=",
        b"\xff\xfe\x00",
        b"<html>what?</html>",
        b"influxops_changes_total NaN\ninfluxops_last_success_timestamp_seconds\n",
        b'# TYPE influxops_changes_total counter\ninfluxops_changes_total{action="create"} NaN\n',
    ],
)
def test_a_broken_file_is_replaced(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(content)
    written = write(path, report(outcomes=[outcome("a")]))
    assert written[key("changes_total", action="create")] == 1


def test_a_broken_file_is_said_to_be_one(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_bytes(b"\xff")
    with caplog.at_level(logging.WARNING):
        write(path, report())
    assert str(path) in caplog.text
    assert "start again at zero" in caplog.text


def test_a_scoped_run_counts_its_changes_and_says_nothing_of_the_rest(path: Path) -> None:
    whole = write(path, report([tenant(f"t{i}", "ok") for i in range(9)], exit_code=0))
    written = write(
        path,
        report([tenant("x", "changed", "create")], is_limited=True, exit_code=1),
    )
    created = key("changes_total", action="create")
    assert written == {**whole, created: 1.0}
    assert write(path, report(outcomes=[outcome("y")]))[created] == 2


def test_a_run_that_read_nothing_keeps_what_is_known_of_tenants_and_targets(path: Path) -> None:
    whole = write(path, report([tenant(f"t{i}", "ok") for i in range(9)], targets=(EU1, EU2)))
    busy = Finding(FindingKind.LOCK_BUSY, Severity.ERROR, "another run holds the lock")
    nothing = replace(report(notes=[busy], exit_code=5), sources=(), targets=(), seconds=0.5)
    assert write(path, nothing) == {
        **whole,
        key("last_run_success"): 0,
        key("last_run_timestamp_seconds"): STARTED + 0.5,
        key("run_seconds"): 0.5,
        key("findings", kind="lock-busy", severity="error"): 1,
    }


def test_a_registry_that_cannot_be_read_has_not_lost_its_tenants(path: Path) -> None:
    write(path, report([tenant("x", "ok")]))
    unread = (replace(REGISTRY, error="connection refused", tenants=0),)
    written = write(path, replace(report(targets=(EU2,), exit_code=1), sources=unread))
    assert written[key("tenants", state="ok")] == 1
    assert written[key("target_up", target="eu2")] == 0


def test_a_run_waits_for_another_one_that_is_writing(path: Path) -> None:
    write(path, report(outcomes=[outcome("a")]))
    handle = os.open(path.parent, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    waiting = threading.Thread(target=write, args=(path, report(outcomes=[outcome("b")])))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    last = f'action="create",config="{CONFIG}"}}'
    text = path.read_text().replace(f"{last} 1.0", f"{last} 7.0")
    path.write_text(text)
    os.close(handle)
    waiting.join(10)
    assert read(path)[key("changes_total", action="create")] == 8


def test_runs_at_the_same_time_lose_no_change(path: Path) -> None:
    runs = [
        threading.Thread(target=write, args=(path, report(outcomes=[outcome("a")])))
        for _ in range(12)
    ]
    for each in runs:
        each.start()
    for each in runs:
        each.join()
    assert read(path)[key("changes_total", action="create")] == 12


def test_each_metric_says_of_which_configuration_it_is(path: Path) -> None:
    write(path, report(outcomes=[outcome("a")]))
    moved = report(is_limited=True, origin=RunOrigin("ops", "ops1", "/etc/influxops/eu.toml"))
    write(path, moved)
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert lines
    assert all('config="/etc/influxops/eu.toml"' in line for line in lines)
    assert "_created" not in path.read_text()


def test_a_target_that_is_draining_has_no_place_for_another_database(path: Path) -> None:
    written = write(path, report(targets=(replace(EU1, state="draining"), EU2)))
    assert written[key("target_free_slots", target="eu1")] == 0
    assert written[key("target_databases", target="eu1")] == 3


def test_any_name_is_escaped(path: Path) -> None:
    odd = 'a"b\\c\nd'
    told = report(targets=(replace(EU1, name=odd), EU2))
    written = write(path, told)
    assert written[key("target_up", target=odd)] == 1


def test_node_exporter_may_read_it_and_sees_it_whole(path: Path) -> None:
    former = os.umask(0o077)
    try:
        write(path, report(exit_code=1))
        with path.open() as reader:
            write(path, report())
            assert f'influxops_last_run_success{{config="{CONFIG}"}} 0' in reader.read()
    finally:
        os.umask(former)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [file.name for file in path.parent.iterdir()] == ["influxops.prom"]


def test_a_server_that_died_in_the_middle_is_down(path: Path) -> None:
    dead = replace(EU1, reachable=False, error="connection reset")
    written = write(path, report([tenant("x", "unknown")], targets=(dead,), exit_code=1))
    assert written[key("target_up", target="eu1")] == 0
    assert key("target_free_slots", target="eu1") not in written


def test_a_named_pipe_that_nobody_reads_ends_with_the_budget(path: Path) -> None:
    os.mkfifo(path)
    reporter = PrometheusReporter("prom", PrometheusReporter.Settings(path=str(path)))
    with pytest.raises(DeadlineExceeded):
        reporter.influxops_report(report(), RunContext(timeout=0.2))
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.close(reading)
    assert path.is_fifo()


def test_a_missing_folder_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(ReporterError) as caught:
        write(tmp_path / "no" / "influxops.prom", report())
    assert "Prometheus textfile" in caught.value.message
    assert "mkdir -p" in caught.value.hint
