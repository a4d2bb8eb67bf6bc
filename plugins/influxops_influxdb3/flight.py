"""Several requests under way at once, started one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from influxops import Interrupted, Run

_T = TypeVar("_T")
_R = TypeVar("_R")


def in_flight(
    items: Iterable[_T], work: Callable[[_T], _R], *, most: int
) -> Iterator[tuple[_T, Future[_R]]]:
    """Work on items in threads and give each with its future, as they get ready.

    An item is taken only when there is a thread for it, so that the iterable can still change
    its mind after each result. It is the iterable's business to end when the run is over, and
    the work's to be over soon after that: requests are (see `exchange.py`).

    Args:
        items: What to work on.
        work: What to do with one, in a thread of its own.
        most: How many at once.

    Yields:
        Each item that was taken, with its future, which is done.
    """
    source = iter(items)
    flying: dict[Future[_R], _T] = {}
    executor = ThreadPoolExecutor(most, thread_name_prefix="influxdb3")
    try:
        while True:
            while len(flying) < most:
                try:
                    item = next(source)
                except StopIteration:
                    break
                flying[executor.submit(work, item)] = item
            if not flying:
                return
            done, _ = wait(flying, return_when=FIRST_COMPLETED)
            for future in done:
                yield flying.pop(future), future
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def over(run: Run) -> Interrupted | None:
    """Tell whether a run is over, and why."""
    try:
        run.check()
    except Interrupted as error:
        return error
    return None
