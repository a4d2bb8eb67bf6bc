"""Durations as the server writes them."""

from __future__ import annotations

import re

#: Nanoseconds in the units of the Rust crate humantime: a month is 30.44 days, a year 365.25.
_UNITS = {
    name: factor
    for factor, names in {
        1: "nanos nsec ns",
        10**3: "usec us µs",
        10**6: "millis msec ms",
        10**9: "seconds second secs sec s",
        60 * 10**9: "minutes minute min mins m",
        3_600 * 10**9: "hours hour hrs hr h",
        86_400 * 10**9: "days day d",
        604_800 * 10**9: "weeks week wk wks w",
        2_630_016 * 10**9: "months month M",
        31_557_600 * 10**9: "years year yr yrs y",
    }.items()
    for name in names.split()
}


def parse_duration(text: str) -> int:
    """Return the nanoseconds of a duration like ``30d`` or ``1h 30m``."""
    if text == "0":
        return 0
    parts = re.findall(r"(\d+)\s*([A-Za-zµ]+)", text)
    if not parts or not re.fullmatch(r"(\s*\d+\s*[A-Za-zµ]+)+\s*", text):
        raise ValueError("expected numbers, each with its time unit")
    unknown = [unit for _, unit in parts if unit not in _UNITS]
    if unknown:
        raise ValueError(f'unknown time unit "{unknown[0]}"')
    return sum(int(number) * _UNITS[unit] for number, unit in parts)
