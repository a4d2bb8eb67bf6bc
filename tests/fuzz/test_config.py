"""Configuration files: whatever is in one, it is taken or refused with exit code 2 and a place."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from influxops.config.load import TABLES, load_config
from influxops.config.toml import TomlFile, quoted
from influxops.errors import ExitCode, InfluxopsError
from influxops.plugin_host.discovery import installed
from influxops.plugin_host.plugin_files import all_kinds
from influxops.plugin_host.resolve import resolve
from tests.fuzz.inputs import broken, utf8

EXAMPLE = b"""
[naming]
database = "telemetry_{tenant_id}"
[database]
retention = "30d"
[tenants]
ignore = ["a", 'b']
[placement]
policy = "spread"
pins = {acme = "eu1", "b c" = "eu2"}
[run]
timeout = "15m"
[sources.registry]
kind = "postgres"
dsn = {env = "DSN"}
port = 5432
[sources.more]
kind = "file"
path = "tenants.csv"
[targets.eu1]
kind = "influxdb3"
url = "https://127.0.0.1:8181"
token = {file = "/run/token"}
capacity = 5
state = "draining"
[targets."eu 2"]
kind = "influxdb3"
url = "http://127.0.0.1:8182"
capacity = "unlimited"
read_timeout = 5.0
[ledger]
kind = "postgres"
[reporters.ops]
kind = "slack"
webhook = {env = "SLACK_WEBHOOK"}
[reporters.proxy]
kind = "routes"
path = "routes.conf"
format = "nginx"
command = ["nginx", "-s", "reload"]
[reporters.metrics]
kind = "prometheus"
path = "x.prom"
[web]
timeout = 20.0
"""


@pytest.fixture(autouse=True, scope="module")
def no_variables() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("INFLUXDB_URL", "PG_HOST", "PG_DSN", "PGHOST"):
            patch.delenv(name, raising=False)
        yield


def read(path: Path) -> None:
    """Read a configuration as a run does, without asking a server."""
    try:
        config = load_config(path)
        resolve(config, all_kinds(config, installed()))
    except InfluxopsError as error:
        assert error.exit_code == ExitCode.USAGE, error
        assert all(line.isprintable() for line in str(error).split("\n"))


@given(data=broken([EXAMPLE]))
@example(data=b'[naming]\ndatabase = "{\ttenant_id}"')
@example(data=b"[run]\nx = " + b"9" * 5_000)
def test_a_broken_configuration_is_taken_or_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "influxops.toml"
    path.write_bytes(data)
    read(path)


_SECTIONS = [
    *TABLES,
    "web",
    "ledger",
    "targets.eu1",
    "sources.s",
    "reporters.r",
    "plugins",
    "targets",
]
_KINDS = [
    "postgres",
    "influxdb3",
    "file",
    "static",
    "slack",
    "routes",
    "prometheus",
    "json",
    "journal",
]
_KEYS = sorted({key for table in tomllib.loads(EXAMPLE.decode()).values() for key in table} | {
    "url", "token", "capacity", "path", "dsn", "port", "host", "retries", "telemetry", "state",
    "cluster_uuid", "connections", "read_timeout", "tenants", "format", "table", "column", "schema",
})  # fmt: skip
values: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | utf8,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["env", "file"]) | utf8, inner, max_size=2)
    ),
    max_leaves=5,
)


def toml(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{quoted(k)} = {toml(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case float():
            return repr(value)
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


@given(
    document=st.dictionaries(
        st.sampled_from(_SECTIONS),
        st.tuples(
            st.sampled_from(_KINDS),
            st.dictionaries(st.sampled_from(_KEYS) | utf8, values, max_size=5),
        ),
        max_size=4,
    )
)
def test_values_of_any_type_are_taken_or_refused(
    tmp_path: Path, document: dict[str, tuple[str, dict[str, Any]]]
) -> None:
    lines = []
    for section, (kind, keys) in document.items():
        lines.append(f"[{section}]")
        if section not in TABLES:
            lines.append(f'kind = "{kind}"')
        lines += [f"{quoted(key)} = {toml(value)}" for key, value in keys.items()]
    path = tmp_path / "influxops.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    read(path)


@given(
    name=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20),
    lines=st.integers(0, 5),
)
def test_a_name_of_a_section_is_written_so_that_it_is_read_again(
    tmp_path: Path, name: str, lines: int
) -> None:
    if not name.isprintable():  # shown, not written
        return
    path = tmp_path / "influxops.toml"
    path.write_text("\n" * lines + f"[targets.{quoted(name)}]\nurl = 1\n", encoding="utf-8")
    file = TomlFile(path)
    assert file.data == {"targets": {name: {"url": 1}}}
    assert file.where("targets", name, "url").startswith(str(path))
