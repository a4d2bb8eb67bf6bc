"""Operators and their credentials: a token, or the signed cookie that a login with one sets."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Any
from urllib.parse import parse_qs

from fastapi import Request
from itsdangerous import BadSignature, URLSafeTimedSerializer
from msgspec import Struct

from influxops.report.model import RunOrigin
from influxops_web.security.api_keys import PREFIX, Role, digest

COOKIE = "pulse_session"
CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf_token"
_BEARER = re.compile(r"Bearer +(\S+)", re.IGNORECASE | re.ASCII)
#: What looks like a token, anywhere in a text.
_TOKEN = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{8,}}")
#: A longer cookie is not one of this service.
_LONGEST_COOKIE = 512

#: Bytes of a token's hash in its cookies: ids may be given again, after a restore.
BEGINNING = 12

FIND = f"""
SELECT id, role, name, hash FROM {{operator_tokens}}
 WHERE (hash = %(hash)s
        OR (id = %(id)s AND substring(hash FOR {BEGINNING}) = %(beginning)s::bytea))
   AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""  # of our own  # noqa: S608


class Operator(Struct, frozen=True):
    """An operator, as a request has authenticated."""

    token: int  # the token's id
    role: Role
    name: str  # whose token it is; may be empty
    via: str  # `token` or `cookie`
    csrf: str = ""  # what a write with the cookie must bring along
    beginning: bytes = b""  # of its token's hash

    @property
    def who(self) -> str:
        """Whose token it is, or its number."""
        return self.name or f"token {self.token}"

    @property
    def may_write(self) -> bool:
        """Whether it may change anything."""
        return self.role is Role.ADMIN


class Credentials(Struct, frozen=True):
    """What a request brings to authenticate, not looked up yet."""

    via: str
    hash: bytes | None = None  # of the token
    token: int | None = None  # the id of the token that a cookie was got with
    beginning: bytes | None = None  # of that token's hash
    csrf: str = ""


class Sessions:
    """Signs and reads session cookies, which last some seconds."""

    def __init__(self, key: bytes, lifetime: int) -> None:
        self.lifetime = lifetime
        self._key = key
        self._signer = URLSafeTimedSerializer(
            key, salt=COOKIE, signer_kwargs={"digest_method": hashlib.sha256}
        )

    def make(self, operator: Operator) -> str:
        """Return the value of a new cookie."""
        held = [operator.token, operator.beginning.hex(), secrets.token_urlsafe(16)]
        return str(self._signer.dumps(held))

    def csrf(self, cookie: str) -> str:
        """Return what a write with this cookie must bring along: only this service knows it."""
        return hmac.new(self._key, f"csrf {cookie}".encode(), hashlib.sha256).hexdigest()

    def credentials(self, request: Request) -> Credentials | None:
        """Return the credentials of a request; None where it has none of a valid form."""
        given = request.headers.get("authorization")
        if given is not None:
            match = _BEARER.fullmatch(given)
            return Credentials("token", hash=digest(match[1])) if match else None
        cookie = request.cookies.get(COOKIE, "")
        if not cookie or len(cookie) > _LONGEST_COOKIE:
            return None
        try:
            found: Any = self._signer.loads(cookie, max_age=self.lifetime)
            number, beginning = int(found[0]), bytes.fromhex(found[1])
        except (BadSignature, ValueError, TypeError, LookupError, OverflowError):
            return None
        csrf = self.csrf(cookie)
        return Credentials("cookie", token=number, beginning=beginning, csrf=csrf)


def brings_csrf(request: Request, body: bytes, wanted: str) -> bool:
    """Return whether a write brings what only a page of this service knows."""
    given = request.headers.get(CSRF_HEADER, "")
    if not given and is_form(request):
        try:
            fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=1000)
        except ValueError:  # no form of this service has so many fields
            return False
        given = fields.get(CSRF_FIELD, [""])[0]
    return hmac.compare_digest(given.encode(), wanted.encode())


def is_form(request: Request) -> bool:
    """Return whether a request's body is a form."""
    return media_type(request) == "application/x-www-form-urlencoded"


def media_type(request: Request) -> str:
    """Return the media type of a request's body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def without_tokens(text: str) -> str:
    """Return a text with what looks like a token taken out, for the log."""
    return _TOKEN.sub(f"{PREFIX}[redacted]", text)


def origin_of(request: Request, door: str = "api") -> RunOrigin:
    """Return who asks for what a request does, for the history."""
    return RunOrigin(operator=operator_of(request).who, door=door)


def operator_of(request: Request) -> Operator:
    """Return the operator that the middleware has let in."""
    found = request.scope["state"]["operator"]
    assert isinstance(found, Operator)
    return found
