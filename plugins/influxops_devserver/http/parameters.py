"""Reads JSON bodies and URL parameters, and words what is wrong with them as the server does.

The server is written in Rust and decodes with serde, whose messages end with line and column. The
recordings have some of them, which come out the same here; others are worded alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from influxops_devserver.errors import ApiError
from influxops_devserver.storage.catalog import Kind

#: Nanoseconds in the units of the Rust crate humantime: a month is 30.44 days, a year 365.25.
_UNITS = {
    name: factor
    for factor, names in {
        1: "nanos nsec ns",
        10**3: "usec us µs",
        10**6: "millis msec ms",
        10**9: "seconds second secs sec s",
        60 * 10**9: "minutes minute min mins m",
        3_600 * 10**9: "hours hour hrs hr h",
        86_400 * 10**9: "days day d",
        604_800 * 10**9: "weeks week wk wks w",
        2_630_016 * 10**9: "months month M",
        31_557_600 * 10**9: "years year yr yrs y",
    }.items()
    for name in names.split()
}
_FIELD_TYPES = {
    "utf8": Kind.STRING,
    "int64": Kind.INTEGER,
    "uint64": Kind.UINTEGER,
    "float64": Kind.FLOAT,
    "bool": Kind.BOOLEAN,
}
_FILLER = re.compile(r"[\s,:]*")
_DECODER = json.JSONDecoder()


class Mismatch(ValueError):
    """A value that does not fit its field."""


@dataclass(frozen=True)
class Field:
    """One field of a request.

    Args:
        check: Returns what the request needs for a decoded value, or raises :class:`Mismatch`.
        required: Whether leaving it out is an error; otherwise it is None then.
    """

    check: Callable[[Any], Any]
    required: bool = True


def decode_body(body: bytes, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Read a JSON object; what is not asked for is ignored.

    Raises:
        ApiError: 400, the body is no JSON object or a field does not fit.
    """
    text = body.decode("utf-8", "replace")
    end = _at(text, len(text.rstrip()))
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        place = _at(text, min(error.pos + 1, len(text)))
        raise ApiError(400, f"serde json error: expected value{place}") from None
    if not isinstance(document, dict):
        raise ApiError(400, f"serde json error: {_wrong(document, 'a JSON object')}{end}")
    return _collect(_members(text), fields, end, "serde json error")


def decode_query(query: str, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Read URL parameters.

    Raises:
        ApiError: 400, a parameter is missing or does not fit.
    """
    pairs = ((key, value, "") for key, value in parse_qsl(query, keep_blank_values=True))
    return _collect(pairs, fields, "", "serde error")


def duration(text: str) -> int:
    """Read a duration as the server writes it (``30d``, ``1h 30m``): nanoseconds.

    Raises:
        ValueError: It is none.
    """
    if text == "0":
        return 0
    parts = re.findall(r"(\d+)\s*([A-Za-zµ]+)", text)
    if not parts or not re.fullmatch(r"(\s*\d+\s*[A-Za-zµ]+)+\s*", text):
        raise ValueError("expected numbers, each with its time unit")
    unknown = [unit for _, unit in parts if unit not in _UNITS]
    if unknown:
        raise ValueError(
            f'unknown time unit "{unknown[0]}", supported units: ns, us/µs, ms, sec, min, hours, '
            "days, weeks, months, years (and few variations)"
        )
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


def text(value: Any) -> str:
    """Check for a string."""
    if isinstance(value, str):
        return value
    raise Mismatch(_wrong(value, "a string"))


def texts(value: Any) -> list[str]:
    """Check for a list of strings."""
    if isinstance(value, list):
        return [text(item) for item in value]
    raise Mismatch(_wrong(value, "a sequence"))


def unsigned(value: Any) -> int | None:
    """Check for a number from zero on, or null."""
    if value is None or (type(value) is int and value >= 0):
        return value
    raise Mismatch(_wrong(value, "u64"))


def retention(value: Any) -> int | None:
    """Check for a duration, or null for none: whole seconds."""
    if value is None:
        return None
    try:
        return duration(text(value)) // 10**9
    except Mismatch:
        raise
    except ValueError:
        shown = json.dumps(value, ensure_ascii=False)
        raise Mismatch(f"invalid value: string {shown}, expected a duration") from None


def switch(value: Any) -> bool:
    """Check for a boolean in the URL."""
    if value in ("true", "false"):
        return bool(value == "true")
    raise Mismatch("provided string was not `true` or `false`")


def choice(*names: str) -> Callable[[Any], str]:
    """Return a check for one of some words."""

    def check(value: Any) -> str:
        if text(value) not in names:
            known = ", ".join(f"`{name}`" for name in names)
            raise Mismatch(f"unknown variant `{value}`, expected one of {known}")
        return text(value)

    return check


def columns(value: Any) -> dict[str, Kind]:
    """Check for the fields of a new table: a list of objects with name and type."""
    found: dict[str, Kind] = {}
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, dict) or not {"name", "type"} <= item.keys():
            raise Mismatch(_wrong(item, "objects with `name` and `type`"))
        found[text(item["name"])] = _FIELD_TYPES[choice(*_FIELD_TYPES)(item["type"])]
    return found


def scalars(value: Any) -> dict[str, Any] | None:
    """Check for the values of a query's placeholders, or null."""
    if value is None:
        return None
    if not isinstance(value, dict) or any(isinstance(v, dict | list) for v in value.values()):
        raise Mismatch(_wrong(value, "a map of scalar values"))
    return value


def _wrong(value: Any, expected: str) -> str:
    return f"invalid type: {json.dumps(value, ensure_ascii=False)}, expected {expected}"


def _collect(
    members: Iterable[tuple[str, Any, str]],
    fields: Mapping[str, Field],
    end: str,
    prefix: str,
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value, place in members:
        if key in fields:
            try:
                found[key] = fields[key].check(value)
            except Mismatch as error:
                raise ApiError(400, f"{prefix}: {error}{place}") from None
    for key, field in fields.items():
        if key not in found and field.required:
            raise ApiError(400, f"{prefix}: missing field `{key}`{end}")
        found.setdefault(key, None)
    return found


def _members(text: str) -> Iterator[tuple[str, Any, str]]:
    """Yield key, value and the place where the value ends, for each member of a valid object."""
    position = _skip(text, text.index("{") + 1)
    while text[position] != "}":
        key, position = _DECODER.raw_decode(text, position)
        value, end = _DECODER.raw_decode(text, _skip(text, position))
        yield key, value, _at(text, end)
        position = _skip(text, end)


def _skip(text: str, position: int) -> int:
    filler = _FILLER.match(text, position)
    return filler.end() if filler else position


def _at(text: str, end: int) -> str:
    """Return line and column of the last character before an offset."""
    line = text.count("\n", 0, end) + 1
    column = end - (text.rfind("\n", 0, end) + 1)
    return f" at line {line} column {column}"
