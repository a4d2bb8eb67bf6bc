"""How much a server takes, and the errors where it takes no more."""

from __future__ import annotations

from dataclasses import dataclass

from influxops_devserver.errors import ApiError, ColumnRefused, compact

MAX_BODY_BYTES = 10 * 1024 * 1024
"""Longest body of a request, before and after decompression."""

MAX_COLUMNS = 500
"""Columns of a table, the time among them."""

MAX_NAME_BYTES = 511
"""Longest name of a database."""

MAX_STRING_BYTES = 65_536
"""Longest measurement, tag key, tag value, field key or string value."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that a server is started with; None is no limit."""

    #: Neither deleted ones nor the server's own count.
    databases: int | None = 5
    #: Over all databases together.
    tables: int | None = 2_000
    #: Files of one table that a query may read.
    query_files: int = 432


class DatabaseLimit(ApiError):
    """There may be no more databases."""

    def __init__(self, limit: int) -> None:
        text = f"Adding a new database would exceed limit of {limit} databases"
        super().__init__(422, compact({"error": text}))


class SchemaLimit(ColumnRefused):
    """There may be no more tables, or no more columns in a table."""

    def __init__(self, what: str) -> None:
        super().__init__(f"Update to schema would exceed number of {what}")


class BodyTooLong(ApiError):
    """A body has more bytes than the server reads."""

    def __init__(self) -> None:
        super().__init__(413, f"max request size ({MAX_BODY_BYTES} bytes) exceeded")


class QueryFileLimit(ApiError):
    """A query would read more files of a table than it may."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            500,
            # The number is the limit's, however many files there are.
            f"External error: Query would scan {limit} Parquet files, exceeding the file limit. "
            "InfluxDB 3 Core caps file access to prevent performance degradation and memory "
            "issues. Use a narrower time range, or increase the limit with --query-file-limit "
            "(this may cause slower queries or instability).\n\n"
            "To remove this limitation, upgrade to InfluxDB 3 Enterprise, which automatically "
            "compacts files for efficient querying across any time range. Free for non-commercial "
            "and home use, and free trials for commercial evaluation: "
            "https://www.influxdata.com/downloads",
        )
