"""Ids, names, durations, patterns and hints: each text of a user is taken, or refused in words."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from hypothesis import assume, example, given
from hypothesis import strategies as st

from influxops.cli.selection import Selection
from influxops.domain.durations import (
    check_duration,
    format_duration,
    parse_duration,
    parse_retention,
    parse_seconds,
)
from influxops.domain.hint import typed
from influxops.domain.naming import Template
from influxops.domain.text import did_you_mean, join_limited, one_line, quote, summarize, truncate
from influxops_devserver.write.line_protocol import parse_line
from influxops_influxdb3.http.retries import _retry_after, read_date
from influxops_influxdb3.naming_rules import marker, name_rule, tenant_rule
from influxops_influxdb3.queries import literal, quoted, read_timestamp
from tests.fuzz.inputs import broken, texts, utf8

DURATIONS = [b"30d", b"1h30m", b"90 s", b"1.5h", b"none", b"1y", b"12 h 5 m", b"0", b"3600"]
DATES = [
    b"Wed, 21 Oct 2026 07:28:00 GMT",
    b"Wed, 21 Oct 26 07:28:00 +0200",
    b"Wednesday, 21-Oct-26 07:28:00 GMT",
    b"Wed Oct 21 07:28:00 2026",
    b"120",
    b"Mon, 1 Jan 99999999999999999999 00:00:00 GMT",
]
readable = texts | st.sampled_from([b"x"]).flatmap(lambda _: broken(DURATIONS)).map(
    lambda data: data.decode(errors="replace")
)


@given(readable)
def test_a_duration_is_seconds_or_refused(text: str) -> None:
    for read in (parse_duration, parse_seconds, check_duration, parse_retention):
        try:
            read(text)
        except ValueError as error:
            assert str(error).isprintable()
            assert len(str(error)) < 200, read


@given(st.integers(1, 10**12))
def test_a_duration_is_read_as_it_was_written(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@given(texts | broken(DATES).map(lambda data: data.decode("latin-1")))
@example("Mon, 1 Jan 99999999999999999999 00:00:00 GMT")
@example("Mon, 1 Jan 2026 00:00:00 +99999999999999")
@example("\u00b2")
@example("9" * 5000)
@example("\u0663")
def test_a_header_with_a_date_is_read_or_left(header: str) -> None:
    when = read_date(header)
    assert when is None or when.tzinfo is not None
    seconds = _retry_after(header)
    assert seconds is None or seconds >= 0


@given(texts)
def test_a_text_of_any_origin_is_shown_on_one_line(text: str) -> None:
    shown = one_line(text)
    assert shown.isprintable() and one_line(shown) == shown
    for each in (truncate(text), quote(text), did_you_mean(text, [text + "x", "y"])):
        assert each.isprintable()
        each.encode()
    assert len(truncate(text * 100)) < 1000


@given(st.lists(utf8, max_size=8), st.integers(1, 100))
def test_some_of_many_names_are_shown(names: list[str], limit: int) -> None:
    assert summarize(names, limit) is not None
    assert join_limited(names, limit) is not None


@given(utf8, utf8, utf8.filter(bool))
def test_a_template_finds_the_id_of_a_name_that_it_made(head: str, tail: str, tenant: str) -> None:
    assume(not {"{", "}"} & {*head, *tail})
    template = Template(f"{head}{{tenant_id}}{tail}")
    assert template.tenant_id(template.name(tenant)) == tenant


@given(
    texts | broken([b"telemetry_{tenant_id}", b"{tenant_id}"]).map(lambda d: d.decode("latin-1"))
)
def test_a_template_is_taken_or_refused(text: str) -> None:
    try:
        template = Template(text)
    except ValueError:
        return
    assert template.tenant_id(template.name("acme")) == "acme"
    assert template.tenant_id(text[:2]) != ""


@given(texts.filter(bool))
@example("a\\")
def test_a_tenant_that_no_rule_refuses_has_a_marker_with_its_id(tenant: str) -> None:
    assert isinstance(name_rule(tenant), str)
    if not tenant_rule(tenant):
        line = parse_line(marker(tenant, datetime(2026, 11, 24, tzinfo=UTC)))
        assert dict(line.tags)["tenant"] == tenant


@given(utf8)
def test_names_and_texts_in_sql_end_where_they_end(text: str) -> None:
    assert quoted(text)[1:-1].replace('""', "").count('"') == 0
    assert literal(text)[1:-1].replace("''", "").count("'") == 0


@given(st.one_of(texts, st.integers(), st.none(), st.lists(texts), st.floats()))
def test_a_timestamp_of_any_shape_is_read_or_left(value: object) -> None:
    found = read_timestamp(value)
    assert found is None or found.tzinfo is not None


@given(
    st.lists(st.text("ab*?[]!-^\\", min_size=1, max_size=8), max_size=3),
    st.text("ab*?[]!-", min_size=1),
)
def test_patterns_select_as_a_shell_would(patterns: list[str], tenant: str) -> None:
    selection = Selection(tenants=tuple(patterns))
    wanted = not patterns or any(fnmatchcase(tenant, each) or tenant == each for each in patterns)
    assert selection.takes(tenant, (), ()) == wanted


@given(st.lists(texts, max_size=3))
@example(["-x", "a b", "it's"])
def test_a_command_in_a_hint_is_typed_as_it_is_meant(ids: list[str]) -> None:
    words = shlex.split(typed("retire", *ids, options="--yes"))
    assert [word for word in words if word not in ("retire", "--yes", "--")] == ids
    assert "--" not in words or words.index("--yes") < words.index("--")


def test_a_name_is_compared_with_many_in_linear_time() -> None:
    assert did_you_mean("x" * 200, ["x" * 199 + str(each) for each in range(20_000)])
