"""Words that all front ends share: changes, retention periods, hints, history, copies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from influxops.domain.copy import CopyProgress
from influxops.domain.database import Retention, Unknown
from influxops.domain.durations import format_duration, format_duration_approx
from influxops.domain.hint import Hint, HintKind
from influxops.domain.plan import Action
from influxops.domain.record import HistoryEntry
from influxops.domain.text import (
    format_bytes,
    format_time,
    one_line,
    pluralize,
    summarize,
    truncate,
)

#: The forms of an action's words: made, to be made, and as the beginning of a sentence that the
#: database's name ends.
DONE, TO_DO, VERB = range(3)
_ACTIONS = {
    Action.CREATE: ("created", "to create", "create"),
    Action.SET_RETENTION: ("retention set", "retention to set", "set retention of"),
    Action.COMPLETE: ("{} added", "{} to add", "add {} to"),
    Action.DROP: ("dropped", "to drop", "drop"),
    Action.ADOPT: ("adopted", "to adopt", "adopt"),
    Action.RETIRE: ("retiring", "to retire", "retire"),
    Action.UNRETIRE: ("unretired", "to unretire", "unretire"),
    Action.FORGET: ("forgotten", "to forget", "forget"),
    Action.MOVE: ("moved", "to move", "move"),
    Action.EXPORT: ("exported", "to export", "export"),
    Action.IMPORT: ("imported", "to import", "import"),
}
_WITHOUT_MARKER = ("completed", "to complete", "complete")


class HintStyle(Struct, frozen=True):
    """How one kind of front end names what a user can do; in each, `{}` is the name.

    The command line says `--allow drop`, a task `allow: [drop]`.
    """

    allow: str  # the allowance of a guard
    option: str  # an option of a run
    command: str  # a command to run
    apply: str  # what makes what a dry run found, as a sentence; `{}` is its command line
    guarded: str = "needs --allow"  # the status of a tenant that a guard refuses
    #: What such a front end has instead of commands, by command.
    commands: Mapping[str, str] = field(default_factory=dict)

    def advice(self, remedy: Hint | Any) -> str:
        """Return a remedy, or text, as a sentence safe to print; empty where it says nothing."""
        if not isinstance(remedy, Hint):
            return one_line(str(remedy or ""))
        match remedy.kind:
            case HintKind.ALLOW:
                text = f"{remedy.text}: {self.allow.replace('{}', remedy.value)}"
            case HintKind.OPTION:
                text = remedy.words(self.option.replace("{}", remedy.value))
            case HintKind.COMMAND:
                own = self.commands.get(remedy.value)
                text = remedy.words(own or self.command.replace("{}", remedy.value))
            case HintKind.SETTING:
                text = remedy.words(remedy.written or f"`{remedy.value}`")
            case _:
                text = remedy.text
        return one_line(text)


CLI_STYLE = HintStyle(
    allow="--allow {}",
    option="--{}",
    command="influxops {}",
    apply="{} makes these changes",
)
ANSIBLE_STYLE = HintStyle(
    allow="`allow: [{}]`",
    option="`{}`",
    command="`influxops {}`",
    apply="the task makes these changes when it is not in check mode",
    guarded="needs `allow`",
    commands={"ensure --verify": "the task with `verify: true`"},
)


def action_words(form: int, action: Action, marker: str = "") -> str:
    """Return the words for a change in a form; `marker` is its target's word for one."""
    without = action is Action.COMPLETE and not marker
    return (_WITHOUT_MARKER if without else _ACTIONS[action])[form].replace("{}", marker)


def without_slot(number: int, perhaps: int = 0) -> tuple[str, Hint]:
    """Return what follows for tenants that have no slot, or `perhaps` get none, and what to do."""
    who = f"{pluralize(number, 'tenant')} {'has' if number == 1 else 'have'} no slot"
    if perhaps:
        more = f"{perhaps:,} more may get none"
        who = f"{who}, {more}" if number else f"{pluralize(perhaps, 'tenant')} may get no slot"
    return (
        f"{who}: what is sent for a tenant without one is lost at once, because a full server "
        "refuses it and most clients then drop it",
        Hint.command("ensure", "add a target, then run {}"),
    )


def format_retention(value: Retention | Unknown) -> str:
    """Return a retention period: `30d`, `kept for ever` for None, `?` where it is unknown."""
    if isinstance(value, Unknown):
        return "?"
    return "kept for ever" if value is None else format_duration(value)


def format_entry(entry: HistoryEntry) -> str:
    """Return an entry of the history in words, without its tenant."""
    words = entry.event.value.replace("-", " ")
    place = " on ".join(part for part in (truncate(entry.database), entry.target or "") if part)
    parts = [f"{words} {place}".rstrip()]
    if entry.outcome != "done":
        parts[0] = f"{parts[0]}: {entry.outcome}"
    elif entry.before and entry.after:
        parts.append(f"{entry.before} → {entry.after}")
    elif entry.after and entry.tenant is None:
        parts.append(entry.after)
    if entry.message:
        parts.append(entry.message)
    if entry.last_at is not None:
        parts.append(f"{entry.times:,} times, last {format_time(entry.last_at)}")
    return ", ".join(parts)


def format_estimate(copied: CopyProgress) -> str:
    """Return what there is to copy, and how long that takes at the rate that was measured."""
    rows = "a number of rows that is not known"
    if copied.total is not None:
        rows = ("at most " if copied.at_most else "") + pluralize(copied.total, "row")
    parts = [f"{rows} in {pluralize(copied.tables, 'table')}"]
    if copied.bytes:
        parts.append(f"about {format_bytes(copied.bytes)}")
    if copied.total and copied.rate:
        rate = f"{copied.rate:,.0f} rows/s"
        parts.append(
            f"about {format_duration_approx(copied.total / copied.rate)} at {rate}, measured "
            "by reading some of them"
        )
    elif copied.total:
        parts.append("how long it takes was not measured")
    return ", ".join(parts)


def format_copied(copied: CopyProgress, seconds: float | None = None) -> str:
    """Return how much was copied, in how many seconds, and which tables the copy lacks."""
    rows = copied.rows if copied.total is None else copied.total
    text = f"{pluralize(rows, 'row')} in {pluralize(copied.tables, 'table')}"
    if copied.bytes:
        text += f", {format_bytes(copied.bytes)}"
    if seconds is not None:
        text += f" in {format_duration_approx(seconds)}"
    if copied.unread:
        names = summarize([one_line(name) for name in copied.unread])
        text += f", without {names}, which cannot be copied"
    return text
