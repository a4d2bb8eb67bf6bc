"""The tables of a copy: made first, with the tags in the order of the source.

Each that cannot be copied is named, and keeps no other from being copied.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from influxops.plugin import (
    Finding,
    FindingKind,
    Hint,
    RunContext,
    Severity,
    TargetError,
    one_line,
    pluralize,
    summarize,
)
from influxops_influxdb3.copy.interface import Endpoint
from influxops_influxdb3.copy.line_protocol import Table, Unwritable
from influxops_influxdb3.copy.progress import CopyState
from influxops_influxdb3.errors import ConnectionFailed, QueryFileLimit, ServerFailed

#: Attempts at the order of tags.
_MOST_STEPS = 10_000
#: With more unreadable tables, something else is wrong.
_MOST_UNREADABLE = 100


@dataclass
class TableSync:
    """The tables of both sides; findings are about `target`, the name of the copy's."""

    source: Endpoint
    copy: Endpoint
    context: RunContext
    target: str
    #: The series key of each table of the source that can be copied, by name.
    series_keys: dict[str, str] = field(default_factory=dict)
    #: Tables that a refused write left without a `time` column: they hold no rows.
    without_time: list[str] = field(default_factory=list)
    #: Why other tables cannot be copied, by name.
    uncopyable: dict[str, str] = field(default_factory=dict)
    #: Those of them whose answers break off, each time.
    broken: dict[str, str] = field(default_factory=dict)
    #: Whether they were read and made, and no pass has begun since.
    are_ready: bool = False
    _existing: dict[str, str] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    def read(self, *, copy_is_there: bool = True) -> None:
        """Read which tables there are on both sides."""
        self.series_keys, self.without_time = self.source.tables(), []
        self.uncopyable = {n: why for n, why in self.broken.items() if n in self.series_keys}
        self._existing = self.copy.tables() if copy_is_there else {}
        for name in list(self.series_keys):
            try:
                table = self.source.table(name)
            except TargetError as error:
                self.uncopyable[name] = error.message
            else:
                if table.columns and not table.has_time:
                    self.without_time.append(name)
        for name in {*self.without_time, *self.uncopyable}:
            del self.series_keys[name]

    @property
    def missing(self) -> list[str]:
        """The tables that the copy lacks."""
        return [name for name in self.series_keys if name not in self._existing]

    @property
    def only_in_copy(self) -> list[str]:
        """The tables that only the copy has."""
        return [name for name in self._existing if name not in self.series_keys]

    def conflicts(self) -> Iterator[Finding | None]:
        """Look at each table that both have, once; yield None, or what is wrong with it."""
        for name in self.series_keys:
            if name not in self._existing or name in self._seen:
                continue
            self.context.check()
            self._seen.add(name)
            ours, theirs = self.source.table(name).columns, self.copy.table(name).columns
            wrong = [c for c, kind in ours.items() if theirs.get(c, kind) != kind]
            if wrong:
                what = f"{one_line(name)} has another type there of {summarize(wrong)}"
                yield self.finding(f"the table {what}", severity=Severity.ERROR)
                continue
            wanted, found = self._order(name, ours), self._existing[name]
            if wanted is not None and not ", ".join(wanted).startswith(found):
                order = f"{one_line(found)}, not {one_line(self.series_keys[name])}"
                yield self.finding(
                    f"the table {one_line(name)} is there already with its tags in another order "
                    f"({order}): its rows are the same ones, queries may be slower"
                )
                continue
            yield None

    def make(self) -> Iterator[Finding | None]:
        """Make the tables that the copy lacks; yield None for each, or what was noticed."""
        for name in self.missing:
            self.context.check()
            table = self.source.table(name)
            tags = self._order(name, table.columns)
            if tags is None:
                yield self.finding(
                    f"the order of the tags of the table {one_line(name)} is not known "
                    f"({one_line(self.series_keys[name])}): its first row makes it"
                )
            self.copy.make_table(table, tags)
            yield None
            self._existing[name] = self.series_keys[name]
        self.are_ready = True

    def unread(self, reasons: Mapping[str, str], without: Collection[str]) -> Iterator[Finding]:
        """Yield a finding for each table that cannot be copied, whether it is left out or not."""
        for name, reason in reasons.items():
            left = "it is left out" if name in without else "all others are copied"
            yield self.finding(f"the table {one_line(name)} cannot be copied: {reason}; {left}")

    def findings(self, state: CopyState, unread: UnreadableTables) -> Iterator[Finding]:
        """Yield what is said of a copy that came as far as this."""
        yield from self.unread(unread.reasons_of(state.unread), state.without)
        if state.empty:
            yield self.finding(
                f"left out: {pluralize(state.empty, 'row')} without a value in any field, "
                "which cannot be written"
            )
        if state.conflicts:
            how = "got those of the source" if state.merge else "were kept"
            yield self.finding(
                f"{pluralize(state.conflicts, 'row')} with other values in the copy, which {how}: "
                + "; ".join(state.examples)
            )
        if state.done and state.new:
            yield self.finding(
                f"rows with old times keep coming: the last of {state.number} passes found "
                f"{state.new} new ones"
            )

    def without_time_findings(self) -> Iterator[Finding]:
        """Yield what is said of the tables that hold no rows."""
        if self.without_time:
            which = summarize([one_line(name) for name in self.without_time])
            number = pluralize(len(self.without_time), "table")
            yield self.finding(
                f"{number} without a time column, left by a refused write: {which}. Without rows "
                "there is nothing to copy",
                severity=Severity.INFO,
            )

    def finding(
        self,
        message: str,
        remedy: str | Hint = "",
        *,
        kind: FindingKind = FindingKind.NOTE,
        severity: Severity = Severity.WARNING,
    ) -> Finding:
        """Return something that was noticed about the copy."""
        where, database = self.target, self.copy.database
        return Finding(kind, severity, message, remedy, target=where, database=database)

    def _order(self, name: str, columns: Mapping[str, str]) -> list[str] | None:
        return tags_in_order(self.series_keys[name], Table(name, columns).tags)


