"""Findings, and the checks of `doctor`: what a person should know, and perhaps decide, as data."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct, field
from msgspec.structs import force_setattr

from influxops.domain.hint import Hint
from influxops.domain.text import one_line, quote


class Severity(StrEnum):
    """How much a finding matters: only an error changes the exit code."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class FindingKind(StrEnum):
    """What a finding says; the values are stable, programs read them (docs/report.md)."""

    # about a source
    FAILED_SOURCE = "failed-source"  # could not be read
    NO_TENANTS = "no-tenants"  # read well, and holds no tenant
    EMPTY_ID = "empty-id"  # gave a tenant without an id
    HIDDEN_ROWS = "hidden-rows"  # row-level security may hide tenants
    STANDBY = "standby"  # it is a standby that may be behind
    NEW_SOURCE = "new-source"  # the ledger has not seen it before
    # about the ledger
    NO_LEDGER = "no-ledger"  # none is configured, so some things cannot be seen
    FAILED_LEDGER = "failed-ledger"  # it could not be read or written
    STALE_LEDGER = "stale-ledger"  # a server shows what it does not know: it may be a backup
    # about a target
    UNREACHABLE = "unreachable"  # could not be read
    REFUSED = "refused"  # refused the credentials
    WRONG_SERVER = "wrong-server"  # another server answers there than configured
    PARTIAL_INVENTORY = "partial-inventory"  # something of it is hidden from the token
    OVER_CAPACITY = "over-capacity"  # the target is full, or may be
    TABLE_CAPACITY = "table-capacity"  # the target holds nearly as many tables as it can, or all
    CAPACITY = "capacity"  # the configured capacity is not what the server has
    ORPHAN = "orphan"  # a database belongs to no tenant
    RECREATED_AFTER_DROP = "recreated-after-drop"  # a database that was retired is there again
    RENAMED_TARGET = "renamed-target"  # the ledger knows its server under another name
    REPLACED_SERVER = "replaced-server"  # another server than the recorded one was allowed
    PLUGIN_FAULT = "plugin-fault"  # a plugin broke, or did not do what it said
    # about a tenant: what should be
    CONFLICT = "conflict"  # given twice, differently
    INVALID_NAME = "invalid-name"  # its database's name breaks a rule
    INVALID_ID = "invalid-id"  # its id breaks a rule
    INVALID_RETENTION = "invalid-retention"  # no retention period, or none that its target keeps
    UNKNOWN_ATTRIBUTE = "unknown-attribute"  # an attribute that is probably misspelt
    UNKNOWN_TARGET = "unknown-target"  # its target is not configured
    UNKNOWN_TENANT = "unknown-tenant"  # named somewhere, and no source knows it
    NAME_COLLISION = "name-collision"  # it would share its database
    CASE = "case"  # its id differs from another only by case, or by how it is composed
    # about a tenant: what is
    IN_TWO_TARGETS = "in-two-targets"  # its database is on more than one target
    NO_DATABASE = "no-database"  # no target holds the database that was named
    MISPLACED = "misplaced"  # its database is elsewhere than it should be
    DRAINING = "draining"  # its only target gets nothing new
    LOST = "lost"  # it was ready, and is gone; a client may have created another one since
    NOT_CONFIGURED = "not-configured"  # the target that it is recorded on is not configured
    CLAIMED = "claimed"  # another run has claimed it
    RETIRING = "retiring"  # it is dropped once its time has come
    UNRETIRED = "unretired"  # it was retiring, and a source has it again
    STILL_EXISTS = "still-exists"  # to be forgotten, and its database is there
    STILL_REGISTERED = "still-registered"  # to be retired, and a source still has it
    RECENT_TELEMETRY = "recent-telemetry"  # to be retired, and was written to recently
    LATE_WRITES = "late-writes"  # rows still come to the old copy of a moved tenant
    MOVING = "moving"  # its database is being copied to another target
    MOVED = "moved"  # its database is on another target now
    EXPORTED = "exported"  # its data is in files
    IMPORTED = "imported"  # the data of files is in its database
    NOT_EMPTY = "not-empty"  # to be imported into, and holds rows that the files lack
    NOT_READ = "not-read"  # its target cannot be read
    RETENTION_NOT_READ = "retention-not-read"  # wanted, and cannot be read
    COMPLETENESS_UNKNOWN = "completeness-unknown"  # whether it is complete is unknown
    STILL_REGISTERED_AFTER_DROP = (
        "still-registered-after-drop"  # dropped although a source still has it
    )
    # about a tenant: what was done
    GUARD = "guard"  # a guard refuses something
    CHANGE_FAILED = "change-failed"  # a change was tried and failed
    NOT_ATTEMPTED = "not-attempted"  # a change was not tried
    UNCONFIRMED = "unconfirmed"  # made, and perhaps not durable
    OUTCOME_UNKNOWN = "outcome-unknown"  # how a change ended could not be found out
    # about the run
    NO_LOCK = "no-lock"  # no lock was available, or it was lost
    LOCK_BUSY = "lock-busy"  # another run holds the lock
    CONFIGURATION = "configuration"  # the configuration says what cannot be
    DEADLINE = "deadline"  # the time is used up
    INTERRUPTED = "interrupted"  # ended from outside
    REPORTER = "reporter"  # a report could not be delivered
    NOTE = "note"  # anything else that a plugin has to say


