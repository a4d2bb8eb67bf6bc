"""A change to one database, and how it ended."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct

from influxops.domain.database import Database


class Action(StrEnum):
    """What a change does to one database."""

    CREATE = "create"
    SET_RETENTION = "set-retention"
    COMPLETE = "add-marker"  # make complete what was made and not finished
    DROP = "drop"
    # what the ledger alone does
    ADOPT = "adopt"  # a database that the plan would not have chosen is the tenant's
    RETIRE = "retire"  # drop it later
    UNRETIRE = "unretire"  # keep it after all
    FORGET = "forget"  # there is none, and its tenant is not recorded any more
    # what takes two targets
    MOVE = "move"  # to another target, with all that is in it


_BY_LEDGER = (Action.ADOPT, Action.RETIRE, Action.UNRETIRE, Action.FORGET)


class ChangeResult(StrEnum):
    """How one change ended.

    `DONE` is durable on the server. `NO_CAPACITY` says that the server has no room, so that the
    tenant may be placed elsewhere. `UNCONFIRMED` was made, but whether it survives a crash could
    not be made sure. `UNKNOWN` is settled by reading the server again. `SKIPPED` was never tried
    (the run was interrupted, or its target gave up before).
    """

    DONE = "done"
    FAILED = "failed"
    NO_CAPACITY = "no-capacity"
    UNCONFIRMED = "unconfirmed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


class Change(Struct, frozen=True):
    """One step that brings one database to what is desired."""

    action: Action
    tenant: str  # the tenant's id
    target: str  # the name of the target that holds or will hold the database
    database: str  # the database's name
    before: Database | None = None  # as it is; None where there is none
    after: Database | None = None  # as it will be; None where it will be gone
    reason: str = ""  # why, where it is not plain from the action
    #: Until when the data of what is retired, or was dropped, is kept; None where it is unknown.
    until: datetime | None = None

    @property
    def needs_target(self) -> bool:
        """Whether its target makes it; else the ledger alone does: what is gone is not dropped."""
        if self.action is Action.DROP:
            return self.before is not None
        return self.action not in _BY_LEDGER


class Outcome(Struct, frozen=True):
    """How one change ended; exactly one a change."""

    change: Change
    status: ChangeResult
    message: str = ""  # why it did not end as wished; no prefix that names tenant or target
    remedy: Any = ""  # what to do about it: a Hint, or text
    #: Whether something is there now that was not, although the change did not end well. The
    #: engine settles it by reading again.
    partially_applied: bool = False
    #: Whether it was abandoned without an answer: it may still be carried out, so that reading that
    #: nothing has changed does not settle it.
    abandoned: bool = False
