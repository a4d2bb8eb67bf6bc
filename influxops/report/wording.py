"""Words that all faces share: for changes, retention periods, and what to do about a finding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from influxops.domain.change import Action
from influxops.domain.database import Retention, Unknown
from influxops.domain.durations import format_duration
from influxops.domain.hint import Remedy, RemedyKind
from influxops.domain.record import Entry
from influxops.domain.text import one_line, short

#: Each action: made, to be made, and as the beginning of a sentence that the database's name ends.
_ACTIONS = {
    Action.CREATE: ("created", "to create", "create"),
    Action.SET_RETENTION: ("retention set", "retention to set", "set retention of"),
    Action.COMPLETE: ("{} added", "{} to add", "add {} to"),
    Action.DROP: ("dropped", "to drop", "drop"),
    Action.ADOPT: ("adopted", "to adopt", "adopt"),
    Action.RETIRE: ("retired", "to retire", "retire"),
    Action.UNRETIRE: ("unretired", "to unretire", "unretire"),
    Action.MOVE: ("moved", "to move", "move"),
}
_WITHOUT_MARKER = ("completed", "to complete", "complete")


class Words(Struct, frozen=True):
    """How one kind of face names what a user can do; in each, `{}` stands for the name.

    The command line says `--allow drop`, a task `allow: [drop]`.
    """

    allow: str  # the allowance of a guard
    option: str  # an option of a run
    command: str  # a command to run
    apply: str  # what makes the changes that a dry run found, as a sentence; `{}` is its command
    #: The commands that such a face has something of its own for.
    commands: Mapping[str, str] = field(default_factory=dict)

    def advice(self, remedy: Remedy | Any) -> str:
        """Return a remedy as a sentence that is safe to print; empty where it says nothing.

        Args:
            remedy: What to do about something: a remedy, or text.
        """
        if not isinstance(remedy, Remedy):
            return one_line(str(remedy or ""))
        match remedy.kind:
            case RemedyKind.ALLOW:
                text = f"{remedy.text}: {self.allow.replace('{}', remedy.value)}"
            case RemedyKind.OPTION:
                text = remedy.words(self.option.replace("{}", remedy.value))
            case RemedyKind.COMMAND:
                own = self.commands.get(remedy.value)
                text = remedy.words(own or self.command.replace("{}", remedy.value))
            case RemedyKind.SETTING:
                text = remedy.words(remedy.written or f"`{remedy.value}`")
            case _:
                text = remedy.text
        return one_line(text)


COMMAND_LINE = Words(
    allow="--allow {}",
    option="--{}",
    command="influxops {}",
    apply="influxops {} makes these changes",
)
TASK = Words(
    allow="`allow: [{}]`",
    option="`{}`",
    command="`influxops {}`",
    apply="the task makes these changes when it is not in check mode",
    commands={"ensure --verify": "the task with `verify: true`"},
)


def done(action: Action, marker: str = "") -> str:
    """Return the words for a change that was made: `created`.

    Args:
        action: What was done.
        marker: The target's own word for what says that a database is complete.
    """
    return _words(action, marker)[0]


def to_do(action: Action, marker: str = "") -> str:
    """Return the words for a change that is to be made: `to create`."""
    return _words(action, marker)[1]


def verb(action: Action, marker: str = "") -> str:
    """Return the beginning of a sentence that a database's name ends: `set retention of`."""
    return _words(action, marker)[2]


def _words(action: Action, marker: str) -> tuple[str, str, str]:
    if action is Action.COMPLETE and not marker:
        return _WITHOUT_MARKER
    made, coming, start = _ACTIONS[action]
    return made.replace("{}", marker), coming.replace("{}", marker), start.replace("{}", marker)


def retention_words(value: Retention | Unknown) -> str:
    """Return a retention period: `30d`, `kept for ever`, or `?` where it is unknown.

    Args:
        value: Seconds, None where data is kept for ever.
    """
    if isinstance(value, Unknown):
        return "?"
    return "kept for ever" if value is None else format_duration(value)


def happened(entry: Entry) -> str:
    """Return what an entry of the history tells, without saying of which tenant it is."""
    words = entry.event.value.replace("-", " ")
    place = " on ".join(part for part in (short(entry.database), entry.target or "") if part)
    parts = [f"{words} {place}".rstrip()]
    if entry.ended != "done":
        parts[0] = f"{parts[0]}: {entry.ended}"
    elif entry.before and entry.after:
        parts.append(f"{entry.before} → {entry.after}")
    elif entry.after and entry.tenant is None:
        parts.append(entry.after)
    if entry.message:
        parts.append(entry.message)
    return ", ".join(parts)
