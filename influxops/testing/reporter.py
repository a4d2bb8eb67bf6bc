"""What every reporter has to do."""

from __future__ import annotations

from typing import Any

from influxops.domain.finding import Finding
from influxops.domain.route import Route, Routes
from influxops.engine.operations import Ensure
from influxops.plugin_host.reporter import ReporterHandle
from influxops.runtime.context import RunContext
from influxops.testing.contract import PluginContract, skip
from influxops.testing.reports import sample_report, sample_reports, sample_start


class ReporterContract(PluginContract):
    """The contract of a reporter: say `plugin` and `settings`.

    Say `delivered`, too, where there is something to look at, and `unreachable` for a place where
    nothing can be delivered.
    """

    role = "reporters"
    #: What is delivered of the sample report, among other things: the id of its failed tenant.
    expected: str = "hooli"

    def delivered(self) -> str:
        """Return all that was delivered so far, as text."""
        skip("`delivered` is not said")

    def report(self, tested: ReporterHandle, **fields: Any) -> Finding | None:
        """Report a sample; return what went wrong."""
        return tested.report(sample_report(**fields), RunContext())

    def write_routes(self, tested: ReporterHandle) -> Finding | None:
        """Let it write sample routes, if it does; return what went wrong."""
        routes = Routes(1, (Route("telemetry_acme", "acme", "eu1", "http://eu1.example"),))
        return tested.write_routes(lambda context: routes, frozenset(), RunContext())

    def test_its_checks_tell_of_a_place_that_is_not_there(self) -> None:
        """They go on; whether a webhook is there is not to be tried by reporting something."""
        self.needs("influxops_check")
        with self.handle(self.unreachable_settings()) as tested:
            assert [*tested.checks(RunContext())], "it yields no check"

    def test_it_reports_every_sort_of_run(self) -> None:
        """Dry runs, failures, interrupted runs, runs without tenants: none breaks it."""
        for word, report in sample_reports():
            with self.handle() as tested:
                failure = tested.report(report, RunContext())
            assert failure is None, f"{word}: {failure.message}"

    def test_a_failure_is_delivered(self) -> None:
        """What is delivered of the sample report has what is `expected`."""
        with self.handle() as tested:
            failure = self.report(tested)
        assert failure is None, failure.message
        delivered = self.delivered()
        assert self.expected in delivered, f"{self.expected!r} is not in {delivered!r}"

    def test_what_is_delivered_steers_no_terminal_and_has_no_secret(self) -> None:
        """An id may hold anything: it is made harmless, and no secret is shown."""
        with self.handle() as tested:
            self.report(tested)
            secrets = [secret.reveal() for secret in tested.settings.secrets()]
        delivered = self.delivered()
        assert "\x1b" not in delivered, "an escape sequence of an id is delivered"
        assert not [secret for secret in secrets if secret in delivered], "a secret is delivered"

    def test_it_reports_again_and_after_others(self) -> None:
        """Each run has another instance, and one may report twice."""
        with self.handle() as tested:
            for _ in range(2):
                assert self.report(tested) is None

    def test_what_cannot_be_delivered_is_a_warning_with_a_hint(self) -> None:
        """It raises ReporterError, which changes nothing of the run."""
        with self.handle(self.unreachable_settings()) as tested:
            failure = self.report(tested) or self.write_routes(tested)
        assert failure is not None, "nothing was raised"
        assert "its plugin broke" not in failure.message, failure.message
        assert failure.hint, f"the warning has no hint: {failure.message}"

    def test_a_run_through_the_engine_reaches_it(self) -> None:
        """It reports a real run, too."""
        if self.implements("influxops_write_routes"):
            skip("routes need a ledger")
        tables = {"sources": {"memory": {"kind": "memory", "tenants": ["acme"]}}}
        with self.engine(**tables) as engine:
            report = engine.run(Ensure(), RunContext())
        assert report.exit_code == 0
        failures = [each.message for each in report.notes if each.reporter]
        assert not failures, failures

    def test_it_announces_the_start(self) -> None:
        """Before anything is written."""
        self.needs("influxops_started")
        with self.handle() as tested:
            failure = tested.started(sample_start(), RunContext())
        assert failure is None, failure.message

    def test_it_writes_routes(self) -> None:
        """They may be written again, and are read each time."""
        self.needs("influxops_write_routes")
        with self.handle() as tested:
            for _ in range(2):
                failure = self.write_routes(tested)
                assert failure is None, failure.message
