"""What a pipe gets: one plain line a tenant, whatever the tenant is called."""

from __future__ import annotations

import io
import os
import re
import sys

import pytest
from msgspec.structs import replace

from influxops.plugin import (
    Finding,
    FindingKind,
    Hint,
    Refusal,
    Report,
    RunContext,
    Severity,
    SourceState,
    TargetCapabilities,
)
from influxops_reports.progress import TerminalReporter
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
    report,
    tenant,
    unreachable,
    warning,
)


def test_right_tenants_are_ok_lines_that_say_what_was_done(piped: Tell) -> None:
    out = piped(report([tenant("enabled", "ok"), tenant("acme", "changed", "create")]))
    assert out.splitlines()[:2] == ["OK telemetry_enabled", "OK telemetry_acme: created"]


def test_verbose_says_what_was_done_and_where(piped: Tell) -> None:
    told = report([tenant("enabled", "ok"), tenant("acme", "changed", "create", "add-marker")])
    assert piped(told, verbose=1).splitlines()[:2] == [
        "OK telemetry_enabled: already on eu1",
        "OK telemetry_acme: created, marker added on eu1",
    ]


@pytest.mark.parametrize("state", ["failed", "blocked", "unknown"])
def test_what_is_not_right_is_an_err_line_with_its_reason(piped: Tell, state: str) -> None:
    out = piped(report([tenant("x", state, message="eu1 is full")], exit_code=1))
    assert out.startswith("ERR telemetry_x: eu1 is full\n")


def test_a_refused_tenant_names_its_guard_and_not_everybody_else(piped: Tell) -> None:
    everybody = "would be dropped: " + ", ".join(f"telemetry_{i}" for i in range(1000))
    told = "refused by the guard drop: drop"
    out = piped(
        report(
            [tenant("x", "guarded", message=told, hint=Hint.allow("drop"))],
            refusals=[Refusal("drop", everybody, ("x",))],
            exit_code=4,
        )
    )
    first, second, *_ = out.splitlines()
    assert first.startswith("ERR refused by the guard drop: would be dropped: telemetry_0, ")
    assert first.endswith(" (only if that is what you want: --allow drop)")
    assert second == "ERR telemetry_x: refused by the guard drop: drop"
    assert out.count("telemetry_999") == 1


def test_a_tenant_without_a_valid_name_is_named_by_its_quoted_id(piped: Tell) -> None:
    why = "its database name holds a space"
    held = tenant("a b", "blocked", database="", target=None, message=why)
    out = piped(report([held], exit_code=1))
    assert out.splitlines()[0] == "ERR tenant 'a b': its database name holds a space"
    assert out.count("holds a space") == 1


@pytest.mark.parametrize(
    "id_",
    ["x\ny", "x\r\x1b[2J", "x\x9b31m", "x\u2028y", "\u202eevil", "x\udc80", "x\x00", "\ud800"],
)
def test_no_id_breaks_its_line_or_steers_the_terminal(piped: Tell, id_: str) -> None:
    held = tenant(id_, "blocked", database="", target=None, message=f"no good: {id_}")
    out = piped(report([held], exit_code=1, notes=[warning(f"odd {id_}", f"hint {id_}")]))
    lines = out.split("\n")
    assert lines[0].startswith("WARN odd ")
    assert lines[1].startswith(f"ERR tenant {id_!r}: no good: ")
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
                    before=database(),
                    after=database(retention=30 * DAY),
                ),
            ],
            dry_run=True,
        )
    )
    assert out.splitlines() == [
        "PLAN create telemetry_x on eu1",
        "PLAN set retention of telemetry_y on eu1: 30d, was kept for ever",
        "2 tenants: 0 ok, 1 to create, 1 retention to set, in 2.1 s; nothing was written (dry run)",
        "Next: influxops ensure makes these changes",
    ]


