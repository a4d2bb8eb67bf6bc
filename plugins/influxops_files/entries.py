"""What all sources of this package have in common: entries that become tenants or findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from influxops import Finding, Severity, SourceError, Tenant

#: The names that the id may have, the stronger first.
ID_NAMES = ("tenant_id", "id")
_MOST_PLACES = 5
_HINT = "give it one (`tenant_id` or `id`), or take the entry out"


@dataclass(frozen=True, slots=True)
class Value:
    """A scalar of a file.

    Args:
        text: What the file says, as text; empty where it says nothing.
        kind: What its format makes of that.
    """

    text: str
    kind: Literal["text", "number", "boolean", "null", "date"] = "text"

    @property
    def is_missing(self) -> bool:
        """Whether there is nothing: no text, or only white space."""
        return not self.text.strip()


@dataclass(frozen=True, slots=True)
class Entry:
    """A tenant as a file has it.

    Args:
        place: Where: `line 3`, `item 2`.
        id: Its id.
        attributes: What else is said of it.
    """

    place: str
    id: Value
    attributes: Mapping[str, Value]


def id_name(names: Iterable[str]) -> str | None:
    """Give the one of these names that stands for the tenant's id; None where none does."""
    known = set(names)
    return next((name for name in ID_NAMES if name in known), None)


def tenants(entries: Iterable[Entry], source: str) -> Iterator[Tenant | Finding]:
    """Turn entries into tenants, in their order.

    Args:
        entries: The entries of one source.
        source: What the source is called in messages.

    Yields:
        Each tenant once; one that is told differently in two places twice, for the engine to
        hold. One finding for all the entries without an id.

    Raises:
        SourceError: For an id that the format took for something else than text.
    """
    found: dict[tuple[str, tuple[tuple[str, str], ...]], Tenant] = {}
    empty: list[str] = []
    mistaken: list[Entry] = []
    for entry in entries:
        if entry.id.is_missing:
            empty.append(entry.place)
        elif entry.id.kind != "text":
            mistaken.append(entry)
        else:
            attributes = {
                name: value.text.strip()
                for name, value in entry.attributes.items()
                if value.kind != "null" and not value.is_missing
            }
            tenant = Tenant(entry.id.text, attributes)
            found.setdefault((tenant.id, tuple(sorted(attributes.items()))), tenant)
    if mistaken:
        raise _not_text(mistaken, source)
    yield from found.values()
    if empty:
        yield _no_id(empty, source)


def _not_text(entries: list[Entry], source: str) -> SourceError:
    first = entries[0]
    more = f" (and {len(entries) - 1} more like it)" if len(entries) > 1 else ""
    article = "" if first.id.kind == "null" else "a "
    return SourceError(
        f"{source}, {first.place}: the id {first.id.text} is read as {article}{first.id.kind}, "
        f"not as text{more}",
        hint=f'put it into quotes: "{first.id.text}"',
    )


def _no_id(places: list[str], source: str) -> Finding:
    shown = ", ".join(places[:_MOST_PLACES]) + (", …" if len(places) > _MOST_PLACES else "")
    subject = "1 entry has" if len(places) == 1 else f"{len(places)} entries have"
    return Finding("empty-id", Severity.ERROR, f"{source}: {subject} no tenant id ({shown})", _HINT)
