"""Which names a database may have."""

from __future__ import annotations

import re

from influxops_demo.standin import errors

MAX_NAME_BYTES = 511
"""Two names of 255 bytes (database and retention policy) and the slash between them."""

_START = re.compile(r"[A-Za-z0-9]")
_REST = re.compile(r"[A-Za-z0-9_-]*")


def check_database_name(name: str) -> None:
    """Refuses a name as the server does.

    A name starts with an ASCII letter or digit, goes on with letters, digits, ``_`` and ``-``,
    and may have one slash inside it, before what v1 called a retention policy.

    Raises:
        ApiError: the name breaks a rule.
    """
    if not name:
        raise errors.invalid_name("db name cannot be empty")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise errors.invalid_name(f"db name too long: max {MAX_NAME_BYTES}")
    if name[0].isascii() and not _START.match(name):
        raise errors.invalid_name("db name did not start with a number or letter")
    for part in name.split("/", 1):
        # From left to right, the first broken rule is the one that is reported.
        legal = _REST.match(part)
        stop = legal.end() if legal else 0
        if stop < len(part):
            if part[stop] == "/":
                raise _bad_retention_policy()
            raise errors.invalid_name(
                "invalid character in database or rp name: must be ASCII, containing only "
                "letters, numbers, underscores, or hyphens"
            )
    if name.endswith("/"):
        raise _bad_retention_policy()


def _bad_retention_policy() -> errors.ApiError:
    return errors.invalid_name(
        "db name with invalid retention policy, if providing a retention policy name, must be "
        "of form '<db_name>/<rp_name>'"
    )
