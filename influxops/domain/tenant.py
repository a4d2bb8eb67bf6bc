"""A tenant as a source knows it, and the attributes that the engine reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from msgspec import Struct, field

from influxops.domain.finding import Finding, FindingKind
from influxops.domain.text import pluralize, summarize, truncate


class Tenant(Struct, frozen=True, gc=False):
    """A tenant as a source knows it."""

    id: str  # as text
    #: What else the source says of it. The engine reads `database` (overrides the naming
    #: template), `retention` (a duration, or `none`) and `target` (overrides the placement);
    #: what is NULL in the source is left out.
    attributes: Mapping[str, str] = field(default_factory=dict)
    source: str = ""  # the name of the source's section; the engine fills it in


#: What the engine reads of a tenant beside its id; each is spelt exactly so.
ATTRIBUTES = ("database", "retention", "target")


@cache
def meant_attribute(name: str) -> str:
    """Return the attribute that a name was probably meant for; empty where it is one, or none."""
    if name in ATTRIBUTES:
        return ""
    from difflib import get_close_matches

    near = get_close_matches(name.strip().casefold(), ATTRIBUTES, n=1, cutoff=0.8)
    return near[0] if near else ""


def ignored_attributes(names: Iterable[str], noun: str) -> Finding | None:
    """Return the finding that tells which columns or keys of a source mean nothing to influxops."""
    ignored = [truncate(name) for name in dict.fromkeys(names) if name not in ATTRIBUTES]
    if not ignored:
        return None
    are = "is" if len(ignored) == 1 else "are"
    return Finding.info(
        FindingKind.UNKNOWN_ATTRIBUTE,
        f"{pluralize(len(ignored), noun)} {are} ignored: {summarize(ignored)}",
        f"nothing, if that is meant; what is read: {summarize(ATTRIBUTES)}",
    )
