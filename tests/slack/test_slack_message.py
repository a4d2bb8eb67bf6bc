"""The message: within Slack's limits, and nothing in it that Slack would act upon."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from influxops.plugin import Finding, FindingKind, Refusal, Report, Severity
from influxops_slack.message import message
from tests.reports.samples import (
    DAY,
    EU1,
    EU2,
    REGISTRY,
    database,
    error,
    full_report,
    outcome,
    report,
    tenant,
    unreachable,
    warning,
)

NASTY = [
    "&" * 5000,
    "y" * 5000,
    "<!channel>",
    "<@U123>",
    "@here",
    "```<!here>```",
    "`x`",
    "*bold* _it_ ~no~",
    "a&b",
    "<https://evil.example|click>",
    "x\n```\n<!everyone>",
    "\x1b[31m",
    "\u202e",
]


def texts(told: dict[str, Any]) -> list[str]:
    return [
        text["text"]
        for block in told["blocks"]
        for text in ([block["text"]] if "text" in block else block["elements"])
    ]


def section(told: dict[str, Any], title: str) -> str:
    (text,) = (text for text in texts(told) if text.startswith(f"*{title}"))
    return text


def check_limits(told: dict[str, Any]) -> None:
    assert 0 < len(told["blocks"]) <= 50
    for block in told["blocks"]:
        if block["type"] == "header":
            assert block["text"]["type"] == "plain_text"
            assert len(block["text"]["text"]) <= 150
        elif block["type"] == "section":
            assert 0 < len(block["text"]["text"]) <= 3000
        else:
            assert block["type"] == "context"
            assert len(block["elements"]) <= 10
            assert all(len(e["text"]) <= 3000 for e in block["elements"])


def nasty_report() -> Report:
    return report(
        [
            *(
                tenant(id_, "blocked", database="", target=None, message=f"why {id_}", hint=id_)
                for id_ in NASTY
            ),
            *(tenant(f"n{i}", "failed", message=f"reason {i} {NASTY[i]}") for i in range(9)),
        ],
        outcomes=[outcome(id_) for id_ in NASTY],
        notes=[error(id_, id_) for id_ in NASTY] + [warning(id_, id_) for id_ in NASTY],
        refusals=[Refusal("drop", id_) for id_ in NASTY],
        targets=tuple(replace(EU1, name=id_, url=id_) for id_ in NASTY),
        exit_code=1,
        origin=replace(report().origin, host="<!channel>" * 30, config="`x` <!here>"),
    )


def test_it_stays_within_slacks_limits() -> None:
    check_limits(message(nasty_report()))
    many = [tenant(f"t{i}", "failed", message=f"reason {i}") for i in range(1000)]
    check_limits(message(report(many, outcomes=[outcome(f"c{i}") for i in range(1000)])))


@pytest.mark.parametrize("alone", NASTY)
def test_nothing_that_a_tenant_is_called_is_acted_upon(alone: str) -> None:
    single = report(
        [tenant(alone, "failed", message=alone)],
        outcomes=[outcome(alone)],
        notes=[error(alone)],
        exit_code=1,
    )
    for told in (message(single), message(nasty_report())):
        for text in (told["text"], *texts(told)):
            assert "<" not in text
            assert ">" not in text
            assert not re.search(r"&(?!amp;|lt;|gt;)", text)
        for block in told["blocks"]:
            if block["type"] == "section":
                assert block["text"]["verbatim"] is True
                # Title, one code block that is closed, and how many more there are.
                assert re.fullmatch(
                    r"\*[A-Z][a-z :,0-9]+\*\n```\n[^`]+\n```(\nand [\d,]+ more)?",
                    block["text"]["text"],
                )
            elif block["type"] == "context":
                (element,) = block["elements"]
                assert element["verbatim"] is True
                assert re.fullmatch(r"(`[^`\n]+`( |$))+", element["text"])


def test_it_says_what_failed_why_and_what_to_do() -> None:
    told = message(full_report())
    assert told["text"] == texts(told)[0]
    assert texts(told)[0] == (
        "❌ influxops on ops1: 1 created, 1 failed, 1 unknown, 1 blocked, 1 needs --allow, "
        "1 of 6 tenants already ok"
    )
    errors = section(told, "Errors").splitlines()
    assert "target eu2: connection refused" in errors
    assert "  -&gt; start it" in errors
    assert "telemetry_hooli on eu1: it answered 503" in errors
    assert "tenant 'a b': its database name holds a space" in errors
    assert "  -&gt; only if that is what you want: --allow shorter-retention" in errors
    assert section(told, "Created: 1") == "*Created: 1*\n```\neu1: telemetry_acme\n```"
    assert "no retention is managed" in section(told, "Warnings")
    assert "`iot@db.example:5432/iotcloud`" in texts(told)[-1]
    assert "eu2 http://eu2.example:8181 NOT READ" in texts(told)[-1]
    assert not any("belongs to no tenant" in text for text in texts(told))


def test_long_lists_are_shortened_and_counted() -> None:
    created = [outcome(f"t{i:03}") for i in range(60)]
    text = section(message(report(outcomes=created)), "Created: 60")
    shown = text.count("telemetry_")
    assert 5 < shown < 60
    assert text.endswith(f" and {60 - shown} more\n```")
    failed = [tenant(f"t{i}", "failed", message=f"reason {i}") for i in range(47)]
    assert section(message(report(failed, exit_code=1)), "Errors").endswith("```\nand 37 more")


def test_tenants_that_share_a_reason_are_one_line() -> None:
    silent = [tenant(f"t{i}", "unknown", message="eu2 is silent") for i in range(1000)]
    text = section(message(report(silent, exit_code=1)), "Errors")
    assert "1,000 tenants on eu1 (telemetry_t0, telemetry_t1, telemetry_t2 and 997 more): " in text


def test_a_full_fleet_cuts_the_servers_words_and_no_name() -> None:
    long = "no free slot: " + "the server said that it is full, " * 40
    full = [tenant(f"t{i}", "blocked", message=long, target=None) for i in range(30)]
    text = section(message(report(full, exit_code=1)), "Errors")
    assert "30 tenants (telemetry_t0, telemetry_t1, telemetry_t2 and 27 more): no free" in text


def test_an_acknowledged_tenant_is_no_error() -> None:
    known = Finding(FindingKind.INVALID_NAME, Severity.INFO, "known", tenant="a b")
    told = message(report([tenant("a b", "blocked", database="", finding=known)]))
    assert not any("Errors" in text for text in texts(told))
    assert told["text"].startswith("✅")


def test_a_registry_that_cannot_be_read_is_not_zero_of_zero_tenants() -> None:
    unread = (replace(REGISTRY, tenants=0, error="connection refused"),)
    down = report(notes=[error("connection refused", source="registry")], exit_code=1)
    told = message(replace(down, sources=unread))
    assert "0 of 0" not in told["text"]
    assert "tenants unknown, no source could be read" in told["text"]


def test_a_server_that_died_in_the_middle_is_named() -> None:
    dead = replace(EU1, reachable=False, error="connection reset")
    failed = [tenant(f"t{i}", "unknown", message="no answer") for i in range(3)]
    told = message(report(failed, notes=[unreachable("eu1")], targets=(dead,), exit_code=1))
    errors = section(told, "Errors").splitlines()
    assert "target eu1: connection refused" in errors
    assert "3 tenants on eu1 (telemetry_t0, telemetry_t1 and telemetry_t2): no answer" in errors
    assert "eu1 http://eu1.example:8181 NOT READ" in texts(told)[-1]
    assert "slots free" not in texts(told)[-1]


def test_what_is_over_is_told_with_when_it_began() -> None:
    told = message(report([tenant("x", "ok")]), datetime(2026, 11, 22, 2, 30, tzinfo=UTC))
    assert told["text"] == (
        "✅ influxops on ops1: well again, it was not since 2026-11-22 02:30 UTC, "
        "1 of 1 tenant already ok"
    )


def test_a_changed_retention_says_from_what_to_what() -> None:
    change = outcome(
        "x",
        "set-retention",
        before=database(),
        after=database(retention=30 * DAY),
    )
    assert "eu1, 30d, was kept for ever: telemetry_x" in section(
        message(report(outcomes=[change])), "Retention set: 1"
    )


def test_a_dry_run_is_told_as_one() -> None:
    told = message(report([tenant("x", "pending", "create")], dry_run=True))
    assert texts(told)[0].startswith("✅ influxops on ops1: 1 to create, ")
    assert texts(told)[0].endswith(", dry run")
    assert section(told, "To create: 1")


def test_an_interrupted_run_and_a_warning_show_in_the_title() -> None:
    assert "interrupted" in message(report(exit_code=130))["text"]
    assert message(report(notes=[warning("drift")]))["text"].startswith("⚠️")


def test_a_report_with_nothing_in_it_is_a_message() -> None:
    empty = replace(report(targets=()), sources=(replace(REGISTRY, location=""),))
    check_limits(message(empty))
    check_limits(message(report(targets=(EU1, EU2) * 100)))


def test_a_long_id_is_cut_and_named_once() -> None:
    id_ = "x" * 600
    held = tenant(id_, "blocked", database="", target=None, message="its database name is too long")
    text = section(message(report([held], exit_code=1)), "Err")
    assert (
        text.splitlines()[2]
        == f"tenant '{'x' * 59}…' (600 characters): its database name is too long"
    )


def test_what_is_written_out_at_length_still_fits() -> None:
    wild = "\U0010ffff" * 5000
    told = message(report([tenant("a", "failed", message=wild, hint=wild)], exit_code=1))
    check_limits(told)
    assert "telemetry_a on eu1: \\U0010ffff" in section(told, "Errors")
