"""Completes, in batches, databases that were made for somebody who waited."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Mapping

from influxops.domain.change import ChangeResult
from influxops.domain.text import pluralize
from influxops.errors import InfluxopsError
from influxops.provisioner.circuit_breaker import Circuit
from influxops.provisioner.engine_pool import Engines
from influxops.provisioner.logs import log
from influxops.reconcile.single.look_up import Place
from influxops.runtime.batch_worker import BatchWorker

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
        self._worker: BatchWorker[tuple[Place, int]] = BatchWorker(
            "influxops-finisher", self._handle, self._break, longest_wait=_COLLECTING
        )

    def add(self, place: Place) -> None:
        """Take one more; never waits."""
        self._worker.submit((place, 0))

    def flush(self, timeout: float) -> bool:
        """Wait until nothing is left; return whether that was so in time."""
        return self._worker.drain(timeout)

    def close(self) -> None:
        """Let the thread see that nothing more is to be done."""
        self._worker.stop()

    def _handle(self, batch: list[tuple[Place, int]]) -> None:
        places = {(place.target or "", place.database): (place, n) for place, n in batch}
        for each in self._complete(places):
            self._worker.submit(each, _AGAIN)

    def _break(self, batch: list[tuple[Place, int]], error: Exception) -> None:
        log.error("databases could not be completed, a full run sees to it", exc_info=error)

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
                good = {o.change.database for o in outcomes if o.status is ChangeResult.DONE}
                why = next((o.message for o in outcomes if o.status is not ChangeResult.DONE), "")
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
