"""From a tenant's id to its database's name, and back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

#: InfluxDB 3's own limit (`MAXIMUM_DATABASE_NAME_LENGTH` of its HTTP server, 3.10).
LONGEST_NAME = 511

_FIELD = "{tenant_id}"
_VALID = re.compile(r"[A-Za-z0-9_-]*")
_ANY_FIELD = re.compile(r"\{[^}]*\}?|\}")


def broken_rule(name: str) -> str:
    """Tell which of the server's rules a database name breaks.

    The rules are those that InfluxDB 3 checks at each write (`shared/contract`, exchanges
    `create-*`). A slash is refused as well, although the server takes it: it reads what follows
    as a retention policy, so that `a/b` would be a part of the database `a`.

    Args:
        name: The database's name.

    Returns:
        The rule, to be read after "its database name …"; empty when the name is valid.
    """
    if not name:
        return "is empty"
    if "/" in name:
        return "holds a slash, which InfluxDB would take for a retention policy"
    if not name[0].isascii() or not name[0].isalnum():
        return "does not start with an ASCII letter or digit"
    if not _VALID.fullmatch(name):
        return "holds something else than ASCII letters, digits, underscores and hyphens"
    if len(name) > LONGEST_NAME:
        return f"has {len(name)} characters, more than the {LONGEST_NAME} that InfluxDB takes"
    return ""


class Template:
    """The naming template: what makes a database's name of a tenant's id.

    Args:
        text: A name that holds `{tenant_id}` once.

    Raises:
        ValueError: When it does not, or when no name made of it could be valid.
    """

    def __init__(self, text: str) -> None:
        for field in _ANY_FIELD.findall(text):
            if field != _FIELD:
                raise ValueError(f"{field} is not known in a naming template; use {_FIELD}")
        if text.count(_FIELD) != 1:
            raise ValueError(f"the naming template {text!r} needs {_FIELD} exactly once")
        rule = broken_rule(text.replace(_FIELD, "x"))
        if rule:
            raise ValueError(f"no name made of the template {text!r} is valid: it {rule}")
        self.text = text
        self._prefix, self._suffix = text.split(_FIELD)

    def name(self, tenant_id: str) -> str:
        """Give the name of a tenant's database, valid or not."""
        return f"{self._prefix}{tenant_id}{self._suffix}"

    def tenant_id(self, name: str) -> str | None:
        """Give the id that makes this name; None when no id does."""
        if not (name.startswith(self._prefix) and name.endswith(self._suffix)):
            return None
        return name[len(self._prefix) : len(name) - len(self._suffix)] or None


def nearest(word: str, known: Iterable[str]) -> str:
    """Give a hint at the known word that was probably meant.

    Args:
        word: What was written.
        known: What could have been written.

    Returns:
        `did you mean X?`, or an empty string when nothing is near.
    """
    words = list(known)
    # An id that differs only by case is nearer than its letters say.
    same = [candidate for candidate in words if candidate.casefold() == word.casefold()]
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
        separators, lone surrogates) written as Python would: `\x1b`. Done twice, it is the same.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


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
    if len(text) <= longest:
        return repr(text)
    return f"{text[: longest - 1] + '…'!r} ({len(text)} characters)"
