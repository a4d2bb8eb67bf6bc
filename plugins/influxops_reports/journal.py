"""`JournalReporter`: who changed what, when and where, one JSON object per line."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from influxops.plugin import (
    Change,
    ChangeResult,
    Check,
    Event,
    HealthChecks,
    HistoryEntry,
    Report,
    Reporter,
    ReporterSettings,
    RunContext,
    database_document,
    hookimpl,
    setting,
)
from influxops.plugin.files import check_writable, is_special, lock, unwritable

#: Outcomes of changes that were made, or that may have had an effect.
_JOURNALED = (
    ChangeResult.DONE,
    ChangeResult.FAILED,
    ChangeResult.UNCONFIRMED,
    ChangeResult.UNKNOWN,
)
#: Events of the ledger that no change of this run explains.
_NO_CHANGE = (
    Event.LOST,
    Event.RECREATED,
    Event.FOUND_AGAIN,
    Event.RENAMED_TARGET,
    Event.REPLACED_SERVER,
    Event.NEW_SOURCE,
)


class JournalReporter(Reporter, HealthChecks):
    """Appends each change to a file, one JSON object per line; existing lines are never rewritten.

    Several runs may write at once: a lock keeps their lines whole. Dry runs write nothing.
    """

    class Settings(ReporterSettings):
        """Where the journal is."""

        path: str = setting(
            description="The journal; it is made, readable by its group, where there is none.",
            min_length=1,
        )

    settings: Settings

    @hookimpl
    def influxops_check(self, context: RunContext) -> Iterator[Check]:
        """Check that the journal can be written."""
        yield check_writable(Path(self.settings.path), "the journal", replaced=False)

    @hookimpl
    def influxops_report(self, report: Report, context: RunContext) -> None:
        """Append the changes of the run."""
        if report.dry_run:
            return
        data = "".join(json.dumps(entry) + "\n" for entry in _entries(report)).encode("ascii")
        if not data:
            return
        path = Path(self.settings.path).expanduser()
        try:
            if is_special(path):
                context.run_abandonable(lambda: path.write_bytes(data))
            else:
                _append(path, data, context)
        except OSError as error:
            raise unwritable(path, error, "the journal") from None


def _entries(report: Report) -> Iterator[dict[str, Any]]:
    urls = {target.name: target.url for target in report.targets}
    run = {
        "time": _time(datetime.now(UTC)),
        "run": report.run_id,
        "user": report.origin.user,
        "host": report.origin.host,
        "operator": report.origin.operator,
        "door": report.origin.door,
        "registry": [source.location for source in report.sources],
    }

    def subject(item: Change | HistoryEntry) -> dict[str, Any]:
        return {
            **run,
            "target": item.target,
            "url": urls.get(item.target or ""),
            "tenant": item.tenant,
        }

    for outcome in report.outcomes:
        change = outcome.change
        if outcome.status in _JOURNALED or outcome.partially_applied:
            yield {
                **subject(change),
                "database": change.database,
                "action": change.action.value,
                "before": database_document(change.database, change.before),
                "after": database_document(change.database, change.after),
                "status": outcome.status.value,
                "message": outcome.message,
                "until": _time(change.until),
            }
    for event in report.events:
        if event.event in _NO_CHANGE:
            yield {
                **subject(event),
                "database": event.database or None,
                "action": event.event.value,
                "before": event.before or None,
                "after": event.after or None,
                "status": event.outcome,
                "message": event.message,
                "until": None,
            }


def _time(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="seconds").replace("+00:00", "Z")


def _append(path: Path, data: bytes, context: RunContext) -> None:
    with _opened(path) as handle:
        locked = lock(handle, context)
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            data = b"\n" + data  # a line that a crash cut short must not spoil the next one
        try:
            _write_all(handle, data)
            os.fsync(handle)
        except OSError:
            if locked:  # half a line, on a full disk say, is worse than none
                with contextlib.suppress(OSError):
                    os.ftruncate(handle, size)
            raise


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
    try:
        handle = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o640)
        os.fchmod(handle, 0o640)  # whatever the umask
    except FileExistsError:
        handle = os.open(path, flags)
    try:
        yield handle
    finally:
        os.close(handle)


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]
