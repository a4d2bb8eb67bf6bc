"""Making text fit to be shown: names of any origin on one line, near misses, numbers of things."""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

K = TypeVar("K", bound=Hashable)

#: So many words are compared letter by letter.
_COMPARED = 2_000
#: Characters up to which a name is shown whole, and those shown of one that is longer.
_WHOLE, _CUT = 80, 60


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `did you mean X?` of what could have been written; empty when nothing is near."""
    from difflib import get_close_matches

    words = list(known)
    # An id that differs only by case is nearer than its letters say.
    same = [each for each in words if each.casefold() == word.casefold()]
    if not same and len(words) > _COMPARED:
        # Comparing letters takes long: of very many, those that begin alike are enough.
        words = [each for each in words if each[:1].casefold() == word[:1].casefold()]
        words = words[:_COMPARED]
    matches = same or get_close_matches(word, words, n=1, cutoff=0.6)
    return f"did you mean {truncate(matches[0])}?" if matches else ""


def one_line(text: str) -> str:
    r"""Return text of any origin safe to print: one line that steers no terminal.

    All that does not print (controls, escape sequences, direction marks, line separators, lone
    surrogates) is written as Python would: `\x1b`. So is what is composed in another way than
    usual and looks like another text: an accent by itself. Done twice, it is the same.
    """
    if text.isascii() or unicodedata.is_normalized("NFC", text):
        if text.isprintable():
            return text
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return "".join(c if c.isprintable() and _is_usual(c) else ascii(c)[1:-1] for c in text)


def _is_usual(character: str) -> bool:
    """Return whether a character is no accent to another one, and no other spelling of one."""
    return not unicodedata.combining(character) and unicodedata.is_normalized("NFC", character)


def truncate(text: str) -> str:
    """Return an id or a name on one line; one of more than 80 characters cut, with its length."""
    if len(text) <= _WHOLE:
        return one_line(text)
    return f"{one_line(text[:_CUT])}… ({len(text)} characters)"


def quote(text: str, longest: int = _CUT) -> str:
    """Return an id, whatever it holds, in quotes on one line; a longer one cut, with its length."""
    # What is composed in another way looks like another id, but is not: it is written out.
    quoted = repr if text.isascii() or unicodedata.is_normalized("NFC", text) else ascii
    if len(text) <= longest:
        return quoted(text)
    return f"{quoted(text[: longest - 1] + '…')} ({len(text)} characters)"


def format_time(time: datetime) -> str:
    """Return a point in time as people read it: `2026-11-24 12:00 UTC`."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


def pluralize(number: int, noun: str, plural: str = "") -> str:
    """Return a number of things: `1 tenant`, `1,000 tenants`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def summarize(names: Sequence[str], limit: int = 5) -> str:
    """Return so many names, fit to be shown, and how many more: `a and b`, `a, b and 3 more`."""
    if len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit:,} more"
    *first, last = names or [""]
    return f"{', '.join(first)} and {last}" if first else last


def group_alike(items: Iterable[tuple[str, K]], limit: int = 3) -> Iterator[tuple[str, K]]:
    """Yield what is said of tenants, by whom it is about; of more than `limit` it is said once.

    They are named then as `190 tenants (a, b, c and 187 more)`.
    """
    alike: dict[K, list[str]] = {}
    for name, said in items:
        alike.setdefault(said, []).append(name)
    for said, names in alike.items():
        if len(names) <= limit:
            yield from ((name, said) for name in names)
        else:
            yield f"{pluralize(len(names), 'tenant')} ({summarize(names, limit)})", said


def join_limited(names: Iterable[str], characters: int) -> str:
    """Return names as far as they take so many characters, one at least, and how many more."""
    every, shown, length = list(names), 0, 0
    for name in every:
        length += len(name) + 2
        if shown and length > characters:
            break
        shown += 1
    more = len(every) - shown
    return ", ".join(every[:shown]) + (f" and {more:,} more" if more else "")


def format_bytes(number: int) -> str:
    """Return a number of bytes for people: `87 MB`."""
    value, unit = float(number), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
