"""Makes sure that what was written without waiting is durable: the barrier, and what follows it.

An ordinary write is answered once the write-ahead log is flushed, and with it all that came
before, of whatever database, as long as it is one and the same server process.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from influxops import Change, ConfigError, Interrupted, Run, TargetRefused
from influxops_influxdb3.client import Client, Ping
from influxops_influxdb3.errors import InfluxDBError, LimitReached, NotInfluxDB3
from influxops_influxdb3.exchange import GRACE
from influxops_influxdb3.flight import in_flight, over
from influxops_influxdb3.lineprotocol import marker

#: After one of these, asking the server again is no use.
STOP = (TargetRefused, NotInfluxDB3, ConfigError)

#: Requests under way at once.
IN_FLIGHT = 2
#: How often a batch is sent before it counts as unconfirmed.
_ROUNDS = 3


def write_marker(client: Client, run: Run, change: Change, *, no_sync: bool) -> None:
    """Write the marker of one change; the same point however often in one run.

    Args:
        client: The server.
        run: The run.
        change: Whose marker.
        no_sync: Whether not to wait until it is durable.

    Raises:
        InfluxDBError: When it could not be written.
        Interrupted: When the run is over.
    """
    line = marker(change.tenant, run.started)
    client.write(run, change.database, line, no_sync=no_sync)


class Durability:
    """What makes the markers of one batch durable.

    Args:
        client: The server.
        run: The run.
        ping: What the server said of itself before the batch; None where it was not asked.
    """

    def __init__(self, client: Client, run: Run, ping: Ping | None) -> None:
        self._client = client
        self._run = run
        self._process = ping.process_id if ping else None

    def confirm(self, written: Sequence[Change], *, passed: bool, again: bool) -> str:
        """Make sure that all markers are durable.

        Args:
            written: The changes whose markers were written, one at least.
            passed: Whether the last marker went the ordinary way, and so was the barrier.
            again: Whether that failed, so that all are to be written again.

        Returns:
            Why that could not be made sure; empty where it could.
        """
        patience = self._run
        why = ""
        for _ in range(_ROUNDS):
            if patience is self._run and over(patience) is not None:
                # What was written is worth a moment more, so that it can be told for sure.
                patience = Run(
                    timeout=GRACE,
                    log=self._run.log,
                    id=self._run.id,
                    started=self._run.started,
                )
            try:
                if again:
                    self._send_again(written, patience)
                if not passed:
                    write_marker(self._client, patience, written[-1], no_sync=False)
                if self._same_process(patience):
                    return ""
                why, again = "the server was restarted while it was written", True
            except Interrupted as error:
                why = why or error.message
            except (*STOP, LimitReached) as error:
                return f"written, but not confirmed: {error.message}"
            except InfluxDBError as error:
                why, again = error.reason, True
            passed = False
        return f"written, but not confirmed: {why}"

    def _send_again(self, written: Sequence[Change], patience: Run) -> None:
        """Write the markers again, the same points."""
        changes = (change for change in written if over(patience) is None)
        work = partial(write_marker, self._client, patience, no_sync=True)
        for _, future in in_flight(changes, work, most=IN_FLIGHT):
            future.result()
        patience.check()

    def _same_process(self, patience: Run) -> bool:
        """Tell whether the server is still the process that it was before the batch.

        A restart loses what was not durable, and a write that is tried again after it would
        pass for a barrier.
        """
        before, self._process = self._process, self._client.ping(patience).process_id
        return before is None or self._process is None or before == self._process
