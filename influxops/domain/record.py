"""What a ledger remembers: one record a tenant, their servers, and a history.

The values only; a plugin of the role `ledger` keeps them (`influxops.plugin_host.hookspecs`), and
`influxops.reconcile` decides what is in them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Self

from msgspec import Struct, field
from msgspec.structs import replace


class State(StrEnum):
    """The state of a tenant's record."""

    PENDING = "pending"  # it should have a database, and has no target yet
    ALLOCATED = "allocated"  # a run chose a target for it, and has not reported the result
    UNCONFIRMED = "unconfirmed"  # it was made or found, and its marker has not been seen
    READY = "ready"  # its database is there, or was when its target was last read
    MOVING = "moving"  # its database is being copied to another target
    RETIRING = "retiring"  # its database is dropped once its time has come
    RETIRED = "retired"  # its database was dropped
    LOST = "lost"  # it was ready, and is gone; a client may have created another one since

    @property
    def is_provisioned(self) -> bool:
        """Whether its database was seen to be there and complete, and is not dropped by a run."""
        return self in (State.READY, State.MOVING, State.RETIRING, State.LOST)


class Record(Struct, frozen=True, gc=False):
    """What is remembered of one tenant; times are those of the ledger's clock, in UTC.

    The ledger itself sets `state_since`, `claimed_by`, `is_claimed` and `version`; what else a run
    gives is stored as it is.
    """

    tenant: str  # its id
    state: State  # what is recorded to have happened to it
    database: str = ""  # the name of its database; empty while it has no place
    target: str | None = None  # the name of the target that holds it
    identity: str | None = None  # of the server that it was made on; None where that has none
    #: The other target that has, or gets, a copy: where it moves to, and after that where it was.
    secondary_target: str | None = None
    secondary_identity: str | None = None  # of that target's server
    #: When what is to be dropped may be dropped: its database, or the copy on `other`. A moving
    #: tenant has it once it is on its new target.
    drop_after: datetime | None = None
    #: How far a move is: its target's own text, behind how many percent are copied (`37% …`) where
    #: that is known; `back:` comes first where it goes back, `import:` and the folder's line where
    #: an import has begun that has not ended.
    progress: str = ""
    #: When it came to its state; where that is pending or allocated, since when it waits: a run
    #: may give that where it did not wait before.
    state_since: datetime | None = None
    created_at: datetime | None = None  # when its database was made, or first found
    created_by: str = ""  # the id of the run that made or found it
    last_seen_at: datetime | None = None  # when it was last seen on its target
    error: str = ""  # why the last try failed; empty after a good one
    attempts: int = 0  # how often it was tried since it was last good
    #: The id of the run that has claimed it; empty where none has.
    claimed_by: str = ""
    #: Whether that run still lives. The ledger fills it in.
    is_claimed: bool = False
    #: Grows with each change; 0 where there is no record yet. A change names the version that it
    #: is based on, and is refused if there is another one in the meantime.
    version: int = 0

    @property
    def copied(self) -> int | None:
        """How many percent of a move are copied; None where that is not known."""
        return percent_of(self.progress)[0]

    @property
    def imported_from(self) -> str:
        """The folder of an import that has begun and has not ended; empty where there is none."""
        first, _, _ = self.progress.partition("\n")
        return first.removeprefix(IMPORT) if first.startswith(IMPORT) else ""

    def importing(self, folder: str) -> Self:
        """Return it with an import that begins; with an empty folder, without one."""
        rest = self.progress.partition("\n")[2] if self.imported_from else self.progress
        line = " ".join(folder.split("\n"))
        return replace(self, progress=f"{IMPORT}{line}\n{rest}" if folder else rest)

    @property
    def is_provisioned(self) -> bool:
        """Whether its database was seen to be there, complete or not, and is not dropped by a run.

        What was created, but could not be confirmed to be durable, was never seen.
        """
        seen = self.state is State.UNCONFIRMED and self.last_seen_at is not None
        return self.state.is_provisioned or seen


#: With this the progress of a move begins that takes a tenant back to its old copy, and that of a
#: tenant whose import has not ended.
BACK: Final = "back:"
IMPORT: Final = "import:"


def percent_of(progress: str) -> tuple[int | None, str]:
    """Return how many percent of a move are copied, where that is known, and its target's text."""
    text = progress.removeprefix(BACK)
    known, sign, rest = text.partition("% ")
    return (int(known), rest) if sign and known.isdecimal() and len(known) <= 3 else (None, text)


#: For so long a server that said it is full gets nothing more, where it is not read in full.
_FULL = timedelta(minutes=1)


