"""Names, durations, secrets: the small values that everything else is built of."""

from __future__ import annotations

import copy
import os
import pickle
import re
from pathlib import Path

import msgspec
import pytest

from influxops.config.secrets import Redactor
from influxops.domain.durations import parse_retention
from influxops.domain.naming import Template
from influxops.plugin import (
    ConfigError,
    Secret,
    Tenant,
    did_you_mean,
    format_duration,
    is_this_machine,
    one_line,
    parse_duration,
    quote,
)


def test_a_tenant_can_be_copied_kept_and_written_as_json() -> None:
    tenant = Tenant("acme")
    assert copy.deepcopy(tenant) == pickle.loads(pickle.dumps(tenant)) == tenant  # noqa: S301
    assert msgspec.json.decode(msgspec.json.encode(tenant), type=Tenant) == tenant


@pytest.mark.parametrize("text", ["30d", " 30 D ", "720h", "4w2d", "2592000s"])
def test_durations_add_up(text: str) -> None:
    assert parse_duration(text) == 30 * 86400


@pytest.mark.parametrize("text", ["", "30", "d", "30 parsecs", "-1d", "1.5h", "٣d", f"{10**30}d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="30d"):
        parse_duration(text)


@pytest.mark.parametrize("seconds", [3600, 86400, 90000, 5400, 3601, 2592000])
def test_a_duration_is_written_as_it_is_read(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


def test_retention_is_none_or_a_duration() -> None:
    assert parse_retention("none") is None
    assert parse_retention("1h") == 3600


def test_a_template_goes_both_ways() -> None:
    template = Template("t-{tenant_id}-x")
    assert template.name("a") == "t-a-x"
    assert template.tenant_id("t-a-x") == "a"
    assert template.tenant_id("t--x") is None
    assert template.tenant_id("other") is None


@pytest.mark.parametrize(
    "text", ["x", "{tenant_id}{tenant_id}", "{id}", "{tenant_id", "tenant_id}"]
)
def test_a_template_that_cannot_work_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="template"):
        Template(text)


def test_the_nearest_word_minds_case_least() -> None:
    assert did_you_mean("ACME", ["acne", "acme"]) == "did you mean acme?"
    assert did_you_mean("zzz", ["acme"]) == ""


def test_two_spellings_of_one_accent_are_not_shown_alike() -> None:
    assert one_line("caf\u00e9") == "caf\u00e9"
    assert one_line("cafe\u0301 \u00e9") == "cafe\\u0301 \u00e9"
    assert one_line("\u212b") == r"\u212b"
    assert one_line(one_line("cafe\u0301\n")) == one_line("cafe\u0301\n")


def test_an_id_is_shown_on_one_line_and_shortened() -> None:
    assert quote("a\nb\x1b[31m") == r"'a\nb\x1b[31m'"
    assert len(quote("x" * 600)) < 80


def test_a_secret_is_read_from_its_place_and_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_TOKEN", "s3cret-value")
    file = tmp_path / "token"
    file.write_text("s3cret-value\n")
    for secret in (Secret(env="A_TOKEN"), Secret(file=str(file))):
        assert secret.reveal() == "s3cret-value"
        assert "s3cret-value" not in f"{secret!r} {secret}"


def test_a_secret_that_is_not_there_says_where_it_should_be(tmp_path: Path) -> None:
    os.environ.pop("NO_TOKEN", None)
    with pytest.raises(ConfigError, match="NO_TOKEN"):
        Secret(env="NO_TOKEN").reveal()
    with pytest.raises(ConfigError, match="No such file"):
        Secret(file=str(tmp_path / "nope")).reveal()
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        Secret(file=str(tmp_path / "empty")).reveal()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (b" two words ", " two words "),
        (b" x \n", " x "),
        (b"x\r\n", "x"),
        (b"x\n\n", "x\n"),
        ("pässwörd\n".encode(), "pässwörd"),
    ],
)
def test_a_secret_in_a_file_loses_one_line_break_and_no_space(
    tmp_path: Path, written: bytes, meant: str
) -> None:
    (tmp_path / "secret").write_bytes(written)
    assert Secret(file=str(tmp_path / "secret")).reveal() == meant


def test_a_secret_in_a_variable_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_PASS", " two words ")
    assert Secret(env="A_PASS").reveal() == " two words "


def test_a_secret_that_comes_by_a_pipe_is_read_once() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"s3cret\n")
    os.close(writer)
    secret = Secret(file=f"/dev/fd/{reader}")
    assert [secret.reveal(), secret.reveal()] == ["s3cret", "s3cret"]
    os.close(reader)


def test_a_secret_in_a_pipe_that_nobody_writes_to_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("influxops.config.toml.PATIENCE", 0.05)
    os.mkfifo(tmp_path / "secret")
    with pytest.raises(ConfigError, match="no process writes to"):
        Secret(file=str(tmp_path / "secret")).reveal()


def test_a_redactor_hides_every_known_secret_in_foreign_text() -> None:
    redact = Redactor(["s3cret", "s3cret-longer", "x"])
    assert redact("a s3cret-longer x s3cret") == "a [redacted] x [redacted]"


@pytest.mark.parametrize(
    ("host", "local"),
    [("localhost", True), ("127.0.0.9", True), ("[::1]", True), ("/var/run/postgresql", True),
     ("LOCALHOST.", True), ("db.example", False), ("10.0.0.1", False),
     ("localhost.example", False)],
)  # fmt: skip
def test_this_machine_is_told_from_others_without_asking_anybody(host: str, local: bool) -> None:
    assert is_this_machine(host) is local


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1y", "1y is no duration; write 365d for a year: InfluxDB itself makes 8766h of 1y"),
        ("1mo", "1mo is no duration; write 30d for a month"),
        ("7.0000d", "7.0000d is no duration; write whole numbers with the units s, m, h, d or w"),
        ("infinite", "infinite is no duration; `none` keeps data for ever"),
        ("0s", "0s would keep nothing; `none` keeps data for ever"),
        ("0", "0 is no duration; `none` keeps data for ever"),
        ("apiv3_a-secret-in-a-wrong-place", "no duration; write whole numbers"),
    ],
)
def test_what_is_no_retention_period_is_answered_with_what_is_one(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        parse_retention(text)
    assert "secret" not in str(caught.value)
