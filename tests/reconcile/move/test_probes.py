"""Moves that ask proxies whether clients are led on, instead of waiting for all of them."""

from __future__ import annotations

import http.server
import itertools
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from influxops.domain.copy import CopyRequest
from influxops.domain.finding import FindingKind, Severity
from influxops.engine.operations import DropDue, Move
from influxops.errors import ConfigError
from influxops.plugin import ExitCode, Report
from influxops.reconcile.move import probes
from influxops.reconcile.move.probes import why_not_yet
from influxops.reconcile.plan.retire import Retire
from influxops.runtime.context import RunContext
from tests.bench import Bench

#: Seconds after which a move is called stuck: long before it has waited for clients.
STUCK = 120


class FakeProxy(http.server.ThreadingHTTPServer):
    """A proxy that answers as `answer` says: a status, and a version."""

    def __init__(self, answer: Callable[[str], tuple[int, int]]) -> None:
        self.answer, self.asked = answer, list[str]()
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/influxops-route-version"
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self.thread.start()

    def stop(self) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    server: FakeProxy

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        status, version = self.server.answer(self.path)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(f"{version}\n".encode() if status == 200 else b"<html>")

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def proxies() -> Iterator[Callable[..., FakeProxy]]:
    started = list[FakeProxy]()

    def start(answer: Callable[[str], tuple[int, int]]) -> FakeProxy:
        started.append(FakeProxy(answer))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def routed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Give a bench with two targets and two tenants, whose clients are waited for an hour."""
    monkeypatch.setattr(probes, "_ASK_AGAIN", 0.01)
    bench.extra = {"ledger": {"kind": "books", "world": bench.name, "cache_ttl": "1h"}}
    bench.targets = ("eu1", "eu2")
    bench.tenants("a", "b")
    bench.run()
    bench.server("eu1").write("telemetry_a", k0=0)
    return bench


def current(bench: Bench) -> int:
    return bench.world.books.route_version


def move(bench: Bench, *urls: str, tenants: tuple[str, ...] = ("a",), **routing: Any) -> Report:
    bench.extra["routing"] = {"probes": [*urls], **routing}
    with bench.engine() as engine:
        context = RunContext(STUCK, tenants=frozenset(tenants))
        return engine.run(Move("eu2"), context)


def warnings(report: Report) -> list[str]:
    notes = [note for plan in report.tenants for note in plan.findings]
    return [n.message for n in notes if n.severity is Severity.WARNING]


def test_clients_are_not_waited_for_once_all_proxies_have_the_routes(
    routed: Bench, proxies: Callable[..., FakeProxy]
) -> None:
    counts = itertools.count()
    first = proxies(lambda path: (200, current(routed)))
    # This one loads them only after a while.
    late = proxies(lambda path: (200, current(routed) - (next(counts) < 5)))
    report = move(routed, first.url, late.url)
    assert report.exit_code is ExitCode.OK
    assert warnings(report) == []
    assert next(counts) > 5
    record = routed.world.books.records["a"]
    assert (record.state, record.target) == ("ready", "eu2")
    # Right after the cut-over what is young, the same again at the end, and then all.
    passes = [order.recent for order in routed.server("eu1").orders if order.only_missing]
    assert passes == [True, True, False]


def test_requests_that_old_workers_have_not_finished_are_waited_for(
    routed: Bench, proxies: Callable[..., FakeProxy]
) -> None:
    counts = itertools.count()

    def answer(path: str) -> tuple[int, int]:
        number = next(counts)
        if number == 3:  # the last one of them ends with a row
            routed.server("eu1").write("telemetry_a", last=1)
        return (503, 0) if number <= 3 else (200, current(routed))

    proxy = proxies(answer)
    report = move(routed, proxy.url)
    assert report.exit_code is ExitCode.OK
    assert warnings(report) == []
    assert {path.partition("?")[2] for path in proxy.asked} == {"in_flight=eu1:telemetry_a"}
    assert routed.server("eu2").data["telemetry_a"] == {"k0": 0, "last": 1}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda version: (200, version - 1), "of the routes, not"),
        (lambda version: (503, 0), "still has a request for eu1"),
        (lambda version: (404, 0), "answers 404 without a version"),
        (None, "does not answer"),
    ],
)
def test_one_proxy_that_is_late_lets_clients_be_waited_for_and_is_named(
    routed: Bench,
    proxies: Callable[..., FakeProxy],
    answer: Callable[[int], tuple[int, int]] | None,
    why: str,
) -> None:
    routed.extra["ledger"]["cache_ttl"] = "2s"
    good = proxies(lambda path: (200, current(routed)))
    url = "http://127.0.0.1:9/influxops-route-version"
    if answer is not None:
        url = proxies(lambda path: answer(current(routed))).url
    report = move(routed, good.url, url, timeout="1s")
    assert report.exit_code is ExitCode.OK
    (warning,) = warnings(report)
    assert "within 1s, so that these were waited for as without proxies (2 s)" in warning
    assert f"{url} " in warning
    assert why in warning
    assert good.url not in warning
    assert routed.world.books.records["a"].target == "eu2"


def test_a_proxy_that_is_late_is_not_waited_for_again(
    routed: Bench, proxies: Callable[..., FakeProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    routed.extra["ledger"]["cache_ttl"] = "2s"
    monkeypatch.setattr(probes, "_ASK_AGAIN", 0.3)
    proxy = proxies(lambda path: (200, 0))
    report = move(routed, proxy.url, tenants=("a", "b"), timeout="1s")
    assert len(warnings(report)) == 2
    of_second = [path for path in proxy.asked if path.endswith("_b")]
    assert len(of_second) == 1
    assert len(proxy.asked) > 2


def test_a_name_is_asked_for_in_each_form_that_clients_send(
    proxies: Callable[..., FakeProxy],
) -> None:
    proxy = proxies(lambda path: (200, 7))
    assert why_not_yet([proxy.url], 7, "my db", "eu 1", RunContext()) == ""
    found = [path.partition("?")[2] for path in proxy.asked]
    assert sorted(found) == ["in_flight=eu%201:my%20db", "in_flight=eu%201:my+db"]


def test_what_a_probe_s_url_asks_for_is_not_repeated(proxies: Callable[..., FakeProxy]) -> None:
    proxy = proxies(lambda _: (200, 6))
    told = why_not_yet([f"{proxy.url}?token=s3cret"], 7, "db", "eu1", RunContext())
    assert told.startswith(f"{proxy.url} ")
    assert "s3cret" not in told


def test_a_probe_that_is_no_url_is_refused_where_it_is_written(routed: Bench) -> None:
    with pytest.raises(ConfigError, match=r"number 2 is no URL as `http://proxy1:8080/PATH`"):
        move(routed, "http://proxy1:8080/v", "proxy2:8080/v")
    with pytest.raises(ConfigError, match="number 1 is no URL"):
        move(routed, "http://ops:secret@proxy1/v")


def test_without_probes_clients_are_waited_for(routed: Bench) -> None:
    routed.extra["ledger"]["cache_ttl"] = "2s"
    stages: list[str] = []
    with routed.engine() as engine:
        context = RunContext(
            STUCK,
            tenants=frozenset(["a"]),
            on_stage=lambda label, total: stages.append(label),
        )
        report = engine.run(Move("eu2"), context)
    assert report.exit_code is ExitCode.OK
    assert any("for clients that still use the old target" in stage for stage in stages)
    assert not any(note.kind is FindingKind.REPORTER for note in report.notes)


def test_a_move_that_was_killed_after_the_cut_over_asks_again_and_looks_at_all(
    routed: Bench, proxies: Callable[..., FakeProxy]
) -> None:
    proxy = proxies(lambda path: (200, current(routed)))

    class Killed(BaseException):
        pass

    def copying(order: CopyRequest) -> None:
        if order.only_missing:
            raise Killed

    routed.server("eu1").copying = copying
    with pytest.raises(Killed):
        move(routed, proxy.url)
    assert routed.world.books.records["a"].target == "eu2"
    assert proxy.asked == []
    routed.world.books.living.clear()
    routed.server("eu1").copying = lambda order: None
    routed.server("eu1").write("telemetry_a", late=1)
    routed.server("eu1").orders.clear()
    assert move(routed, proxy.url).exit_code is ExitCode.OK
    assert proxy.asked
    passes = [order.recent for order in routed.server("eu1").orders if not order.dry_run]
    assert passes == [False, False]
    assert routed.server("eu2").data["telemetry_a"] == {"k0": 0, "late": 1}
    assert routed.world.books.records["a"].state == "ready"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda version: (200, version - 1), "of the routes, not"),
        (lambda version: (503, 0), "still has a request for eu1"),
        (lambda version: (200, version), ""),
    ],
)
def test_a_database_is_dropped_once_no_proxy_leads_clients_to_it_any_more(
    routed: Bench,
    proxies: Callable[..., FakeProxy],
    answer: Callable[[int], tuple[int, int]],
    why: str,
) -> None:
    routed.tenants("b")
    routed.run(operation=Retire(("a",)), allow=["recent-telemetry"])
    routed.world.books.now += timedelta(days=8)
    proxy = proxies(lambda path: answer(current(routed)))
    routed.extra["routing"] = {"probes": [proxy.url], "timeout": "1s"}
    report = routed.run(operation=DropDue(), allow=["recent-telemetry", "drop"])
    assert proxy.asked
    assert all(path.endswith("in_flight=eu1:telemetry_a") for path in proxy.asked)
    is_there = "telemetry_a" in routed.server("eu1").databases
    assert is_there is bool(why)
    found = [f.message for f in report.findings if "clients may still be led to it" in f.message]
    assert [why in message for message in found] == ([True] if why else [])
    assert routed.world.books.records["a"].state == ("retiring" if why else "retired")
    assert not routed.world.books.records["a"].claimed_by


def test_a_version_that_the_ledger_does_not_have_yet_says_nothing(
    proxies: Callable[..., FakeProxy],
) -> None:
    proxy = proxies(lambda _: (200, 30))

    def why(newest: int) -> str:
        return why_not_yet([proxy.url], 7, "db", "eu1", RunContext(), lambda: newest)

    assert why(30) == why(31) == ""  # others have changed routes since
    assert "has version 30 of the routes, and the ledger 7: that was restored" in why(7)


def test_doctor_asks_each_proxy(routed: Bench, proxies: Callable[..., FakeProxy]) -> None:
    versions = [current(routed), current(routed) - 1, current(routed) + 1]
    urls = [proxies(lambda _, version=version: (200, version)).url for version in versions]
    urls.append("http://127.0.0.1:9/v")
    routed.extra["routing"] = {"probes": urls}
    with routed.engine() as engine:
        found = [check for name, check in engine.doctor(RunContext()) if name == "routing"]
    assert [check.ok for check in found] == [True, False, False, False]
    said = [check.message for check in found]
    assert [url in message for url, message in zip(urls, said, strict=True)] == [True] * 4
    assert "of the routes, not" in said[1]
    assert "that was restored" in said[2]
    assert "does not answer" in said[3]
