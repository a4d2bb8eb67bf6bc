"""`SlackReporter`: posts to a channel what changed, what failed, and when that is over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from influxops.plugin import (
    Check,
    ConfigError,
    ExitCode,
    HealthChecks,
    Hint,
    InfluxopsError,
    Report,
    Reporter,
    ReporterSettings,
    RunContext,
    Secret,
    hookimpl,
    setting,
)
from influxops_slack.message import message
from influxops_slack.state import NotificationState, failure_of


class SlackReporter(Reporter, HealthChecks):
    """Posts one message per run to a Slack incoming webhook, when there is news.

    A failure that was posted is not repeated for a day, and its end is posted. Dry runs and runs
    that were limited to some tenants or targets neither use nor change that state.
    """

    class Settings(ReporterSettings):
        """Where and when to post."""

        webhook: Secret = setting(
            description="The incoming webhook's URL, which lets anybody post: "
            '`{env = "NAME"}` or `{file = "path"}`.',
            env=("SLACK_WEBHOOK",),
        )
        when: Literal["changes", "failures", "always"] = setting(
            "changes",
            description="`changes`: when something changed, failed, or is well again; "
            "`failures`: when something failed or needs a decision, or is well again; `always`: "
            "after each run.",
        )
        dry_runs: bool = setting(False, description="Whether dry runs are posted as well.")
        state: str | None = setting(
            None,
            description="The folder that keeps which failure was posted last; left out: "
            "`influxops` in XDG_STATE_HOME or ~/.local/state.",
            min_length=1,
        )

    settings: Settings

    @hookimpl
    def influxops_check(self, context: RunContext) -> Iterator[Check]:
        """Check whether the webhook can be read and is one, without posting to it."""
        from influxops_slack.delivery import check_webhook

        name = "the Slack webhook"
        try:
            webhook = self.settings.webhook.reveal()
            check_webhook(webhook)
        except InfluxopsError as error:
            yield Check(name, ok=False, message=error.message, hint=error.remedy)
            return
        yield Check(name, ok=True, message=f"it is read from {self.settings.webhook.origin}")
        state = NotificationState(self.settings.state, self.section, webhook)
        if not state.is_writable():
            yield Check(
                "Slack's notification state",
                ok=None,
                message=f"{state.path.parent} cannot be written: a failure that lasts is posted "
                "after each run, and its end is not",
                hint=Hint.setting("state", "set {} to a folder that can be"),
            )

    @hookimpl
    def influxops_report(self, report: Report, context: RunContext) -> None:
        """Post the message, if there is a reason to."""
        if report.dry_run and not self.settings.dry_runs:
            return
        is_due = self._is_due(report)
        has_news = is_due or report.exit_code is not ExitCode.OK
        is_partial = report.dry_run or report.is_limited
        if is_partial and not has_news:
            return
        try:
            webhook = self.settings.webhook.reveal()
        except ConfigError:
            if has_news:
                raise
            return  # no message would be posted
        if is_partial:
            self._post(webhook, report, context)
            return
        state = NotificationState(self.settings.state, self.section, webhook)
        former = state.load()
        failure = failure_of(report, former)
        recovered_since = former.since if former and not failure else None
        if not (is_due or recovered_since or (failure and failure.is_news(former))):
            return
        self._post(webhook, report, context, recovered_since)
        try:
            state.save(failure)
        except OSError as error:
            context.log.debug("%s cannot be written: %s", state.path, error)

    def _is_due(self, report: Report) -> bool:
        """Return whether a message is posted whatever was posted before."""
        changed = report.planned if report.dry_run else report.changed
        return self.settings.when == "always" or (self.settings.when == "changes" and bool(changed))

    def _post(
        self, webhook: str, report: Report, context: RunContext, since: datetime | None = None
    ) -> None:
        from influxops_slack.delivery import post  # imports what a run without news does not need

        post(webhook, message(report, since), context)
