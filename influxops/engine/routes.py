"""Where the clients of databases are led: read from the ledger, and written by reporters."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence

from influxops.domain.finding import Check, Finding
from influxops.domain.route import Routes, routes_of
from influxops.errors import ConfigError, InfluxopsError, Interrupted, ReporterError
from influxops.plugin_host.ledger import LedgerHandle
from influxops.plugin_host.reporter import ReporterHandle
from influxops.plugin_host.target import TargetHandle
from influxops.reconcile.move.probes import check_proxies
from influxops.runtime.context import RunContext

#: Seconds before what could not be written is written again, and at most.
_AGAIN, _AT_MOST = 0.5, 30.0


class EngineRoutes:
    """The routes of one engine; `name` is for a tenant that has no database yet."""

    def __init__(
        self,
        needs_ledger: Callable[[], LedgerHandle],
        targets: Sequence[TargetHandle],
        reporters: Sequence[ReporterHandle],
        name: Callable[[str], str],
    ) -> None:
        self._needs_ledger, self._targets, self._name = needs_ledger, targets, name
        self._writers = [each for each in reporters if not each.missing and each.writes_routes]

    def read(self, context: RunContext, tenants: Collection[str] | None = None) -> Routes:
        """Read from the ledger alone where the clients of all, or of some tenants are led."""
        snapshot = self._needs_ledger().load_records(tenants, context)
        urls = {handle.name: handle.url for handle in self._targets}
        return routes_of(snapshot, urls, self._name)

    def checks(self, probes: Sequence[str], context: RunContext) -> Iterator[Check]:
        """Look whether each proxy answers, and with the newest version of the routes if known."""
        if not probes:
            return
        newest = None
        with contextlib.suppress(InfluxopsError):  # the ledger's own checks say why
            newest = self.read(context, ()).version
        yield from check_proxies(probes, newest, context)

    def write(self, context: RunContext, allow: frozenset[str] = frozenset()) -> list[Finding]:
        """Let the reporters that write routes do so; return what went wrong."""
        told = [each.write_routes(self.read, allow, context) for each in self._writers]
        return [failure for failure in told if failure is not None]

    def follow(self, context: RunContext, write: Callable[[], object] | None = None) -> None:
        """Have them written now, and right after each change, until the run is over.

        Reporters write them where `write` is left out. A ledger that does not tell of changes is
        refused.
        """
        if write is None and not self._writers:
            return
        ledger, written, failure, tries = self._needs_ledger(), -1, "", 0
        while True:
            try:
                for version in ledger.watch_routes(context):
                    if version == written:
                        continue
                    if write is not None:
                        write()
                    elif failed := self.write(context):
                        raise ReporterError("; ".join(each.sentence for each in failed))
                    written, failure, tries = version, "", 0
            except (ConfigError, Interrupted):
                raise
            except InfluxopsError as error:
                if error.message != failure:
                    context.log.warning("routes: %s", error)
                # A ledger that is back may be an older one, and have the same version of others.
                written, failure, tries = -1, error.message, tries + 1
                context.sleep(min(_AGAIN * 2 ** min(tries, 10), _AT_MOST))