#: What could not be read, or is uncertain.
READ_FAILURES = (
    FindingKind.STALE_LEDGER,
    FindingKind.FAILED_SOURCE,
    FindingKind.UNREACHABLE,
    FindingKind.REFUSED,
    FindingKind.WRONG_SERVER,
    FindingKind.INTERRUPTED,
    FindingKind.DEADLINE,
)


class Finding(Struct, frozen=True, gc=False):
    """Something that a person should know, and perhaps decide.

    `message` says what, without naming what it is about: `subject` does, and each face puts it
    in front where it does not stand there already.
    """

    kind: FindingKind  # what was found
    severity: Severity  # whether it changes the exit code
    message: str  # one clause or sentence, without a subject: "its database name is empty"
    remedy: Any = ""  # what to do about it: a Hint, or text; a Hint once it was made
    tenant: str | None = None  # the id of the tenant that it is about
    target: str | None = None  # the name of the target that it is about
    database: str | None = None  # the name of the database that it is about
    source: str | None = None  # the name of the source that it is about
    reporter: str | None = None  # the name of the reporter that it is about
    facts: Mapping[str, Any] = field(default_factory=dict)  # plain data behind the message

    def __post_init__(self) -> None:
        if not isinstance(self.remedy, Hint):
            force_setattr(self, "remedy", Hint.advise(self.remedy))

    @classmethod
    def error(
        cls, kind: FindingKind, message: str, remedy: str | Hint = "", **about: Any
    ) -> Finding:
        """Return a finding that changes the exit code; `about` are further fields of it."""
        return cls(kind, Severity.ERROR, message, remedy, **about)

    @classmethod
    def warning(
        cls, kind: FindingKind, message: str, remedy: str | Hint = "", **about: Any
    ) -> Finding:
        """Return a finding that a person should look at."""
        return cls(kind, Severity.WARNING, message, remedy, **about)

    @classmethod
    def info(
        cls, kind: FindingKind, message: str, remedy: str | Hint = "", **about: Any
    ) -> Finding:
        """Return a finding that changes nothing."""
        return cls(kind, Severity.INFO, message, remedy, **about)

    @property
    def subject(self) -> str:
        """What it is about, safe to print: `tenant 'acme'`, `target eu1`; empty for the run."""
        if self.tenant is not None:
            return f"tenant {quote(self.tenant)}"
        for role in ("target", "source", "reporter"):
            name = getattr(self, role)
            if name is not None:
                return f"{role} {one_line(name)}"
        return ""

    @property
    def hint(self) -> str:
        """What to do about it, in plain words; a front end has its own (`HintStyle`)."""
        return str(self.remedy)

    @property
    def sentence(self) -> str:
        """Subject and message: a whole sentence."""
        return f"{self.subject}: {self.message}" if self.subject else self.message


class Check(Struct, frozen=True):
    """One thing that a run depends on, as `influxops doctor` found it."""

    name: str  # what was looked at, in a few words
    ok: bool | None  # None where that is unknown, or is no fault
    message: str  # what was found
    hint: Any = ""  # what to do about it: a Hint, or text
