"""The tables that cannot be copied: each is named, and keeps no other from being copied."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator

from influxops.plugin import TargetError, one_line
from influxops_influxdb3.copy.line_protocol import Unwritable
from influxops_influxdb3.errors import QueryFileLimit, ServerFailed

#: With more of them, something else is wrong.
_LIMIT = 100


class UnreadableTables:
    """The tables of one database that cannot be copied; `found` gets each name, each time."""

    def __init__(self, found: Callable[[str], None] = lambda name: None) -> None:
        self._found = found
        #: Why not, by name.
        self.reasons: dict[str, str] = {}

    @contextlib.contextmanager
    def table(self, name: str) -> Iterator[None]:
        """Leave the block, and no more than that, where its table cannot be read or written.

        Raises:
            TargetError: When there are too many of them.
        """
        try:
            yield
        except (Unwritable, ServerFailed, QueryFileLimit) as error:
            if isinstance(error, ServerFailed) and not error.is_of_query:
                raise
            reason = error.message if isinstance(error, Unwritable) else error.reason
            self.add(name, reason)

    def add(self, name: str, reason: str) -> None:
        """Note that a table cannot be copied."""
        self.reasons[name] = reason
        self._found(name)
        if len(self.reasons) > _LIMIT:
            raise TargetError(
                f"more than {_LIMIT} tables cannot be copied, one of them {one_line(name)}: "
                f"{reason}",
                hint="look at the logs of both servers",
            )

    def reasons_of(self, names: Collection[str]) -> dict[str, str]:
        """Return the reasons of some tables, which an earlier call may have found."""
        return {name: self.reasons.get(name, "it could not be read") for name in names}
