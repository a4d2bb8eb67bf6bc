"""Reads JSON bodies and URL parameters, and words what is wrong with them as the server does.

The server is written in Rust and decodes with serde; its messages name the kind of the value, what
was expected, and line and column. Clients show them, so the stand-in has them too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from influxops_demo.standin import errors
from influxops_demo.standin.durations import DurationError, parse_seconds
from influxops_demo.standin.kinds import FIELD_TYPES, Kind

_FILLER = re.compile(r"[\s,:]*")
_DECODER = json.JSONDecoder()

# Python's words for a syntax error, and serde's, with its words for the end of the text there.
_SYNTAX = (
    ("Expecting value", "expected value", "EOF while parsing a value"),
    ("Expecting ',' delimiter", "expected `,` or `}`", "EOF while parsing an object"),
    ("Expecting ':' delimiter", "expected `:`", "EOF while parsing an object"),
    ("Expecting property name", "key must be a string", "EOF while parsing an object"),
    ("Illegal trailing comma", "trailing comma", "trailing comma"),
    ("Extra data", "trailing characters", "trailing characters"),
    ("Unterminated string", "EOF while parsing a string", "EOF while parsing a string"),
    ("Invalid control", "control character (\\u0000-\\u001F) found while parsing a string", ""),
    ("Invalid \\", "invalid escape", "EOF while parsing a string"),
)


class Mismatch(ValueError):
    """A value that does not fit its field."""


@dataclass(frozen=True)
class Field:
    """One field of a request.

    Args:
        check: turns the decoded value into what the request needs, or raises :class:`Mismatch`.
        required: whether leaving it out is an error; otherwise it is None then.
    """

    check: Callable[[Any], Any]
    required: bool = True


def decode_body(body: bytes, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Reads a JSON object.

    Fields that are not asked for are ignored, as the server ignores them.

    Raises:
        ApiError: 400, the body is no JSON object or a field does not fit.
    """
    text = body.decode("utf-8", "replace")
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise errors.bad_json(_syntax_error(error)) from None
    if not isinstance(document, dict):
        detail = _wrong_type(document, "a JSON object")
        raise errors.bad_json(f"{detail}{_at(text, len(text.rstrip()))}")
    members = ((key, value, _at(text, end)) for key, value, end in _members(text))
    return _collect(members, fields, _at(text, len(text.rstrip())), errors.bad_json)


