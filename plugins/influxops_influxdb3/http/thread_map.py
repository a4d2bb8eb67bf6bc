"""Work on several things at once, in a few threads, or on one while the next is fetched."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from queue import Queue, SimpleQueue
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")


def in_flight(
    items: Iterable[_T], work: Callable[[_T], _R], *, limit: int
) -> Iterator[tuple[_T, _R]]:
    """Work on items in a few threads, and yield each with its result, as they get ready.

    An item is taken only when there is a thread for it, so that the iterable can still change
    its mind after each result. It is the iterable's business to end when the run is over, and
    the work's to be over soon after that, as requests are. What the work raises is raised.
    """
    todo: SimpleQueue[_T | None] = SimpleQueue()
    done: SimpleQueue[tuple[_T, _R | None, BaseException | None]] = SimpleQueue()

    def run() -> None:
        while (item := todo.get()) is not None:
            try:
                done.put((item, work(item), None))
            except BaseException as error:
                done.put((item, None, error))

    source, flying, threads = iter(items), 0, 0
    try:
        while True:
            while flying < limit and (item := next(source, None)) is not None:
                todo.put(item)
                flying += 1
                if threads < flying:
                    threads += 1
                    threading.Thread(target=run, name="influxdb3", daemon=True).start()
            if not flying:
                return
            item, result, error = done.get()
            flying -= 1
            if error is not None:
                raise error
            yield item, result  # type: ignore[misc]
    finally:
        for _ in range(threads):
            todo.put(None)


def read_ahead(items: Generator[_T], limit: int) -> Generator[_T]:
    """Yield items that a thread fetches, from now on, `limit` of them ahead at most.

    Where it is left before the end, the thread ends after the item that it waits for.
    """
    found = _read_ahead(items, limit)
    next(found)
    return found


def _read_ahead(items: Generator[_T], limit: int) -> Generator[_T]:
    ready: Queue[tuple[_T | None, BaseException | None]] = Queue(limit + 1)
    left = threading.Event()

    def run() -> None:
        end: BaseException = StopIteration()
        try:
            for item in items:
                ready.put((item, None))
                if left.is_set():
                    break
            items.close()
        except BaseException as error:
            end = error
        ready.put((None, end))

    threading.Thread(target=run, name="influxdb3-read", daemon=True).start()
    try:
        yield None  # type: ignore[misc]  # it has begun, and is ended where nothing is taken
        while True:
            item, end = ready.get()
            if isinstance(end, StopIteration):
                return
            if end is not None:
                raise end
            yield item  # type: ignore[misc]
    finally:
        left.set()
        while not ready.empty():  # room for what it waits to put
            ready.get()
