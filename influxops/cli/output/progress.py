"""The progress bar: what is done, how fast, how long it will take."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from influxops.runtime.stdio import console


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.0f}/s" if speed else "", style="progress.data.speed")


#: Characters of a line beside the label, the bar and the counts: spinner, rate, time left, gaps.
_BESIDE = 23
#: Characters of the bar.
_LEAST, _MOST = 5, 40


def bar_for(label: str, total: int, screen: Console, **more: Any) -> Progress:
    """Return a bar that leaves room for the rate and the time left, at 80 columns, too."""
    room = screen.width - _BESIDE - 2 * len(str(total))
    label = label if len(label) <= room - _LEAST else f"{label[: room - _LEAST - 1]}…"
    found = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(max(_LEAST, min(_MOST, room - len(label)))),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(compact=True),
        console=screen,
        transient=True,
        redirect_stdout=False,
        **more,
    )
    found.add_task(label, total=total)
    return found


class Bar:
    """A bar on standard error that a stage starts and its last item takes away.

    What is written to standard error in the meantime appears above it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._left = 0

    def stage(self, label: str, total: int) -> None:
        """Start a stage of so many items; one of none only takes the last one's bar away."""
        self.stop()
        with self._lock, contextlib.suppress(OSError):  # a terminal that was hung up
            self._left = total
            if total:
                self._progress = bar_for(label, total, console(sys.stderr))
                self._progress.start()

    def advance(self, count: int) -> None:
        """Count items as done."""
        with self._lock:
            if self._progress is None:
                return
            self._progress.advance(self._progress.task_ids[0], count)
            self._left -= count
            done = self._left <= 0
        if done:
            self.stop()

    def stop(self) -> None:
        """Take the bar away."""
        with self._lock:
            bar, self._progress = self._progress, None
        if bar is not None:
            with contextlib.suppress(OSError):
                bar.stop()
