"""How long the routes are followed where the ledger is away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from influxops.engine.routes import EngineRoutes
from influxops.errors import Interrupted, LedgerError
from influxops.runtime.context import RunContext


class Away:
    """A ledger that cannot be reached."""

    def watch_routes(self, context: RunContext) -> Iterator[int]:
        raise LedgerError("cannot connect")


class Quick(RunContext):
    """A run that lasts for so many waits, and does not wait."""

    left = 2_000

    def sleep(self, seconds: float) -> None:
        self.left -= 1
        if not self.left:
            raise Interrupted("enough")


def test_a_ledger_that_is_away_for_a_day_is_asked_all_the_time() -> None:
    routes = EngineRoutes(Away, [], [], str)  # type: ignore[arg-type]
    with pytest.raises(Interrupted, match="enough"):
        routes.follow(Quick(), lambda: None)
