"""The plot of a run: seconds against tenants, both scales logarithmic, a line a contender."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from bench.values import Run, distinct

_TABLES = ("all missing", "nothing missing")
_MARKS = "osD^v<>P*X"


def draw(run: Run, path: Path) -> None:
    """Draw what was found for all tenants at once."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "influxops", "font.size": 9})
    canvas = Canvas(figsize=(9, 4), layout="constrained")
    axes = canvas.subplots(1, 2, sharey=True)
    names = distinct(each.contender for each in run.figures if each.table in _TABLES)
    lines = {}
    for axis, table in zip(axes, _TABLES, strict=True):
        axis.set(title=table, xlabel="tenants", xscale="log", yscale="log")
        axis.grid(alpha=0.3)
        for number, name in enumerate(names):
            mine = [f for f in run.figures if (f.table, f.contender) == (table, name)]
            points = sorted((int(f.column.replace(",", "")), f.value) for f in mine)
            if points:
                style = {"marker": _MARKS[number % len(_MARKS)], "color": f"C{number % 10}"}
                (lines[name],) = axis.plot(*zip(*points, strict=True), label=name, **style)
    axes[0].set_ylabel("seconds")
    if lines:
        canvas.legend(lines.values(), lines.keys(), loc="outside right upper", frameon=False)
    canvas.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
