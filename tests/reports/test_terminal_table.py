"""What a person at a terminal gets."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace
from rich.cells import cell_len

from influxops.plugin import TargetCapabilities
from tests.reports.conftest import Tell
from tests.reports.samples import (
    DAY,
    EU1,
    NO_TENANTS,
    database,
    error,
    full_report,
    report,
    tenant,
)


def plain(text: str) -> str:
    """The text without styles, and without the spaces that fill its lines."""
    return re.sub(r" +$", "", re.sub(r"\x1b\[[0-9;]*m", "", text), flags=re.M)


def test_a_terminal_gets_a_table(on_terminal: Tell) -> None:
    lines = plain(
        on_terminal(
            report(
                [
                    tenant(
                        "acme",
                        "changed",
                        "set-retention",
                        before=database(),
                        after=database(retention=30 * DAY),
                    ),
                    tenant("enabled", "ok"),
                ]
            )
        )
    ).splitlines()
    rows = [line.split() for line in lines]
    assert ["Tenant", "Database", "Target", "What", "Retention"] in rows
    changed = "acme telemetry_acme eu1 retention set 30d, was kept for ever"
    assert changed.split() in rows
    assert ["enabled", "telemetry_enabled", "eu1", "ok", "kept", "for", "ever"] in rows
    assert "2 tenants: 1 ok, 1 retention set, 0 failed, in 2.1 s" in lines


def test_ids_that_differ_by_how_an_accent_is_spelt_do_not_look_alike(on_terminal: Tell) -> None:
    out = plain(on_terminal(report([tenant("caf\u00e9", "ok"), tenant("cafe\u0301", "ok")])))
    assert "caf\u00e9" in out
    assert r"cafe\u0301" in out and "cafe\u0301" not in out


@pytest.mark.parametrize("width", [80, 200])
def test_nothing_is_wider_than_the_terminal(on_terminal: Tell, width: int) -> None:
    out = plain(on_terminal(full_report(), width))
    assert max(cell_len(line) for line in out.splitlines()) <= width


def test_tenant_database_and_target_are_shown_at_any_width(on_terminal: Tell) -> None:
    id_ = "0b9a3c5e-6f3d-4d64-9a31-000000000001"
    told = report([tenant(id_, "changed", "create")])
    wide = plain(on_terminal(told, 140))
    assert re.search(rf"^ {id_} +telemetry_{id_} +eu1 +created +kept for ever", wide, re.M)
    narrow = plain(on_terminal(told, 80))
    assert narrow.splitlines()[1].split() == ["Tenant", "Database", "Target", "What"]
    assert re.search(rf"^ 0b9a3c.*… +telemetry_{id_} +eu1 +created$", narrow, re.M)
    narrowest = plain(on_terminal(told, 40))
    assert narrowest.splitlines()[1].split() == ["Tenant", "Database", "Target", "What"]


def test_retention_is_no_column_where_no_target_has_it(on_terminal: Tell) -> None:
    schemas = replace(EU1, capabilities=TargetCapabilities("PostgreSQL"))
    out = plain(on_terminal(report([tenant("x", "ok")], targets=(schemas,)), 120))
    assert "Retention" not in out
    assert "kept for ever" not in out


def test_a_thousand_good_tenants_do_not_bury_the_bad_one(on_terminal: Tell) -> None:
    tenants = [tenant(f"t{i}", "ok") for i in range(999)]
    tenants.insert(500, tenant("bad", "failed", message="eu1 answered 503", hint="look at eu1"))
    out = plain(on_terminal(report(tenants, exit_code=1)))
    lines = out.splitlines()
    assert len(lines) < 40
    assert lines[3].split()[:4] == ["bad", "telemetry_bad", "eu1", "failed"]
    assert " ... and 989 more tenants: 989 ok (-v shows all)" in lines
    assert " - telemetry_bad on eu1: eu1 answered 503" in lines
    assert "   -> look at eu1" in lines
    assert lines[-2].startswith("1,000 tenants: 999 ok, 1 failed")
    assert lines[-1].startswith("Next: fix the error above, then run it again")
    assert plain(on_terminal(report(tenants, exit_code=1), verbose=1)).count("telemetry_t") == 999


def test_tenants_that_share_a_reason_are_told_together_names_first(on_terminal: Tell) -> None:
    tenants = [tenant(f"t{i}", "unknown", message="eu1 is silent") for i in range(1000)]
    out = " ".join(plain(on_terminal(report(tenants, exit_code=1), 200)).split())
    assert (
        "1,000 tenants on eu1 (telemetry_t0, telemetry_t1, telemetry_t2, telemetry_t3 and 996 "
        "more): eu1 is silent" in out
    )


def test_a_long_reason_cuts_off_no_name(on_terminal: Tell) -> None:
    long = "no free slot: " + "the server said that it is full, " * 40
    tenants = [tenant(f"t{i}", "blocked", message=long, target=None) for i in range(30)]
    out = " ".join(plain(on_terminal(report(tenants, exit_code=1), 200)).split())
    assert "(telemetry_t0, telemetry_t1, telemetry_t2, telemetry_t3 and 26 more): no free" in out
    assert "... (-v shows all)" in out


def test_many_different_errors_are_cut_and_counted(on_terminal: Tell) -> None:
    tenants = [tenant(f"t{i}", "failed", message=f"reason {i}") for i in range(100)]
    out = plain(on_terminal(report(tenants, exit_code=1)))
    assert out.count("reason ") == 15
    assert "... and 85 more (-v shows all)" in out


def test_findings_stand_beneath_the_table_the_worst_last(on_terminal: Tell) -> None:
    out = plain(on_terminal(full_report()))
    places = [out.index(word) for word in ("Database", "Warnings", "Errors", "6 tenants:", "Next:")]
    assert places == sorted(places)
    assert "--allow shorter-retention" in out
    assert "belongs to no tenant" not in out
    assert "belongs to no tenant" in plain(on_terminal(full_report(), verbose=1))


def test_no_tenant_and_no_server_writes_to_the_terminal_itself(on_terminal: Tell) -> None:
    id_ = "x\x1b]0;owned\x07[red]y[/red]:smile:\n"
    told = report(
        [tenant(id_, "blocked", database="", target=None, message=f"{id_} \x1b[2Jis [bold]bad")],
        notes=[error(f"the server said \x1b[31m{id_}")],
        exit_code=1,
    )
    out = on_terminal(told, 200)
    assert not re.search(r"\x1b(?!\[[0-9;]*m)", out)
    assert "\x1b[31m[red]" not in out
    assert "[red]y[/red]:smile:" in plain(out)
    assert "\\x1b[2Jis [bold]bad" in plain(out)


def test_no_color_dumb_terminals_and_never_are_honoured(
    on_terminal: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    colours = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7]|38)[;m]")
    assert colours.search(on_terminal(full_report()))
    assert "\x1b" not in on_terminal(full_report(), color="never")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in on_terminal(full_report())
    assert colours.search(on_terminal(full_report(), color="always"))
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in on_terminal(full_report())


def test_quiet_leaves_out_the_table(on_terminal: Tell) -> None:
    out = plain(on_terminal(full_report(), quiet=True))
    assert "Retention" not in out
    assert "Errors" in out
    assert on_terminal(report([tenant("x", "ok")]), quiet=True) == ""


def test_an_empty_registry_is_one_sentence(on_terminal: Tell) -> None:
    out = on_terminal(report(notes=[NO_TENANTS]))
    assert plain(out) == "No tenants found in device_registry\n"
