"""What a query reads: its scans of tables, as DataFusion's optimized plan has them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from datafusion.expr import BinaryExpr, Filter, Literal, TableScan

EARLIEST, LATEST = -(2**63), 2**63 - 1
"""The times that there are, in nanoseconds since 1970."""

_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "="}


@dataclass(frozen=True, slots=True)
class Scan:
    """A scan of a table, with the first and the last time that is asked for."""

    table: str
    columns: frozenset[str]
    first: int
    last: int
    #: Whether it asks for the rows of one `table_name`.
    is_of_one: bool = False


def scans(plan: Any) -> Iterator[Scan]:
    """Yield the scans of an optimized plan, but for those of scalar subqueries.

    Bounds are the literals that a conjunction right above a scan holds its time against, which is
    where optimizing puts them; LIMIT and aggregates bound nothing.
    """
    return _scans(plan, None)


def _scans(plan: Any, predicate: Any) -> Iterator[Scan]:
    node = plan.to_variant()
    if isinstance(node, TableScan):
        _, schema, name = node.fqn()
        table = name if schema in (None, "iox") else f"{schema}.{name}"
        columns = frozenset(column for _, column in node.projection())
        yield Scan(table, columns, *_bounds(predicate), _names_table(predicate))
    below = node.predicate() if isinstance(node, Filter) else None
    for part in plan.inputs():
        yield from _scans(part, below)


def _names_table(predicate: Any) -> bool:
    expression = predicate.to_variant() if predicate is not None else None
    if not isinstance(expression, BinaryExpr):
        return False
    left, operator, right = expression.left(), expression.op(), expression.right()
    if operator == "AND":
        return _names_table(left) or _names_table(right)
    if left.variant_name() != "Column" or left.to_variant().name() != "table_name":
        return False
    return bool(operator == "=" and right.variant_name() == "Literal")


def _bounds(predicate: Any) -> tuple[int, int]:
    expression = predicate.to_variant() if predicate is not None else None
    if not isinstance(expression, BinaryExpr):
        return EARLIEST, LATEST
    left, operator, right = expression.left(), expression.op(), expression.right()
    if operator == "AND":
        (first, last), (first_too, last_too) = _bounds(left), _bounds(right)
        return max(first, first_too), min(last, last_too)
    if left.variant_name() == "Literal":
        left, operator, right = right, _MIRRORED.get(operator, ""), left
    if left.variant_name() != "Column" or left.to_variant().name() != "time":
        return EARLIEST, LATEST
    literal = right.to_variant()
    if not isinstance(literal, Literal) or literal.data_type() != "Timestamp(ns)":
        return EARLIEST, LATEST
    moment = literal.value_timestamp()[0]
    return {
        ">=": (moment, LATEST),
        ">": (moment + 1, LATEST),
        "<=": (EARLIEST, moment),
        "<": (EARLIEST, moment - 1),
        "=": (moment, moment),
    }.get(operator, (EARLIEST, LATEST))
