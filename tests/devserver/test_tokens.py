from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from influxops_devserver.testing import running_stand_in
from tests.devserver.api import Answer, Api


@pytest.fixture(scope="module")
def admin() -> Iterator[Api]:
    """A stand-in with authorization, asked with its first token."""
    with running_stand_in(with_auth=True) as stand_in:
        api = Api(stand_in.url)
        issued = api.send("POST", "/api/v3/configure/token/admin").json()
        yield api.with_token(issued["token"])


def new_token(admin: Api, name: str, expiry_secs: int | None = None) -> Answer:
    body = {"token_name": name, "expiry_secs": expiry_secs}
    return admin.send("POST", "/api/v3/configure/token/named_admin", json=body)


def test_a_named_token_opens_everything_until_it_is_deleted(admin: Api) -> None:
    issued = new_token(admin, "deploy").json()
    assert issued["expiry"] is None
    api = admin.with_token(issued["token"])
    assert api.send("GET", "/ping").status == 200
    assert new_token(admin, "deploy").status == 409
    query = {"token_name": "deploy"}
    assert api.send("DELETE", "/api/v3/configure/token", query=query).status == 200
    assert api.send("GET", "/ping").status == 401
    answer = admin.send("DELETE", "/api/v3/configure/token", query=query)
    assert answer.status == 404
    assert answer.data == b"the requested resource was not found: deploy"


def test_an_expired_token_opens_nothing(admin: Api) -> None:
    alive = new_token(admin, "alive", 3600).json()
    expired = new_token(admin, "expired", 0).json()
    assert alive["created_at"] < alive["expiry"]
    assert admin.with_token(alive["token"]).send("GET", "/ping").status == 200
    answer = admin.with_token(expired["token"]).send("GET", "/ping")
    assert answer.status == 401
    assert answer.data == b'{"error": "the request was not authenticated"}'


def test_the_first_token_cannot_be_deleted(admin: Api) -> None:
    query = {"token_name": "_admin"}
    answer = admin.send("DELETE", "/api/v3/configure/token", query=query)
    assert (answer.status, answer.data) == (405, b"cannot delete operator token")


@pytest.mark.parametrize("header", ["Bearer", "Bearer a b", "Digest a", "bearer a", "apiv3_x"])
def test_a_malformed_header_is_told_from_a_wrong_token(admin: Api, header: str) -> None:
    answer = Api(admin.url).send("GET", "/ping", headers={"Authorization": header})
    assert answer.status == 400
    assert answer.data.startswith(b'{"error": "Authorization header was malformed')


def test_without_a_token_even_an_unknown_path_is_unauthorized(admin: Api) -> None:
    assert Api(admin.url).send("GET", "/nope").status == 401
    assert admin.send("GET", "/nope").status == 404


def test_no_token_is_on_the_disk(tmp_path: Path) -> None:
    with running_stand_in(data_dir=tmp_path, with_auth=True) as stand_in:
        api = Api(stand_in.url)
        issued = api.send("POST", "/api/v3/configure/token/admin").json()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert issued["hash"].encode() in kept
    assert issued["token"].removeprefix("apiv3_").encode() not in kept


def test_hashes_are_not_shown_without_authorization(api: Api, admin: Api) -> None:
    sql = "SELECT * FROM system.tokens"
    assert len(admin.sql("_internal", sql)[0]["hash"]) == 9
    assert api.query("_internal", "SELECT hash FROM system.tokens").status == 500


def test_without_authorization_tokens_are_ignored_and_none_is_issued(api: Api) -> None:
    assert api.with_token("anything").send("GET", "/ping").status == 200
    for path in ("admin", "named_admin", "admin/regenerate"):
        answer = api.send("POST", f"/api/v3/configure/token/{path}")
        assert (answer.status, answer.data) == (405, b"endpoint disabled, started without auth")
