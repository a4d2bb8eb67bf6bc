"""What was copied, to be held against what was read of the source once it is durable."""

from __future__ import annotations

from collections.abc import Generator

from msgspec import Struct

from influxops.plugin import RunContext, TargetError, one_line, pluralize
from influxops_influxdb3.copy.endpoints import CopyEndpoint
from influxops_influxdb3.copy.line_protocol import Digest, Table
from influxops_influxdb3.queries import Span

#: Seconds before what differs is read again: rows that were overwritten while they are buffered
#: read as the old ones now and then.
_REREAD_AFTER = (0.2, 1.0)


class SliceCheck(Struct, frozen=True):
    """What was copied, to be read from the copy when it is durable."""

    table: Table
    span: Span
    digest: Digest

    def verify(
        self, source: CopyEndpoint, copy: CopyEndpoint, context: RunContext
    ) -> Generator[None, None, tuple[int, int]]:
        """Read the copy, and both sides again where they differ.

        Returns:
            How many rows are to be copied again, and how many of them were lost.

        Raises:
            TargetError: When the copy holds what the source does not.
        """
        ours = self.digest
        theirs = yield from copy.digest(copy.like(self.table), self.span)
        for seconds in _REREAD_AFTER:
            if ours == theirs or theirs.count < ours.count:
                break
            context.pause(seconds)
            ours = yield from source.digest(self.table, self.span)
            theirs = yield from copy.digest(copy.table(self.table.name, refresh=True), self.span)
        if ours == theirs:
            return 0, 0
        if ours != self.digest:
            return 1, 0  # the source has changed since: the next pass copies that
        if theirs.count >= ours.count:
            raise self._differs(theirs, source, copy)
        lost = ours.count - theirs.count
        return lost, lost

    def _differs(self, found: Digest, source: CopyEndpoint, copy: CopyEndpoint) -> TargetError:
        """Return what it means that a slice still differs after it was copied."""
        more = found.count - self.digest.count
        what = f"{pluralize(more, 'row')} more" if more else "other values"
        return TargetError(
            f"{copy.name} holds {what} than {source.name} in the table "
            f"{one_line(self.table.name)} ({self.span.condition})",
            hint="does somebody write to the copy already, or is there an older copy? Look at "
            "it; drop that database only if you are sure, and start again",
        )
