"""Rows that come late to the old copy of a moved tenant, as its record has them."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import Struct

from influxops.domain.finding import FindingKind
from influxops.domain.plan import TenantPlan
from influxops.domain.record import Record

#: After so many postponements in a row, late rows are a person's to decide about.
MOST_POSTPONED = 3


class Late(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The rows that came late to an old copy, as the `progress` of a tenant's record has it."""

    postponed: int = 0  # how often in a row the drop was postponed for them
    at: datetime | None = None  # when a pass last ended, by the ledger's clock
    rate: float = 0.0  # rows a second between the last two passes
    moved: str = ""  # the progress that the move has left there, which is its target's own text

    @classmethod
    def of(cls, found: Record) -> Late:
        """Return what a record of a moved tenant has of them."""
        text = found.importing("").progress
        try:
            return msgspec.json.decode(text or "{}", type=cls)
        except msgspec.MsgspecError:
            return cls(moved=text)

    @property
    def is_held(self) -> bool:
        """Whether the drop waits until it is allowed."""
        return self.postponed >= MOST_POSTPONED

    def still_written(self, target: str | None) -> str:
        """Return that rows keep coming, for people."""
        rate = f"{self.rate:,.0f}" if self.rate >= 10 else f"{self.rate:.2g}"
        return f"still written to on {target}: {rate} rows a second"


def note_late_writes(plan: TenantPlan, least: int = MOST_POSTPONED) -> TenantPlan:
    """Return a tenant with a note, for the guard `late-writes` too, if its old copy is written to.

    That is where its drop was postponed so often, at `least`.
    """
    assert plan.record is not None
    late, old = Late.of(plan.record), plan.record.secondary_target
    if late.postponed < least:
        return plan
    note = plan.warning(
        FindingKind.LATE_WRITES,
        f"{late.still_written(old)} when it was last looked at",
        "stop what writes there",
        target=old,
        facts={"rate": round(late.rate, 3), "postponed": late.postponed},
    )
    return plan.note(note)
