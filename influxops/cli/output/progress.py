"""The progress bar: what is done, how fast, how long it will take."""

from __future__ import annotations

import contextlib
import sys
import threading

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
                self._progress = Progress(
                    SpinnerColumn(),
                    TextColumn("{task.description}"),
                    BarColumn(),
                    MofNCompleteColumn(),
                    _Rate(),
                    TimeRemainingColumn(compact=True),
                    console=console(sys.stderr),
                    transient=True,
                    redirect_stdout=False,
                )
                self._progress.add_task(label, total=total)
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
