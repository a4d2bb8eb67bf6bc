"""Copying a database from one target to another: what is asked for, and how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from influxops.domain.finding import Finding


class CopyRequest(Struct, frozen=True):
    """What is to be copied from one target to another of the same kind."""

    database: str  # its name, on both
    into: Any = None  # the instance of the plugin that gets it; the engine fills it in
    #: How far an earlier call was, the last `CopyProgress.progress` of it; empty for the first.
    progress: str = ""
    #: Whether the tenant writes to the copy by now: then only rows that the copy lacks are copied,
    #: so that an old one never overwrites a newer one.
    only_missing: bool = False
    #: Whether the copy is an older one of this database, which the tenant has left: what only it
    #: has stays, and where both have a field of a row, the value of the source is written.
    merge: bool = False
    #: Whether nothing is to be written: the one value that is yielded says what there is to copy.
    dry_run: bool = False
    #: With the progress of a copy that was done: whether it is enough to look at what came since
    #: that copy began. A later call looks at all.
    recent: bool = False
    #: Whether its writers are paused, as the user said. With `only_missing` and the progress of a
    #: copy that was done: what is shown to be unchanged since need not be looked at again.
    paused: bool = False
    #: Tables that need not be copied where they cannot be read, so that these do not keep the
    #: copy from being done.
    without_tables: tuple[str, ...] = ()
    #: With `dry_run`: whether what is asked is `CopyProgress.ahead`, however long that takes to
    #: find out.
    ahead: bool = False
    #: Where a database is exported or imported: the folder of its files.
    folder: str = ""
    tenant: str = ""  # its id, where its database is exported or imported
    #: An export: whether each row is read a second time to compare it; else those are that came
    #: since it began, and rows are counted again.
    compare: bool = False


class CopyProgress(Struct, frozen=True):
    """How far copying is."""

    stage: str = ""  # what is being done, for people: `copying`, `comparing`, `catching up`
    progress: str = ""  # from where to go on; the plugin's own text, no longer than 64 KiB
    rows: int = 0  # how many were written by this call; one that was copied again counts again
    total: int | None = None  # how many rows there are to copy; None where that is not known
    tables: int = 0  # how many tables there are
    #: How many bytes were written by this call; a dry run: about how many would be.
    bytes: int = 0
    #: How many rows a second can be copied, as far as reading some of them tells (a dry run); 0
    #: where that was not measured.
    rate: float = 0.0
    #: How many rows had other values in the copy: they were left so (`only_missing`), or written
    #: over (`merge`).
    conflicts: int = 0
    expiring: int = 0  # how many rows were not compared, because their retention period ends
    #: How many rows, or fields of rows, only the copy has (`CopyRequest.ahead` and `merge`); None
    #: where that was not asked, or is unknown.
    ahead: int | None = None
    done: bool = False  # whether all that was there is in the copy, and was compared
    #: What was noticed: an error means that it cannot be copied.
    findings: tuple[Finding, ...] = ()
    at_most: bool = False  # whether `total` may count a row twice
    #: Why tables cannot be copied, by name; all others are. Those of `without_tables` are among
    #: them, and no reason not to be done.
    unread: Mapping[str, str] = field(default_factory=dict)
    late: int = 0  # how many rows an export found that were written since it began
    #: How many of `rows` each table got (`only_missing`), as far as the plugin tells.
    rows_by_table: Mapping[str, int] = field(default_factory=dict)
    #: For how many seconds nothing was written, as the times of the rows say (`paused`); None where
    #: that is not known.
    quiet: float | None = None