def test_a_retention_period_says_what_it_was_and_that_none_is_for_ever(piped: Tell) -> None:
    weeks = {
        "before": database(retention=45 * DAY),
        "after": database(retention=30 * DAY),
    }
    told = report([tenant("y", "pending", "set-retention", "add-marker", **weeks)], dry_run=True)
    assert piped(told).splitlines()[0] == (
        "PLAN set retention of and add marker to telemetry_y on eu1: 30d, was 45d"
    )
    made = report([tenant("x", "pending", "create")], dry_run=True)
    assert piped(made, verbose=1).splitlines()[0] == (
        "PLAN create telemetry_x on eu1 (retention: kept for ever)"
    )


def test_a_target_of_another_kind_is_told_in_its_own_words(
    piped: Tell, capsys: pytest.CaptureFixture[str]
) -> None:
    schemas = replace(
        EU1,
        name="pg",
        kind="schemas",
        edition=None,
        version="16.4",
        capabilities=TargetCapabilities("PostgreSQL"),
    )
    told = report(
        [
            tenant("x", "pending", "create", target="pg"),
            tenant("y", "pending", "add-marker", target="pg", before=database()),
        ],
        targets=(schemas,),
        dry_run=True,
    )
    lines = piped(told, verbose=1).splitlines()
    assert lines[:2] == ["PLAN create telemetry_x on pg", "PLAN complete telemetry_y on pg"]
    assert "2 tenants: 0 ok, 1 to create, 1 to complete, " in lines[2]
    reporter = TerminalReporter("t", TerminalReporter.Settings())
    reporter.influxops_started(head(told), RunContext())
    assert capsys.readouterr().err.splitlines()[-1] == (
        "target    pg: http://eu1.example:8181, PostgreSQL 16.4, "
        "2 slots free (estimated capacity 5), identity 6f1c-a"
    )


@pytest.mark.parametrize("sources", [(), (replace(REGISTRY, tenants=0, error="refused"),)])
def test_tenants_of_whom_nothing_could_be_read_are_not_counted(
    piped: Tell, sources: tuple[SourceState, ...]
) -> None:
    told = report(notes=[error("refused", source="registry")], exit_code=1)
    lines = piped(replace(told, sources=sources)).splitlines()
    assert lines == [
        "ERR source registry: refused",
        "tenants unknown: no source could be read, in 2.1 s",
        "Next: fix the error above, then run it again; completed work is not repeated",
    ]
    assert "0 tenants: " in piped(told)


