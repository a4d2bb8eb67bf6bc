"""Headers and bodies that anybody may send the service: credentials, or none; never a fault."""

from __future__ import annotations

import pytest
from fastapi import Request
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from influxops_web.api import schemas
from influxops_web.security.api_keys import Role
from influxops_web.security.sessions import (
    BEGINNING,
    COOKIE,
    Operator,
    Sessions,
    brings_csrf,
    media_type,
    without_tokens,
)
from tests.fuzz.inputs import broken, documents, texts

SESSIONS = Sessions(b"k" * 32, 60)
OPERATOR = Operator(7, Role.ADMIN, "ops", "token", beginning=b"b" * BEGINNING)
SIGNED = SESSIONS.make(OPERATOR).encode()
FORM = b"application/x-www-form-urlencoded"


def request(**headers: bytes) -> Request:
    named = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
    return Request({"type": "http", "headers": named, "method": "GET", "path": "/"})


@given(broken([b"Bearer iop_abcdefgh12345678", b"bearer  x", b"Basic dTpw"]) | st.binary())
def test_an_authorization_of_any_kind_is_a_token_or_none(header: bytes) -> None:
    found = SESSIONS.credentials(request(authorization=header))
    assert found is None or (found.via, found.token) == ("token", None)


@given(broken([COOKIE.encode() + b"=" + SIGNED, b"a=b; " + COOKIE.encode() + b"=" + SIGNED]))
def test_a_cookie_that_was_changed_is_none_of_a_session(header: bytes) -> None:
    found = SESSIONS.credentials(request(cookie=header))
    assert found is None or (found.token, found.beginning) == (7, OPERATOR.beginning)
    # What is left of the signature has to be all of it.
    assert found is None or SIGNED in header


@given(documents)
def test_a_cookie_that_is_signed_and_holds_anything_else_is_none(held: object) -> None:
    try:
        cookie = SESSIONS._signer.dumps(held)
    except (ValueError, TypeError):
        return
    header = f"{COOKIE}={cookie}".encode("latin-1", "replace")
    found = SESSIONS.credentials(request(cookie=header))
    assert found is None or isinstance(found.token, int)


@given(broken([b"csrf_token=abc&x=y", b"a=1&" * 2_000, b"csrf_token=%ff&csrf_token="]), st.binary())
@example(b"csrf_token=", b"")
def test_a_form_without_the_token_of_its_page_brings_none(body: bytes, media: bytes) -> None:
    wanted = SESSIONS.csrf("cookie")
    for asked in (request(content_type=FORM), request(content_type=FORM + media)):
        assert not brings_csrf(asked, body, wanted)
        assert isinstance(media_type(asked), str)
    assert not brings_csrf(request(x_csrf_token=media), body, wanted)


@given(texts)
def test_no_token_is_left_in_what_is_logged(text: str) -> None:
    assert "iop_abcdefgh" not in without_tokens(f"{text}iop_abcdefgh1{text}")


@pytest.mark.parametrize("name", ["NewTenant", "TenantChange", "NewDevice"])
@given(document=documents | st.dictionaries(st.sampled_from(["tenant_id", "name"]), documents))
def test_a_body_of_any_shape_is_taken_or_refused(name: str, document: object) -> None:
    model = getattr(schemas, name)
    try:
        model.model_validate(document)
    except ValidationError as error:
        assert error.errors()
