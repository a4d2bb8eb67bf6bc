"""Durations as people write them: `30d`, `12h`, `1h30m`, `90 s`."""

from __future__ import annotations

import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
#: Units that influxops does not take, since others mean various things by them.
_LONGER = {
    "(y|yr|yrs|year|years)": "write 365d for a year: InfluxDB itself makes 8766h of 1y",
    "(mo|mon|month|months)": "write 30d for a month",
    "(ms|us|ns)": "a second, 1s, is the shortest",
}
_FOR_EVER = ("infinite", "infinity", "inf", "forever", "for ever", "never", "unlimited", "0")
#: A text of another kind, which may be a secret in a wrong place, is not repeated.
_LOOKS_LIKE_ONE = re.compile(r"[0-9.]{1,8}\s*[A-Za-z]{1,8}|[A-Za-z]{1,10}")
_PART = re.compile(r"([0-9]{1,12})\s*([smhdw])\s*")


def parse_duration(text: str) -> int:
    """Return the seconds of a duration: whole numbers with the units s, m, h, d and w, added up.

    A ValueError repeats the text only where that is short, and looks like one.
    """
    rest = text.strip().lower()
    seconds = 0
    if not rest:
        raise ValueError("an empty duration; write one like 30d, 12h or 1h30m")
    while rest:
        match = _PART.match(rest)
        if match is None:
            raise ValueError(_no_duration(text.strip()))
        seconds += int(match[1]) * _UNITS[match[2]]
        rest = rest[match.end() :]
    return seconds


def _no_duration(text: str) -> str:
    """Return why a text is no duration, and what is one."""
    what = f"{text} is no duration" if _LOOKS_LIKE_ONE.fullmatch(text) else "no duration"
    for unit, instead in _LONGER.items():
        if re.fullmatch(rf"[0-9.]+\s*{unit}", text.lower()):
            return f"{what}; {instead}"
    return f"{what}; write whole numbers with the units s, m, h, d or w, as 30d, 12h or 1h30m"


def check_duration(text: str) -> str:
    """Return a duration as it is written; raise ValueError unless it is 1 s to 365 days."""
    if not 1 <= parse_duration(text) <= 365 * _UNITS["d"]:
        raise ValueError("it must be from one second to 365 days")
    return text


def parse_seconds(text: str) -> float:
    """Return the seconds of a duration, or of a whole number without a unit."""
    return float(text) if text.strip().isdecimal() else parse_duration(text)


def parse_retention(text: str) -> int | None:
    """Return the seconds of a retention period; None for `none`: kept for ever.

    One that keeps nothing is none; what a target keeps at least and at most is its own to say.
    """
    word = text.strip().lower()
    if word == "none":
        return None
    if word in _FOR_EVER:
        raise ValueError(f"{word} is no duration; `none` keeps data for ever")
    seconds = parse_duration(text)
    if not seconds:
        raise ValueError(f"{word} would keep nothing; `none` keeps data for ever")
    return seconds


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
