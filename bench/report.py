"""What a run found as text of 80 columns, as JSON, as Markdown and as a plot."""

from __future__ import annotations

import os
import platform
import re
import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.place import LOOKED_FOR, ROOT
from bench.reached import TARGETS, Reached
from bench.values import Figure, LeftOut, Run, distinct
from influxops import __version__

DOCS = ROOT / "docs/performance.md"
PLOT = ROOT / "docs/images/bench.svg"
_WIDTH, _NAME, _CELL = 80, 24, 14
#: Where the tables are in the page.
_BEGIN, _END = "<!-- begin of what make bench writes -->", "<!-- end of what make bench writes -->"


def about(size: str) -> dict[str, Any]:
    """Describe this machine, without its name."""
    model = re.search(r"^model name\s*:\s*(.*)$", _text("/proc/cpuinfo"), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return {
        "size": size,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "version": __version__,
        "machine": f"{cores} cores of {model[1] if model else platform.machine()}, "
        f"{memory:.0f} GB, Linux {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}",
        "load": round(os.getloadavg()[0], 1),
    }


def _text(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""


def servers(rooms: Mapping[str, int]) -> str:
    """Describe the servers, without where they are."""
    if not rooms:
        return "stand-ins for InfluxDB 3"
    room = min(rooms.values())
    limit = f"at least {room:,}" if room >= LOOKED_FOR else f"{room:,}"
    return f"{len(rooms)} real InfluxDB 3, {limit} databases each; larger cases are left out"


def head(run: Run) -> str:
    """Say what was measured where."""
    a = run.about
    return (
        f"{a['date']}, influxops {a['version']}, size {a['size']}, load {a['load']} at the start\n"
        f"{a['machine']}\n{a['servers']}"
    )


def value(figure: Figure) -> str:
    """Write a median with its unit."""
    number, unit = figure.value, figure.unit
    if unit == "s":
        for least, factor, name in ((1.0, 1, "s"), (1e-3, 1e3, "ms"), (0.0, 1e6, "µs")):
            if number >= least:
                number, unit = number * factor, name
                break
    digits = max(0, 3 - len(str(int(number)))) if unit in ("s", "ms", "µs", "MB") else 0
    return f"{number:,.{digits}f} {unit}".strip()


def cell(run: Run, table: str, contender: str, column: str) -> str:
    """Write a median, and how many times what it is beside it is."""
    figure = run.find(table, contender, column)
    if figure is None:
        return "-"
    ratio = run.ratio(figure)
    if ratio is None:
        return value(figure)
    return f"{value(figure)} {ratio:.{2 if ratio < 10 else 0}f}x"


def grid(run: Run, table: str) -> list[list[str]]:
    """Return a table's cells, with the heads of rows and columns."""
    mine = [each for each in run.figures if each.table == table]
    out = [each for each in run.left_out if each.table == table and each.contender]
    told: list[Figure | LeftOut] = [*mine, *out]
    columns = sorted(
        distinct(each.column for each in told),
        key=lambda text: int(re.sub(r"\D", "", text) or 0),
    )
    rows = distinct(each.contender for each in told)
    found = [["", *columns]]
    for name in rows:
        found.append([name, *(cell(run, table, name, each) for each in columns)])
        used = [run.find(table, name, each) for each in columns]
        if any(each and each.memory and each.memory >= 100 for each in used):
            memory = [f"{f.memory:,.0f} MB" if f and f.memory else "-" for f in used]
            found.append(["  memory", *memory])
    return found


def notes(run: Run, table: str) -> list[str]:
    """Say what was left out, and why."""
    found: dict[tuple[str, str], list[str]] = {}
    for each in run.left_out:
        if each.table == table:
            found.setdefault((each.contender, each.why), []).append(each.column)
    told = []
    for (who, why), at in found.items():
        sizes = ", ".join(filter(None, at))
        what = " at ".join(filter(None, (who, sizes)))
        told.append(f"left out: {what}: {why}" if what else f"left out: {why}")
    for failure in run.failures:
        of, _, size = failure.case.rpartition(", ")
        if of == table and failure.contender:
            told.append(f"failed: {' at '.join(filter(None, (failure.contender, size)))}")
    return told


def table(run: Run, title: str) -> str:
    """Write a table as text."""
    lines = [f"\n{title}"]
    cells = grid(run, title)
    longest = max(_NAME - 2, *(len(row[0]) for row in cells))
    width = min(longest, _WIDTH - 2 - _CELL * (len(cells[0]) - 1))
    for first, *rest in cells:
        if first or any(rest):
            shown = "".join(f"{each:>{_CELL}}" for each in rest)
            lines.append(f"  {first[:width]:<{width}}{shown}")
    lines += [_wrapped(note, "  ") for note in notes(run, title)]
    return "\n".join(line.rstrip() for line in lines)


def _wrapped(told: str, indent: str) -> str:
    return textwrap.fill(told, _WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ")


def reached(run: Run) -> list[tuple[str, str, str, Reached]]:
    """Return the targets with what was measured."""
    return [(each.work, each.today, each.reach, each.check(run)) for each in TARGETS]


def targets(run: Run) -> str:
    """Write the targets as text."""
    lines = ["\nto reach"]
    for work, _, reach, found in reached(run):
        verdict = {True: "met", False: "MISSED", None: "not measured"}[found.met]
        measured = f"{verdict}: {found.measured}".rstrip(": ")
        lines += [
            f"  {work}",
            f"    {reach}",
            *(_wrapped(each, "    ") for each in (measured, found.why) if each),
        ]
    return "\n".join(lines)


def text(run: Run) -> str:
    """Write all of it."""
    return "\n".join([head(run), *(table(run, title) for title in run.tables()), targets(run)])


def failures(run: Run) -> list[str]:
    """Say what failed."""
    return [f"FAILED {f.case}: {f.contender} {f.why}".replace(":  ", ": ") for f in run.failures]


def _markdown(cells: Sequence[Sequence[str]]) -> list[str]:
    first, *rest = ([each.replace("|", "\\|") for each in row] for row in cells)
    aligned = ["---", *("---:" for _ in first[1:])]
    return [f"| {' | '.join(row)} |".replace("|  |", "| |") for row in (first, aligned, *rest)]


def markdown(run: Run) -> str:
    """Write all tables for the page."""
    a = run.about
    lines = [
        f"`make bench` on {a['date']}, influxops {a['version']}, size {a['size']}: {a['machine']}, "
        f"load {a['load']} at the start; {a['servers']}.",
        "",
        "![Seconds against tenants, a line for each contender](images/bench.svg)",
    ]
    for title in run.tables():
        cells = grid(run, title)
        if len(cells) > 1:
            lines += ["", f"**{title[0].upper()}{title[1:]}**", "", *_markdown(cells)]
        lines += ["", *(f"- {note}" for note in notes(run, title))]
    lines += ["", "### To reach", ""]
    rows = [["work", "before", "to reach", "measured", ""]]
    for work, today, reach, found in reached(run):
        verdict = {True: "met", False: f"**missed**: {found.why}", None: f"not here: {found.why}"}
        rows.append([work, today, reach, found.measured, verdict[found.met].rstrip(": ")])
    lines += [line.replace("---:", "---") for line in _markdown(rows)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def write(run: Run, folder: Path, *, docs: bool) -> None:
    """Write all that a run found into a folder, and into the documentation."""
    from bench.plot import draw  # slow to import

    run.write(folder / "bench.json")
    told = "\n".join([text(run), *failures(run)])
    (folder / "bench.txt").write_text(f"{told}\n", encoding="utf-8")
    draw(run, folder / "bench.svg")
    if docs:
        draw(run, PLOT)
        before, rest = DOCS.read_text(encoding="utf-8").split(_BEGIN)
        after = rest.split(_END)[1]
        page = f"{before}{_BEGIN}\n\n{markdown(run)}\n\n{_END}{after}"
        DOCS.write_text(page, encoding="utf-8")
