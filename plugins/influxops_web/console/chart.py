"""What the chart of a tenant's telemetry over time shows.

The template `chart.svg` draws it as a part of the page, so that it has the page's colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from influxops.domain.text import pluralize

#: Marks on the left, the one at 0 left out.
_MARKS = 5


class Chart(Struct, frozen=True):
    """A chart, and the same in words."""

    words: str  # what it shows, for a reader who does not see it
    bars: Sequence[tuple[str, int]]  # when each span of time begins, and its rows
    marks: Sequence[int]  # numbers of rows; none where no rows were written: nothing is drawn


def chart(activity: Sequence[tuple[datetime, int]], words: str) -> Chart:
    """Show how many rows were written since the beginning of each span of time, in order.

    `words` say how far back it goes: "the last 24 hours".
    """
    most = max((rows for _, rows in activity), default=0)
    is_daily = len(activity) > 1 and (activity[1][0] - activity[0][0]).days >= 1
    pattern = "%Y-%m-%d" if is_daily else "%m-%d %H:%M"
    bars = [(f"{at:{pattern}}", rows) for at, rows in activity]
    return Chart(_in_words(activity, words), bars, _marks(most) if most else [])


def _marks(most: int) -> list[int]:
    """Return whole numbers to mark, from 0 to what is at least the most."""
    step = 1
    while most / step > _MARKS:
        # 1, 2, 5, 10, 20, 50, …
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    return [*range(0, most + step, step)]


def _in_words(activity: Sequence[tuple[datetime, int]], words: str) -> str:
    total = sum(number for _, number in activity)
    said = f"{pluralize(total, 'row')} in {words}"
    if not total:
        return said
    at, most = max(activity, key=lambda span: span[1])
    return f"{said}; most, {most:,}, in the span that begins {at:%Y-%m-%d %H:%M} UTC"
