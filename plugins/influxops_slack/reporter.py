"""`SlackReporter`: tells a channel what changed, what failed, and when that is over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from influxops.plugin import (
    Check,
    ConfigError,
    Context,
    ExitCode,
    InfluxopsError,
    Remedy,
    Report,
    Reporter,
    ReporterSettings,
    Secret,
    hookimpl,
    setting,
)

if TYPE_CHECKING:
    from influxops_slack.state import Memory


class SlackReporter(Reporter):
    """Posts one message a run to a Slack incoming webhook, when there is something new to say.

    A failure that was told is not told again for a day, and told as over once it is. Dry runs
    and runs that were limited to some tenants or targets know nothing of that.
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
        dry_runs: bool = setting(False, description="Whether dry runs are told as well.")
        state: str | None = setting(
            None,
            description="The folder that keeps which failure was told last; left out: "
            "`influxops` in XDG_STATE_HOME or ~/.local/state.",
            min_length=1,
        )

    settings: Settings

    @hookimpl
    def influxops_check(self) -> Iterator[Check]:
        """Look whether the webhook can be read and is one, without posting to it."""
        from influxops_slack.delivery import check_webhook

        name = "the Slack webhook"
        try:
            webhook = self.settings.webhook.reveal()
            check_webhook(webhook)
        except InfluxopsError as error:
            yield Check(name, ok=False, message=error.message, hint=error.remedy)
            return
        yield Check(name, ok=True, message=f"it is read from {self.settings.webhook.origin}")
        memory = self._memory(webhook)
        if not memory.is_writable():
            yield Check(
                "what Slack was told",
                ok=None,
                message=f"{memory.path.parent} cannot be written: a failure that lasts is told "
                "after each run, and not when it is over",
                hint=Remedy.setting("state", "set {} to a folder that can be"),
            )

    @hookimpl
    def influxops_report(self, report: Report, context: Context) -> None:
        """Post the message, if there is a reason to.

        Raises:
            ReporterError: When Slack did not take it.
            ConfigError: When the webhook cannot be read.
        """
        if report.dry_run and not self.settings.dry_runs:
            return
        told_anyway = self._is_told_anyway(report)
        matters = told_anyway or report.exit_code is not ExitCode.OK
        if report.dry_run or report.is_limited:
            if matters:
                self._post(self.settings.webhook.reveal(), report, context)
            return
        try:
            webhook = self.settings.webhook.reveal()
        except ConfigError:
            if matters:
                raise
            return  # there is nothing to say
        from influxops_slack.state import failure_of

        memory = self._memory(webhook)
        former = memory.failure()
        failure = failure_of(report, former)
        is_over = former is not None and failure is None
        if not (told_anyway or is_over or (failure is not None and failure.is_news(former))):
            return
        self._post(webhook, report, context, since=former.since if former and is_over else None)
        try:
            memory.keep(failure)
        except OSError as error:
            context.log.debug("%s cannot be written: %s", memory.path, error)

    def _is_told_anyway(self, report: Report) -> bool:
        changed = report.planned if report.dry_run else report.changed
        return self.settings.when == "always" or (self.settings.when == "changes" and bool(changed))

    def _post(
        self, webhook: str, report: Report, context: Context, since: datetime | None = None
    ) -> None:
        # Both pull in modules that a run without news does not need.
        from influxops_slack.delivery import post
        from influxops_slack.message import message

        post(webhook, message(report, since), context)

    def _memory(self, webhook: str) -> Memory:
        from influxops_slack.state import Memory

        return Memory(self.settings.state, self.section, webhook)
