"""When the webhook is posted to, what is made of its answers, and what is never told."""

from __future__ import annotations

import logging
import socket
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import pytest

from influxops.plugin import ConfigError, Report, ReporterError, RunContext, Secret
from influxops_slack import delivery
from influxops_slack.reporter import SlackReporter
from tests.reports.samples import report, tenant, warning
from tests.slack.conftest import SECRET_PATH, Answer, MakeReporter, Webhook

QUIET = report([tenant("x", "ok")])
CHANGED = report([tenant("x", "changed", "create")])
FAILED = report([tenant("x", "failed", message="it answered 503")], exit_code=1)
WARNED = report([tenant("x", "ok")], notes=[warning("drift")])
DRY = report([tenant("x", "pending", "create")], dry_run=True)


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_BACKOFF", (0.01, 0.01))


def test_one_message_a_run(webhook: Webhook, make_reporter: MakeReporter) -> None:
    make_reporter().influxops_report(CHANGED, RunContext())
    ((line, headers, _),) = webhook.requests
    assert line == f"POST {SECRET_PATH} HTTP/1.1"
    assert headers["content-type"] == "application/json"
    assert webhook.messages[0]["text"].startswith("✅ influxops on ops1: 1 created")


@pytest.mark.parametrize(
    ("when", "dry_runs", "told"),
    [
        ("changes", False, [CHANGED, FAILED]),
        ("failures", False, [FAILED]),
        ("always", False, [QUIET, CHANGED, FAILED, WARNED]),
        ("changes", True, [CHANGED, FAILED, DRY]),
        ("failures", True, [FAILED]),
        ("always", True, [QUIET, CHANGED, FAILED, WARNED, DRY]),
    ],
)
def test_only_what_was_asked_for_is_told(
    webhook: Webhook,
    make_reporter: MakeReporter,
    tmp_path: Path,
    when: str,
    dry_runs: bool,
    told: list[Report],
) -> None:
    for number, of in enumerate((QUIET, CHANGED, FAILED, WARNED, DRY)):
        # None knows what was posted before.
        reporter = make_reporter(when=when, dry_runs=dry_runs, state=str(tmp_path / str(number)))
        before = len(webhook.requests)
        reporter.influxops_report(of, RunContext())
        assert (len(webhook.requests) > before) == any(of is one for one in told)


def test_a_run_without_news_needs_no_webhook(make_reporter: MakeReporter) -> None:
    make_reporter().influxops_report(QUIET, RunContext())


def test_a_missing_webhook_is_said(make_reporter: MakeReporter) -> None:
    with pytest.raises(ConfigError, match="TEST_WEBHOOK"):
        make_reporter().influxops_report(CHANGED, RunContext())


def test_it_waits_as_long_as_slack_asks(webhook: Webhook, make_reporter: MakeReporter) -> None:
    webhook.answer(Answer(429, "rate_limited", {"Retry-After": "1"}), Answer())
    make_reporter().influxops_report(CHANGED, RunContext())
    first, second = webhook.times
    assert second - first >= 1
    assert webhook.requests[0][2] == webhook.requests[1][2]


def test_it_does_not_wait_longer_than_its_time(
    webhook: Webhook, make_reporter: MakeReporter
) -> None:
    webhook.answer(Answer(429, "", {"Retry-After": "30"}))
    started = time.monotonic()
    with pytest.raises(ReporterError, match="asks to wait 30 s") as caught:
        make_reporter().influxops_report(CHANGED, RunContext(timeout=20))
    assert time.monotonic() - started < 10
    assert len(webhook.requests) == 1
    assert "timeout" in caught.value.hint


def test_trouble_of_slacks_own_is_tried_again(
    webhook: Webhook, make_reporter: MakeReporter
) -> None:
    webhook.answer(Answer(503, "x"), Answer(raw=b""), Answer())
    make_reporter().influxops_report(CHANGED, RunContext())
    assert len(webhook.requests) == 3


def test_it_gives_up_after_the_third_attempt(webhook: Webhook, make_reporter: MakeReporter) -> None:
    webhook.answer(Answer(500, "rollup_error"))
    with pytest.raises(ReporterError, match=r"trouble of its own \(status 500, rollup_error\)"):
        make_reporter().influxops_report(CHANGED, RunContext())
    assert len(webhook.requests) == 3


@pytest.mark.parametrize(
    ("status", "text", "why", "hint"),
    [
        (404, "no_service", "revoked", "new incoming webhook"),
        (403, "invalid_token", "no longer good", "new incoming webhook"),
        (410, "channel_is_archived", "archived", "unarchive it"),
        (404, "channel_not_found", "channel is gone", "new incoming webhook"),
        (403, "action_prohibited", "forbids", "administrator"),
        (400, "invalid_payload", "refused the message", "report it"),
        (404, "<html>nginx</html>", "not known there", "new incoming webhook"),
        (302, "", "leads elsewhere", "new incoming webhook"),
        (418, "", "refused the message", "report it"),
    ],
)
def test_slacks_refusals_say_what_to_do_and_are_not_repeated(
    webhook: Webhook, make_reporter: MakeReporter, status: int, text: str, why: str, hint: str
) -> None:
    webhook.answer(Answer(status, text, {"Location": webhook.url} if status == 302 else {}))
    with pytest.raises(ReporterError) as caught:
        make_reporter().influxops_report(CHANGED, RunContext())
    assert why in caught.value.message
    assert hint in caught.value.hint
    assert f"status {status}" in caught.value.message
    assert "<html>" not in str(caught.value)
    assert len(webhook.requests) == 1


