"""Durations as people write them: `30d`, `12h`, `1h30m`, `90 s`."""

from __future__ import annotations

import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PART = re.compile(r"([0-9]{1,12})\s*([smhdw])\s*")


def parse_duration(text: str) -> int:
    """Return the seconds of a duration: whole numbers with the units s, m, h, d and w, added up.

    Raises:
        ValueError: When it is no such duration; it does not repeat the text.
    """
    rest = text.strip().lower()
    seconds = 0
    if not rest:
        raise ValueError("an empty duration; write one like 30d, 12h or 1h30m")
    while rest:
        match = _PART.match(rest)
        if match is None:
            raise ValueError("no duration; write one like 30d, 12h or 1h30m")
        seconds += int(match[1]) * _UNITS[match[2]]
        rest = rest[match.end() :]
    return seconds


def check_duration(text: str) -> str:
    """Return a duration as it is written.

    Raises:
        ValueError: When it is none, or not from one second to 365 days.
    """
    if not 1 <= parse_duration(text) <= 365 * _UNITS["d"]:
        raise ValueError("it must be from one second to 365 days")
    return text


def parse_seconds(text: str) -> float:
    """Return the seconds of a duration, or of a whole number without a unit."""
    return float(text) if text.strip().isdecimal() else parse_duration(text)


def parse_retention(text: str) -> int | None:
    """Return the seconds of a retention period; None for `none`: kept for ever.

    Raises:
        ValueError: When it is no duration. What a target keeps at least and at most is its own
            to say.
    """
    return None if text.strip().lower() == "none" else parse_duration(text)


def format_duration(seconds: int) -> str:
    """Return a duration written with the largest single unit that is exact: 2592000 gives `30d`."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"


def format_duration_approx(seconds: float) -> str:
    """Return a time for people: `40s`, `12m`, `3h`; not more exact than anybody needs."""
    whole = max(round(seconds), 1)
    for unit in (3600, 60):
        if whole >= 3 * unit:
            return format_duration(-(-whole // unit) * unit)
    return format_duration(whole)
