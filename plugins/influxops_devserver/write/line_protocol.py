"""Reads line protocol: measurement, tags, fields of every type, timestamp.

Why not ``line-protocol-parser`` (PyPI, well kept): its errors say where it stopped in its own
words (``Failed to parse key of field.``), from which the server's (``No fields were provided``)
cannot be told; it refuses what the server takes (a float that overflows, a tag that is there twice)
and does not tell signed from unsigned integers, without which a column has no type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from influxops_devserver.storage.catalog import Kind

MAX_STRING_BYTES = 65_536
"""Longest measurement, tag key, tag value, field key or string value."""

Value = int | float | str | bool

_MEASUREMENT = re.compile(r"(?:[^ \t\n\0,\\]+|\\.)*(?:\\\Z)?", re.DOTALL)
_KEY = re.compile(r"(?:[^ \t\n=\\]+|\\.)*(?:\\\Z)?", re.DOTALL)
_TAG_VALUE = re.compile(r"(?:[^ \t\n,\\]+|\\.)*(?:\\\Z)?", re.DOTALL)
_SPACES = re.compile(r" +")
_NUMBER = re.compile(
    r"(?P<integer>-?[0-9]+)i"
    r"|(?P<unsigned>[0-9]+)u"
    r"|(?P<float>-?[0-9]+\.[0-9]+[eE][-+]?[0-9]+|-?[0-9]+[eE][-+]?[0-9]+|-?[0-9]+\.[0-9]+|-?[0-9]+)"
)
_STRING = re.compile(r'"((?:[^"\\]+|\\.)*)"', re.DOTALL)
_BOOLEAN = re.compile(r"true|True|TRUE|t|T|false|False|FALSE|f|F")
_TIMESTAMP = re.compile(r"-?[0-9]+")
#: A line that says what it says without escapes, and with a timestamp: nearly every line is one.
_PLAIN_FIELD = (
    r"([^\s\"\\=,]+)="
    r"(?:(-?[0-9]{1,18})i|([0-9]{1,19})u|(-?[0-9]+\.[0-9]+|-?[0-9]+)|"
    r"(t|true|f|false)|\"([^\"\\\n]*)\")"
)
_PLAIN_HEAD = r"([^\s\"\\=,#\0][^\s\"\\=,\0]*(?:,[^\s\"\\=,]+=[^\s\"\\=,]+)*)"
_PLAIN = re.compile(
    _PLAIN_HEAD
    + " ({0}(?:,{0})*)".format(re.sub(r"\((?![?])", "(?:", _PLAIN_FIELD))
    + r" (-?[0-8]?[0-9]{1,18})"
)
_PLAIN_FIELDS = re.compile(_PLAIN_FIELD)
_ESCAPED_IN_MEASUREMENT = re.compile(r"\\([, \\])|\\(.)", re.DOTALL)
_ESCAPED_IN_KEY = re.compile(r"\\([,= \\])|\\(.)", re.DOTALL)
_ESCAPED_IN_STRING = re.compile(r'\\(["\\])')


class LineError(ValueError):
    """A line that is no line protocol; the message is what the server says of it."""


class Line(NamedTuple):
    """One point.

    Args:
        measurement: table it goes to.
        tags: name and value, in the order of the line.
        fields: name, type and value, in the order of the line.
        timestamp: as written, in whatever precision; None when there is none.
    """

    measurement: str
    tags: tuple[tuple[str, str], ...]
    fields: tuple[tuple[str, Kind, Value], ...]
    timestamp: int | None


def read_lines(body: str) -> Iterator[Line | str]:
    """The lines of a body that hold something, without comments and leading blanks.

    Those that are plain are read already, the others are for :func:`parse_line`. A newline inside
    a quoted string, or after a backslash, does not end a line.
    """
    pending = ""
    for piece in body.split("\n"):
        if not pending:
            line = _plain(piece)
            if line is not None:
                yield line
                continue
        text = f"{pending}\n{piece}" if pending else piece
        if ('"' in text or "\\" in text) and _continues(text):
            pending = text
            continue
        pending = ""
        yield from _content(text)
    if pending:
        yield from _content(pending)


def _plain(text: str) -> Line | None:
    """Read a line that has no escapes; None where it may have any, or anything else that is odd.

    It reads nothing that :func:`parse_line` would not read as well, in a fraction of the time.
    """
    found = _PLAIN.fullmatch(text) if len(text) <= MAX_STRING_BYTES // 4 else None
    if found is None:
        return None
    measurement, tags = _plain_head(found[1])
    fields: list[tuple[str, Kind, Value]] = []
    for name, integer, unsigned, number, boolean, string in _PLAIN_FIELDS.findall(found[2]):
        if number:
            fields.append((name, Kind.FLOAT, float(number)))
        elif integer:
            fields.append((name, Kind.INTEGER, int(integer)))
        elif unsigned:
            fields.append((name, Kind.UINTEGER, int(unsigned)))
        elif boolean:
            fields.append((name, Kind.BOOLEAN, boolean[0] == "t"))
        else:
            fields.append((name, Kind.STRING, string))
    return Line(measurement, tags, tuple(fields), int(found[3]))


@lru_cache(maxsize=65_536)
def _plain_head(text: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Read measurement and tags, which many lines share."""
    measurement, *tags = text.split(",")
    pairs = (tag.partition("=") for tag in tags)
    return measurement, tuple((key, value) for key, _, value in pairs)


