"""Reads line protocol: measurement, tags, fields of every type, timestamp.

Why not ``line-protocol-parser`` (PyPI, well kept): its errors say where it stopped in its own
words (``Failed to parse key of field.``), from which the server's (``No fields were provided``)
cannot be derived; it refuses what the server takes (a float that overflows, one tag twice) and does
not distinguish signed from unsigned integers, without which a column has no type.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from influxops_devserver.limits import MAX_STRING_BYTES
from influxops_devserver.storage.catalog import Kind, Value

# A backslash takes the next character with it; possessive, so that it never gives it back.
_MEASUREMENT = re.compile(r"(?:[^ \t\n\0,\\]++|\\.?)++", re.DOTALL)
_KEY = r"((?:[^ \t\n=\\]++|\\.?)++)"
_TAG_KEY = re.compile(_KEY, re.DOTALL)
_TAG = re.compile(rf"{_KEY}=((?:[^ \t\n,\\]++|\\.?)++)", re.DOTALL)
#: The group that matches the value decides its type.
_FIELD = re.compile(
    rf"{_KEY}=(?:(-?[0-9]+)i|([0-9]+)u"
    r"|(-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)"
    r"|(true|True|TRUE|t|T|false|False|FALSE|f|F)"
    r'|"((?:[^"\\]++|\\.)*+)")',
    re.DOTALL,
)
_SPACES = re.compile(" +")
_TIMESTAMP = re.compile(r" +(-?[0-9]+) *")
_ESCAPED_IN_MEASUREMENT = re.compile(r"\\([, \\])")
_ESCAPED_IN_KEY = re.compile(r"\\([,= \\])")
_ESCAPED_IN_STRING = re.compile(r'\\(["\\])')


class LineError(ValueError):
    """A line that is refused; the message is what the server says of it."""


class Line(NamedTuple):
    """One point; tags and fields in the order of the line."""

    measurement: str
    tags: tuple[tuple[str, str], ...]
    fields: tuple[tuple[str, Kind, Value], ...]
    #: As written, in whatever precision.
    timestamp: int | None


def read_lines(body: str) -> Iterator[tuple[str, Line | LineError]]:
    """Yield each line of a body, as text and parsed, or with the reason why it cannot be.

    Comments and blank lines are left out. A newline inside a quoted string, or after a backslash,
    does not end a line.
    """
    pieces, end = list[str](), _End()
    for piece in body.split("\n"):
        if not pieces:
            piece, end = piece.lstrip(" \t"), _End()
            if not piece or piece.startswith("#"):
                continue
        is_open = end.continues(f"\n{piece}" if pieces else piece)
        pieces.append(piece)
        # One that goes on is not read again with each of its pieces.
        if len(pieces) == 1 or not is_open:
            line = _read(pieces)
            if isinstance(line, Line) or not is_open:
                yield "\n".join(pieces), line
                pieces = []
    if pieces:
        yield "\n".join(pieces), _read(pieces)


def _read(pieces: list[str]) -> Line | LineError:
    try:
        return parse_line("\n".join(pieces))
    except LineError as error:
        return error


def parse_line(line: str) -> Line:
    """Parse one line."""
    is_plain = "\\" not in line and len(line) <= MAX_STRING_BYTES // 4
    word: Callable[[str], str] = str if is_plain else _word
    found = _MEASUREMENT.match(line)
    if found is None:
        raise LineError("Invalid measurement was provided")
    measurement, end = _word(found[0], _ESCAPED_IN_MEASUREMENT), found.end()
    first_tag, tags = end + 1, []
    while line.startswith(",", end):
        found = _TAG.match(line, end + 1)
        if found is None:
            raise LineError(_no_tag(line, first_tag, end + 1))
        tags.append((word(found[1]), word(found[2])))
        end = found.end()
    spaces = _SPACES.match(line, end)
    if spaces is None:
        got = f"`{line[end:]}`" if line[end:] else "end of input"
        raise LineError(f"Expected at least one space character, got {got}")
    fields: list[tuple[str, Kind, Value]] = []
    start = spaces.end()
    while found := _FIELD.match(line, start):
        group = found.lastindex or 0
        kind, convert = _TYPES[group]
        fields.append((word(found[1]), kind, convert(found[group])))
        end = found.end()
        if not line.startswith(",", end):
            break
        start = end + 1
    if not fields:
        raise LineError("No fields were provided")
    timestamp = None
    if found := _TIMESTAMP.match(line, end):
        timestamp, end = _timestamp(found[1]), found.end()
    if end < len(line):
        rest = _shortened(line[end:])
        raise LineError(f"Could not parse entire line. Found trailing content: `{rest}`")
    return Line(measurement, tuple(tags), tuple(fields), timestamp)


class _End:
    """Tells whether a newline at the end of what was read so far would not end the line."""

    def __init__(self) -> None:
        self._quoted = self._in_fields = self._escaped = False
        self._equals = self._commas = 0

    def continues(self, text: str) -> bool:
        """Read on; return whether a newline there would not end the line."""
        for char in text:
            if self._escaped:
                self._escaped = False
            elif char == "\\":
                self._escaped = True
            elif char == " ":
                self._in_fields = True
            elif self._in_fields and not self._quoted and char in "=,":
                self._equals += char == "="
                self._commas += char == ","
            elif self._in_fields and char == '"' and self._equals > self._commas:
                self._quoted = not self._quoted
        return self._quoted or self._escaped


def _word(word: str, escaped: re.Pattern[str] = _ESCAPED_IN_KEY) -> str:
    if "\\" in word:
        # A backslash before anything that needs no escape is kept.
        word = escaped.sub(r"\1", word)
        if word.endswith("\\"):
            raise LineError(
                "Measurements, tag keys and values, and field keys may not end with a backslash"
            )
    return _checked(word)


def _whole(what: str, first: int, last: int, text: str) -> int:
    # Python reads no number of thousands of digits.
    value = int(text) if len(text) < 100 else last + 1
    if not first <= value <= last:
        raise LineError(f"Unable to parse {what} value `{text}`")
    return value


_integer = partial(_whole, "integer", -(2**63), 2**63 - 1)
_unsigned = partial(_whole, "unsigned integer", 0, 2**64 - 1)
_timestamp = partial(_whole, "timestamp", -(2**63), 2**63 - 1)


def _checked(text: str) -> str:
    if len(text) > MAX_STRING_BYTES // 4 and len(text.encode()) > MAX_STRING_BYTES:
        raise LineError("String is greater than 64KB")
    return text


def _no_tag(line: str, first: int, start: int) -> str:
    """Return what the server says of a line where one of its tags should start, and none does."""
    key = _TAG_KEY.match(line, start)
    if key and not line.startswith("=", key.end()):
        return f"Tag set malformed: could not find equals sign in `{_shortened(line[first:])}`"
    rest = line[key.end() + 1 if key else start :]
    got = f"`{_shortened(rest)}`" if rest else "end of input"
    return f"Expected tag {'value' if key else 'key'}, got {got}"


def _shortened(text: str) -> str:
    return f"{text[:10]}..." if len(text.encode()) > 10 else text


_TYPES: dict[int, tuple[Kind, Callable[[str], Value]]] = {
    2: (Kind.INTEGER, _integer),
    3: (Kind.UINTEGER, _unsigned),
    4: (Kind.FLOAT, float),
    5: (Kind.BOOLEAN, lambda text: text[0] in "tT"),
    6: (Kind.STRING, lambda text: _checked(_ESCAPED_IN_STRING.sub(r"\1", text))),
}