class Server(Struct, frozen=True):
    """A server that tenants were provisioned on."""

    target: str  # the name of the target that led to it when it was last read
    identity: str | None = None  # what it answers with; None where its kind has no identity
    since: datetime | None = None  # when it was first read
    read: datetime | None = None  # when it was last read in full
    edition: str | None = None  # None where it did not say
    capacity: int | None = None  # its estimated number of databases; None: no known limit
    #: How many databases it held that the ledger did not count; None: it was never read in full.
    unrecorded: int | None = None
    full: str = ""  # why it took nothing more, as it said itself; empty where it did not
    full_at: datetime | None = None  # when it said so
    #: The identity of another one that answers in its place, until that is allowed or it is back.
    #: In an update None leaves it as it is, and an empty text says that the recorded one is back.
    replaced_by: str | None = None

    def is_full(self, now: datetime) -> bool:
        """Return whether it said a moment ago that it takes nothing more."""
        return self.full_at is not None and now - self.full_at < _FULL


class LedgerSnapshot(Struct, frozen=True):
    """What a ledger gives at the beginning of a run."""

    records: Mapping[str, Record] = field(default_factory=dict)  # by the tenant's id
    servers: tuple[Server, ...] = ()  # those that it knows, one a target
    #: The sources that it has seen: the kind of each, and its `Location.identity`.
    sources: frozenset[str] = frozenset()
    now: datetime | None = None  # the ledger's clock
    #: Grows with each change of where clients are led (`influxops.domain.route`).
    route_version: int = 0


class Event(StrEnum):
    """What happened, in a history."""

    FOUND = "found"  # a database that was there already was recorded
    CREATED = "created"  # a database was made
    COMPLETED = "completed"  # its marker was added
    RETENTION = "retention"  # its retention period was set
    DROPPED = "dropped"  # its database was deleted
    LOST = "lost"  # a database that was ready was not found any more
    RECREATED = "recreated"  # it is lost, and a client has created another one of its name
    FOUND_AGAIN = "found-again"  # what was lost is there
    CONFIRMED = "confirmed"  # what was not sure to be durable is there
    ADOPTED = "adopted"  # a database that planning would not have chosen became the tenant's
    RETIRING = "retiring"  # its database is to be dropped later
    UNRETIRED = "unretired"  # its database is kept after all
    FORGOTTEN = "forgotten"  # its record was taken out of the ledger
    GIVEN_UP = "given-up"  # it waited for a database, and no source has it any more
    MOVING = "moving"  # its database is being copied to another target
    MOVED = "moved"  # its database is on another target now
    EXPORTED = "exported"  # its data was written to files
    IMPORTED = "imported"  # the data of files was written to it
    RENAMED_TARGET = "renamed-target"  # a server got another name in the configuration
    REPLACED_SERVER = "replaced-server"  # another server than the recorded one was allowed
    NEW_SOURCE = "new-source"  # a source that was not seen before was allowed


class HistoryEntry(Struct, frozen=True):
    """One line of the history."""

    event: Event  # what happened
    tenant: str | None = None  # the id of the tenant that it is about
    target: str | None = None  # the target that it happened on
    database: str = ""  # its name
    before: str = ""  # what was, in a word or two
    after: str = ""  # what it became
    outcome: str = "done"  # how it ended: a `Status` of the model
    message: str = ""  # why it did not end well, or what else is to be said
    at: datetime | None = None  # when, by the ledger's clock; the ledger fills it in
    run: str = ""  # the run that did it; the ledger fills it in
    who: str = ""  # the operator, or user@host
    door: str = ""  # what it came through: see `RunOrigin`
    times: int = 1  # how often it happened, where it did not end well; the ledger counts that
    last_at: datetime | None = None  # when it last happened; None where that was once


class LedgerUpdate(Struct, frozen=True):
    """What a run has a ledger write, all of it or nothing, in one transaction."""

    records: tuple[Record, ...] = ()  # each based on its `version`
    servers: tuple[Server, ...] = ()  # as they were read; put in the place of those of that target
    renamed: Mapping[str, str] = field(default_factory=dict)  # new names of targets, by old ones
    sources: frozenset[str] = frozenset()  # further sources that it has seen now
    entries: tuple[HistoryEntry, ...] = ()  # for the history
    forgotten: tuple[Record, ...] = ()  # records to take out, on the same condition

    def __bool__(self) -> bool:
        records = self.records or self.forgotten
        return bool(records or self.servers or self.renamed or self.sources or self.entries)


class HistoryQuery(Struct, frozen=True):
    """Which part of the history is wanted; None for all."""

    tenants: Collection[str] | None = None  # those about these tenants
    run: str | None = None  # those of the run with this id
    since: datetime | None = None  # those from this time on
    most: int | None = None  # the newest so many
