"""What is planned: changes and how they end, one TenantPlan a tenant, what guards refuse."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from influxops.domain.database import Database, Retention, Unmanaged
from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.domain.hint import Hint
from influxops.domain.record import Record
from influxops.domain.text import truncate


class Action(StrEnum):
    """What a change does to one database."""

    CREATE = "create"  # make the database, complete
    SET_RETENTION = "set-retention"  # set its retention period, or clear it
    COMPLETE = "add-marker"  # make complete what was made and not finished
    DROP = "drop"  # delete it, with all that is in it
    # what the ledger alone does
    ADOPT = "adopt"  # a database that the plan would not have chosen is the tenant's
    RETIRE = "retire"  # drop it later
    UNRETIRE = "unretire"  # keep it after all
    FORGET = "forget"  # there is none, and its tenant is not recorded any more
    # what takes two targets
    MOVE = "move"  # to another target, with all that is in it
    # what takes files
    EXPORT = "export"  # its data is written to files, and stays
    IMPORT = "import"  # the data of files is written to it


_BY_LEDGER = (Action.ADOPT, Action.RETIRE, Action.UNRETIRE, Action.FORGET)


class ChangeResult(StrEnum):
    """How one change ended.

    `DONE` is durable on the server, `FAILED` was not made. `NO_CAPACITY` says that the server has
    no room, so that the tenant may be placed elsewhere. `UNCONFIRMED` was made, but whether it
    survives a crash could not be made sure. `UNKNOWN` is settled by reading the server again.
    `SKIPPED` was never tried (the run was interrupted, or its target gave up before).
    """

    DONE = "done"
    FAILED = "failed"
    NO_CAPACITY = "no-capacity"
    UNCONFIRMED = "unconfirmed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


class Change(Struct, frozen=True, gc=False):
    """One step that brings one database to what is desired."""

    action: Action  # what is to be done
    tenant: str  # the tenant's id
    target: str  # the name of the target that holds or will hold the database
    database: str  # the database's name
    before: Database | None = None  # as it is; None where there is none
    after: Database | None = None  # as it will be; None where it will be gone
    reason: str = ""  # why, where it is not plain from the action
    #: Until when the data of what is retired, or was dropped, is kept; None where it is unknown.
    until: datetime | None = None
    #: Whether it is to be created beyond the estimated capacity of its target; it is tried once
    #: those were answered that are not.
    may_exceed_capacity: bool = False

    @property
    def needs_target(self) -> bool:
        """Whether its target makes it; else the ledger alone does: what is gone is not dropped."""
        if self.action is Action.DROP:
            return self.before is not None
        return self.action not in _BY_LEDGER


class Outcome(Struct, frozen=True, gc=False):
    """How one change ended; exactly one a change."""

    change: Change  # the one that was asked for
    status: ChangeResult  # how it ended
    message: str = ""  # why it did not end as wished; no prefix that names tenant or target
    remedy: Any = ""  # what to do about it: a Hint, or text
    #: Whether something is there now that was not, although the change did not end well. The
    #: engine settles it by reading again.
    partially_applied: bool = False
    #: Whether it was abandoned without an answer: it may still be carried out, so that reading that
    #: nothing has changed does not settle it.
    abandoned: bool = False
    #: The identity of the server that answered, where the target tells it: what another server
    #: than the planned one did counts for nothing.
    identity: str | None = None


class TenantStatus(StrEnum):
    """The status of a tenant in a run.

    `OK` was right before the run, `CHANGED` was made right by it, `PENDING` would be changed.
    The others are not right: `BLOCKED` needs a decision, `GUARDED` waits for a guard to be allowed,
    `FAILED` was tried, `UNKNOWN` could not be read or confirmed.
    """

    OK = "ok"
    CHANGED = "changed"
    PENDING = "pending"
    BLOCKED = "blocked"
    GUARDED = "guarded"
    FAILED = "failed"
    UNKNOWN = "unknown"

    @property
    def is_ok(self) -> bool:
        """Whether nothing is to be done about it."""
        return self in (TenantStatus.OK, TenantStatus.CHANGED, TenantStatus.PENDING)


class TenantPlan(Struct, frozen=True, gc=False):
    """One tenant, from what it should have to how it is at the end of a run: the one value.

    Planning makes it, guards may refuse its changes, the run adds how they ended. Everything
    that is reported of a tenant follows from it.
    """

    tenant: str  # its id
    database: str  # the desired database's name; empty where it has none that is valid
    retention: Retention | Unmanaged  # the retention period it should have, in seconds
    status: TenantStatus = TenantStatus.OK  # whether anything is to be done or wrong
    pin: str | None = None  # the only target that its database should be on; None: placement
    target: str | None = None  # the target that holds its database, or will
    before: Database | None = None  # the database before the run
    after: Database | None = None  # after the run; in a dry run, as it would be
    changes: tuple[Change, ...] = ()  # what is to be done, refused changes left out
    refused: tuple[Change, ...] = ()  # what a guard refuses
    outcomes: tuple[Outcome, ...] = ()  # how the changes ended, settled by reading again
    finding: Finding | None = None  # explains a verdict that is not right
    notes: tuple[Finding, ...] = ()  # what else was noticed about it
    #: The targets that could not be read and may hold its database.
    unseen_on: tuple[str, ...] = ()
    record: Record | None = None  # what the ledger has of it; None without one

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that was found about it, what explains its verdict first."""
        return (self.finding, *self.notes) if self.finding else self.notes

    @property
    def kind(self) -> FindingKind | None:
        """The kind of what explains its verdict; None where nothing does."""
        return self.finding.kind if self.finding is not None else None

    @property
    def reason(self) -> str:
        """What explains its verdict, without its name; empty where nothing does."""
        return self.finding.message if self.finding is not None else ""

    @property
    def recreated_after_drop(self) -> Finding | None:
        """The finding that it was retired, and has a database and a source again."""
        kind = FindingKind.RECREATED_AFTER_DROP
        return next((each for each in self.findings if each.kind is kind), None)

    @property
    def move(self) -> Change | None:
        """The change that takes its database to another target; None without one."""
        for change in self.changes:
            if change.action is Action.MOVE:
                return change
        return None

    @property
    def may_exceed_capacity(self) -> bool:
        """Whether it is to be created beyond the estimated capacity of its target."""
        return any(change.may_exceed_capacity for change in self.changes)

    @property
    def is_replacement(self) -> bool:
        """Whether a database is to be dropped, and created again in its place."""
        if len(self.changes) + len(self.refused) < 2:
            return False
        actions = {change.action for change in (*self.changes, *self.refused)}
        return actions >= {Action.DROP, Action.CREATE}

    @property
    def made(self) -> tuple[Change, ...]:
        """The changes that were made, those among them that were not finished too."""
        done = ChangeResult.DONE
        return tuple([o.change for o in self.outcomes if o.status is done or o.partially_applied])

    # Planning and the run make new values of it ---------------------------------------------

    def block(self, finding: Finding) -> TenantPlan:
        """Return it blocked for a reason, unless it is blocked for another one already."""
        if self.status is TenantStatus.BLOCKED and self.finding is not None:
            return self
        finding = replace(finding, tenant=self.tenant, database=self.database or None)
        return replace(self, status=TenantStatus.BLOCKED, finding=finding)

    def acknowledge(self) -> TenantPlan:
        """Return it with a block that the configuration lists as known: that is no error."""
        if self.status is not TenantStatus.BLOCKED or self.finding is None:
            return self
        message = f"{self.finding.message} (ignored)"
        return replace(self, finding=replace(self.finding, severity=Severity.INFO, message=message))

    def blocked(
        self, kind: FindingKind, message: str, remedy: str | Hint = "", **more: Any
    ) -> TenantPlan:
        """Return it blocked for a reason of its own; `more` are further fields of the finding."""
        return self.block(Finding.error(kind, message, remedy, **more))

    def on_several(
        self, homes: Sequence[str], remedy: str | Hint, target: str | None = None
    ) -> TenantPlan:
        """Return it blocked because several targets hold its database."""
        return self.blocked(
            FindingKind.IN_TWO_TARGETS,
            f"the database {truncate(self.database)} is on {' and on '.join(homes)}",
            remedy,
            target=target,
            facts={"copies": [{"target": home} for home in homes]},
        )

    def defer(
        self, kind: FindingKind, message: str, remedy: str | Hint = "run it again"
    ) -> TenantPlan:
        """Return it without changes in this run, because something could not be read."""
        return self.unchanged().mark_unknown(kind, f"postponed: {message}", remedy)

    def mark_unknown(
        self, kind: FindingKind, message: str, remedy: str | Hint = "", **more: Any
    ) -> TenantPlan:
        """Return it as one of which something is not known; `more` are further fields of it."""
        finding = self.error(kind, message, remedy)
        return replace(self, status=TenantStatus.UNKNOWN, finding=finding, **more)

    def error(
        self, kind: FindingKind, message: str, remedy: str | Hint = "", **more: Any
    ) -> Finding:
        """Return a finding about it; `more` are fields that differ from the tenant's."""
        return Finding.error(kind, message, remedy, **{**self._about, **more})

    def warning(
        self, kind: FindingKind, message: str, remedy: str | Hint = "", **more: Any
    ) -> Finding:
        """Return a warning about it."""
        return Finding.warning(kind, message, remedy, **{**self._about, **more})

    def info(
        self, kind: FindingKind, message: str, remedy: str | Hint = "", **more: Any
    ) -> Finding:
        """Return a finding about it that changes nothing."""
        return Finding.info(kind, message, remedy, **{**self._about, **more})

    @property
    def _about(self) -> dict[str, str | None]:
        return {"tenant": self.tenant, "target": self.target, "database": self.database or None}

    def unchanged(self) -> TenantPlan:
        """Return it without changes: its database stays as it is."""
        return replace(self, changes=(), after=self.before)

    def note(self, *findings: Finding) -> TenantPlan:
        """Return it with more that was noticed about it."""
        return replace(self, notes=(*self.notes, *findings)) if findings else self

    def with_changes(self, *changes: Change, **more: Any) -> TenantPlan:
        """Return it with what is to be done, if anything is; `more` are further fields of it."""
        if not changes:
            return self
        after = changes[-1].after
        return replace(self, status=TenantStatus.PENDING, changes=changes, after=after, **more)

    def change(
        self, action: Action, target: str | None = None, reason: str = "", **more: Any
    ) -> Change:
        """Return a change of its database, which stays unless it is dropped or `more` says so."""
        after = None if action is Action.DROP else self.before
        fields = {"before": self.before, "after": after, "reason": reason, **more}
        return Change(action, self.tenant, target or self.target or "", self.database, **fields)


class Refusal(Struct, frozen=True):
    """What a guard keeps from being done until it is allowed."""

    guard: str  # the name that allows it
    message: str  # what it refuses, and why
    tenants: tuple[str, ...] = ()  # the tenants that wait for the decision
    when: str = "only if that is what you want"  # when it is right to allow it

    @property
    def remedy(self) -> Hint:
        """What to do: allow it, if that is right."""
        return Hint.allow(self.guard, self.when)
