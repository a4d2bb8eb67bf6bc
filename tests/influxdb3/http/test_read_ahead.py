"""Fetching what comes next while the one before is worked on."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from influxops_influxdb3.http.thread_map import read_ahead


def test_the_next_ones_are_fetched_meanwhile_and_no_more_than_that() -> None:
    fetched, third = list[int](), threading.Event()

    def items() -> Generator[int]:
        for number in range(100):
            fetched.append(number)
            if number == 2:
                third.set()
            yield number

    got = read_ahead(items(), 4)
    assert third.wait(20)  # before the first is taken
    assert next(got) == 0
    assert len(fetched) <= 8
    assert [*got] == [*range(1, 100)]


def test_what_fails_is_raised_after_what_came_before() -> None:
    def items() -> Generator[int]:
        yield 1
        raise ValueError("broken off")

    got = read_ahead(items(), 4)
    assert next(got) == 1
    with pytest.raises(ValueError, match="broken off"):
        next(got)


@pytest.mark.parametrize("is_taken", [True, False])
def test_what_is_left_early_is_closed(is_taken: bool) -> None:
    closed = threading.Event()

    def items() -> Generator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    got = read_ahead(items(), 4)
    if is_taken:
        assert next(got) == 1
    got.close()
    assert closed.wait(20)
