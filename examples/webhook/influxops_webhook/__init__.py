"""The reporter `webhook`: a signed HTTP request for each run."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import urllib3

from influxops.plugin import (
    Check,
    HealthChecks,
    Hint,
    Location,
    Report,
    Reporter,
    ReporterError,
    ReporterSettings,
    RunContext,
    Secret,
    hookimpl,
    report_document,
    setting,
)


class WebhookReporter(Reporter, HealthChecks):
    """Posts the JSON report of each run to a URL, signed as Standard Webhooks are.

    The receiver computes the same HMAC-SHA256 of `webhook-id.webhook-timestamp.body` with the key,
    and compares it to `webhook-signature`; an old timestamp is a message that was sent again.
    """

    class Settings(ReporterSettings):
        """What a section may say."""

        url: Secret = setting(description="Where the report is posted to.")
        key: Secret = setting(description="The key of the signature, shared with the receiver.")
        failures_only: bool = setting(
            False, description="Whether runs that ended as desired are left out."
        )

        def location(self) -> Location:
            """Return no URL: who has it may post there."""
            return Location("a webhook")

    settings: Settings

    @hookimpl
    def influxops_report(self, report: Report, context: RunContext) -> None:
        """Post the report; a dry run says so in it (`dry_run`)."""
        if self.settings.failures_only and report.exit_code == 0:
            return
        body = json.dumps(report_document(report)).encode()
        headers = {
            "Content-Type": "application/json",
            **signature(self.settings.key.reveal(), report.run_id, int(time.time()), body),
        }
        seconds = context.time_left(self.settings.timeout)

        def post() -> urllib3.BaseHTTPResponse:
            # No redirect: what is signed is for this receiver.
            return urllib3.request(
                *("POST", self.settings.url.reveal()),
                body=body,
                headers=headers,
                timeout=seconds,
                retries=False,
                redirect=False,
            )

        try:
            answer = context.run_abandonable(post)
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise ReporterError(
                f"the webhook does not answer: {type(error).__name__}",
                hint=Hint.setting("url", "is the receiver up? If it is, check {}"),
            ) from None
        if not 200 <= answer.status < 300:
            name = "key" if answer.status in (401, 403) else "url"
            raise ReporterError(f"the webhook answered {answer.status}", hint=Hint.setting(name))

    @hookimpl
    def influxops_check(self, context: RunContext) -> list[Check]:
        """Look at the URL alone: whether somebody listens would take a message."""
        is_url = self.settings.url.reveal().startswith(("http://", "https://"))
        message = "it has a URL" if is_url else "its URL begins with neither http:// nor https://"
        return [Check("webhook", is_url, message, "" if is_url else Hint.setting("url"))]


def signature(key: str, id_: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers that prove who sent a message, and when."""
    signed = b".".join((id_.encode(), str(timestamp).encode(), body))
    digest = hmac.new(key.encode(), signed, hashlib.sha256).digest()
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
