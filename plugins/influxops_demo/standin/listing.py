"""The list of databases."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from influxops_demo.standin.catalog import Catalog


def list_databases(catalog: Catalog, *, show_deleted: bool) -> Any:
    """The databases by name, deleted ones last or left out, as a record batch."""
    databases = sorted(
        (database.deleted, database.name)
        for database in catalog.databases.values()
        if show_deleted or not database.deleted
    )
    columns = {"iox::database": pa.array([name for _, name in databases], type=pa.string())}
    if show_deleted:
        columns["deleted"] = pa.array([deleted for deleted, _ in databases], type=pa.bool_())
    return pa.RecordBatch.from_pydict(columns)
