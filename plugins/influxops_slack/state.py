"""The failure that a channel was notified of last, so that it is not repeated at every run."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec

from influxops.plugin import FindingKind, Report, ReportView, Severity

#: How long a failure that lasts is not repeated.
_SILENCE = timedelta(hours=24)
#: What lacks a zone is not ours.
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Failure(msgspec.Struct, frozen=True, rename={"fingerprint": "what", "notified": "told"}):
    """A failure that a channel was notified of."""

    fingerprint: str  # differs between failures
    since: _Moment  # when the first run that failed began
    notified: _Moment  # when the run began whose message named it last

    def is_news(self, former: Failure | None) -> bool:
        """Return whether the channel does not know it, or was notified too long ago."""
        if former is None or former.fingerprint != self.fingerprint:
            return True
        return not timedelta(0) <= self.notified - former.notified < _SILENCE


class NotificationState:
    """A small file with the failure that a channel was notified of; none when all is well.

    A reporter's section and its webhook, which is not written to it, make its name; without a
    folder it is in the user's folder for state.
    """

    def __init__(self, folder: str | None, section: str, webhook: str) -> None:
        key = hashlib.sha256(f"{section}\n{webhook}".encode("utf-8", "replace")).hexdigest()[:16]
        try:
            self.path = _folder(folder).expanduser() / f"slack-{key}.json"
        except RuntimeError:  # a user without a home
            self.path = Path(os.devnull) / "influxops"

    def load(self) -> Failure | None:
        """Return the failure that the channel was notified of; None where no file can be read."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Failure)
        except (OSError, ValueError):
            return None

    def save(self, failure: Failure | None) -> None:
        """Keep what the channel was notified of: a failure, or that all is well."""
        if failure is None:
            self.path.unlink(missing_ok=True)
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(f".{os.getpid()}.tmp")
        try:
            new.write_bytes(msgspec.json.encode(failure))
            new.replace(self.path)
        finally:
            with contextlib.suppress(OSError):
                new.unlink()

    def is_writable(self) -> bool:
        """Return whether the file can be written."""
        folder = self.path.parent
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return os.access(folder, os.W_OK | os.X_OK)


def failure_of(report: Report, former: Failure | None) -> Failure | None:
    """Return the failure of a run, which began with `former` if given; None where all is well."""
    view = ReportView(report)
    wrong = {
        (group.kind.value, group.labels if not group.tenants else group.tenants)
        for group in view.groups(Severity.ERROR)
        # Tenants whose target cannot be read change with the registry; their target is counted.
        if group.kind is not FindingKind.NOT_READ
    }
    wrong |= {("refusal", (refusal.guard,)) for refusal in report.refusals}
    if not wrong and not report.exit_code:
        return None
    text = json.dumps([int(report.exit_code), sorted(map(list, wrong))])
    fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
    since = former.since if former is not None else report.started
    return Failure(fingerprint, since, report.started)


def _folder(folder: str | None) -> Path:
    if folder is not None:
        return Path(folder)
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (base if base.is_absolute() else Path("~/.local/state")) / "influxops"