class UnreadableTables:
    """The tables of one database that cannot be copied; `found` gets each name, each time."""

    def __init__(self, found: Callable[[str], None] = lambda name: None) -> None:
        self._found = found
        #: Why not, by name.
        self.reasons: dict[str, str] = {}

    @contextlib.contextmanager
    def table(self, name: str) -> Iterator[None]:
        """Leave the block, and no more than that, where its table cannot be read or written."""
        try:
            yield
        except (Unwritable, ConnectionFailed, ServerFailed, QueryFileLimit) as error:
            if isinstance(error, ServerFailed | ConnectionFailed) and not error.is_of_query:
                raise
            reason = error.message if isinstance(error, Unwritable) else error.reason
            self.add(name, reason)

    def add(self, name: str, reason: str) -> None:
        """Note that a table cannot be copied."""
        self.reasons[name] = reason
        self._found(name)
        if len(self.reasons) > _MOST_UNREADABLE:
            raise TargetError(
                f"more than {_MOST_UNREADABLE} tables cannot be copied, one of them "
                f"{one_line(name)}: {reason}",
                hint="look at the logs of both servers",
            )

    def reasons_of(self, names: Collection[str]) -> dict[str, str]:
        """Return the reasons of some tables, which an earlier call may have found."""
        return {name: self.reasons.get(name, "it could not be read") for name in names}


def tags_in_order(series_key: str, tags: Iterable[str]) -> list[str] | None:
    """Return tags in the order of a series key, as the server tells it: joined by `, `.

    A name may hold that itself, so the tags that there are decide where one ends. It is None where
    the series key is not made of just these, or by names that are made so that trying never ends.
    """
    left, found, steps = set(tags), list[str](), itertools.count()

    def read(rest: str) -> bool:
        if next(steps) > _MOST_STEPS:
            return False
        if not left:
            return not rest
        for tag in sorted(left, key=len, reverse=True):
            after = rest.removeprefix(tag)
            if after == rest and tag:
                continue
            if (after.startswith(", ") and len(left) > 1) or (not after and len(left) == 1):
                left.remove(tag)
                found.append(tag)
                if read(after.removeprefix(", ")):
                    return True
                left.add(tag)
                found.pop()
        return False

    return found if read(series_key) else None