def decode_query(query: str, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Reads URL parameters.

    Raises:
        ApiError: 400, a parameter is missing, is there twice or does not fit.
    """
    pairs = ((key, value, "") for key, value in parse_qsl(query, keep_blank_values=True))
    return _collect(pairs, fields, "", errors.bad_query_string)


def text(value: Any) -> str:
    """A string."""
    if isinstance(value, str):
        return value
    raise Mismatch(_wrong_type(value, "a string"))


def texts(value: Any) -> list[str]:
    """A list of strings."""
    if isinstance(value, list):
        return [text(item) for item in value]
    raise Mismatch(_wrong_type(value, "a sequence"))


def unsigned(value: Any) -> int | None:
    """A number from zero on, or null."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        raise Mismatch(f"invalid value: integer `{value}`, expected u64")
    raise Mismatch(_wrong_type(value, "u64"))


def retention(value: Any) -> int | None:
    """A duration in whole seconds, or null for none."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise Mismatch(_wrong_type(value, "a duration"))
    try:
        return parse_seconds(value)
    except DurationError:
        shown = json.dumps(value, ensure_ascii=False)
        raise Mismatch(f"invalid value: string {shown}, expected a duration") from None


def switch(value: Any) -> bool:
    """A boolean in the URL."""
    if value in ("true", "false"):
        return bool(value == "true")
    raise Mismatch("provided string was not `true` or `false`")


def choice(*names: str) -> Callable[[Any], str]:
    """One of some words."""

    def check(value: Any) -> str:
        word = text(value)
        if word not in names:
            known = ", ".join(f"`{name}`" for name in names)
            raise Mismatch(f"unknown variant `{word}`, expected one of {known}")
        return word

    return check


def optional(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What a check takes, or null."""
    return lambda value: None if value is None else check(value)


def columns(value: Any) -> dict[str, Kind]:
    """The fields of a new table: a list of objects with name and type."""
    if not isinstance(value, list):
        raise Mismatch(_wrong_type(value, "a sequence"))
    found: dict[str, Kind] = {}
    for item in value:
        if not isinstance(item, dict):
            raise Mismatch(_wrong_type(item, "struct CreateTableField"))
        for member in ("name", "type"):
            if member not in item:
                raise Mismatch(f"missing field `{member}`")
        found[text(item["name"])] = FIELD_TYPES[choice(*FIELD_TYPES)(item["type"])]
    return found


def decode_params(document: str) -> dict[str, Any] | None:
    """The placeholders' values of a query by GET, which come as JSON in the URL.

    Raises:
        ApiError: 400, they are no JSON object of scalar values.
    """
    try:
        return scalars(json.loads(document))
    except json.JSONDecodeError as error:
        raise errors.bad_json(_syntax_error(error)) from None
    except Mismatch as error:
        raise errors.bad_json(f"{error}{_at(document, len(document))}") from None


def scalars(value: Any) -> dict[str, Any] | None:
    """Values for the placeholders of a query, or null."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Mismatch(_wrong_type(value, "a map"))
    for item in value.values():
        if isinstance(item, dict | list):
            raise Mismatch(_wrong_type(item, "a scalar value"))
    return value


def describe(value: Any) -> str:
    """What serde calls a decoded value."""
    match value:
        case None:
            return "null"
        case bool():
            return f"boolean `{str(value).lower()}`"
        case int():
            return f"integer `{value}`"
        case float():
            return f"floating point `{value}`"
        case str():
            return f"string {json.dumps(value, ensure_ascii=False)}"
        case list():
            return "sequence"
        case _:
            return "map"


def _wrong_type(value: Any, expected: str) -> str:
    return f"invalid type: {describe(value)}, expected {expected}"


def _collect(
    members: Iterable[tuple[str, Any, str]],
    fields: Mapping[str, Field],
    end: str,
    refuse: Callable[[str], errors.ApiError],
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value, where in members:
        field = fields.get(key)
        if field is None:
            continue
        if key in found:
            raise refuse(f"duplicate field `{key}`{where}")
        try:
            found[key] = field.check(value)
        except Mismatch as error:
            raise refuse(f"{error}{where}") from None
    for key, field in fields.items():
        if key not in found:
            if field.required:
                raise refuse(f"missing field `{key}`{end}")
            found[key] = None
    return found


def _members(text: str) -> Iterator[tuple[str, Any, int]]:
    """Key, value and the offset where the value ends, for the members of a valid object."""
    position = _skip(text, text.index("{") + 1)
    while text[position] != "}":
        key, position = _DECODER.raw_decode(text, position)
        value, end = _DECODER.raw_decode(text, _skip(text, position))
        yield key, value, end
        position = _skip(text, end)


def _skip(text: str, position: int) -> int:
    filler = _FILLER.match(text, position)
    return filler.end() if filler else position


def _at(text: str, end: int) -> str:
    """Line and column of the last character before an offset."""
    line = text.count("\n", 0, end) + 1
    column = end - (text.rfind("\n", 0, end) + 1)
    return f" at line {line} column {column}"


def _syntax_error(error: json.JSONDecodeError) -> str:
    at_end = error.pos >= len(error.doc)
    for words, inside, outside in _SYNTAX:
        if error.msg.startswith(words):
            ends = at_end or words == "Unterminated string"
            detail = outside if ends else inside
            end = len(error.doc) if ends else error.pos + 1
            if inside == "expected value" and not ends and error.doc[error.pos] in "tfn":
                # serde has read the first letter of true, false or null by then.
                detail, end = "expected ident", end + 1
            return f"{detail}{_at(error.doc, end)}"
    return f"expected value{_at(error.doc, error.pos + 1)}"
