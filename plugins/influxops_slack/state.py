"""What a channel was told last, so that one failure is not told at every run."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from datetime import datetime, timedelta
from pathlib import Path

from msgspec import Struct

from influxops.plugin import Kind, Report, ReportView, Severity

#: How long a failure that lasts is not told again.
_SILENCE = timedelta(hours=24)


class Failure(Struct, frozen=True):
    """A failure that the channel was told of."""

    what: str  # tells it from other failures
    since: datetime  # when the first run that failed began
    told: datetime  # when the last message of it was made

    def is_news(self, former: Failure | None) -> bool:
        """Return whether the channel does not know it, or was told long ago."""
        if former is None or former.what != self.what:
            return True
        return not timedelta(0) <= self.told - former.told < _SILENCE


class Memory:
    """A small file that holds the failure which a channel was told of; none when all is well.

    Without a place that can be written it remembers nothing.

    Args:
        folder: Where it is kept; None for the user's folder for such things.
        section: The reporter's section.
        webhook: The webhook's URL; no file holds it.
    """

    def __init__(self, folder: str | None, section: str, webhook: str) -> None:
        key = hashlib.sha256(f"{section}\n{webhook}".encode("utf-8", "replace")).hexdigest()[:16]
        try:
            self.path = _folder(folder).expanduser() / f"slack-{key}.json"
        except RuntimeError:  # a user without a home
            self.path = Path(os.devnull) / "influxops"

    def failure(self) -> Failure | None:
        """Return the failure that the channel was told of."""
        try:
            kept = json.loads(self.path.read_text("utf-8"))
            times = [datetime.fromisoformat(kept[name]) for name in ("since", "told")]
            return Failure(str(kept["what"]), *times)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def keep(self, failure: Failure | None) -> None:
        """Remember what the channel was told: a failure, or that all is well.

        Raises:
            OSError: When there is no place for it.
        """
        if failure is None:
            self.path.unlink(missing_ok=True)
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(
            {
                "what": failure.what,
                "since": failure.since.isoformat(),
                "told": failure.told.isoformat(),
            }
        )
        new = self.path.with_suffix(f".{os.getpid()}.tmp")
        try:
            new.write_text(text, "utf-8")
            new.replace(self.path)
        finally:
            with contextlib.suppress(OSError):
                new.unlink()

    def is_writable(self) -> bool:
        """Return whether it can remember anything."""
        place = self.path.parent
        while not place.exists() and place != place.parent:
            place = place.parent
        return os.access(place, os.W_OK | os.X_OK)


def failure_of(report: Report, former: Failure | None) -> Failure | None:
    """Return what is wrong in a report; None where nothing is.

    Args:
        report: The report of a run.
        former: The failure that is known, which this one may go on.
    """
    view = ReportView(report)
    wrong = {
        (group.kind.value, group.labels if not group.tenants else group.tenants)
        for group in view.groups(Severity.ERROR)
        # Those whose target cannot be read change with the registry; the target says it for them.
        if group.kind is not Kind.NOT_READ
    }
    wrong |= {("refusal", (refusal.guard,)) for refusal in report.refusals}
    if not wrong and not report.exit_code:
        return None
    text = json.dumps([int(report.exit_code), sorted(map(list, wrong))])
    what = hashlib.sha256(text.encode()).hexdigest()[:16]
    since = former.since if former is not None else report.started
    return Failure(what, since, report.started)


def _folder(folder: str | None) -> Path:
    if folder is not None:
        return Path(folder)
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (base if base.is_absolute() else Path("~/.local/state")) / "influxops"
