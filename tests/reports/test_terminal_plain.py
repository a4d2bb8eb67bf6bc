"""What a pipe gets: one plain line a tenant, whatever the tenant is called."""

from __future__ import annotations

import io
import os
import re
import sys
from dataclasses import replace

import pytest

from influxops import Finding, Refusal, Report, Run, Severity, SourceState, printable
from influxops_reports import TerminalReporter
from tests.reports.conftest import Tell
from tests.reports.samples import (
    DAY,
    EU1,
    EU2,
    NO_TENANTS,
    REGISTRY,
    database,
    error,
    full_report,
    head,
    outcome,
    report,
    tenant,
    warning,
)


def test_right_tenants_are_plain_ok_lines(piped: Tell) -> None:
    out = piped(report([tenant("enabled", "ok"), tenant("acme", "changed", "create")]))
    assert out.splitlines()[:2] == ["OK telemetry_enabled", "OK telemetry_acme"]


def test_verbose_says_what_was_done_and_where(piped: Tell) -> None:
    told = report([tenant("enabled", "ok"), tenant("acme", "changed", "create", "add-marker")])
    assert piped(told, verbose=1).splitlines()[:2] == [
        "OK telemetry_enabled: already on eu1",
        "OK telemetry_acme: created, marker added on eu1",
    ]


@pytest.mark.parametrize("state", ["failed", "held", "unknown"])
def test_what_is_not_right_is_an_err_line_with_its_reason(piped: Tell, state: str) -> None:
    out = piped(report([tenant("x", state, message="eu1 is full")], exit_code=1))
    assert out.startswith("ERR telemetry_x: eu1 is full\n")


def test_a_refused_tenant_names_its_guard_and_not_everybody_else(piped: Tell) -> None:
    everybody = "would be dropped: " + ", ".join(f"telemetry_{i}" for i in range(1000))
    out = piped(
        report(
            [tenant("x", "refused", message=everybody)],
            refusals=[Refusal("drop", everybody, ("x",))],
            exit_code=4,
        )
    )
    assert out.splitlines()[0] == "ERR telemetry_x: refused by the guard drop"
    assert out.count("telemetry_999") == 1
    assert "Next: only if that is what you want, run it again with --allow drop" in out


def test_a_tenant_without_a_valid_name_is_named_by_its_quoted_id(piped: Tell) -> None:
    why = "tenant 'a b': its database name holds a space"
    held = tenant("a b", "held", database="", target=None, message=why)
    out = piped(report([held], exit_code=1, findings=[error(why, tenant="a b")]))
    assert out.splitlines()[0] == "ERR tenant 'a b': its database name holds a space"
    assert out.count("holds a space") == 1


@pytest.mark.parametrize(
    "id_",
    ["x\ny", "x\r\x1b[2J", "x\x9b31m", "x\u2028y", "\u202eevil", "x\udc80", "x\x00", "\ud800"],
)
def test_no_id_breaks_its_line_or_steers_the_terminal(piped: Tell, id_: str) -> None:
    held = tenant(id_, "held", database="", target=None, message=f"no good: {id_}")
    out = piped(report([held], exit_code=1, findings=[warning(f"odd {id_}", f"hint {id_}")]))
    lines = out.split("\n")
    assert lines[0].startswith(f"ERR tenant {id_!r}: no good: ")
    assert lines[1].startswith("WARN odd ")
    assert all(line.isprintable() for line in lines)


def test_a_dry_run_says_what_it_would_do(piped: Tell) -> None:
    out = piped(
        report(
            [
                tenant("x", "pending", "create"),
                tenant(
                    "y",
                    "pending",
                    "set-retention",
                    before=database("telemetry_y"),
                    after=database("telemetry_y", retention=30 * DAY),
                ),
            ],
            dry_run=True,
        )
    )
    assert out.splitlines() == [
        "PLAN create telemetry_x on eu1",
        "PLAN set retention of telemetry_y on eu1: retention none → 30d",
        "2 tenants: 0 ok, 1 to create, 1 retention to set, in 2.1 s; nothing was written (dry run)",
        "Next: influxops ensure makes these changes",
    ]