def parse_line(line: str) -> Line:
    """Reads one line as :func:`read_lines` gives it.

    Raises:
        LineError: it is no line protocol.
    """
    measurement, position = _word(_MEASUREMENT, _ESCAPED_IN_MEASUREMENT, line, 0)
    if not position:
        raise LineError("Invalid measurement was provided")
    tags: tuple[tuple[str, str], ...] = ()
    if line.startswith(",", position):
        tags, position = _tags(line, position + 1)
    spaces = _SPACES.match(line, position)
    if spaces is None:
        rest = line[position:]
        got = f"`{rest}`" if rest else "end of input"
        raise LineError(f"Expected at least one space character, got {got}")
    fields, position = _fields(line, spaces.end())
    timestamp, position = _timestamp(line, position)
    if position < len(line):
        raise LineError(
            f"Could not parse entire line. Found trailing content: `{_shortened(line[position:])}`"
        )
    return Line(measurement, tags, fields, timestamp)


def _continues(text: str) -> bool:
    """Whether a newline at the end of the text would not end the line."""
    quoted = in_fields = escaped = False
    equals = commas = 0
    for char in text:
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == " ":
            in_fields = True
        elif in_fields and not quoted and char == "=":
            equals += 1
        elif in_fields and not quoted and char == ",":
            commas += 1
        elif in_fields and char == '"' and equals > commas:
            quoted = not quoted
    return quoted or escaped


def _content(text: str) -> Iterator[str]:
    text = text.lstrip(" \t\n")
    while text.startswith("#"):
        _, _, text = text.partition("\n")
        text = text.lstrip(" \t\n")
    if text:
        yield text


def _word(
    pattern: re.Pattern[str], escapes: re.Pattern[str], line: str, start: int
) -> tuple[str, int]:
    match = pattern.match(line, start)
    end = match.end() if match else start
    word = line[start:end]
    if "\\" in word:
        # A backslash before anything that needs no escape stands for itself.
        word = escapes.sub(lambda found: found[1] or f"\\{found[2]}", word)
        if word.endswith("\\"):
            raise LineError(
                "Measurements, tag keys and values, and field keys may not end with a backslash"
            )
    _check_length(word)
    return word, end


def _tags(line: str, start: int) -> tuple[tuple[tuple[str, str], ...], int]:
    tags: list[tuple[str, str]] = []
    position = start
    while True:
        key, end = _word(_KEY, _ESCAPED_IN_KEY, line, position)
        if end == position:
            raise LineError(f"Expected tag key, got {_got(line[position:])}")
        if not line.startswith("=", end):
            rest = _shortened(line[start:])
            raise LineError(f"Tag set malformed: could not find equals sign in `{rest}`")
        position = end + 1
        value, end = _word(_TAG_VALUE, _ESCAPED_IN_KEY, line, position)
        if end == position:
            raise LineError(f"Expected tag value, got {_got(line[position:])}")
        tags.append((key, value))
        if not line.startswith(",", end):
            return tuple(tags), end
        position = end + 1


def _fields(line: str, start: int) -> tuple[tuple[tuple[str, Kind, Value], ...], int]:
    fields: list[tuple[str, Kind, Value]] = []
    position = start
    while True:
        key, end = _word(_KEY, _ESCAPED_IN_KEY, line, position)
        value = None
        if end > position and line.startswith("=", end):
            value = _value(line, end + 1)
        if value is None:
            if not fields:
                raise LineError("No fields were provided")
            # The comma before it is what cannot be parsed.
            return tuple(fields), position - 1
        kind, parsed, end = value
        fields.append((key, kind, parsed))
        if not line.startswith(",", end):
            return tuple(fields), end
        position = end + 1


def _value(line: str, start: int) -> tuple[Kind, Value, int] | None:
    number = _NUMBER.match(line, start)
    if number:
        if number["integer"] is not None:
            value = int(number["integer"])
            if not -(2**63) <= value < 2**63:
                raise LineError(f"Unable to parse integer value `{number['integer']}`")
            return Kind.INTEGER, value, number.end()
        if number["unsigned"] is not None:
            value = int(number["unsigned"])
            if value >= 2**64:
                raise LineError(f"Unable to parse unsigned integer value `{number['unsigned']}`")
            return Kind.UINTEGER, value, number.end()
        return Kind.FLOAT, float(number["float"]), number.end()
    string = _STRING.match(line, start)
    if string:
        text = _ESCAPED_IN_STRING.sub(r"\1", string[1])
        _check_length(text)
        return Kind.STRING, text, string.end()
    boolean = _BOOLEAN.match(line, start)
    if boolean:
        return Kind.BOOLEAN, boolean[0][0] in "tT", boolean.end()
    return None


def _timestamp(line: str, start: int) -> tuple[int | None, int]:
    spaces = _SPACES.match(line, start)
    digits = _TIMESTAMP.match(line, spaces.end()) if spaces else None
    if digits is None:
        return None, start
    timestamp = int(digits[0])
    if not -(2**63) <= timestamp < 2**63:
        raise LineError(f"Unable to parse timestamp value `{digits[0]}`")
    after = _SPACES.match(line, digits.end())
    return timestamp, after.end() if after else digits.end()


def _check_length(text: str) -> None:
    if len(text) > MAX_STRING_BYTES // 4 and len(text.encode()) > MAX_STRING_BYTES:
        raise LineError("String is greater than 64KB")


def _got(rest: str) -> str:
    return f"`{_shortened(rest)}`" if rest else "end of input"


def _shortened(text: str) -> str:
    return f"{text[:10]}..." if len(text.encode()) > 10 else text
