"""Words that more than one reporter has for what happened."""

from __future__ import annotations

from collections.abc import Mapping

from influxops.durations import format_duration
from influxops.model import Action, Retention, Unknown
from influxops.naming import printable

_DONE = {
    Action.CREATE: "created",
    Action.SET_RETENTION: "retention set",
    Action.ADD_MARKER: "marker added",
    Action.DROP: "dropped",
}
_TO_DO = {
    Action.CREATE: "to create",
    Action.SET_RETENTION: "retention to set",
    Action.ADD_MARKER: "marker to add",
    Action.DROP: "to drop",
}


def action_words(*, dry_run: bool) -> Mapping[Action, str]:
    """Give the words for changes, in the order in which a person wants to hear of them.

    Args:
        dry_run: Whether the changes are to be made, instead of made.
    """
    return _TO_DO if dry_run else _DONE


def retention_words(value: Retention | Unknown) -> str:
    """Write a retention period: `30d`, `none`, or `?` where it is unknown.

    Args:
        value: Seconds, None without a period.
    """
    if isinstance(value, Unknown):
        return "?"
    return "none" if value is None else format_duration(value)


def without_tenant(message: str, tenant: str) -> str:
    """Take a tenant's name off the front of a message that stands beside it already.

    Args:
        message: A finding's message, which may start with `tenant 'x': `.
        tenant: The tenant's id.
    """
    return message.removeprefix(f"tenant {printable(tenant)}: ")
