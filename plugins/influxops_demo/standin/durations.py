"""Durations as the server writes them: ``30d``, ``1h 30m``, ``90days``.

Units and their lengths are those of the Rust crate humantime, which the server uses: a month is
30.44 days, a year 365.25 days.
"""

from __future__ import annotations

import re

_NANOSECONDS = {
    1: ("nanos", "nsec", "ns"),
    1_000: ("usec", "us", "µs"),
    1_000_000: ("millis", "msec", "ms"),
    10**9: ("seconds", "second", "secs", "sec", "s"),
    60 * 10**9: ("minutes", "minute", "min", "mins", "m"),
    3_600 * 10**9: ("hours", "hour", "hrs", "hr", "h"),
    86_400 * 10**9: ("days", "day", "d"),
    604_800 * 10**9: ("weeks", "week", "wk", "wks", "w"),
    2_630_016 * 10**9: ("months", "month", "M"),
    31_557_600 * 10**9: ("years", "year", "yr", "yrs", "y"),
}
_UNITS = {name: factor for factor, names in _NANOSECONDS.items() for name in names}
_PART = re.compile(r"\s*(\d[\d\s]*)([A-Za-zµ]*)")
_MAX_SECONDS = 2**64 - 1


class DurationError(ValueError):
    """A text that is no duration; the message is what the server says of it."""


def parse_duration(text: str) -> int:
    """Reads a duration.

    Args:
        text: one or more numbers, each followed by its unit.

    Returns:
        nanoseconds.

    Raises:
        DurationError: the text is empty, has a number without a unit or an unknown unit.
    """
    if not text.strip():
        raise DurationError("value was empty")
    if text == "0":
        return 0
    total = position = 0
    end = len(text.rstrip())
    while position < end:
        part = _PART.match(text, position)
        if part is None:
            raise DurationError(f"expected number at {position}")
        number = int("".join(part[1].split()))
        unit = part[2]
        if not unit:
            raise DurationError(_unit_needed(text, part.end(), end, number))
        if unit not in _UNITS:
            raise DurationError(
                f'unknown time unit "{unit}", supported units: ns, us/µs, ms, sec, min, hours, '
                "days, weeks, months, years (and few variations)"
            )
        total += number * _UNITS[unit]
        position = part.end()
    if total // 10**9 > _MAX_SECONDS:
        raise DurationError(
            "number is too large or cannot be represented without a lack of precision"
        )
    return total


def parse_seconds(text: str) -> int:
    """Reads a duration and drops what is below a second, as the catalog does.

    Raises:
        DurationError: as :func:`parse_duration`.
    """
    return parse_duration(text) // 10**9


def _unit_needed(text: str, position: int, end: int, number: int) -> str:
    if position < end:
        return f"invalid character at {position}"
    return f"time unit needed, for example {number}sec or {number}ms"
