"""A batch worker handles all that it is given, in batches, and never at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from influxops.runtime.batch_worker import BatchWorker

Give = Callable[..., BatchWorker[int]]


@pytest.fixture
def worker() -> Iterator[Give]:
    made: list[BatchWorker[int]] = []

    def give(handle: Callable[[list[int]], None], **options: Any) -> BatchWorker[int]:
        fails = options.pop("on_error", lambda batch, error: None)
        made.append(BatchWorker("influxops-test", handle, fails, **options))
        return made[-1]

    yield give
    for each in made:
        each.stop()


def test_what_comes_while_it_works_is_the_next_batch(worker: Give) -> None:
    begun, go_on = threading.Event(), threading.Event()
    batches: list[list[int]] = []

    def handle(batch: list[int]) -> None:
        batches.append(batch)
        begun.set()
        assert go_on.wait(20)

    it = worker(handle)
    it.submit(0)
    assert begun.wait(20)
    for number in range(1, 4):
        it.submit(number)
    go_on.set()
    assert it.drain(20)
    assert batches == [[0], [1, 2, 3]]


def test_a_batch_is_no_larger_than_the_largest(worker: Give) -> None:
    batches: list[list[int]] = []
    it = worker(batches.append, largest_batch=2, longest_wait=60.0)
    for number in range(5):
        it.submit(number)
    assert it.drain(20)
    assert batches == [[0, 1], [2, 3], [4]]


def test_draining_waits_for_nothing_that_is_delayed(worker: Give) -> None:
    batches: list[list[int]] = []
    it = worker(batches.append)
    it.submit(1, delay=600.0)
    assert it.drain(20)
    assert batches == [[1]]


def test_what_is_delayed_comes_by_itself(worker: Give) -> None:
    came = threading.Event()
    worker(lambda batch: came.set()).submit(1, delay=0.01)
    assert came.wait(20)


def test_a_batch_that_fails_is_told_and_the_next_is_handled(worker: Give) -> None:
    failed: list[tuple[list[int], Exception]] = []
    handled: list[int] = []

    def handle(batch: list[int]) -> None:
        if 0 in batch:
            raise ValueError("no")
        handled.extend(batch)

    it = worker(handle, on_error=lambda batch, error: failed.append((batch, error)))
    it.submit(0)
    assert it.drain(20)
    it.submit(1)
    assert it.drain(20)
    assert [batch for batch, _ in failed] == [[0]]
    assert handled == [1]


def test_it_says_when_nothing_came_for_a_while(worker: Give) -> None:
    idle = threading.Event()
    worker(lambda batch: None, on_idle=(0.01, idle.set)).submit(1)
    assert idle.wait(20)


def test_a_stopped_one_handles_nothing_more(worker: Give) -> None:
    batches: list[list[int]] = []
    it = worker(batches.append)
    it.stop()
    it.submit(1)
    assert not it.drain(0.01)
    assert batches == []
