"""Making text fit to be shown: names of any origin on one line, near misses, numbers of things."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime

#: How many words are compared letter by letter.
_MOST_COMPARED = 2_000


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint at the known word that was probably meant.

    Args:
        word: What was written.
        known: What could have been written.

    Returns:
        `did you mean X?`, or an empty string when nothing is near.
    """
    from difflib import get_close_matches

    words = list(known)
    # An id that differs only by case is nearer than its letters say.
    same = [each for each in words if each.casefold() == word.casefold()]
    if not same and len(words) > _MOST_COMPARED:
        # Comparing letters takes long: of very many, those that begin alike are enough.
        words = [each for each in words if each[:1].casefold() == word[:1].casefold()]
        words = words[:_MOST_COMPARED]
    matches = same or get_close_matches(word, words, n=1, cutoff=0.6)
    return f"did you mean {short(matches[0])}?" if matches else ""


#: Characters up to which a name is shown whole, and those shown of one that is longer.
_WHOLE, _CUT = 80, 60


def one_line(text: str) -> str:
    r"""Make foreign text safe to print: one line that steers no terminal.

    Args:
        text: Text of any origin: an id, a server's words, an operating system's.

    Returns:
        The text, and all that does not print (controls, escape sequences, direction marks, line
        separators, lone surrogates) written as Python would: `\x1b`. So is what is composed in
        another way than usual and looks like another text: an accent that stands alone. Done
        twice, it is the same.
    """
    if text.isascii() or unicodedata.is_normalized("NFC", text):
        if text.isprintable():
            return text
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return "".join(c if c.isprintable() and _is_usual(c) else ascii(c)[1:-1] for c in text)


def _is_usual(character: str) -> bool:
    """Return whether a character is no accent to another one, and no other spelling of one."""
    return not unicodedata.combining(character) and unicodedata.is_normalized("NFC", character)


def short(text: str) -> str:
    """Make a name safe to print on one line, and cut one that would fill the screen.

    Args:
        text: An id, or a database's name.

    Returns:
        The name up to 80 characters, else its beginning and its length.
    """
    if len(text) <= _WHOLE:
        return one_line(text)
    return f"{one_line(text[:_CUT])}… ({len(text)} characters)"


def printable(text: str, longest: int = _CUT) -> str:
    """Quote an id for a message: on one line, of bounded length, without control characters.

    Args:
        text: The id, whatever it holds.
        longest: How many characters are shown; a longer id is cut, and its length told.
    """
    # What is composed in another way looks like another id, but is not: it is written out.
    quoted = repr if text.isascii() or unicodedata.is_normalized("NFC", text) else ascii
    if len(text) <= longest:
        return quoted(text)
    return f"{quoted(text[: longest - 1] + '…')} ({len(text)} characters)"


def moment(time: datetime) -> str:
    """Return a point in time as people read it: `2026-11-24 12:00 UTC`."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


def count(number: int, noun: str, plural: str = "") -> str:
    """Return a number of things: `1 tenant`, `1,000 tenants`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def some_of(names: Sequence[str], most: int = 5) -> str:
    """Return the first of some names, and how many more there are: `a, b and 3 more`.

    Args:
        names: The names, fit to be shown.
        most: How many are named; where all are, the last follows an "and".
    """
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most:,} more"
    *first, last = names or [""]
    return f"{', '.join(first)} and {last}" if first else last


def size(number: int) -> str:
    """Return a number of bytes for people: `87 MB`."""
    value, unit = float(number), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
