"""`influxops config --check` and `--schema`: a file is looked at, and no server."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from influxops.plugin_host.discovery import installed
from influxops.plugin_host.schema import config_schema
from tests.integration.command import Cli

ROOT = Path(__file__).parents[2]
#: One mistake a line that has a number.
WRONG = """
[naming]
databse = "x_{tenant_id}"            # 3
[placement]
policy = "fullest"                   # 5
[sources.registry]
kind = "postgres"
host = "registry.invalid"
password = "hunter2-hunter2"         # 9
[targets.eu1]
kind = "influxdb3"
url = "http://influx.invalid:8181"
capacity = "many"                    # 13
[reporters.a]
kind = "json"
pth = "report.json"                  # 16
[ledger]
kind = "postgress"                   # 18
"""
RIGHT = """
[sources.registry]
kind = "postgres"
host = "registry.invalid"
password = {env = "NOT_SET_HERE"}
[targets.eu1]
kind = "influxdb3"
url = "http://influx.invalid:8181"
token = {file = "/nonexistent/token"}
"""
DOCUMENT: Any = json.loads(json.dumps(config_schema(installed())))
SCHEMA = jsonschema.Draft7Validator(DOCUMENT)


def test_all_mistakes_of_tables_and_sections_are_named_at_once(cli: Cli) -> None:
    cli.config(WRONG)
    done = cli("config", "--check")
    numbers = {number for number, line in enumerate(WRONG.splitlines(), 1) if "   # " in line}
    named = {int(line.split(":")[1]) for line in done.lines}
    assert (done.code, named, done.err) == (2, numbers, "")
    assert "hunter2" not in done.all
    told = cli("config", "--check", "--format", "json")
    assert told.code == 2
    assert len(told.json["mistakes"]) == len(numbers)
    assert told.json["file"] == str(cli.folder / "influxops.toml")


def test_a_file_that_is_right_is_so_without_its_servers_and_its_secrets(cli: Cli) -> None:
    cli.config(RIGHT)
    done = cli("config", "--check")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{cli.folder / 'influxops.toml'}: no mistake\n"
    assert cli("config", "--check", "--format", "json").json["mistakes"] == []
    assert cli("config", "--check", "--quiet").all == ""


def test_what_is_no_toml_and_what_does_not_fit_together_are_mistakes_too(cli: Cli) -> None:
    cli.config(RIGHT.replace('url = "http', "url = http"))
    done = cli("config", "--check")
    assert (done.code, "invalid TOML" in done.out) == (2, True)
    two = '[reporters.a]\nkind = "routes"\npath = "x"\n[reporters.b]\nkind = "routes"\npath = "x"\n'
    cli.config(
        RIGHT + two + '[naming]\ndatabase = "_{tenant_id}"\n[database]\nretention = "900000d"\n'
    )
    done = cli("config", "--check")
    assert done.code == 2
    for part in ("both keep", "a database's name", "retention"):
        assert part in done.out, done.out


def test_the_schema_that_is_printed_is_one(cli: Cli) -> None:
    done = cli("config", "--schema")
    assert done.json == DOCUMENT
    SCHEMA.check_schema(DOCUMENT)


def test_the_schema_takes_what_influxops_takes() -> None:
    for text in (RIGHT, (ROOT / "influxops" / "cli" / "influxops.toml").read_text()):
        assert not [*SCHEMA.iter_errors(tomllib.loads(text))]


def test_the_schema_finds_each_mistake() -> None:
    found = [*SCHEMA.iter_errors(tomllib.loads(WRONG))]
    assert {error.absolute_path[0] for error in found} == {
        *("naming", "placement", "sources", "targets", "reporters", "ledger")
    }


@pytest.mark.parametrize("name", sorted(installed()))
def test_the_schema_describes_each_setting_of_a_kind(name: str) -> None:
    kind = installed()[name]
    plugin = kind.load()
    (role,) = kind.roles(plugin)
    one = DOCUMENT["properties"][role]
    one = one if role == "ledger" else one["additionalProperties"]
    each = one.get("oneOf", [one])
    (section,) = [e for e in each if e["properties"]["kind"]["const"] == kind.kind]
    settings = {key: e for key, e in section["properties"].items() if key not in ("kind", "like")}
    assert settings.keys() == plugin.Settings.declared().keys()
    assert all(e["description"] for e in settings.values())
