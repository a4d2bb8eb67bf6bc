"""Names, durations, secrets: the small values that everything else stands on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from influxops.secrets import Redactor
from influxops.settings import is_this_machine

from influxops import ConfigError, Secret, format_duration, parse_duration, parse_retention
from influxops.naming import Template, nearest, printable


@pytest.mark.parametrize("text", ["30d", " 30 D ", "720h", "4w2d", "2592000s"])
def test_durations_add_up(text: str) -> None:
    assert parse_duration(text) == 30 * 86400


@pytest.mark.parametrize("text", ["", "30", "d", "30 parsecs", "-1d", "1.5h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="30d"):
        parse_duration(text)


@pytest.mark.parametrize("seconds", [3600, 86400, 90000, 5400, 3601, 2592000])
def test_a_duration_is_written_as_it_is_read(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


def test_retention_is_none_or_an_hour_at_least() -> None:
    assert parse_retention("none") is None
    assert parse_retention("1h") == 3600
    with pytest.raises(ValueError, match="shorter than an hour"):
        parse_retention("59m")


def test_a_template_goes_both_ways() -> None:
    template = Template("t-{tenant_id}-x")
    assert template.name("a") == "t-a-x"
    assert template.tenant_id("t-a-x") == "a"
    assert template.tenant_id("t--x") is None
    assert template.tenant_id("other") is None


@pytest.mark.parametrize(
    "text", ["x", "{tenant_id}{tenant_id}", "{id}", "_{tenant_id}", "a {tenant_id}"]
)
def test_a_template_that_cannot_work_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="template"):
        Template(text)


def test_the_nearest_word_minds_case_least() -> None:
    assert nearest("ACME", ["acne", "acme"]) == "did you mean acme?"
    assert nearest("zzz", ["acme"]) == ""


def test_an_id_is_shown_on_one_line_and_shortened() -> None:
    assert printable("a\nb\x1b[31m") == r"'a\nb\x1b[31m'"
    assert len(printable("x" * 600)) < 80


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
