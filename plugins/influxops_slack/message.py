"""A report as one Slack message in Block Kit.

Names and reasons stand in code blocks: there Slack reads no formatting and no mentions, so that
only `&`, `<` and `>` need escaping, and backticks, which would end the block, become quotes.
Limits: 50 blocks, 3,000 characters a section, 150 a header
(https://docs.slack.dev/reference/block-kit/blocks).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from influxops import (
    UNKNOWN,
    Action,
    Change,
    Database,
    Report,
    Severity,
    TargetState,
    TenantResult,
    TenantState,
    action_words,
    one_line,
    printable,
    retention_words,
    short,
    without_tenant,
)

_SECTION, _HEADER = 3000, 150
#: Items a section; characters of an item, its hint and the names in it, before escaping, which
#: makes five of one; even then one item fits.
_LINES, _LINE, _HINT, _NAMES = 10, 320, 200, 240

#: One thing to tell, and what to do about it.
_Item = tuple[str, str]

_WRONG = (TenantState.FAILED, TenantState.UNKNOWN, TenantState.HELD, TenantState.REFUSED)


def message(report: Report) -> dict[str, Any]:
    """Make the message.

    Args:
        report: The report.

    Returns:
        What the webhook takes: the blocks, and a plain text for notifications.
    """
    # No host's name holds what Slack would act upon; one that does is no name.
    host = re.sub(r"[^\w.:-]", "?", _cut(report.origin.host, 60))
    title = f"{_icon(report)} influxops on {host}: {_headline(report)}"
    blocks = [
        _header(title),
        *_sections("Errors", _errors(report)),
        *_changes(report),
        *_sections("Warnings", _notes(report, Severity.WARNING)),
        _context(report),
    ]
    return {"text": title, "blocks": blocks}


# Words


def _icon(report: Report) -> str:
    if report.exit_code not in (0, 3):
        return "❌"
    warned = any(finding.severity is Severity.WARNING for finding in report.findings)
    return "⚠️" if warned else "✅"


def _headline(report: Report) -> str:
    words = action_words(dry_run=report.dry_run)
    changes = report.plan.pending if report.dry_run else report.changed
    counted = Counter(change.action for change in changes)
    parts = [f"{counted[action]:,} {word}" for action, word in words.items() if counted[action]]
    states = Counter(tenant.state for tenant in report.tenants)
    parts += [f"{states[state]:,} {state.value}" for state in _WRONG if states[state]]
    parts.append(f"{states[TenantState.OK]:,} of {len(report.tenants):,} tenants already ok")
    if report.interrupted:
        parts.append("interrupted")
    if report.dry_run:
        parts.append("dry run")
    return ", ".join(parts)


def _errors(report: Report) -> list[_Item]:
    """Why the run is not as desired, the widest reasons first."""
    items = _notes(report, Severity.ERROR)
    items += [
        (
            f"refused by the guard {refusal.guard}: {refusal.message}",
            f"only if that is what you want: --allow {refusal.guard}",
        )
        for refusal in report.plan.refusals
    ]
    acknowledged = {f.tenant for f in report.findings if f.severity is not Severity.ERROR}
    acknowledged -= {f.tenant for f in report.findings if f.severity is Severity.ERROR}
    refused = {id_ for refusal in report.plan.refusals for id_ in refusal.tenants}
    alike: defaultdict[tuple[str, str], list[TenantResult]] = defaultdict(list)
    for state in _WRONG:
        for tenant in report.tenants:
            known = state is TenantState.HELD and tenant.tenant in acknowledged
            told = state is TenantState.REFUSED and tenant.tenant in refused
            if tenant.state is state and not known and not told:
                why = without_tenant(tenant.message, tenant.tenant)
                alike[why or state.value, tenant.hint].append(tenant)
    for (why, hint), tenants in alike.items():
        names = _names([short(t.database) or f"tenant {printable(t.tenant)}" for t in tenants])
        if len(tenants) > 1:
            items.append((f"{len(tenants):,} tenants: {why} ({names})", hint))
        else:
            on = f" on {tenants[0].target}" if tenants[0].target else ""
            items.append((f"{names}{on}: {why}", hint))
    return items


def _notes(report: Report, severity: Severity) -> list[_Item]:
    """The findings of one severity; an error about a tenant is told with the tenant."""
    told = {t.tenant for t in report.tenants if t.state in _WRONG and severity is Severity.ERROR}
    return [
        (finding.message, finding.hint)
        for finding in report.findings
        if finding.severity is severity and finding.tenant not in told
    ]


def _changes(report: Report) -> Iterator[dict[str, Any]]:
    words = action_words(dry_run=report.dry_run)
    changes = report.plan.pending if report.dry_run else report.changed
    for action, word in words.items():
        by_place: defaultdict[str, list[str]] = defaultdict(list)
        for change in changes:
            if change.action is action:
                by_place[_place(change)].append(short(change.database))
        if by_place:
            total = sum(map(len, by_place.values()))
            items = [(f"{place}: {_names(names)}", "") for place, names in by_place.items()]
            yield from _sections(f"{word.capitalize()}: {total:,}", items)


def _place(change: Change) -> str:
    if change.action is not Action.SET_RETENTION:
        return change.target
    return f"{change.target}, {_retention(change.before)} to {_retention(change.after)}"


def _retention(database: Database | None) -> str:
    return retention_words(database.retention if database else UNKNOWN)


def _names(names: Sequence[str]) -> str:
    """As many names as are read at a glance, and how many more there are."""
    shown: list[str] = []
    for name in names:
        if shown and len(", ".join(shown)) + len(name) > _NAMES:
            break
        shown.append(name)
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


# Blocks


def _header(text: str) -> dict[str, Any]:
    return {
        "type": "header",
        "text": {"type": "plain_text", "text": _cut(text, _HEADER), "emoji": False},
    }


def _sections(title: str, items: Sequence[_Item]) -> Iterator[dict[str, Any]]:
    """A section with as many of the items as fit, and how many do not; none without items."""
    if not items:
        return
    entries: list[str] = []
    room = _SECTION - len(title) - 60  # for what stands around the entries
    for text, hint in items[:_LINES]:
        entry = _code(text, _LINE) + (f"\n  -&gt; {_code(hint, _HINT)}" if hint else "")
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
        *(_target(target) for target in report.targets),
        f"configuration {origin.config}" if origin.config else "",
        f"run {report.run_id} by {origin.user}, {report.seconds:.1f} s",
    ]
    text = " ".join(f"`{_code(part, 120)}`" for part in parts[:12] if part)
    return {"type": "context", "elements": [_mrkdwn(text)]}


def _target(target: TargetState) -> str:
    if not target.reachable:
        return f"{target.name} {target.url} NOT READ"
    left = target.places_left
    return f"{target.name} {target.url}" + ("" if left is None else f", {left:,} places left")


def _mrkdwn(text: str) -> dict[str, Any]:
    # verbatim: Slack makes no links and no mentions of what looks like one.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


# Text


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _code(text: str, most: int) -> str:
    # Cut when what does not print is written out: that makes ten characters of one.
    return _escape(_cut(one_line(text), most)).replace("`", "'")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
