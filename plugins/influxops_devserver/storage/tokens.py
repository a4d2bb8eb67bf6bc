"""The admin tokens of a server that asks for one."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass

from influxops_devserver.errors import ApiError, not_found
from influxops_devserver.storage.documents import DocumentStore

OPERATOR_TOKEN = "_admin"  # for development  # noqa: S105
"""The first token, which cannot be deleted."""


@dataclass(frozen=True, slots=True)
class Token:
    """An admin token, by its hash; times in milliseconds since 1970."""

    id: int
    name: str
    hash: str
    created_ms: int
    expiry_ms: int | None


class Tokens:
    """All tokens of one server."""

    def __init__(self, storage: DocumentStore) -> None:
        self._storage = storage
        self._tokens = {token.name: token for token in storage.load("token", Token)}

    def __iter__(self) -> Iterator[Token]:
        return iter(self._tokens.values())

    def create(self, name: str, expiry_seconds: int | None) -> tuple[Token, str]:
        """Create an admin token; return what is kept of it, and the token itself."""
        if name in self._tokens:
            raise ApiError(409, f"token name already exists, {name}")
        secret = "apiv3_" + base64.urlsafe_b64encode(secrets.token_bytes(64)).decode().rstrip("=")
        now_ms = time.time_ns() // 10**6
        expiry_ms = None if expiry_seconds is None else now_ms + expiry_seconds * 1_000
        id_ = max((token.id for token in self._tokens.values()), default=-1) + 1
        token = Token(id_, name, _hash(secret), now_ms, expiry_ms)
        self._storage.save([("token", name, token)])
        self._tokens[name] = token
        return token, secret

    def delete(self, name: str) -> None:
        """Delete a named token; the first one stays."""
        if name == OPERATOR_TOKEN:
            raise ApiError(405, "cannot delete operator token")
        if name not in self._tokens:
            raise not_found(name)
        self._storage.save([("token", name, None)])
        del self._tokens[name]

    def authenticate(self, header: str | None) -> None:
        """Let a request pass that carries a token which is known and has not expired."""
        scheme, _, secret = (header or "Bearer none").partition(" ")
        # The blanks after the colons are the server's.
        if scheme not in ("Bearer", "Token") or not secret or " " in secret:
            raise ApiError(
                400,
                '{"error": "Authorization header was malformed, the request was not in the form of '
                "'Authorization: <auth-scheme> <token>', supported auth-schemes are Bearer, Token "
                'and Basic"}',
            )
        digest, now_ms = _hash(secret), time.time_ns() // 10**6
        if not any(
            token.hash == digest and (token.expiry_ms is None or token.expiry_ms > now_ms)
            for token in self._tokens.values()
        ):
            raise ApiError(401, '{"error": "the request was not authenticated"}')


def _hash(secret: str) -> str:
    return hashlib.sha512(secret.encode()).hexdigest()
