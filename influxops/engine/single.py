"""Single tenants: what a run does for all, for a few, without reading everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from influxops.domain.change import Outcome
from influxops.domain.record import Record
from influxops.reconcile.observe.selected import Asked, Known
from influxops.reconcile.request import RunRequest
from influxops.reconcile.single import creating, noting
from influxops.reconcile.single.creating import Failed
from influxops.reconcile.single.look_up import Looked, Place, look_up
from influxops.report.model import Report
from influxops.runtime.context import RunContext

if TYPE_CHECKING:
    from influxops.engine.engine import Engine


class SingleTenants:
    """Looks single tenants up, and makes their databases, with the plugins of an engine.

    Args:
        engine: The engine.
        request: What its runs go by.
    """

    def __init__(self, engine: Engine, request: RunRequest) -> None:
        self._engine, self._order = engine, request

    def look_up(
        self,
        asked: Mapping[str, Asked],
        context: RunContext,
        known: Known,
        *,
        verify: bool = False,
    ) -> Looked:
        """Find out where some tenants stand, without reading everything.

        Args:
            asked: The tenants, by id.
            context: The run.
            known: What is known of the targets.
            verify: Whether each database is looked at.

        Raises:
            Interrupted: When the run is over.
        """
        return look_up(asked, self._order, context, known, verify=verify)

    def make(
        self,
        places: Sequence[Place],
        target: str,
        context: RunContext,
        tell: Callable[[Place], None],
    ) -> Failed | None:
        """Make the databases of some tenants on one target; see `look_up`.

        Args:
            places: The tenants, as they were looked up.
            target: The name of the target.
            context: The run.
            tell: Called with each as it stands once it was tried.

        Returns:
            What is wrong with the target or the ledger; None where all is well.
        """
        return creating.make(places, self._engine.target(target), self._order, context, tell)

    def note(self, places: Sequence[Place], context: RunContext) -> dict[str, Record]:
        """Write to the ledger where some tenants stand, and take places for who is to be made.

        Args:
            places: The tenants, as they were looked up or tried.
            context: The run.

        Returns:
            The record of each tenant that waits and was written about, as it stands now.

        Raises:
            InfluxopsError: When the ledger cannot be written.
        """
        return noting.note(places, self._order, context)

    def tell_trouble(self, places: Sequence[Place], context: RunContext) -> Report:
        """Tell the reporters of tenants that get no database until somebody decides.

        Args:
            places: The tenants.
            context: The run.

        Returns:
            What they were told, and what went wrong with telling.
        """
        report = noting.trouble(places, self._order, context, self._engine.origin)
        return self._engine.tell(report, context, self._engine.reporters)

    def complete(self, places: Sequence[Place], target: str, context: RunContext) -> list[Outcome]:
        """Complete databases that were made quickly, and record those that were seen to be.

        Args:
            places: The tenants.
            target: The name of the target.
            context: The run.

        Returns:
            How each was completed; DONE only where that was seen, and recorded.

        Raises:
            InfluxopsError: When they could not be looked at, or recorded.
        """
        handle = self._engine.target(target)
        return creating.complete(places, handle, self._order, context)
