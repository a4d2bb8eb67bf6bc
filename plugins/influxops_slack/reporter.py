"""`SlackReporter`: tells a channel what changed and what failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from influxops import (
    Check,
    InfluxopsError,
    Interrupted,
    Report,
    ReporterSettings,
    Run,
    Secret,
    hookimpl,
    setting,
)

#: Seconds that a message gets though the run's own time is over.
_LAST_WORDS = 2.0
#: Exit codes of a run in which nothing failed; 3 says that a dry run would change something.
_FINE = (0, 3)


class SlackReporter:
    """Posts one message a run to a Slack incoming webhook.

    Args:
        section: The name of its section.
        settings: Its settings.
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
            description="`changes`: when something changed or failed; `failures`: when something "
            "failed or needs a decision; `always`: after each run.",
        )
        dry_runs: bool = setting(False, description="Whether dry runs are told as well.")
        budget: float = setting(
            10.0,
            description="Seconds that delivery may take, waiting for Slack included.",
            gt=0,
            le=300,
        )

    def __init__(self, section: str, settings: Settings) -> None:
        self.section = section
        self.settings = settings

    @hookimpl
    def influxops_check(self, run: Run) -> Iterator[Check]:
        """Look whether the webhook can be read and is one, without posting to it."""
        from influxops_slack.delivery import check_webhook

        name = "the Slack webhook"
        try:
            check_webhook(self.settings.webhook.reveal())
        except InfluxopsError as error:
            yield Check(name, ok=False, message=error.message, hint=error.hint)
        else:
            yield Check(name, ok=True, message=f"it is read from {self.settings.webhook.origin}")

    @hookimpl
    def influxops_report(self, report: Report, run: Run) -> None:
        """Post the message, if there is a reason to.

        Raises:
            ReporterError: When Slack did not take it.
            ConfigError: When the webhook cannot be read.
        """
        if not self._matters(report):
            return
        # Both pull in modules that a run without news does not need.
        from influxops_slack.delivery import post
        from influxops_slack.message import message

        post(self.settings.webhook.reveal(), message(report), self._budget(run), run)

    def _matters(self, report: Report) -> bool:
        if report.dry_run and not self.settings.dry_runs:
            return False
        failed = report.exit_code not in _FINE
        if self.settings.when == "always" or failed:
            return True
        changed = report.plan.pending if report.dry_run else report.changed
        return self.settings.when == "changes" and bool(changed)

    def _budget(self, run: Run) -> float:
        """Seconds for delivery: a run that is over still gets to say so."""
        least = min(_LAST_WORDS, self.settings.budget)
        try:
            left = run.remaining(self.settings.budget)
        except Interrupted:
            return least
        return least if left is None else max(left, least)
