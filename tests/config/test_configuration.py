"""What is wrong with the configuration is said with file, line and the nearest key; exit code 2."""

from __future__ import annotations

import os
import socket
import subprocess

import pytest

from tests.conftest import GiveStandIn
from tests.integration.command import PROGRAM, Cli, Result
from tests.integration.servers import Influx
from tests.pg import TestDatabase

#: Names that no name server knows (RFC 2606): connecting to them fails, and slowly.
REMOTE_PG = "registry.invalid"
REMOTE_INFLUX = "http://influxdb.invalid:8181"


def _refused(done: Result) -> str:
    """The error of a run that was refused before it did anything."""
    assert done.code == 2, done.all
    assert done.out == ""
    return done.err


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ('[database]\nretension = "30d"\n', "influxops.toml:2:", "retention"),
        ('\n[databse]\nretention = "30d"\n', "influxops.toml:2:", "database"),
        ('[database]\nretention = "30 parsecs"\n', "influxops.toml:2:", "retention"),
        ('[database]\nretention = "30m"\n', "influxops.toml:2:", "shorter than the 1h"),
        ('[naming]\ndatabase = "telemetry"\n', "influxops.toml:2:", "tenant_id"),
        ('[targets.eu1]\nkind = "influxdb4"\n', "influxops.toml:2:", "influxdb3"),
        ('[targets.eu1]\nurl = "http://localhost:8181"\n', "influxops.toml:1:", "kind"),
        (
            '[targets.eu1]\nkind = "influxdb3"\nurl = "http://localhost:8181"\ncapcity = 5\n',
            "influxops.toml:4:",
            "capacity",
        ),
        (
            '[targets.eu1]\nkind = "influxdb3"\nurl = "http://localhost"\ntoken = "s3cret-t0ken"\n',
            "influxops.toml:4:",
            "env",
        ),
        (
            '[targets.eu1]\nkind = "influxdb3"\nurl = "http://localhost"\ncapacity = true\n',
            "influxops.toml:4:",
            "expected a whole number",
        ),
        ('[naming]\ndatabase = "a b {tenant_id}"\n', "influxops.toml:2:", "a database's name"),
        (
            '[run]\ntimeout = "1m"\ntimeout = "2m"\n',
            "influxops.toml:3:",
            "cannot overwrite a value",
        ),
        ('[placement]\npolicy = "fil"\n', "influxops.toml:2:", "fill"),
        ('[placement]\npins = {acme = "defalt"}\n', "influxops.toml:2:", "default"),
        ('[sources.x]\nkind = "influxdb3"\n', "influxops.toml:2:", "source"),
        ("[targets.eu1\n", "influxops.toml:1", "TOML"),
        ("retention = 30d\n", "influxops.toml:1", "TOML"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_line(
    cli: Cli, text: str, where: str, said: str
) -> None:
    cli.config(text)
    error = _refused(cli("ensure"))
    assert where in error
    assert said in error
    assert "s3cret" not in error


def test_all_mistakes_of_a_section_are_told_at_once(cli: Cli) -> None:
    cli.config('[naming]\ndatabase = "x"\n\n[run]\ntimout = "5m"\n')
    error = _refused(cli("plan"))
    assert "influxops.toml:2:" in error
    assert "influxops.toml:5:" in error


def test_a_file_that_is_named_must_be_there(cli: Cli) -> None:
    assert "nowhere.toml" in _refused(cli("plan", "--config", "nowhere.toml"))
    assert "nowhere.toml" in _refused(cli("plan", env={"INFLUXOPS_CONFIG": "nowhere.toml"}))


def test_a_registry_elsewhere_never_meets_the_default_server(cli: Cli) -> None:
    error = _refused(cli("ensure", env={"PG_HOST": REMOTE_PG, "PG_PASS": "another"}))
    assert REMOTE_PG in error
    assert "INFLUXDB_URL" in error


def test_a_server_elsewhere_never_meets_the_default_registry(cli: Cli) -> None:
    nowhere = dict.fromkeys(("PG_HOST", "PG_PORT", "PG_USER", "PG_PASS", "PG_DB"), "")
    error = _refused(cli("ensure", env={**nowhere, "INFLUXDB_URL": REMOTE_INFLUX}))
    assert "influxdb.invalid" in error
    assert "PG_HOST" in error


def test_the_default_password_never_goes_to_another_machine(cli: Cli) -> None:
    error = _refused(
        cli("ensure", env={"PG_HOST": REMOTE_PG, "PG_PASS": "", "INFLUXDB_URL": REMOTE_INFLUX})
    )
    assert "PG_PASS" in error
    assert "password" in error


def test_both_elsewhere_is_what_production_looks_like(cli: Cli) -> None:
    env = {"PG_HOST": REMOTE_PG, "PG_PASS": "another", "INFLUXDB_URL": REMOTE_INFLUX}
    done = cli("config", env=env)
    assert done.code == 0
    assert REMOTE_PG in done.out


def test_this_machine_by_its_own_name_is_this_machine(cli: Cli) -> None:
    assert cli("config", env={"PG_HOST": socket.gethostname()}).code == 0


def test_a_secret_that_is_not_there_is_said_before_anything_is_done(cli: Cli) -> None:
    cli.config(
        '[targets.eu1]\nkind = "influxdb3"\nurl = "http://localhost:1"\n'
        'token = {env = "EU1_TOKEN"}\n'
    )
    error = _refused(cli("ensure"))
    assert "EU1_TOKEN" in error
    assert "target:eu1" in error


def test_a_secret_in_a_file_is_read(cli: Cli, db: TestDatabase, influx: Influx) -> None:
    db.registry("acme")
    (cli.folder / "token").write_text("apiv3_from-a-file\n", encoding="utf-8")
    # A server that asks for no token takes any; so only what is read is looked at.
    cli.config(
        f'[targets.eu1]\nkind = "influxdb3"\nurl = "{influx.url}"\n'
        f'token = {{file = "{cli.folder / "token"}"}}\n'
    )
    shown = cli("config")
    assert shown.code == 0
    assert "from-a-file" not in shown.all
    (cli.folder / "token").unlink()
    assert "token" in _refused(cli("ensure"))


@pytest.mark.stand_in
def test_a_target_without_its_token_is_away_and_the_others_are_served(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    eu1, eu2 = stand_in(), stand_in()
    cli.config(
        f'[targets.eu1]\nkind = "influxdb3"\nurl = "{eu1.url}"\ntoken = {{file = "nowhere"}}\n'
        f'[targets.eu2]\nkind = "influxdb3"\nurl = "{eu2.url}"\n'
        '[placement]\npins = {acme = "eu2"}\n'
    )
    done = cli("ensure")
    assert done.code == 1, done.all
    assert "nowhere" in done.all
    assert "telemetry_acme" in eu2.databases()
    (cli.folder / "nowhere").write_text("\n")
    assert "is empty" in cli("plan").all


def test_a_folder_that_is_gone_is_no_fault(cli: Cli) -> None:
    (cli.folder / "gone").mkdir()
    script = f'cd gone && rmdir "$PWD" && exec "{PROGRAM}" config'
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=cli.folder,
        env=cli.environment(None),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "fault" not in done.stderr


def test_a_configuration_in_a_pipe_that_nobody_writes_to_is_not_waited_for(cli: Cli) -> None:
    os.mkfifo(cli.folder / "pipe.toml")
    error = _refused(cli("plan", "--config", "pipe.toml", timeout=30))
    assert "pipe.toml" in error
    assert "no process writes" in error


def test_the_environment_wins_over_the_file_where_it_can_mean_only_one_section(
    cli: Cli, influx: Influx
) -> None:
    cli.config('[targets.eu1]\nkind = "influxdb3"\nurl = "http://localhost:1"\n')
    rows = {
        row["key"]: row for row in cli("config", "--format", "json", env=influx.environment).json
    }
    assert rows["targets.eu1.url"] == {
        "key": "targets.eu1.url",
        "value": influx.url,
        "from": "INFLUXDB_URL",
    }
    cli.config(
        '[targets.eu1]\nkind = "influxdb3"\nurl = "http://localhost:1"\n'
        '[targets.eu2]\nkind = "influxdb3"\nurl = "http://localhost:2"\n'
    )
    rows = {
        row["key"]: row for row in cli("config", "--format", "json", env=influx.environment).json
    }
    assert rows["targets.eu1.url"]["value"] == "http://localhost:1"
    assert rows["targets.eu1.url"]["from"] == "influxops.toml:3"


@pytest.mark.parametrize(
    "arguments",
    [
        ("ensure", "--tenent", "acme"),
        ("ensrue",),
        ("ensure", "--allow", "shorter-retenton"),
        ("ensure", "--target", "defalt"),
        ("ensure", "--timeout", "soon"),
        ("plan", "--format", "yaml"),
        ("plugins", "show", "postgress"),
    ],
)
def test_a_mistyped_command_line_is_usage(
    ops: Cli, db: TestDatabase, arguments: tuple[str, ...]
) -> None:
    db.registry("acme")
    done = ops(*arguments)
    assert done.code == 2
    assert done.err.strip()


# Which server a variable, or another section, leads to -------------------------------------------


def test_a_second_source_of_a_kind_does_not_read_another_registry_in_silence(
    cli: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("acme")
    text = '[sources.registry]\nkind = "postgres"\n[sources.tenants]\nkind = "postgres"\n'
    cli.config(text)
    env = {**db.environment, **influx.environment}
    done = cli("plan", env=env)
    assert done.code == 2
    assert "PG_HOST is set and does not count" in done.all
    assert "localhost" in done.all
    assert 'like = "NAME"' in done.all


def test_a_source_like_another_takes_its_connection_and_reads_a_table_of_its_own(
    cli: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("acme")
    db.execute("CREATE TABLE tenants (tenant_id text)", "INSERT INTO tenants VALUES ('beta')")
    text = '[sources.tenants]\nkind = "postgres"\nlike = "registry"\ntable = "tenants"\n'
    cli.config(f'{text}[sources.registry]\nkind = "postgres"\nwhere = "tenant_id <> \'x\'"\n')
    env = {**db.environment, **influx.environment}
    assert cli("ensure", env=env).code == 0
    assert influx.databases() == ["telemetry_acme", "telemetry_beta"]
    cli.config(text.replace("registry", "registri") + '[sources.registry]\nkind = "postgres"\n')
    done = cli("plan", env=env)
    assert done.code == 2
    assert "did you mean registry?" in done.all


def test_a_table_that_is_missing_is_not_looked_for_in_the_ledger(
    cli: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("acme")
    text = '[sources.registry]\nkind = "postgres"\n[ledger]\nkind = "postgres"\n'
    text += '[sources.tenants]\nkind = "postgres"\nlike = "registry"\ntable = "tenants"\n'
    cli.config(text)
    env = {**db.environment, **influx.environment}
    assert cli("ledger", "install", env=env).code == 0
    said = cli("plan", env=env).all
    assert "has no table tenants" in said
    assert "there is device_registry" in said
    assert "influxops.tenants" not in said


@pytest.mark.parametrize("token", ['{file = "token"}', '{env = "EU1_TOKEN"}'])
def test_a_variable_sends_no_token_of_a_section_to_another_server(
    cli: Cli, db: TestDatabase, influx: Influx, token: str
) -> None:
    db.registry("acme")
    (cli.folder / "token").write_text("apiv3_of_the_file")
    cli.config(
        f'[targets.eu1]\nkind = "influxdb3"\nurl = "http://other.example"\ntoken = {token}\n'
    )
    env = {**db.environment, "INFLUXDB_URL": influx.url, "EU1_TOKEN": "apiv3_of_eu1"}
    refused = cli("plan", env=env)
    assert refused.code == 2
    assert "INFLUXDB_URL is set, which would send" in refused.all
    assert "unset INFLUXDB_URL, or set INFLUXDB_TOKEN too" in " ".join(refused.all.split())
    assert "apiv3" not in refused.all
    assert cli("plan", env={**env, "INFLUXDB_TOKEN": "apiv3_given"}).code == 0


def test_a_section_that_takes_its_token_from_the_same_variables_may_be_led_elsewhere(
    cli: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("acme")
    text = '[targets.eu1]\nkind = "influxdb3"\nurl = "http://other.example"\n'
    cli.config(f'{text}token = {{env = "INFLUXDB_TOKEN"}}\n')
    env = {**db.environment, "INFLUXDB_URL": influx.url, "INFLUXDB_TOKEN": "apiv3_given"}
    assert cli("plan", env=env).code == 0


def test_a_variable_sends_no_password_of_a_section_to_another_server(
    cli: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("acme")
    (cli.folder / "password").write_text("of the file")
    text = '[sources.registry]\nkind = "postgres"\nhost = "db.example"\n'
    cli.config(text + 'password = {file = "password"}\n')
    env = {**db.environment, **influx.environment, "PG_PASS": ""}
    refused = cli("plan", env=env)
    assert refused.code == 2
    assert "PG_HOST is set, which would send" in refused.all
