"""The view that all faces share: groups, counts and words, in the words of its face."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from influxops.plugin import (
    ANSIBLE_STYLE,
    CLI_STYLE,
    FindingKind,
    Hint,
    HintStyle,
    ReportView,
    Severity,
    TargetCapabilities,
    format_retention,
)
from influxops.report.model import Report
from tests.reports.samples import (
    DAY,
    EU1,
    EU2,
    database,
    error,
    full_report,
    outcome,
    report,
    tenant,
)


@pytest.mark.parametrize(
    ("remedy", "command_line", "task"),
    [
        (Hint.advise("start it"), "start it", "start it"),
        (Hint.advise("SELECT '{}'"), "SELECT '{}'", "SELECT '{}'"),
        (Hint.allow("drop", "if meant"), "if meant: --allow drop", "if meant: `allow: [drop]`"),
        (
            Hint.option("timeout", "give it more with {}"),
            "give it more with --timeout",
            "give it more with `timeout`",
        ),
        (
            Hint.command("ensure --verify"),
            "run influxops ensure --verify",
            "run the task with `verify: true`",
        ),
        (Hint.command("doctor"), "run influxops doctor", "run `influxops doctor`"),
        (Hint.setting("url"), "check `url`", "check `url`"),
        (
            Hint.setting("url").located("target:eu1", "INFLUXDB_URL"),
            "check INFLUXDB_URL",
            "check INFLUXDB_URL",
        ),
        (Hint.advise("line\nbreak"), "line\\nbreak", "line\\nbreak"),
        (Hint.advise(""), "", ""),
    ],
)
def test_each_face_has_its_own_words_for_what_to_do(
    remedy: Hint, command_line: str, task: str
) -> None:
    def told(words: HintStyle) -> str:
        (group,) = ReportView(report(notes=[error("m", remedy)]), words).groups(Severity.ERROR)
        return group.advice

    assert (told(CLI_STYLE), told(ANSIBLE_STYLE)) == (command_line, task)


def test_causes_come_before_whom_they_concern_and_guards_are_told_once() -> None:
    groups = ReportView(full_report(), ANSIBLE_STYLE).groups(Severity.ERROR)
    assert [group.line() for group in groups] == [
        "target eu2: connection refused",
        "refused by the guard shorter-retention: would be given a shorter retention period: "
        "telemetry_globex on eu1",
        "telemetry_hooli on eu1: it answered 503",
        "telemetry_stark: its target is silent",
        "tenant 'a b': its database name holds a space",
    ]
    assert groups[1].advice == "only if that is what you want: `allow: [shorter-retention]`"


def test_tenants_that_share_all_they_say_are_one_group_that_names_each_target() -> None:
    alike = [
        tenant(f"t{i}", "unknown", message="silent", target=f"eu{1 + i % 2}") for i in range(6)
    ]
    other = tenant("x", "unknown", message="silent", hint="wake it")
    groups = ReportView(report([*alike, other], targets=(EU1, EU2))).groups(Severity.ERROR)
    assert [group.line(most=2) for group in groups] == [
        "6 tenants on eu1 and eu2 (telemetry_t0, telemetry_t1 and 4 more): silent",
        "telemetry_x on eu1: silent",
    ]
    assert groups[0].tenants == ("t0", "t1", "t2", "t3", "t4", "t5")


def test_ids_that_no_source_knows_are_told_together() -> None:
    notes = [
        error("no source knows it", tenant=f"t{i}", kind=FindingKind.UNKNOWN_TENANT)
        for i in range(9)
    ]
    (group,) = ReportView(report(notes=notes)).run_groups
    assert group.line(most=1) == "9 tenants (tenant 't0' and 8 more): no source knows it"


def test_what_was_done_is_told_in_the_targets_own_words() -> None:
    marker = ReportView(report([tenant("x", "changed", "create", "add-marker")]))
    assert marker.action_text(marker.report.tenants[0]) == "created, marker added"
    schemas = (replace(EU1, capabilities=TargetCapabilities("PostgreSQL")),)
    plain = ReportView(report([tenant("x", "changed", "create", "add-marker")], targets=schemas))
    assert plain.action_text(plain.report.tenants[0]) == "created, completed"
    assert not plain.has_retention


def test_a_database_that_was_made_and_not_finished_is_told_as_made() -> None:
    view = ReportView(
        report(outcomes=[outcome("x", status="failed", message="m", partially_applied=True)])
    )
    assert view.action_text(view.report.tenants[0]) == "created, failed"
    assert [*view.changes] == ["created"]


def test_a_move_that_was_interrupted_is_called_so_whatever_it_has_created() -> None:
    why = error("it stays on eu1", kind=FindingKind.INTERRUPTED)
    copied = outcome("x", "create", target="eu2")
    moved = tenant("x", "failed", "create", "move", finding=why, outcomes=(copied,))
    view = ReportView(report([moved], exit_code=130))
    assert view.action_text(moved) == "interrupted"
    assert dict(view.counts) == {"ok": 0, "failed": 0, "interrupted": 1}


@pytest.mark.parametrize(
    ("verdict", "values", "exists"),
    [
        ("ok", {"before": database()}, True),
        ("pending", {}, False),
        ("unknown", {"message": "m"}, None),
        ("pending", {"unseen_on": ("eu2",)}, None),
        ("blocked", {"message": "its name is bad"}, False),
        ("blocked", {"finding": error("shared", kind=FindingKind.NAME_COLLISION)}, None),
        ("blocked", {"finding": error("full", kind=FindingKind.OVER_CAPACITY)}, False),
        ("blocked", {"finding": error("on both", kind=FindingKind.IN_TWO_TARGETS)}, True),
        ("guarded", {"message": "m", "before": database()}, True),
        ("guarded", {"message": "m"}, False),
    ],
)
def test_whether_a_database_exists_is_said_only_where_it_is_known(
    verdict: str, values: dict[str, object], exists: bool | None
) -> None:
    view = ReportView(report([tenant("x", verdict, **values)], dry_run=True))
    assert view.exists(view.report.tenants[0]) is exists


def test_no_retention_period_is_for_ever() -> None:
    assert [format_retention(v) for v in (None, 30 * DAY)] == ["kept for ever", "30d"]


def _operations(of: Report) -> int:
    """Count the lines that a view takes to tell all of it."""
    import sys

    lines = 0

    def trace(frame: object, event: str, argument: object) -> object:
        nonlocal lines
        lines += 1
        return trace

    former = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        view = ReportView(of)
        for severity in Severity:
            for group in view.groups(severity):
                group.line()
        view.summary()
        view.next_steps()
    finally:
        sys.settrace(former)
    return lines


@pytest.mark.parametrize("alike", [True, False])
def test_telling_ten_times_the_tenants_takes_ten_times_the_work(alike: bool) -> None:
    def of(number: int) -> Report:
        tenants = [
            tenant(f"t{i}", "guarded", message="m" if alike else f"m{i}") for i in range(number)
        ]
        return report(tenants, exit_code=4)

    assert _operations(of(2000)) < 11 * _operations(of(200))


def test_a_change_is_counted_under_what_is_done_first() -> None:
    made = [tenant("a", "changed", "create", "add-marker"), tenant("b", "changed", "add-marker")]
    assert ReportView(report(made)).counts == {
        "ok": 0,
        "created": 1,
        "marker added": 1,
        "failed": 0,
    }
