"""Entries, which all sources of this package turn into tenants or findings."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date, time

from msgspec import Struct, field

from influxops.plugin import (
    ATTRIBUTES,
    Finding,
    FindingKind,
    Severity,
    SourceError,
    Tenant,
    ignored_attributes,
    meant_attribute,
    pluralize,
    truncate,
)

#: The names that the id may have, the stronger first.
ID_NAMES = ("tenant_id", "id")
SHAPE = (
    "write a list of ids, or of objects with `id`, or an object whose key `tenants` holds such a "
    "list"
)
_MAX_POSITIONS = 5


class Value(Struct, frozen=True):
    """A scalar of a file."""

    text: str  # as it is written; empty for none
    kind: str = "text"  # its type in the format: "number", "boolean", "null", "date"

    @property
    def is_missing(self) -> bool:
        """Whether it has no text, or only white space."""
        return not self.text.strip()


class Entry(Struct, frozen=True):
    """A tenant as a file has it."""

    position: str  # in the file: `line 3`, `item 2`
    id: Value
    attributes: Mapping[str, Value] = field(default_factory=dict)


def id_name(names: Iterable[str]) -> str | None:
    """Return the one of these names that is the tenant's id; None where none is."""
    known = set(names)
    return next((name for name in ID_NAMES if name in known), None)


def position_in(file: str, position: str) -> str:
    """Return a position, after the name of its file if it has one."""
    return f"{file}, {position}" if file else position


def entry(item: object, position: str, file: str) -> Entry:
    """Return the entry of an id, or of an object with one."""
    if not isinstance(item, Mapping):
        value = _scalar(item)
        if value is None:
            raise SourceError(
                f"{position_in(file, position)}: neither an id nor an object", hint=SHAPE
            )
        return Entry(position, value)
    values: dict[str, Value] = {}
    for key, content in item.items():
        name = key.text if isinstance(key, Value) else str(key)
        scalar = _scalar(content)
        if scalar is None:
            raise SourceError(
                f"{position_in(file, position)}: {truncate(name)} is a list or an object",
                hint="an attribute is text",
            )
        values[name] = scalar
    id_key = id_name(values)
    return Entry(position, Value("") if id_key is None else values.pop(id_key), values)


def _scalar(content: object) -> Value | None:
    match content:
        case Value():
            return content
        case None:
            return Value("", "null")
        case bool():
            return Value(str(content).lower(), "boolean")
        case int() | float():
            return Value(str(content), "number")
        case date() | time():
            return Value(content.isoformat(), "date")
        case str():
            return Value(content)
    return None


def tenants(entries: Iterable[Entry], file: str, noun: str) -> Iterator[Tenant | Finding]:
    """Turn entries into tenants, in their order, with a finding for all that is wrong of a kind.

    One with two sets of attributes comes twice, which the engine blocks.
    """
    unique: dict[tuple[str, tuple[tuple[str, str], ...]], Tenant] = {}
    names: dict[str, None] = {}  # of all attributes, in their order
    empty: list[str] = []
    not_text: list[Entry] = []
    for each in entries:
        for name in each.attributes:
            if name not in names:
                _check_spelling(name, each.position, file)
                names[name] = None
        if each.id.is_missing:
            empty.append(each.position)
        elif each.id.kind != "text":
            not_text.append(each)
        else:
            attributes = {
                name: value.text.strip()
                for name, value in each.attributes.items()
                if name in ATTRIBUTES and not value.is_missing
            }
            tenant = Tenant(each.id.text, attributes)
            unique.setdefault((tenant.id, tuple(sorted(attributes.items()))), tenant)
    if not_text:
        raise _not_text(not_text, file)
    yield from unique.values()
    if empty:
        yield _no_id(empty, file)
    if ignored := ignored_attributes(names, noun):
        yield ignored


def with_ids(items: Iterable[Tenant | Finding], ids: Collection[str]) -> list[Tenant]:
    """Return the tenants that have one of these ids."""
    wanted = frozenset(ids)
    return [item for item in items if isinstance(item, Tenant) and item.id in wanted]


def _check_spelling(name: str, position: str, file: str) -> None:
    if meant := meant_attribute(name):
        raise SourceError(
            f"{position_in(file, position)}: there is {truncate(name)}; is {meant} meant?",
            hint=f"write {meant}, or a name that resembles it less",
        )


def _not_text(entries: list[Entry], file: str) -> SourceError:
    first = entries[0]
    more = f" (and {len(entries) - 1} more like it)" if len(entries) > 1 else ""
    return SourceError(
        f"{position_in(file, first.position)}: the id {truncate(first.id.text)} is read as a "
        f"{first.id.kind}, not as text{more}",
        hint=f'put it into quotes: "{truncate(first.id.text)}"',
    )


def _no_id(positions: list[str], file: str) -> Finding:
    more = ", …" if len(positions) > _MAX_POSITIONS else ""
    shown = ", ".join(positions[:_MAX_POSITIONS]) + more
    subject = pluralize(len(positions), "entry", "entries") + (f" of {file}" if file else "")
    have = "has" if len(positions) == 1 else "have"
    return Finding(
        FindingKind.EMPTY_ID,
        Severity.ERROR,
        f"{subject} {have} no tenant id ({shown})",
        "give it one (`tenant_id` or `id`), or take the entry out",
    )
