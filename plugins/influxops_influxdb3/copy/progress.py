"""How far copying is: all that is needed to go on, as text."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from influxops.plugin import TargetError
from influxops_influxdb3.queries import FIRST

#: A row is expected within so many nanoseconds of its time; one that comes later is found by
#: comparing.
LATE: Final = 10 * 1_000_000_000
#: After so many passes that each found something, it is reported that old rows keep coming.
PASSES: Final = 10
#: Seconds between two reports of progress.
REPORT_INTERVAL: Final = 2.0


class CopyState(Struct, frozen=True, omit_defaults=True):
    """How far copying is; times are nanoseconds since 1970, by the source's clock."""

    source: str  # the identity of the server that is copied from
    copy: str  # the identity of the server that is copied to
    began: int  # when this pass began
    missing: bool = False  # whether it is a pass for what is missing
    merge: bool = False  # whether the copy has rows of its own, which stay
    number: int = 1  # the number of the pass
    settled: int = FIRST  # the pass before has copied all that was there before this time
    partial: bool = False  # whether only what is younger than that is looked at
    table: str = ""  # the table that is next
    time: int = FIRST  # from where on in it
    new: int = 0  # rows that this pass found new in what was settled
    lost: int = 0  # rows that this pass has copied, and not found then
    empty: int = 0  # rows without fields
    expiring: int = 0  # rows that were not compared, as they are about to expire
    conflicts: int = 0  # rows that have other values in the copy
    examples: tuple[str, ...] = ()  # of conflicts
    kept: int = 0  # rows that only the copy has (`merge`), as the first pass has counted them
    seen: int = 0  # rows of the source that this pass has read
    total: int | None = None  # rows of the source, as the last pass over all of it counted them
    #: Where nobody is to write any more: the run, and what the files and rows were when the copying
    #: began, to be compared with what they are at its end; empty where that is not known.
    files: str = ""
    unread: tuple[str, ...] = ()  # tables that this pass could not read
    without: tuple[str, ...] = ()  # tables that were left out on purpose
    done: bool = False

    @property
    def stage(self) -> str:
        """What is being done, for people."""
        if self.missing:
            return "copying what is missing"
        return {1: "copying", 2: "comparing"}.get(self.number, "catching up")

    @property
    def copies_all(self) -> bool:
        """Whether this pass copies all rows, without a look at what is there."""
        return self.number == 1 and not (self.missing or self.merge)

    def counted(self, **more: int) -> CopyState:
        """Return it with more of what it counts."""
        return replace(self, **{name: getattr(self, name) + n for name, n in more.items()})

    def encode(self) -> str:
        """Return it as text."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str) -> CopyState:
        """Read it."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError:
            pass
        raise TargetError(
            "how far the copy was cannot be read",
            hint="start again: what is in the copy already does no harm",
        )

    def after(self, now: int, *, is_unchanged: bool = False) -> CopyState:
        """Return the state after a whole pass: done, or the beginning of the next one.

        Where `is_unchanged`, what was read is all that there is and will be, so that it need not
        be read again to compare.
        """
        total = self.total if self.partial else self.seen
        found = replace(self, total=total, table="", time=FIRST)
        if self.missing or ((self.number > 1 or is_unchanged) and not self.new):
            return replace(found, done=True)
        if self.number < PASSES:
            return found.again(now)
        if self.lost:
            raise TargetError(
                f"{self.lost} rows were written to the copy and are not there",
                hint="look at the log of its server",
            )
        return replace(found, done=True)

    def again(self, now: int) -> CopyState:
        """Return the beginning of the next pass."""
        return CopyState(
            self.source,
            self.copy,
            now,
            merge=self.merge,
            number=self.number + 1,
            conflicts=self.conflicts,
            examples=self.examples,
            kept=self.kept,
            settled=self.began - LATE,
            total=self.total,
            files=self.files,
            without=self.without,
        )
