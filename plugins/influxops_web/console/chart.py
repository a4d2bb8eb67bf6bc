"""The chart of a tenant's telemetry over time: where its bars, marks and labels are.

The template `chart.svg` draws it as a part of the page, so that it has the page's colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from msgspec import Struct

from influxops.domain.text import pluralize

#: Units of the drawing between two bars.
_GAP = 6
#: Labels below the bars.
_LABELS = 6
#: Marks on the left, the one at 0 left out.
_MARKS = 5


class Bar(Struct, frozen=True):
    """One span of time; positions are in the units of the drawing."""

    time: str  # when it begins
    rows: int
    x: float
    y: float
    width: float
    height: float
    is_labelled: bool


class Mark(Struct, frozen=True):
    """A line across the chart that says how many rows that height is."""

    rows: int
    y: float


class Chart(Struct, frozen=True):
    """A chart, and the same in words."""

    # The size of the drawing in its own units, and the edges of what the bars fill of it.
    WIDTH: ClassVar[int] = 900
    HEIGHT: ClassVar[int] = 260
    RIGHT: ClassVar[int] = 890
    TOP: ClassVar[int] = 15
    BASE: ClassVar[int] = 225

    words: str  # what it shows, for a reader who does not see it
    left: int  # leaves room for the longest mark
    bars: Sequence[Bar]
    marks: Sequence[Mark]  # none where no rows were written: there is nothing to draw


def chart(activity: Sequence[tuple[datetime, int]], words: str) -> Chart:
    """Lay out how many rows were written since the beginning of each span of time, in order.

    `words` say how far back it goes: "the last 24 hours".
    """
    most = max((rows for _, rows in activity), default=0)
    marks = _marks(most) if most else []
    top = marks[-1] if marks else 1
    is_daily = len(activity) > 1 and (activity[1][0] - activity[0][0]).days >= 1
    pattern = "%Y-%m-%d" if is_daily else "%m-%d %H:%M"
    left = max(32, 14 + 9 * len(f"{top:,}"))
    step = (Chart.RIGHT - left) / max(1, len(activity))
    labelled = max(1, len(activity) // _LABELS)
    bars = [
        Bar(
            f"{at:{pattern}}",
            rows,
            round(left + number * step + _GAP / 2, 1),
            _y(rows, top),
            round(step - _GAP, 1),
            round(Chart.BASE - _y(rows, top), 1),
            number % labelled == 0,
        )
        for number, (at, rows) in enumerate(activity)
    ]
    lines = [Mark(rows, _y(rows, top)) for rows in marks]
    return Chart(_in_words(activity, words), left, bars, lines)


def _y(rows: int, top: int) -> float:
    return round(Chart.BASE - (Chart.BASE - Chart.TOP) * rows / top, 1)


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