def test_a_silent_slack_ends_with_its_time_and_is_not_told_twice(
    webhook: Webhook, make_reporter: MakeReporter
) -> None:
    release = threading.Event()
    webhook.answer(Answer(wait=release))
    started = time.monotonic()
    with pytest.raises(ReporterError, match="no answer in time"):
        make_reporter().influxops_report(CHANGED, RunContext(timeout=0.3))
    assert time.monotonic() - started < 3
    assert len(webhook.requests) == 1
    release.set()


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_slack_that_drips_its_answer_ends_with_its_time_and_its_connection_is_shut(
    webhook: Webhook, make_reporter: MakeReporter, interrupted: bool
) -> None:
    webhook.answer(Answer(drip=True))
    context = RunContext(timeout=None if interrupted else 0.5)

    def interrupt() -> None:
        webhook.arrived.wait(10)
        context.cancel()

    if interrupted:
        threading.Thread(target=interrupt).start()
    started = time.monotonic()
    with pytest.raises(ReporterError, match="no answer in time"):
        make_reporter().influxops_report(CHANGED, context)
    assert time.monotonic() - started < 3
    assert webhook.hung_up.wait(10)


def test_no_message_is_sent_by_what_was_left_behind(
    webhook: Webhook, make_reporter: MakeReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved, over = threading.Event(), threading.Event()
    real = socket.getaddrinfo

    def slow(*args: Any, **options: Any) -> Any:
        resolved.set()
        over.wait(10)
        return real(*args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with pytest.raises(ReporterError, match="no connection could be made in time"):
        make_reporter().influxops_report(CHANGED, RunContext(timeout=0.2))
    assert resolved.is_set()
    left = [each for each in threading.enumerate() if each.name == "influxops-detached"]
    over.set()
    for each in left:
        each.join(10)
    assert not webhook.requests


@pytest.mark.parametrize(
    "answer",
    [
        Answer(),
        Answer(404, "no_service"),
        Answer(500, SECRET_PATH),
        Answer(302, "", {"Location": SECRET_PATH}),
        Answer(raw=b"gibberish\r\n\r\n"),
        Answer(429, "", {"Retry-After": "99"}),
    ],
    ids=["ok", "gone", "trouble", "redirect", "gibberish", "busy"],
)
def test_the_webhook_is_never_told(
    webhook: Webhook, make_reporter: MakeReporter, caplog: pytest.LogCaptureFixture, answer: Answer
) -> None:
    webhook.answer(answer)
    reporter = make_reporter()
    told = repr(reporter.settings)
    with caplog.at_level(logging.DEBUG):
        try:
            reporter.influxops_report(CHANGED, RunContext(timeout=5))
        except ReporterError as error:
            told += str(error) + repr(error)
            told += "".join(traceback.format_exception(error, chain=True))
            assert error.__context__ is None
    assert "s3cr3t" not in told + caplog.text


def test_the_webhook_is_not_told_when_nobody_is_there(
    make_reporter: MakeReporter,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}{SECRET_PATH}"
    monkeypatch.setenv("TEST_WEBHOOK", url)
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(ReporterError, match="no connection could be made") as caught,
    ):
        make_reporter().influxops_report(CHANGED, RunContext())
    told = "".join(traceback.format_exception(caught.value, chain=True))
    assert "s3cr3t" not in told + caplog.text
    assert "https_proxy" in caught.value.hint


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("hooks.slack.com/services/s3cr3t", "no URL"),
        ("ftp://hooks.slack.com/s3cr3t", "no URL"),
        ("https://", "no URL"),
        ("https://hooks.slack.com:s3cr3t/", "no URL"),
        ("http://hooks.slack.com/services/s3cr3t", "no https URL"),
    ],
)
def test_what_is_no_webhook_is_refused_unseen(
    make_reporter: MakeReporter, monkeypatch: pytest.MonkeyPatch, url: str, why: str
) -> None:
    monkeypatch.setenv("TEST_WEBHOOK", url)
    with pytest.raises(ReporterError, match=why) as caught:
        make_reporter().influxops_report(CHANGED, RunContext())
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value, chain=True))
    (check,) = make_reporter().influxops_check(RunContext())
    assert check.ok is False
    assert "s3cr3t" not in check.message


def test_a_proxy_is_used_and_its_password_not_told(
    webhook: Webhook, make_reporter: MakeReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    reporter = make_reporter()
    monkeypatch.setenv("TEST_WEBHOOK", f"https://hooks.slack.invalid{SECRET_PATH}")
    monkeypatch.setenv("https_proxy", f"http://ops:pr0xy@127.0.0.1:{webhook.port}")
    webhook.answer(Answer(403, "no"))
    with pytest.raises(ReporterError) as caught:
        reporter.influxops_report(CHANGED, RunContext())
    line, headers, _ = webhook.requests[0]
    assert line.startswith("CONNECT hooks.slack.invalid:443 ")
    assert headers["proxy-authorization"].startswith("Basic ")
    told = "".join(traceback.format_exception(caught.value, chain=True))
    assert "pr0xy" not in told
    assert "s3cr3t" not in told
    monkeypatch.setenv("no_proxy", "slack.invalid")
    webhook.requests.clear()
    with pytest.raises(ReporterError, match="name cannot be resolved"):
        reporter.influxops_report(CHANGED, RunContext())
    assert not webhook.requests


def test_doctor_looks_at_the_webhook_without_posting(
    webhook: Webhook, make_reporter: MakeReporter, tmp_path: Path
) -> None:
    (check,) = make_reporter().influxops_check(RunContext())
    assert check.ok
    assert "TEST_WEBHOOK" in check.message
    missing = SlackReporter.Settings(webhook=Secret(file=str(tmp_path / "none")))
    (check,) = SlackReporter("reporter:ops", missing).influxops_check(RunContext())
    assert check.ok is False
    assert check.hint
    assert not webhook.requests
