"""Running tasks at once, each in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import wait
from typing import TypeVar

from influxops.runtime.context import RunContext, in_background

T = TypeVar("T")

#: Seconds after which the log names the tasks that are still running.
_SAY_AFTER = 2.0


def in_parallel(
    tasks: Mapping[str, Callable[[], T]], context: RunContext, *, say: bool = True
) -> list[T]:
    """Return what tasks give, by what is waited for; each has a thread of its own.

    The first exception is raised after all have ended. A warning names tasks that take long.
    """
    if not tasks:
        return []
    futures = {in_background(task): name for name, task in tasks.items()}
    for late in wait(futures, _SAY_AFTER).not_done if say else ():
        context.log.warning("still waiting for %s", futures[late])
    wait(futures)
    return [future.result() for future in futures]
