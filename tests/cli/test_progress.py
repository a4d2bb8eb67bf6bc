"""How far a long run is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from influxops.cli.output.progress import bar_for
from influxops.cli.output.progress_lines import Lines


@pytest.mark.parametrize(
    "label", ["reading", "catching up telemetry_coldchain-24 to warehouse-eu2"]
)
@pytest.mark.parametrize("total", [4, 1_250_000])
def test_a_bar_at_80_columns_has_the_rate_and_the_time_left(label: str, total: int) -> None:
    clock = [0.0]
    out = io.StringIO()
    screen = Console(file=out, width=80, force_terminal=True, color_system=None)
    bar = bar_for(label, total, screen, get_time=lambda: clock[0])
    for _ in range(3):
        clock[0] += 5
        bar.advance(bar.task_ids[0], total / 4)
    screen.print(bar.get_renderable())
    (line,) = out.getvalue().splitlines()
    assert len(line) <= 80
    assert line.split()[-1] == "00:05"  # a quarter is left, and each took so long
    assert line.split()[-2] == f"{total / 20:.0f}/s"
    assert label[:20] in line


def test_a_line_does_not_hold_more_than_all(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(every=0)
    lines.stage("copying telemetry_acme to eu2", 2139)
    lines.advance(2000)
    lines.advance(16610)
    first, second = capsys.readouterr().err.splitlines()
    assert ": 2,000 of 2,139" in first
    assert ": 18,610" in second and " of " not in second
