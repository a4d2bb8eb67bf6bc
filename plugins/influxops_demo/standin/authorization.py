"""Who may ask: tokens in the ``Authorization`` header."""

from __future__ import annotations

import base64
import binascii
import time

from influxops_demo.standin import errors
from influxops_demo.standin.catalog import Catalog
from influxops_demo.standin.operations import hash_token


def authenticate(catalog: Catalog, header: str | None) -> None:
    """Lets a request pass that carries a token which is known and has not expired.

    Args:
        catalog: where tokens are.
        header: the value of ``Authorization``; its scheme is Bearer, Token, or Basic with the
            token as the password.

    Raises:
        ApiError: 400 for a header that is malformed, 401 for everything else.
    """
    if header is None:
        raise errors.unauthenticated()
    scheme, _, token = header.partition(" ")
    if scheme not in ("Bearer", "Token", "Basic") or " " in token or " " not in header:
        raise errors.malformed_authorization()
    if scheme == "Basic":
        token = _password(token)
    if catalog.token_by_hash(hash_token(token), time.time_ns() // 10**6) is None:
        raise errors.unauthenticated()


def _password(credentials: str) -> str:
    try:
        decoded = base64.b64decode(credentials, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise errors.malformed_authorization() from None
    if decoded.count(":") != 1:
        raise errors.malformed_authorization()
    return decoded.partition(":")[2]
