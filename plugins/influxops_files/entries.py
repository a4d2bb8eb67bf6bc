"""What all sources of this package have in common: entries that become tenants or findings."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date, time

from msgspec import Struct, field

from influxops.plugin import (
    ATTRIBUTES,
    Finding,
    Kind,
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
_MOST_PLACES = 5


class Value(Struct, frozen=True):
    """A scalar of a file."""

    text: str  # what the file says, as text; empty where it says nothing
    kind: str = "text"  # what its format makes of that: "number", "boolean", "null", "date"

    @property
    def is_missing(self) -> bool:
        """Whether there is nothing: no text, or only white space."""
        return not self.text.strip()


class Entry(Struct, frozen=True):
    """A tenant as a file has it."""

    place: str  # where: `line 3`, `item 2`
    id: Value
    attributes: Mapping[str, Value] = field(default_factory=dict)  # what else is said of it


def id_name(names: Iterable[str]) -> str | None:
    """Return the one of these names that stands for the tenant's id; None where none does."""
    known = set(names)
    return next((name for name in ID_NAMES if name in known), None)


def located(place: str, file: str) -> str:
    """Return a place, after the name of its file if there is one."""
    return f"{file}, {place}" if file else place


def entry(item: object, place: str, file: str) -> Entry:
    """Return the entry that an id is, or an object with one.

    Args:
        item: The id, or a mapping.
        place: Where it is, for messages.
        file: The file's name for messages; empty where there is none.

    Raises:
        SourceError: When it is neither, or an attribute is more than a scalar.
    """
    if not isinstance(item, Mapping):
        value = _scalar(item)
        if value is None:
            raise SourceError(f"{located(place, file)}: neither an id nor an object", hint=SHAPE)
        return Entry(place, value)
    values: dict[str, Value] = {}
    for key, content in item.items():
        name = key.text if isinstance(key, Value) else str(key)
        scalar = _scalar(content)
        if scalar is None:
            raise SourceError(
                f"{located(place, file)}: {truncate(name)} is a list or an object",
                hint="an attribute is text",
            )
        values[name] = scalar
    id_key = id_name(values)
    return Entry(place, Value("") if id_key is None else values.pop(id_key), values)


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
    """Turn entries into tenants, in their order.

    Args:
        entries: The entries of one source.
        file: The file's name for messages; empty where there is none.
        noun: What its attributes stand in: "column", "key".

    Yields:
        Each tenant once; one that is told differently in two places twice, for the engine to
        hold. One finding for all the entries without an id, one for all that is ignored.

    Raises:
        SourceError: For an id that the format took for something else than text, or a misspelt
            attribute.
    """
    found: dict[tuple[str, tuple[tuple[str, str], ...]], Tenant] = {}
    names: dict[str, None] = {}  # of all attributes, in their order
    empty: list[str] = []
    mistaken: list[Entry] = []
    for each in entries:
        for name in each.attributes:
            if name not in names:
                _check_spelling(name, each.place, file)
                names[name] = None
        if each.id.is_missing:
            empty.append(each.place)
        elif each.id.kind != "text":
            mistaken.append(each)
        else:
            attributes = {
                name: value.text.strip()
                for name, value in each.attributes.items()
                if name in ATTRIBUTES and not value.is_missing
            }
            tenant = Tenant(each.id.text, attributes)
            found.setdefault((tenant.id, tuple(sorted(attributes.items()))), tenant)
    if mistaken:
        raise _not_text(mistaken, file)
    yield from found.values()
    if empty:
        yield _no_id(empty, file)
    if ignored := ignored_attributes(names, noun):
        yield ignored


def chosen(items: Iterable[Tenant | Finding], ids: Collection[str]) -> list[Tenant]:
    """Return the tenants that have one of these ids."""
    wanted = frozenset(ids)
    return [item for item in items if isinstance(item, Tenant) and item.id in wanted]


def _check_spelling(name: str, place: str, file: str) -> None:
    if meant := meant_attribute(name):
        raise SourceError(
            f"{located(place, file)}: there is {truncate(name)}; is {meant} meant?",
            hint=f"write {meant}, or a name that resembles it less",
        )


def _not_text(entries: list[Entry], file: str) -> SourceError:
    first = entries[0]
    more = f" (and {len(entries) - 1} more like it)" if len(entries) > 1 else ""
    return SourceError(
        f"{located(first.place, file)}: the id {truncate(first.id.text)} is read as a "
        f"{first.id.kind}, not as text{more}",
        hint=f'put it into quotes: "{truncate(first.id.text)}"',
    )


def _no_id(places: list[str], file: str) -> Finding:
    shown = ", ".join(places[:_MOST_PLACES]) + (", …" if len(places) > _MOST_PLACES else "")
    subject = pluralize(len(places), "entry", "entries") + (f" of {file}" if file else "")
    have = "has" if len(places) == 1 else "have"
    return Finding(
        Kind.EMPTY_ID,
        Severity.ERROR,
        f"{subject} {have} no tenant id ({shown})",
        "give it one (`tenant_id` or `id`), or take the entry out",
    )