def test_a_wrong_server_names_its_identity_once(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = replace(EU1, reachable=False, error="it is 6f1c-a, not 6f1c-b")
    reporter = TerminalReporter("reporter:t", TerminalReporter.Settings())
    reporter.influxops_started(head(report(targets=(wrong,))), RunContext())
    assert capsys.readouterr().err.count("6f1c-a") == 1


def test_pending_in_a_real_run_is_an_error(piped: Tell) -> None:
    out = piped(report([tenant("x", "pending", "create")], exit_code=130))
    assert out.splitlines()[0] == "ERR telemetry_x: not done"
    assert "interrupted" in out
    assert "Next: run it again" in out


def test_findings_about_no_tenant_get_lines_of_their_own(piped: Tell) -> None:
    told = report(
        [tenant("x", "ok")],
        notes=[
            unreachable(),
            warning("no lock was available", "grant it"),
            Finding(FindingKind.ORPHAN, Severity.INFO, "telemetry_gone belongs to no tenant"),
        ],
        exit_code=1,
    )
    lines = piped(told).splitlines()
    assert lines[:3] == [
        "ERR target eu2: connection refused (start it)",
        "WARN no lock was available (grant it)",
        "OK telemetry_x",
    ]
    assert not any("telemetry_gone" in line for line in lines)
    assert "INFO telemetry_gone belongs to no tenant" in piped(told, verbose=1).splitlines()


def test_a_warning_about_a_tenant_stands_with_it_and_leaves_it_ok(piped: Tell) -> None:
    drift = warning("it is in two targets", "drop one", tenant="x")
    told = report([tenant("x", "ok", notes=(drift,)), tenant("y", "ok")])
    lines = piped(told).splitlines()
    assert lines[:3] == [
        "OK telemetry_x",
        "WARN telemetry_x: it is in two targets (drop one)",
        "OK telemetry_y",
    ]


def test_an_ignored_tenant_is_no_error(piped: Tell) -> None:
    why = "its database name holds a space (ignored)"
    known = Finding(FindingKind.INVALID_NAME, Severity.INFO, why, tenant="a b")
    told = report([tenant("a b", "blocked", database="", target=None, finding=known)])
    assert piped(told).startswith(f"INFO tenant 'a b': {why}\n")
    assert piped(told, quiet=True) == ""


def test_very_many_acknowledged_tenants_are_one_line(piped: Tell) -> None:
    held = [
        tenant(
            f"{i}",
            "blocked",
            finding=Finding(FindingKind.CASE, Severity.INFO, "known", tenant=f"{i}"),
        )
        for i in range(21)
    ]
    line, *_ = piped(report(held)).splitlines()
    assert line.startswith("INFO 21 tenants on eu1 (telemetry_0, ")
    assert line.endswith(" and 17 more): known")


def test_the_summary_counts_what_happened(piped: Tell) -> None:
    tenants = [
        *(tenant(f"o{i}", "ok") for i in range(1200)),
        tenant("c", "changed", "create", "add-marker"),
        tenant("r", "changed", "set-retention"),
        tenant("h", "blocked", message="m"),
        tenant("f", "failed", message="m"),
    ]
    assert (
        "1,204 tenants: 1,200 ok, 1 created, 1 retention set, 1 blocked, 1 failed, in 2.1 s\n"
        in piped(report(tenants, exit_code=1))
    )


def test_advice_stands_with_the_first_error_that_shares_it(piped: Tell) -> None:
    tenants = [tenant(f"t{i}", "failed", message="m", hint="start eu1") for i in range(3)]
    lines = piped(report(tenants, exit_code=1)).splitlines()
    assert lines[:3] == [
        "ERR telemetry_t0: m (start eu1)",
        "ERR telemetry_t1: m",
        "ERR telemetry_t2: m",
    ]
    every = piped(report(tenants, exit_code=1), verbose=1)
    assert every.count("start eu1") == 3


def test_an_outage_is_its_cause_and_one_line_for_all_tenants(piped: Tell) -> None:
    tenants = [
        tenant(f"t{i:03}", "unknown", message="its target cannot be read") for i in range(1000)
    ]
    tenants.insert(500, tenant("x", "failed", message="of its own"))
    told = report(tenants, notes=[unreachable("eu1")], exit_code=1)
    assert piped(told).splitlines() == [
        "ERR target eu1: connection refused (start it)",
        "ERR 1,000 tenants on eu1 (telemetry_t000, telemetry_t001, telemetry_t002, "
        "telemetry_t003 and 996 more): its target cannot be read",
        "ERR telemetry_x: of its own",
        "1,001 tenants: 0 ok, 1,000 unknown, 1 failed, in 2.1 s",
        "Next: fix the errors above, then run it again; completed work is not repeated",
    ]
    assert "ERR telemetry_t999: its target cannot be read" in piped(told, verbose=1).splitlines()


def test_notes_that_very_many_tenants_share_are_one_line(piped: Tell) -> None:
    tenants = [
        tenant(f"t{i}", "ok", notes=(warning("drift", "mend it", tenant=f"t{i}"),))
        for i in range(30)
    ]
    lines = piped(report(tenants)).splitlines()
    assert lines[0].startswith("WARN 30 tenants on eu1 (telemetry_t0, ")
    assert lines[0].endswith("): drift (mend it)")
    assert lines[1:31] == [f"OK telemetry_t{i}" for i in range(30)]


def test_causes_are_cut_and_counted(piped: Tell) -> None:
    told = report(notes=[error(f"cause {i}") for i in range(50)], exit_code=1)
    lines = piped(told).splitlines()
    assert lines[:20] == [f"ERR cause {i}" for i in range(20)]
    assert lines[20] == "ERR and 30 more (-v shows all)"
    assert "ERR cause 49" in piped(told, verbose=1).splitlines()


def test_what_fails_on_one_of_several_targets_names_it(piped: Tell) -> None:
    failed = [tenant("x", "failed", message="it answered 503", target="eu2")]
    told = report(failed, targets=(EU1, replace(EU2, reachable=True)), exit_code=1)
    assert piped(told).startswith("ERR telemetry_x: on eu2: it answered 503\n")


def test_what_is_not_confirmed_is_called_so_and_what_to_run(piped: Tell) -> None:
    finding = error(
        "made, and perhaps not durable",
        Hint.command("ensure --verify"),
        kind=FindingKind.UNCONFIRMED,
        tenant="x",
    )
    lines = piped(report([tenant("x", "unknown", finding=finding)], exit_code=1)).splitlines()
    assert lines[0] == (
        "ERR telemetry_x: made, and perhaps not durable (run influxops ensure --verify)"
    )
    assert "1 tenant: 0 ok, 1 not confirmed, 0 failed" in lines[1]


def test_an_empty_registry_is_one_sentence(piped: Tell) -> None:
    assert piped(report(notes=[NO_TENANTS])) == "No tenants found in device_registry\n"
    assert piped(report(notes=[NO_TENANTS]), quiet=True) == ""


def test_quiet_says_nothing_when_all_is_well(
    piped: Tell, capsys: pytest.CaptureFixture[str]
) -> None:
    well = report([tenant("enabled", "ok"), tenant("acme", "changed", "create")])
    reporter = TerminalReporter("reporter:t", TerminalReporter.Settings(quiet=True))
    reporter.influxops_started(head(well), RunContext())
    reporter.influxops_report(well, RunContext())
    assert capsys.readouterr() == ("", "")


def test_quiet_tells_what_is_wrong_and_on_what(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = TerminalReporter("reporter:t", TerminalReporter.Settings(quiet=True))
    reporter.influxops_report(full_report(), RunContext())
    out, err = capsys.readouterr()
    levels = {line.split(" ", 1)[0] for line in out.splitlines()}
    assert levels == {"ERR", "WARN", "Next:", "6"}
    assert "iot@db.example:5432/iotcloud" in err


def test_the_start_of_a_run_says_what_it_works_on(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = TerminalReporter("reporter:t", TerminalReporter.Settings())
    draining = replace(EU1, name="old", state="draining", capacity=None, identity=None)
    told = report(targets=(EU1, EU2, draining), dry_run=True)
    reporter.influxops_started(head(told), RunContext())
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "config    /etc/influxops.toml (dry run 3f2a9c01d7be by ops@ops1)",
        "source    registry: iot@db.example:5432/iotcloud (postgres), 3 tenants",
        "target    eu1: http://eu1.example:8181, InfluxDB 3 Core 3.10.0, "
        "2 slots free (estimated capacity 5), cluster-uuid 6f1c-a",
        "target    eu2: http://eu2.example:8181, NOT READ: connection refused",
        "target    old: http://eu1.example:8181, InfluxDB 3 Core 3.10.0, 3 databases, draining",
    ]


def test_a_source_that_does_not_say_where_it_reads_leaves_no_gap(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reporter = TerminalReporter("reporter:t", TerminalReporter.Settings())
    told = replace(report(), sources=(SourceState("crm", "crm", "", 2),))
    reporter.influxops_started(head(told), RunContext())
    assert "source    crm: (crm), 2 tenants" in capsys.readouterr().err.splitlines()


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
    reporter.influxops_started(head(full_report()), RunContext())
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
    reporter.influxops_report(report([tenant("müller", "ok")]), RunContext())
    assert raw.getvalue().startswith(b"OK telemetry_m?ller\n")


def test_a_reader_that_goes_away_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    reporter = TerminalReporter("reporter:t", TerminalReporter.Settings())
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        reporter.influxops_report(report([tenant("x", "ok")]), RunContext())
        stream.write("what Python flushes at its end")


def test_what_was_done_before_an_interruption_is_told(piped: Tell) -> None:
    told = report(
        [
            tenant("x", "changed", "create"),
            tenant("y", "failed", "create", message="the run ended before it was tried"),
        ],
        notes=[error("the run was interrupted")],
        exit_code=130,
    )
    lines = piped(told).splitlines()
    assert lines[:3] == [
        "ERR the run was interrupted",
        "OK telemetry_x: created",
        "ERR telemetry_y: the run ended before it was tried",
    ]
    assert "2 tenants: 0 ok, 1 created, 1 failed, in 2.1 s; interrupted" in lines


@pytest.mark.parametrize(
    "told",
    [
        report(notes=[error("no such table", source="registry")], dry_run=True, exit_code=1),
        report([tenant("x", "ok")], notes=[error("a row without an id")], dry_run=True),
        report([tenant("x", "ok"), tenant("y", "blocked", message="m")], dry_run=True, exit_code=1),
        report([tenant("x", "unknown", message="m")], dry_run=True, exit_code=1),
        report(refusals=[Refusal("empty-source", "m")], dry_run=True, exit_code=4),
        report([tenant("x", "ok")], notes=[error("a row without an id")], exit_code=1),
    ],
    ids=["source", "row", "blocked", "unknown", "guard", "real run"],
)
def test_what_is_not_known_to_be_right_is_not_nothing_to_do(piped: Tell, told: Report) -> None:
    out = piped(told)
    assert "nothing to do" not in out
    assert ("nothing was written (dry run)" in out) is told.dry_run


def test_creates_beyond_an_estimate_are_no_promise(piped: Tell) -> None:
    creates = [tenant(f"t{i}", "pending", "create", may_exceed_capacity=i > 1) for i in range(4)]
    beyond = error(
        "4 to create, ~2 slots free", "add a target", target="eu1", kind=FindingKind.OVER_CAPACITY
    )
    lines = piped(report(creates, notes=[beyond], dry_run=True, exit_code=1)).splitlines()
    assert lines[:5] == [
        "ERR target eu1: 4 to create, ~2 slots free (add a target)",
        "PLAN create telemetry_t0 on eu1",
        "PLAN create telemetry_t1 on eu1",
        "PLAN create telemetry_t2 on eu1 (may exceed the capacity)",
        "PLAN create telemetry_t3 on eu1 (may exceed the capacity)",
    ]
    assert "4 tenants: 0 ok, 4 to create, in 2.1 s; nothing was written (dry run)" in lines
    assert "Next: influxops ensure makes these changes, as far as there is room" in lines


def test_a_long_id_is_cut_and_named_once(piped: Tell) -> None:
    id_ = "x" * 600
    held = tenant(id_, "blocked", database="", target=None, message="its database name is too long")
    (line, *_) = piped(report([held], exit_code=1)).splitlines()
    assert line == f"ERR tenant '{'x' * 59}…' (600 characters): its database name is too long"
    assert piped(report([tenant("y" * 400, "ok")])).startswith("OK telemetry_yyy")
    assert "(410 characters)" in piped(report([tenant("y" * 400, "ok")]))
    assert f"OK telemetry_{'z' * 64}\n" in piped(report([tenant("z" * 64, "ok")]))


def test_nobody_is_lost_among_very_many_with_the_same_words(piped: Tell) -> None:
    many = [tenant(f"t{i}", "failed", message="m", hint="start eu1") for i in range(30)]
    other = tenant("x", "failed", message="m", hint="another advice")
    lines = piped(report([*many, other], exit_code=1)).splitlines()
    assert lines[0].startswith("ERR 30 tenants on eu1 (")
    assert lines[1] == "ERR telemetry_x: m (another advice)"