def test_an_output_without_arrows_says_it_in_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    weeks = {
        "before": database("telemetry_y", retention=45 * DAY),
        "after": database("telemetry_y", retention=30 * DAY),
    }
    told = report([tenant("y", "pending", "set-retention", "add-marker", **weeks)], dry_run=True)
    TerminalReporter("reporter:t", TerminalReporter.Settings()).influxops_report(told, Run())
    stream.seek(0)
    assert stream.readline() == (
        "PLAN set retention of and add marker to telemetry_y on eu1: retention 45d to 30d\n"
    )


@pytest.mark.parametrize("sources", [(), (replace(REGISTRY, tenants=0, error="refused"),)])
def test_tenants_of_whom_nothing_could_be_read_are_not_counted(
    piped: Tell, sources: tuple[SourceState, ...]
) -> None:
    told = replace(report(findings=[error("source registry: refused")], exit_code=1))
    lines = piped(replace(told, sources=sources)).splitlines()
    assert lines == [
        "ERR source registry: refused",
        "tenants unknown: no source could be read, in 2.1 s",
    ]
    assert "0 tenants: " in piped(told)


def test_a_wrong_server_names_its_identity_once(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = replace(EU1, reachable=False, error="it is 6f1c-a, not 6f1c-b")
    reporter = TerminalReporter("reporter:t", TerminalReporter.Settings())
    reporter.influxops_started(head(report(targets=(wrong,))), Run())
    assert capsys.readouterr().err.count("6f1c-a") == 1


def test_pending_in_a_real_run_is_an_error(piped: Tell) -> None:
    out = piped(report([tenant("x", "pending", "create")], exit_code=130))
    assert out.splitlines()[0] == "ERR telemetry_x: not done"
    assert "interrupted" in out
    assert "Next: run it again" in out


def test_findings_about_no_tenant_get_lines_of_their_own(piped: Tell) -> None:
    told = report(
        [tenant("x", "ok")],
        findings=[
            error("target eu2: connection refused", "start it"),
            warning("no lock could be had", "grant it"),
            Finding("orphan", Severity.INFO, "telemetry_gone belongs to no tenant"),
        ],
        exit_code=1,
    )
    lines = piped(told).splitlines()
    assert "ERR target eu2: connection refused" in lines
    assert "WARN no lock could be had (grant it)" in lines
    assert "Next: start it" in lines
    assert not any("telemetry_gone" in line for line in lines)
    assert "INFO telemetry_gone belongs to no tenant" in piped(told, verbose=1).splitlines()


def test_a_warning_about_a_tenant_stands_with_it_and_leaves_it_ok(piped: Tell) -> None:
    drift = warning("tenant 'x': it is in two targets", "drop one", tenant="x")
    lines = piped(report([tenant("x", "ok"), tenant("y", "ok")], findings=[drift])).splitlines()
    assert lines[:3] == [
        "OK telemetry_x",
        "WARN telemetry_x: it is in two targets (drop one)",
        "OK telemetry_y",
    ]


def test_an_acknowledged_tenant_is_no_error(piped: Tell) -> None:
    why = "tenant 'a b': its database name holds a space (acknowledged)"
    told = report(
        [tenant("a b", "held", database="", target=None, message=why)],
        findings=[Finding("invalid-name", Severity.INFO, why, tenant="a b")],
    )
    assert piped(told).startswith("INFO tenant 'a b': its database name holds a space (ackn")
    assert piped(told, quiet=True) == ""


def test_one_error_is_enough_though_another_finding_is_less(piped: Tell) -> None:
    told = report(
        [tenant("x", "held", message="two of it")],
        findings=[
            Finding("case", Severity.INFO, "known (acknowledged)", tenant="x"),
            error("two of it", tenant="x"),
        ],
        exit_code=1,
    )
    assert piped(told).startswith("ERR telemetry_x: two of it\n")


def test_the_summary_counts_what_happened(piped: Tell) -> None:
    tenants = [
        *(tenant(f"o{i}", "ok") for i in range(1200)),
        tenant("c", "changed", "create", "add-marker"),
        tenant("r", "changed", "set-retention"),
        tenant("h", "held", message="m"),
        tenant("f", "failed", message="m"),
    ]
    assert (
        "1,204 tenants: 1,200 ok, 1 created, 1 retention set, 1 held, 1 failed, in 2.1 s\n"
        in piped(report(tenants, exit_code=1))
    )


def test_hints_are_told_once_with_how_many_they_help(piped: Tell) -> None:
    tenants = [tenant(f"t{i}", "failed", message="m", hint="start eu1") for i in range(3)]
    out = piped(report(tenants, exit_code=1))
    assert out.count("start eu1") == 1
    assert "Next: start eu1 (3 tenants)" in out


def test_an_empty_registry_is_one_sentence(piped: Tell) -> None:
    assert piped(report(findings=[NO_TENANTS])) == "No tenants found in device_registry\n"
    assert piped(report(findings=[NO_TENANTS]), quiet=True) == ""


def test_quiet_says_nothing_when_all_is_well(
    piped: Tell, capsys: pytest.CaptureFixture[str]
) -> None:
    well = report([tenant("enabled", "ok"), tenant("acme", "changed", "create")])
    reporter = TerminalReporter("reporter:t", TerminalReporter.Settings(quiet=True))
    reporter.influxops_started(head(well), Run())
    reporter.influxops_report(well, Run())
    assert capsys.readouterr() == ("", "")


def test_quiet_tells_what_is_wrong_and_on_what(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = TerminalReporter("reporter:t", TerminalReporter.Settings(quiet=True))
    reporter.influxops_report(full_report(), Run())
    out, err = capsys.readouterr()
    levels = {line.split(" ", 1)[0] for line in out.splitlines()}
    assert levels == {"ERR", "WARN", "Next:", "6"}
    assert "iot@db.example:5432/iotcloud" in err


def test_the_start_of_a_run_says_what_it_works_on(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = TerminalReporter("reporter:t", TerminalReporter.Settings())
    draining = replace(EU1, name="old", state="draining", capacity=None, cluster_uuid=None)
    told = report(targets=(EU1, EU2, draining), dry_run=True)
    reporter.influxops_started(head(told), Run())
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "config    /etc/influxops.toml (dry run 3f2a9c01d7be by ops@ops1)",
        "source    registry: iot@db.example:5432/iotcloud (postgres), 3 tenants",
        "target    eu1: http://eu1.example:8181, InfluxDB 3 Core 3.10.0, "
        "2 of 5 places left (an estimate), cluster-uuid 6f1c-a",
        "target    eu2: http://eu2.example:8181, NOT READ: connection refused",
        "target    old: http://eu1.example:8181, InfluxDB 3 Core 3.10.0, 3 databases, draining",
    ]


def test_a_run_that_finds_all_as_desired_says_so(piped: Tell) -> None:
    assert piped(report([tenant("x", "ok")])).splitlines()[-1] == (
        "1 tenant: 1 ok, 0 failed, in 2.1 s; nothing to do"
    )


def test_a_narrow_terminal_breaks_the_head_between_words_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "60")
    reporter = TerminalReporter("reporter:t", TerminalReporter.Settings())
    reporter.influxops_started(head(full_report()), Run())
    lines = terminal.getvalue().splitlines()
    assert max(map(len, lines)) <= 60
    assert any("http://eu1.example:8181," in line for line in lines)
    assert all(line.startswith(("config ", "source ", "target ", " " * 10)) for line in lines)


def test_a_pipe_gets_no_escapes_unless_they_are_wanted(
    piped: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in piped(full_report())
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    coloured = piped(full_report(), color="always")
    assert "\x1b[32mOK\x1b[0m telemetry_enabled\n" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == piped(full_report())


def test_an_encoding_that_lacks_a_letter_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    reporter = TerminalReporter("reporter:t", TerminalReporter.Settings())
    reporter.influxops_report(report([tenant("müller", "ok")]), Run())
    assert raw.getvalue().startswith(b"OK telemetry_m?ller\n")


def test_a_reader_that_goes_away_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    reporter = TerminalReporter("reporter:t", TerminalReporter.Settings())
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        reporter.influxops_report(report([tenant("x", "ok")]), Run())
        stream.write("what Python flushes at its end")


def test_what_was_done_before_an_interruption_is_told(piped: Tell) -> None:
    told = report(
        [
            tenant("x", "changed", "create"),
            tenant("y", "failed", "create", message="the run ended before it was tried"),
        ],
        outcomes=[outcome("x")],
        findings=[error("the run was interrupted")],
        exit_code=130,
    )
    lines = piped(told).splitlines()
    assert lines[:2] == ["OK telemetry_x", "ERR telemetry_y: the run ended before it was tried"]
    assert "2 tenants: 0 ok, 1 created, 1 failed, in 2.1 s; interrupted" in lines


@pytest.mark.parametrize(
    "told",
    [
        report(findings=[error("source registry: no such table")], dry_run=True, exit_code=1),
        report([tenant("x", "ok")], findings=[error("a row without an id")], dry_run=True),
        report([tenant("x", "ok"), tenant("y", "held", message="m")], dry_run=True, exit_code=1),
        report([tenant("x", "unknown", message="m")], dry_run=True, exit_code=1),
        report(refusals=[Refusal("empty-source", "m")], dry_run=True, exit_code=4),
        report([tenant("x", "ok")], findings=[error("a row without an id")], exit_code=1),
    ],
    ids=["source", "row", "held", "unknown", "guard", "real run"],
)
def test_what_is_not_known_to_be_right_is_not_nothing_to_do(piped: Tell, told: Report) -> None:
    out = piped(told)
    assert "nothing to do" not in out
    assert ("nothing was written (dry run)" in out) is told.dry_run


def test_creates_beyond_an_estimate_are_no_promise(piped: Tell) -> None:
    creates = [tenant(f"t{i}", "pending", "create") for i in range(4)]
    other = tenant("o", "pending", "create", target="eu3")
    beyond = error("4 to create, 2 places left on eu1", "add a target", target="eu1")
    beyond = replace(beyond, kind="over-capacity")
    told = report([other, *creates], findings=[beyond], dry_run=True, exit_code=1)
    lines = piped(told).splitlines()
    assert lines[:5] == [
        "PLAN create telemetry_o on eu3",
        "PLAN create telemetry_t0 on eu1",
        "PLAN create telemetry_t1 on eu1",
        "PLAN create telemetry_t2 on eu1 (may find no place)",
        "PLAN create telemetry_t3 on eu1 (may find no place)",
    ]
    assert "5 tenants: 0 ok, 5 to create, in 2.1 s; nothing was written (dry run)" in lines
    assert lines[-1] == "Next: influxops ensure makes these changes, as far as there is room"


def test_a_long_id_is_cut_and_named_once(piped: Tell) -> None:
    id_ = "x" * 600
    why = f"tenant {printable(id_)}: its database name is too long"
    held = tenant(id_, "held", database="", target=None, message=why)
    (line, *_) = piped(report([held], findings=[error(why, tenant=id_)], exit_code=1)).splitlines()
    assert line == f"ERR tenant '{'x' * 59}…' (600 characters): its database name is too long"
    assert piped(report([tenant("y" * 400, "ok")])).startswith("OK telemetry_yyy")
    assert "(410 characters)" in piped(report([tenant("y" * 400, "ok")]))
    assert f"OK telemetry_{'z' * 64}\n" in piped(report([tenant("z" * 64, "ok")]))
