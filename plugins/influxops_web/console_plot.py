"""The plot of a tenant's telemetry over time, as an image in the page: no script draws it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from influxops.domain.text import pluralize

#: Pixels, of which the page shows as many as fit.
_WIDTH, _HEIGHT = 900, 260
#: Labels below the bars.
_LABELS = 6
#: Marks on the left, the one at 0 left out.
_MARKS = 5
#: An image knows whether its reader wants dark pages, and nothing else of the page. The library's
#: own rules name the chart, so these have to insist.
_COLOURS = """
.background { fill: transparent !important }
.rect { fill: #0b5ed7 !important; stroke: none !important; fill-opacity: 1 !important }
text { fill: #343a40 !important }
.axis .line { stroke: #ced4da !important }
.text-overlay { display: none }
@media (prefers-color-scheme: dark) {
  .rect { fill: #6ea8fe !important }
  text { fill: #ced4da !important }
  .axis .line { stroke: #495057 !important }
}
"""


class Plot(Struct, frozen=True):
    """A plot, and the same in words."""

    image: str  # a `data:` URL; empty where there is nothing to draw
    words: str  # what it shows, for who does not see it
    rows: Sequence[tuple[str, int]]  # when each span begins, and its rows: the same as a table


def plot(activity: Sequence[tuple[datetime, int]], words: str) -> Plot:
    """Draw how many rows were written in each span of time.

    Args:
        activity: When each span begins, and how many rows there are, in order.
        words: How far back it goes: "the last 24 hours".
    """
    import pygal  # only who looks at a tenant needs it
    from pygal.style import Style

    said = _in_words(activity, words)
    is_daily = len(activity) > 1 and (activity[1][0] - activity[0][0]).days >= 1
    times = [f"{at:%Y-%m-%d}" if is_daily else f"{at:%m-%d %H:%M}" for at, _ in activity]
    numbers = [number for _, number in activity]
    rows = tuple(zip(times, numbers, strict=True))
    if not any(numbers):
        return Plot("", said, rows)
    chart = pygal.Bar(
        width=_WIDTH,
        height=_HEIGHT,
        style=Style(
            background="transparent",
            plot_background="transparent",
            font_family="system-ui, sans-serif",
            label_font_size=14,
            major_label_font_size=14,
        ),
        css=["file://style.css", "file://graph.css", f"inline:{_COLOURS}"],
        js=[],
        show_legend=False,
        margin=10,
        spacing=4,
        x_labels_major_every=max(1, len(times) // _LABELS),
        show_minor_x_labels=False,
        truncate_label=-1,
        value_formatter=lambda value: f"{value:,.0f}",
        disable_xml_declaration=True,
        explicit_size=True,
        print_values=False,
        show_x_guides=False,
        no_data_text="",
    )
    chart.x_labels = times
    chart.y_labels = _marks(max(numbers))
    chart.add("rows", numbers)
    image = base64.b64encode(chart.render().encode()).decode("ascii")
    return Plot(f"data:image/svg+xml;base64,{image}", said, rows)


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
