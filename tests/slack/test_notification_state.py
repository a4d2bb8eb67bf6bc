"""A failure is posted once, and so is its end: the channel's notification state is kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from influxops.plugin import Report, RunContext, Secret
from influxops_slack.reporter import SlackReporter
from tests.reports.samples import REGISTRY, error, report, tenant, unreachable
from tests.slack.conftest import Answer, MakeReporter, Webhook

OK = report([tenant("x", "ok")])
FAILED = report([tenant("x", "failed", message="it answered 503")], exit_code=1)
START = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)

Told = Callable[..., list[str]]


@pytest.fixture
def told(webhook: Webhook, make_reporter: MakeReporter) -> Told:
    """Make runs, an hour apart; return the titles of their messages."""

    def tell(*reports: Report, hours: float = 1, **settings: str) -> list[str]:
        first = len(webhook.messages)
        for number, each in enumerate(reports):
            started = START + number * timedelta(hours=hours)
            reporter = make_reporter(**settings)
            reporter.influxops_report(replace(each, started=started), RunContext())
        return [message["text"] for message in webhook.messages[first:]]

    return tell


def test_a_failure_that_lasts_is_told_once_and_so_is_its_end(told: Told) -> None:
    failed, over = told(FAILED, FAILED, FAILED, OK, OK)
    assert failed.startswith("❌")
    assert over.startswith("✅")
    assert "well again, it was not since 2026-11-22 03:00 UTC" in over


def test_it_is_told_again_after_a_day(told: Told) -> None:
    assert len(told(*[FAILED] * 5, hours=10)) == 2


def test_another_failure_is_news(told: Told) -> None:
    other = report([tenant("y", "failed", message="it answered 503")], exit_code=1)
    assert len(told(FAILED, other, other)) == 2


def test_a_failure_whose_numbers_differ_is_the_same_one(told: Told) -> None:
    runs = [
        report(
            [tenant(f"t{i}", "unknown", message="its target cannot be read") for i in range(n)],
            notes=[replace(unreachable("eu1"), message=f"no answer for {n} s")],
            exit_code=1,
        )
        for n in (3, 4, 5)
    ]
    assert len(told(*runs)) == 1


def test_an_outage_of_the_registry_is_told_once(told: Told) -> None:
    down = report(notes=[error("connection refused", source="registry")], exit_code=1)
    down = replace(down, sources=(replace(REGISTRY, tenants=0, error="connection refused"),))
    assert len(told(down, down)) == 1


def test_changes_are_told_while_a_failure_lasts(told: Told, tmp_path: Path) -> None:
    both = report(
        [tenant("y", "changed", "create"), tenant("x", "failed", message="it answered 503")],
        exit_code=1,
    )
    assert len(told(FAILED, both, when="failures")) == 1
    assert len(told(FAILED, both, FAILED, state=str(tmp_path / "other"))) == 2


def test_runs_of_some_tenants_and_dry_runs_neither_know_nor_change_it(told: Told) -> None:
    some = replace(OK, is_limited=True)
    assert len(told(FAILED, some, replace(OK, dry_run=True), FAILED)) == 1
    assert len(told(replace(FAILED, is_limited=True))) == 1


def test_a_message_that_slack_did_not_take_is_tried_by_the_next_run(
    webhook: Webhook, told: Told
) -> None:
    webhook.answer(Answer(404, "no_service"), Answer())
    with pytest.raises(Exception, match="revoked"):
        told(FAILED)
    assert len(told(FAILED)) == 1


def test_each_section_and_each_webhook_has_its_own_state(
    webhook: Webhook, make_reporter: MakeReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_reporter().influxops_report(FAILED, RunContext())
    settings = SlackReporter.Settings(webhook=Secret(env="TEST_WEBHOOK"))
    SlackReporter("others", settings).influxops_report(FAILED, RunContext())
    monkeypatch.setenv("TEST_WEBHOOK", webhook.url + "2")
    make_reporter().influxops_report(FAILED, RunContext())
    assert len(webhook.requests) == 3


def test_no_file_holds_the_webhook(webhook: Webhook, told: Told, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    told(FAILED, state=str(folder))
    (kept,) = folder.iterdir()
    assert "s3cr3t" not in kept.name + kept.read_text()
    told(OK, state=str(folder))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"what": 1, "since": 2, "told": 3}'])
def test_a_broken_state_file_is_none(told: Told, tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "own"
    told(FAILED, state=str(folder))
    (kept,) = folder.iterdir()
    kept.write_bytes(content)
    assert len(told(FAILED, state=str(folder))) == 1


def test_without_a_place_for_it_every_failure_is_told_and_doctor_says_so(
    told: Told, make_reporter: MakeReporter, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    nowhere = str(tmp_path / "file" / "state")
    assert len(told(FAILED, FAILED, OK, state=nowhere)) == 2
    _, check = make_reporter(state=nowhere).influxops_check(RunContext())
    assert check.ok is None
    assert "cannot be written" in check.message
