"""A report as one Slack message in Block Kit.

Names and reasons are in code blocks: Slack reads no formatting and no mentions there, so that only
`&`, `<` and `>` need escaping, and backticks, which would end the block, become quotes.
Limits: 50 blocks, 3,000 characters a section, 150 a header
(https://docs.slack.dev/reference/block-kit/blocks).
"""

from __future__ import annotations

import html
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from influxops.plugin import (
    Action,
    Change,
    ExitCode,
    Report,
    ReportView,
    Severity,
    TargetState,
    TenantStatus,
    format_retention,
    format_time,
    join_limited,
    one_line,
    pluralize,
    truncate,
)

#: Characters that Slack takes.
_MAX_SECTION, _MAX_HEADER = 3000, 150
#: Items of a section; characters of an item, its hint and its names before escaping, which makes up
#: to five of one: even then one item fits.
_MAX_ITEMS, _MAX_ITEM, _MAX_HINT, _MAX_NAMES = 10, 320, 200, 240
#: Names that are shown of tenants with one reason.
_MAX_TENANTS = 3

#: A text, and what to do about it.
_Item = tuple[str, str]


def message(report: Report, since: datetime | None = None) -> dict[str, Any]:
    """Return the webhook's payload; `since` is when the failure began that ended with this run."""
    view = ReportView(report)
    # A real host name has no character that Slack would act upon.
    host = re.sub(r"[^\w.:-]", "?", _cut(report.origin.host, 60))
    title = f"{_icon(view)} influxops on {host}: {_headline(view, since)}"
    blocks = [
        _header(title),
        *_sections("Errors", _items(view, Severity.ERROR)),
        *_changes(view),
        *_sections("Warnings", _items(view, Severity.WARNING)),
        _context(report),
    ]
    return {"text": title, "blocks": blocks}


# Texts


def _icon(view: ReportView) -> str:
    if view.report.exit_code is not ExitCode.OK:
        return "❌"
    return "⚠️" if view.groups(Severity.WARNING) else "✅"


def _headline(view: ReportView, since: datetime | None) -> str:
    report = view.report
    parts = [f"well again, it was not since {since:%Y-%m-%d %H:%M} UTC"] if since else []
    parts += [f"{len(changes):,} {words}" for words, changes in view.changes.items()]
    states = Counter(tenant.status for tenant in report.tenants)
    parts += [f"{number:,} {words}" for words, number in view.failure_counts.items()]
    if view.is_unread:
        parts.append("tenants unknown, no source could be read")
    else:
        parts.append(
            f"{states[TenantStatus.OK]:,} of {pluralize(len(report.tenants), 'tenant')} already ok"
        )
    if report.interrupted:
        parts.append("interrupted")
    if report.dry_run:
        parts.append("dry run")
    return ", ".join(parts)


def _items(view: ReportView, severity: Severity) -> list[_Item]:
    return [(group.line(_MAX_TENANTS), group.advice) for group in view.groups(severity)]


def _changes(view: ReportView) -> Iterator[dict[str, Any]]:
    for words, changes in view.changes.items():
        by_target: defaultdict[str, list[str]] = defaultdict(list)
        for change in changes:
            by_target[_target_text(change)].append(truncate(change.database))
        items = [
            (f"{text}: {join_limited(names, _MAX_NAMES)}", "") for text, names in by_target.items()
        ]
        yield from _sections(f"{words[:1].upper()}{words[1:]}: {len(changes):,}", items)


def _target_text(change: Change) -> str:
    if change.action is Action.MOVE:
        return f"{change.target}, {change.reason}"
    if change.action is not Action.SET_RETENTION or change.after is None:
        kept = change.until if change.action is not Action.ADOPT else None
        until = f", data until {format_time(kept)}" if kept is not None else ""
        return (change.target or "no target") + until
    was = "?" if change.before is None else format_retention(change.before.retention)
    return f"{change.target}, {format_retention(change.after.retention)}, was {was}"


# Blocks


def _header(text: str) -> dict[str, Any]:
    return {
        "type": "header",
        "text": {"type": "plain_text", "text": _cut(text, _MAX_HEADER), "emoji": False},
    }


def _sections(title: str, items: Sequence[_Item]) -> Iterator[dict[str, Any]]:
    """Yield a section with as many of the items as fit, and the number of the others."""
    if not items:
        return
    entries: list[str] = []
    room = _MAX_SECTION - len(title) - 60  # for the text around the entries
    for text, hint in items[:_MAX_ITEMS]:
        entry = _code(text, _MAX_ITEM) + (f"\n  -&gt; {_code(hint, _MAX_HINT)}" if hint else "")
        room -= len(entry) + 1
        if room < 0:
            break
        entries.append(entry)
    code = "\n".join(entries)
    more = len(items) - len(entries)
    end = f"\nand {more:,} more" if more else ""
    yield {"type": "section", "text": _mrkdwn(f"*{title}*\n```\n{code}\n```{end}")}


def _context(report: Report) -> dict[str, Any]:
    origin = report.origin
    parts = [
        *(source.location for source in report.sources),
        *(_target_state(target) for target in report.targets),
        f"configuration {origin.config}" if origin.config else "",
        f"run {report.run_id} by {origin.user}, {report.seconds:.1f} s",
    ]
    text = " ".join(f"`{_code(part, 120)}`" for part in parts[:12] if part)
    return {"type": "context", "elements": [_mrkdwn(text)]}


def _target_state(target: TargetState) -> str:
    if not target.reachable:
        return f"{target.name} {target.url} NOT READ"
    left = target.free_slots
    return f"{target.name} {target.url}" + ("" if left is None else f", {left:,} slots free")


def _mrkdwn(text: str) -> dict[str, Any]:
    # verbatim: Slack turns nothing into a link or a mention.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


# Escaping


def _code(text: str, limit: int) -> str:
    # `one_line` makes up to ten characters of one that does not print, so it comes before the cut.
    return html.escape(_cut(one_line(text), limit), quote=False).replace("`", "'")


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
