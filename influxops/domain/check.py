"""One thing that `influxops doctor` looked at."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Check(Struct, frozen=True):
    """One thing that a run depends on, as `influxops doctor` found it."""

    name: str  # what was looked at, in a few words
    ok: bool | None  # None where that is unknown, or is no fault
    message: str  # what was found
    hint: Any = ""  # what to do about it: a Hint, or text
