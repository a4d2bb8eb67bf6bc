"""The types that a column can have."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """The type of a column, by the name that errors and the catalog on disk use."""

    TAG = "tag"
    TIME = "timestamp"
    INTEGER = "field::integer"
    UINTEGER = "field::uinteger"
    FLOAT = "field::float"
    STRING = "field::string"
    BOOLEAN = "field::boolean"

    @property
    def label(self) -> str:
        """What the server calls the type in an error."""
        return f"iox::column_type::{self.value}"


FIELD_TYPES = {
    "utf8": Kind.STRING,
    "int64": Kind.INTEGER,
    "uint64": Kind.UINTEGER,
    "float64": Kind.FLOAT,
    "bool": Kind.BOOLEAN,
}
"""Types of fields by the names that creating a table takes."""

RESERVED_COLUMNS = frozenset({"time", "__chunk_order"})
"""Names that no tag or field can have."""
