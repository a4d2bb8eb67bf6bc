"""A run's context: its deadline, its cancellation, and how both end what waits."""

from __future__ import annotations

import threading
import time

import pytest

from influxops.errors import DeadlineExceeded, Interrupted
from influxops.runtime.cancellation import WaitTimeout
from influxops.runtime.context import RunContext

LONG = 60.0


def wait_for(event: threading.Event) -> None:
    assert event.wait(LONG), "nobody ended the wait"


def test_a_wait_ends_with_a_run_that_is_cancelled() -> None:
    context = RunContext()
    ended = threading.Event()
    with context.on_end(ended.set) as ending:
        context.cancel()
        wait_for(ended)
    assert type(ending.error) is Interrupted


def test_a_wait_ends_with_its_runs_deadline() -> None:
    context = RunContext(0.05)
    ended = threading.Event()
    with context.on_end(ended.set, within=LONG) as ending:
        wait_for(ended)
    assert isinstance(ending.error, DeadlineExceeded)
    assert not isinstance(ending.error, WaitTimeout)


def test_a_wait_that_takes_too_long_ends_and_the_run_goes_on() -> None:
    context = RunContext()
    ended = threading.Event()
    with context.on_end(ended.set, within=0.01) as ending:
        wait_for(ended)
    assert isinstance(ending.error, WaitTimeout)
    context.check()


def test_what_is_left_of_grace_is_given_before_a_cancelled_wait_ends() -> None:
    context = RunContext()
    ended = threading.Event()
    with context.on_end(ended.set, grace=LONG) as ending:
        context.cancel()
        assert not ended.wait(0.05)
    assert ending.error is None


def test_grace_counts_from_when_a_run_was_cancelled() -> None:
    context, ended = RunContext(), threading.Event()
    context.cancel()
    context.cancel()  # a second time changes nothing
    threading.Event().wait(0.3)
    with context.on_end(ended.set, grace=0.2):
        begin = time.monotonic()
        wait_for(ended)
    assert time.monotonic() - begin < 0.2
    rest = context.with_grace_period(1.0, at_least=0.1)
    assert (rest.time_left() or 1.0) < 0.75
    rest = context.with_grace_period(0.1, at_least=LONG)
    assert (rest.time_left() or 0.0) > LONG - 1


def test_a_wait_that_is_over_by_itself_is_not_ended_later() -> None:
    context = RunContext()
    ended, other = threading.Event(), threading.Event()
    with context.on_end(ended.set):
        pass
    with context.on_end(other.set):
        context.cancel()
        wait_for(other)
    assert not ended.is_set()


def test_a_wait_that_begins_after_the_run_was_cancelled_ends_at_once() -> None:
    context = RunContext()
    context.cancel()
    ended = threading.Event()
    with context.on_end(ended.set):
        wait_for(ended)


def test_many_waits_take_one_thread() -> None:
    context = RunContext()
    with context.on_end(lambda: None, within=LONG):
        pass
    before = threading.active_count()
    for _ in range(1000):
        with context.on_end(lambda: None, within=LONG):
            pass
    assert threading.active_count() <= before


def test_the_earliest_of_many_waits_ends_first() -> None:
    context = RunContext()
    first, second = threading.Event(), threading.Event()
    with context.on_end(second.set, within=LONG), context.on_end(first.set, within=0.01):
        wait_for(first)
    assert not second.is_set()


def test_a_call_that_nothing_can_end_is_left_behind() -> None:
    context = RunContext()
    never, started = threading.Event(), threading.Event()

    def hang() -> None:
        started.set()
        never.wait(LONG)

    def cancel() -> None:
        wait_for(started)
        context.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(Interrupted):
        context.run_abandonable(hang)
    thread.join()
    never.set()


def test_a_detached_call_gives_what_it_gives_and_raises_what_it_raises() -> None:
    context = RunContext()
    assert context.run_abandonable(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        context.run_abandonable(lambda: 1 // 0)
    never = threading.Event()
    with pytest.raises(WaitTimeout):
        context.run_abandonable(lambda: never.wait(LONG), within=0.01)
    never.set()


def test_a_part_of_a_run_ends_with_the_part_and_with_the_run() -> None:
    run = RunContext(LONG)
    part = run.with_timeout(0.0)
    with pytest.raises(DeadlineExceeded):
        part.check()
    run.check()
    part = run.with_timeout(LONG)
    run.cancel()
    with pytest.raises(Interrupted):
        part.check()
    assert part.id == run.id


def test_a_run_that_is_over_has_a_little_time_to_tell() -> None:
    run = RunContext(0.0)
    rest = run.with_grace_period(LONG)
    rest.check()
    assert (rest.id, rest.started) == (run.id, run.started)
    assert 0 < (rest.time_left() or 0) <= LONG
    going_on = RunContext()
    assert going_on.with_grace_period(LONG) is going_on


def test_waiting_beyond_the_end_of_a_run_ends_at_once() -> None:
    with pytest.raises(DeadlineExceeded, match="would exceed"):
        RunContext(5).sleep(LONG)
