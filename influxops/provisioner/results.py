"""What an application gets."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class How(StrEnum):
    """What became of a tenant that was asked for."""

    KNOWN = "known"  # its database was there
    CREATED = "created"  # its database was made just now
    QUEUED = "queued"  # not yet there; it is tried again by itself
    FAILED = "failed"  # not there, and it will not be before something else changes


class Ensured(Struct, frozen=True):
    """Where a tenant's database is; true where it is there."""

    tenant: str  # its id
    how: How
    database: str = ""  # its database's name; empty where it is not known
    #: The name of the target that holds it, or that the ledger has for it; None where neither is
    #: so. A server makes a database for any client that writes: do not write anywhere else.
    target: str | None = None
    url: str = ""  # where that is; empty without a target
    reason: str = ""  # why it is not there, or what else is to be said

    def __bool__(self) -> bool:
        return self.how is How.KNOWN or self.how is How.CREATED
