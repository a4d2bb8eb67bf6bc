"""The journal: every change once, in whole lines, with other runs writing."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from influxops.plugin import Report, ReporterError, RunContext, RunOrigin, files
from influxops_reports.journal import JournalReporter
from tests.reports.samples import DAY, database, outcome, report


def append(path: Path, told: Report) -> None:
    settings = JournalReporter.Settings(path=str(path))
    JournalReporter("reporter:journal", settings).influxops_report(told, RunContext())


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "changes.jsonl"


def test_a_change_is_told_with_who_where_and_what(path: Path) -> None:
    before = database(retention=90 * DAY)
    after = database(retention=30 * DAY)
    outcomes = [outcome("acme", "set-retention", before=before, after=after)]
    origin = RunOrigin("ops", "ops1", operator="anna", door="console")
    append(path, report(outcomes=outcomes, origin=origin))
    (entry,) = entries(path)
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "run": "3f2a9c01d7be",
        "user": "ops",
        "host": "ops1",
        "operator": "anna",
        "door": "console",
        "registry": ["iot@db.example:5432/iotcloud"],
        "target": "eu1",
        "url": "http://eu1.example:8181",
        "tenant": "acme",
        "database": "telemetry_acme",
        "action": "set-retention",
        "before": {
            "name": "telemetry_acme",
            "retention": 90 * DAY,
            "marker": True,
            "telemetry": False,
        },
        "after": {
            "name": "telemetry_acme",
            "retention": 30 * DAY,
            "marker": True,
            "telemetry": False,
        },
        "status": "done",
        "message": "",
        "until": None,
    }


def test_what_may_have_left_something_is_told_and_what_was_not_tried_is_not(path: Path) -> None:
    statuses = ["done", "failed", "unconfirmed", "unknown", "no-capacity", "skipped"]
    append(path, report(outcomes=[outcome(s, status=s, message=s) for s in statuses], exit_code=1))
    assert [(e["tenant"], e["status"]) for e in entries(path)] == [
        ("done", "done"),
        ("failed", "failed"),
        ("unconfirmed", "unconfirmed"),
        ("unknown", "unknown"),
    ]


def test_it_is_appended_to(path: Path) -> None:
    append(path, report(outcomes=[outcome("a")]))
    first = path.read_bytes()
    append(path, report(outcomes=[outcome("b"), outcome("c")]))
    assert path.read_bytes().startswith(first)
    assert [e["tenant"] for e in entries(path)] == ["a", "b", "c"]


def test_a_run_without_changes_and_a_dry_run_leave_no_trace(path: Path) -> None:
    append(path, report())
    append(path, report(outcomes=[outcome("a")], dry_run=True))
    assert not path.exists()


@pytest.mark.parametrize("umask", [0, 0o077])
def test_its_group_may_read_it_and_nobody_else(path: Path, umask: int) -> None:
    former = os.umask(umask)
    try:
        append(path, report(outcomes=[outcome("a")]))
    finally:
        os.umask(former)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_the_mode_that_somebody_gave_it_stays(path: Path) -> None:
    path.touch()
    path.chmod(0o600)
    append(path, report(outcomes=[outcome("a")]))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_line_that_a_crash_cut_short_spoils_no_other(path: Path) -> None:
    path.write_text('{"time": "2026-11-')
    append(path, report(outcomes=[outcome("a")]))
    assert json.loads(path.read_text().splitlines()[1])["tenant"] == "a"


def test_an_id_with_line_breaks_stays_on_its_line(path: Path) -> None:
    append(path, report(outcomes=[outcome("x\ny\u2028z\udc80")]))
    assert [e["tenant"] for e in entries(path)] == ["x\ny\u2028z\udc80"]


def _many(path: Path, name: str) -> None:
    for i in range(10):
        append(path, report(outcomes=[outcome(f"{name}-{i}-{j}") for j in range(100)]))


def test_runs_at_the_same_time_keep_their_lines_together(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_many, args=(path, name)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    tenants = [e["tenant"] for e in entries(path)]
    assert len(tenants) == 3000
    runs = [tenants[i : i + 100] for i in range(0, 3000, 100)]
    assert all(run == [f"{run[0][:-2]}-{j}" for j in range(100)] for run in runs)


def test_a_lock_that_nobody_gives_back_costs_no_record(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_PATIENCE", 0.1)
    with path.open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        append(path, report(outcomes=[outcome("a")]))
    assert [e["tenant"] for e in entries(path)] == ["a"]


def test_a_full_disk_leaves_no_half_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(path, report(outcomes=[outcome("a")]))
    before = path.read_bytes()

    real = os.write
    written: list[int] = []

    def half(handle: int, data: bytes) -> int:
        if written:
            raise OSError(28, "No space left on device")
        written.append(real(handle, data[: len(data) // 2]))
        return written[0]

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(ReporterError, match="No space left on device"):
        append(path, report(outcomes=[outcome("b")]))
    assert written
    assert path.read_bytes() == before


def test_a_missing_folder_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(ReporterError) as caught:
        append(tmp_path / "no" / "changes.jsonl", report(outcomes=[outcome("a")]))
    assert "there is no folder" in caught.value.message
    assert "mkdir -p" in caught.value.hint


def test_doctor_hears_whether_it_can_be_written(path: Path) -> None:
    def check(at: Path) -> bool | None:
        reporter = JournalReporter("reporter:j", JournalReporter.Settings(path=str(at)))
        (result,) = reporter.influxops_check(RunContext())
        return result.ok

    assert check(path)
    assert check(path / "no" / "changes.jsonl") is False
