"""Durations as people write them: `30d`, `12h`, `1h30m`, `90 s`."""

from __future__ import annotations

import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PART = re.compile(r"(\d+)\s*([smhdw])\s*")

#: InfluxDB 3's shortest useful retention period, in seconds; its documentation says one hour.
SHORTEST_RETENTION = 3600
#: The longest that it can count, in seconds: 64 bits of nanoseconds, signed, in whole days.
LONGEST_RETENTION = 106_751 * 86_400


def parse_duration(text: str) -> int:
    """Read a duration.

    Args:
        text: Whole numbers with the units s, m, h, d and w, the sum of which is meant.

    Returns:
        Seconds.

    Raises:
        ValueError: When it is no such duration.
    """
    rest = text.strip().lower()
    seconds = 0
    if not rest:
        raise ValueError("an empty duration; write one like 30d, 12h or 1h30m")
    while rest:
        match = _PART.match(rest)
        if match is None:
            raise ValueError(f"{text!r} is no duration; write one like 30d, 12h or 1h30m")
        seconds += int(match[1]) * _UNITS[match[2]]
        rest = rest[match.end() :]
    return seconds


def parse_retention(text: str) -> int | None:
    """Read a retention period.

    Args:
        text: A duration of at least an hour, or `none`.

    Returns:
        Seconds, or None for `none`.

    Raises:
        ValueError: When it is no duration, shorter than an hour, or longer than InfluxDB 3 can
            count.
    """
    if text.strip().lower() == "none":
        return None
    seconds = parse_duration(text)
    if seconds < SHORTEST_RETENTION:
        raise ValueError(f"the retention period {text!r} is shorter than an hour")
    if seconds > LONGEST_RETENTION:
        raise ValueError(
            f"the retention period {text!r} is longer than InfluxDB can count; "
            "write `none` to keep data for ever"
        )
    return seconds


def format_duration(seconds: int) -> str:
    """Write a duration with the largest single unit that is exact: 2592000 gives `30d`.

    Args:
        seconds: Whole seconds.
    """
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"
