"""Completes, in batches, databases that were made for somebody who waited."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Mapping

from influxops.domain.change import Status
from influxops.domain.text import pluralize
from influxops.errors import InfluxopsError
from influxops.provisioner.circuit_breaker import Circuit
from influxops.provisioner.engine_pool import Engines
from influxops.provisioner.logs import log
from influxops.reconcile.single.look_up import Place

#: Seconds that the first one waits for others; writing takes up to a second more.
_COLLECTING = 0.25
#: Seconds that one batch may take.
_PATIENCE = 15.0
#: Seconds before another try, and how many there are: full runs complete what is left.
_AGAIN, _MOST_TRIES = 2.0, 5


class Finisher:
    """A thread that completes what it is given.

    Args:
        engines: Lends engines.
        circuits: Says which targets are not to be asked, by full name.
        stopping: Set when nothing more is to be done.
    """

    def __init__(
        self, engines: Engines, circuits: Mapping[str, Circuit], stopping: threading.Event
    ) -> None:
        self._engines, self._circuits, self._stopping = engines, circuits, stopping
        self._changed = threading.Condition()
        self._places: dict[tuple[str, str], tuple[Place, int]] = {}  # with the number of tries
        self._working = False
        self._runs = False
        self._hurried = False

    def add(self, place: Place) -> None:
        """Take one more; never waits."""
        self._add(place, 0)

    def _add(self, place: Place, tries: int) -> None:
        with self._changed:
            self._places[place.target or "", place.database] = (place, tries)
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._serve, name="influxops-finisher", daemon=True).start()
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until nothing is left; return whether that was so in time."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()
            done = self._changed.wait_for(
                lambda: not self._places and not self._working, max(timeout, 0.0)
            )
            self._hurried = False
        return done

    def close(self) -> None:
        """Let the thread see that nothing more is to be done."""
        with self._changed:
            self._changed.notify_all()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            with self._changed:
                if not self._places:
                    self._changed.wait_for(lambda: self._places or self._stopping.is_set())
                    continue
                self._changed.wait_for(lambda: self._hurried, _COLLECTING)
                places, self._places = self._places, {}
                self._working = True
            left = self._complete(places)
            with self._changed:
                self._working = False
                self._changed.notify_all()
            if left:
                self._stopping.wait(0.0 if self._hurried else _AGAIN)
            for place, tries in left:
                self._add(place, tries)

    def _complete(
        self, places: Mapping[tuple[str, str], tuple[Place, int]]
    ) -> list[tuple[Place, int]]:
        """Complete some; return those that are to be tried again."""
        by_target: defaultdict[str, list[tuple[Place, int]]] = defaultdict(list)
        for (target, _), each in places.items():
            by_target[target].append(each)
        left: list[tuple[Place, int]] = []
        for target, group in by_target.items():
            if self._circuits[f"target:{target}"].is_open:
                left += group
                continue
            began = time.monotonic()
            try:
                with self._engines.borrow() as (engine, run):
                    outcomes = engine.single.complete(
                        [place for place, _ in group], target, run.limited(_PATIENCE)
                    )
                good = {o.change.database for o in outcomes if o.status is Status.DONE}
                why = next((o.message for o in outcomes if o.status is not Status.DONE), "")
            except InfluxopsError as error:
                good, why = set(), error.message
            again = [(place, tries + 1) for place, tries in group if place.database not in good]
            left += [each for each in again if each[1] < _MOST_TRIES]
            given_up = [place for place, tries in again if tries >= _MOST_TRIES]
            if given_up:
                log.warning(
                    "%s: not complete yet, a full run sees to it: %s: %s",
                    target,
                    pluralize(len(given_up), "database"),
                    why,
                )
            log.debug("%s: %d completed in %.2f s", target, len(good), time.monotonic() - began)
        return left
