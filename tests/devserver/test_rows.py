"""Rows of a table are the same however many blocks they are divided into."""

from __future__ import annotations

import random
from typing import Any

import pytest

from influxops_devserver.storage import rows
from influxops_devserver.storage.catalog import Kind


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "BLOCK_ROWS", 4)


def listed(table: rows.TableRows, columns: dict[str, Kind]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for batch in table.batches(columns):
        times = [{"time": moment.value} for moment in batch.column("time")]
        others = batch.drop_columns(["time"]).to_pylist()
        found += (row | time for row, time in zip(others, times, strict=True))
    return sorted(found, key=lambda row: (row["time"], row["k"]))


def test_rows_are_merged_by_time_and_series_in_every_block() -> None:
    source = random.Random(5)
    columns = {"k": Kind.TAG, "v": Kind.INTEGER, "time": Kind.TIME}
    table = rows.TableRows()
    expected: dict[tuple[int, str], dict[str, Any]] = {}
    for step in range(60):
        if step == 30:
            columns["w"] = Kind.FLOAT
        added: list[rows.Row] = []
        for _ in range(source.randint(1, 12)):
            name = source.choice(["v", "w"] if "w" in columns else ["v"])
            value = {name: step if name == "v" else step / 2}
            added.append((source.randint(0, 80), {"k": source.choice("ab")}, {**value}))
        table.add(added, columns)
        for moment, tags, fields in added:
            expected.setdefault((moment, tags["k"]), {}).update(fields)
        if step % 7 == 0 or step > 55:
            empty = dict.fromkeys(columns)
            assert listed(table, columns) == [
                {**empty, "time": moment, "k": k, **fields}
                for (moment, k), fields in sorted(expected.items())
            ]
    assert len(table.batches(columns)) > 10


def test_a_block_whose_rows_have_one_time_is_not_divided() -> None:
    table = rows.TableRows()
    columns = {"k": Kind.TAG, "v": Kind.INTEGER, "time": Kind.TIME}
    table.add([(7, {"k": f"{number}"}, {"v": number}) for number in range(40)], columns)
    (batch,) = table.batches(columns)
    assert batch.num_rows == 40
