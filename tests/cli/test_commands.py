"""The other commands, and how output is asked for."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.conftest import GiveStandIn, StartProxy, targets_toml
from tests.integration.command import Cli
from tests.integration.proxy import Seen
from tests.integration.servers import Influx
from tests.pg import TestDatabase


def test_json_is_all_there_is_on_standard_output(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("acme", "a b")
    plan = ops("plan", "--format", "json")
    assert plan.code == 1
    (tenant,) = (each for each in plan.json["tenants"] if each["tenant"] == "acme")
    assert (tenant["status"], tenant["actions"]) == ("pending", ["create"])
    done = ops("ensure", "--format", "json")
    assert done.code == done.json["run"]["exit_code"] == 1
    by_id = {each["tenant"]: each for each in done.json["tenants"]}
    assert by_id["acme"]["status"] == "changed"
    assert by_id["acme"]["url"] == influx.url
    assert by_id["acme"]["database"] == "telemetry_acme"
    assert by_id["a b"]["status"] == "blocked"
    assert done.json["version"] == 2


def test_quiet_says_nothing_when_all_is_well_and_enough_when_not(
    ops: Cli, db: TestDatabase
) -> None:
    db.registry("acme")
    for _ in range(2):
        done = ops("ensure", "-q")
        assert (done.code, done.all) == (0, "")
    db.execute("INSERT INTO device_registry (tenant_id) VALUES ('a b')")
    done = ops("ensure", "-q")
    assert done.code == 1
    assert "OK" not in done.out
    assert [line for line in done.lines if line.startswith("ERR") and "a b" in line]


def test_a_quiet_plan_says_what_there_is_to_do(ops: Cli, db: TestDatabase) -> None:
    db.registry("acme")
    done = ops("plan", "-q")
    assert done.code == 0
    assert done.lines[0].startswith("1 tenant: 0 ok, 1 to create")
    assert done.lines[1] == "Next: influxops ensure makes these changes"
    assert ops("ensure", "-q").all == ""
    assert ops("plan", "-q").all == ""


def test_at_a_terminal_the_heading_has_a_line_a_target(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    cli.config(targets_toml({name: stand_in() for name in ("eu1", "eu2", "us1")}))
    shown = cli.at_terminal("plan", columns=80, env={"NO_COLOR": "1"}).out
    for name in ("eu1", "eu2", "us1"):
        line = next(line for line in shown.splitlines() if f"target    {name}: " in line)
        assert line.endswith(", 5 of ~5 slots free"), shown
    assert "cluster-uuid" not in shown
    assert "cluster-uuid" in cli.at_terminal("plan", "-v", columns=80).out


def test_a_plan_beyond_an_estimated_capacity_warns_as_the_server_may_hold_more(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry(*(f"t{number}" for number in range(7)))
    cli.config(targets_toml({"eu1": stand_in(max_databases=10)}))
    planned = cli("plan")
    assert planned.code == 0
    assert any(line.startswith("WARN ") and "2 may not fit" in line for line in planned.lines)
    assert cli("ensure").code == 0


@pytest.mark.parametrize("command", ["move", "drain"])
def test_help_says_once_how_long_a_move_may_take(cli: Cli, command: str) -> None:
    said = " ".join(cli(command, "--help").out.split())
    assert "[default: as long as it takes]" in said
    assert "15m" not in said


def test_where_tells_server_and_database(ops: Cli, db: TestDatabase, influx: Influx) -> None:
    db.registry("acme", "beta")
    assert ops("ensure", "--tenant", "acme").code == 0
    found = ops("where", "acme")
    assert (found.code, found.out) == (0, f"default  {influx.url}  telemetry_acme\n")
    missing = ops("where", "beta", "--format", "json")
    assert missing.code == 1
    assert missing.json["exists"] is False
    assert (missing.json["target"], missing.json["url"]) == (None, None)
    assert missing.json["planned_target"] == "default"
    assert influx.url not in ops("where", "beta").all
    nobody = ops("where", "bta")
    assert nobody.code == 2
    assert "beta" in nobody.err


def test_where_of_a_tenant_that_is_gone_tells_where_its_database_still_is(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("acme", "gone")
    assert ops("ensure").code == 0
    db.execute("DELETE FROM device_registry WHERE tenant_id = 'gone'")
    done = ops("where", "gone")
    assert done.code == 2
    assert "no source knows the tenant 'gone', but a database telemetry_gone is on default" in (
        done.err
    )


@pytest.mark.parametrize("command", ["ensure", "plan"])
def test_tenants_are_named_as_in_status(
    ops: Cli, db: TestDatabase, influx: Influx, command: str
) -> None:
    db.registry("a", "b", "c", "d")
    done = ops(command, "a", "b", "--tenant", "c", "--format", "json")
    assert done.code == 0
    assert [tenant["tenant"] for tenant in done.json["tenants"]] == ["a", "b", "c"]


@pytest.mark.parametrize("command", ["ensure", "plan"])
def test_what_lets_databases_be_dropped_is_refused_where_none_is(
    ops: Cli, db: TestDatabase, influx: Influx, command: str
) -> None:
    db.registry("acme")
    done = ops(command, "--allow", "drop")
    assert done.code == 2
    assert "commands drop only retired tenants" in done.err and "state: absent" in done.err
    assert influx.databases() == []


@pytest.mark.stand_in
def test_verify_finds_a_marker_that_was_lost_and_writes_it_again(
    ops: Cli, db: TestDatabase, influx: Influx, proxied: StartProxy
) -> None:
    # Names of its own: one that was deleted moments ago would be read back without being asked.
    db.registry("vera", "vito")
    assert ops("ensure").code == 0
    proxy = proxied(influx)

    def lose(seen: Seen) -> tuple[int, str, bytes] | None:
        """Answer as a server that lost the row of one database, until it is written again."""
        asks = b"FROM _init" in seen.body and b"telemetry_vera" in seen.body
        return (200, "application/json", b"[]") if asks and not proxy.writes else None

    proxy.before = lose
    through = {"INFLUXDB_URL": proxy.url}
    assert ops("ensure", env=through).code == 0  # the usual signs are all there
    assert proxy.writes == []
    planned = ops("plan", "--verify", env=through)
    assert "PLAN add marker to telemetry_vera on default" in planned.lines
    assert "OK telemetry_vito" in planned.lines
    done = ops("ensure", "--verify", env=through)
    assert done.code == 0
    assert "OK telemetry_vera: marker added" in done.lines
    assert len(proxy.writes) == 1


def test_status_counts_what_is_there(ops: Cli, db: TestDatabase, influx: Influx) -> None:
    db.registry("acme", "beta")
    assert ops("ensure").code == 0
    influx.write("telemetry_acme", "telemetry,device=1 temperature=21.5 1767225600000000000")
    rows = {row["tenant"]: row for row in ops("status", "--format", "json").json["tenants"]}
    assert rows["acme"]["telemetry_count"] == 1
    assert rows["acme"]["last_write"].startswith("2026-01-01T00:00:00")
    assert (rows["beta"]["exists"], rows["beta"]["telemetry_count"]) == (True, 0)
    assert (rows["beta"]["tables"], rows["beta"]["last_write"]) == ([], None)
    influx.write(
        "telemetry_beta", "cpu,h=1 v=1 1767312000000000000\ncpu,h=2 v=1 1767312000000000000"
    )
    influx.write("telemetry_beta", "m,h=1 v=1 1767225600000000000")
    (beta,) = ops("status", "beta", "--format", "json").json["tenants"]
    assert (beta["telemetry_count"], beta["rows"]) == (0, 3)
    assert beta["last_write"] == "2026-01-02T00:00:00Z"
    assert [(each["name"], each["rows"]) for each in beta["tables"]] == [("cpu", 2), ("m", 1)]
    assert "cpu 2 and m 1" in ops("status", "beta").out
    db.execute("INSERT INTO device_registry (tenant_id) VALUES ('gamma')")
    done = ops("status", "gamma")
    assert done.code == 1
    (gamma,) = ops("status", "gamma", "--format", "json").json["tenants"]
    assert (gamma["target"], gamma["planned_target"]) == (None, "default")
    (row,) = (line.split() for line in done.lines if line.startswith("gamma"))
    assert row[:4] == ["gamma", "telemetry_gamma", "(default)", "missing"]


def test_doctor_finds_nothing_wrong_where_nothing_is(ops: Cli, db: TestDatabase) -> None:
    db.registry("acme")
    done = ops("doctor")
    assert done.code == 0
    assert not [line for line in done.lines if line.startswith("FAIL")]


def test_doctor_says_what_to_do(ops: Cli, db: TestDatabase) -> None:
    done = ops("doctor", env={"INFLUXDB_URL": "http://127.0.0.1:1"})
    assert done.code == 1
    failures = [line for line in done.lines if line.startswith("FAIL")]
    assert any("device_registry" in line for line in failures)
    assert any("127.0.0.1:1" in line for line in failures)
    assert any(line.strip().startswith("→") for line in done.lines)


@pytest.mark.stand_in
def test_doctor_counts_what_is_to_note_and_calls_only_what_is_good_good(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    server = stand_in(with_auth=True)
    cli.config('[ledger]\nkind = "postgres"\n')
    assert cli("ledger", "install", env=server.environment).code == 0
    done = cli("doctor", env=server.environment)
    assert done.code == 0
    assert done.lines[-1].startswith(f"All {len(done.lines) - 1} checks are good;"), done.out
    for number in range(5):  # nothing more fits, which is worth a note
        server.create(f"telemetry_{number}")
    done = cli("doctor", env=server.environment)
    assert done.code == 0
    marks = [line.split()[0] for line in done.lines]
    assert marks.count("note")
    assert done.lines[-1].startswith(f"{marks.count('ok')} good, {marks.count('note')} to note;")


def test_doctor_tells_a_secret_that_is_missing(ops: Cli, db: TestDatabase) -> None:
    db.registry("acme")
    ops.config('[reporters.ops]\nkind = "slack"\nwebhook = {env = "NO_SUCH_WEBHOOK"}\n')
    done = ops("doctor")
    assert done.code == 1
    (failure,) = (line for line in done.lines if line.startswith("FAIL"))
    assert "NO_SUCH_WEBHOOK" in failure
    assert "1 of " in done.lines[-1] and "All" not in done.lines[-1]
    ops.config(
        '[targets.eu1]\nkind = "influxdb3"\ntoken = {env = "NO_SUCH_TOKEN"}\n'
        f'url = "{ops.variables["INFLUXDB_URL"]}"\n'
    )
    # A real server's own token would stand in for it.
    done = ops("doctor", env={"INFLUXDB_TOKEN": ""})
    assert done.code == 1
    (failure,) = (line for line in done.lines if line.startswith("FAIL"))
    assert failure.startswith("FAIL target:eu1: secret: ") and "NO_SUCH_TOKEN" in failure


def test_the_configuration_is_named_by_its_whole_path(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("acme")
    path = ops.config("# all defaults\n", "mine.toml")
    done = ops("plan", "-c", "mine.toml")
    assert f"config    {path} (" in done.err
    assert ops("plan", "-c", "mine.toml", "--format", "json").json["run"]["config"] == str(path)


@pytest.mark.stand_in
def test_a_server_that_refuses_the_token_is_not_called_unreachable(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    server = stand_in(with_auth=True)
    env = {"INFLUXDB_URL": server.url, "INFLUXDB_TOKEN": "apiv3_wrong-token"}
    done = cli("plan", env=env)
    (target,) = (line for line in done.err.splitlines() if line.startswith("target "))
    assert "NOT READ: " in target and "REACHABLE" not in target


def test_nothing_is_to_do_only_where_all_was_read_and_is_right(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    broken = ops("plan")  # no device_registry
    assert broken.code == 1
    assert "nothing to do" not in broken.out and "nothing was written" in broken.out
    db.registry("acme", "a b")
    assert ops("ensure").code == 1
    assert "nothing to do" not in ops("plan").out
    db.execute("DELETE FROM device_registry WHERE tenant_id = 'a b'")
    assert "nothing to do (dry run)" in ops("plan").out


def test_init_writes_a_file_that_works_and_replaces_none(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("acme")
    assert ops("init").code == 0
    file = ops.folder / "influxops.toml"
    assert ops("ensure").code == 0
    assert influx.databases() == ["telemetry_acme"]
    file.write_text("# mine\n", encoding="utf-8")
    again = ops("init")
    assert again.code == 2
    assert "--force" in again.err
    assert file.read_text(encoding="utf-8") == "# mine\n"


def test_config_tells_each_value_and_where_it_comes_from(ops: Cli) -> None:
    ops.config('[naming]\ndatabase = "iot_{tenant_id}"\n')
    rows = {row["key"]: row for row in ops("config", "--format", "json").json}
    assert rows["naming.database"]["value"] == "iot_{tenant_id}"
    assert rows["naming.database"]["from"] == "influxops.toml:2"
    assert rows["sources.registry.host"]["from"] == "PG_HOST"
    assert "redacted" in rows["sources.registry.password"]["value"]
    ops.config('[ledger]\nkind = "postgres"\n')
    rows = {row["key"]: row for row in ops("config", "--format", "json").json}
    assert rows["ledger.kind"]["value"] == "postgres"


def test_plugins_are_listed_and_explained(cli: Cli) -> None:
    listed = cli("plugins")
    assert listed.code == 0
    kinds = {line.split()[0] for line in listed.lines[1:]}
    assert {"postgres", "influxdb3", "slack", "journal", "prometheus", "file", "static"} <= kinds
    assert "broken" not in listed.out
    shown = cli("plugins", "show", "postgres")
    assert shown.code == 0
    assert "PG_HOST" in shown.out
    assert "statement_timeout" in shown.out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_that_the_shell_can_read(cli: Cli, shell: str) -> None:
    script = cli("completion", shell)
    assert script.code == 0
    assert "_INFLUXOPS_COMPLETE" in script.out
    program = shutil.which(shell)
    if program is not None:
        checked = subprocess.run(
            [program, "-n"], input=script.out, capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    ("typed", "completions"),
    [
        ("en", ["ensure"]),
        ("plan --target eu", ["eu1", "eu2"]),
        ("ensure --allow s", ["still-registered", "shorter-retention"]),
        ("ensure --allow d", []),  # drops are not for the command line
        ("plugins show sl", ["slack"]),
    ],
)
def test_completion_completes_commands_and_values(
    cli: Cli, typed: str, completions: list[str]
) -> None:
    cli.config(targets_toml({"eu1": "http://127.0.0.1:1", "eu2": "http://127.0.0.1:1"}))
    words = f"influxops {typed}"
    position = str(len(words.split()) - 1)
    env = {"_INFLUXOPS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": position}
    assert [line for line in cli(env=env).lines if line] == [f"plain,{c}" for c in completions]


def test_a_log_in_json_is_one_object_a_line(ops: Cli, db: TestDatabase) -> None:
    db.registry("acme")
    done = ops("--log-format", "json", "ensure", "-vv", "--format", "json")
    assert done.code == 0
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert lines
    assert all({"time", "level", "message"} <= line.keys() for line in lines)


def test_options_are_taken_before_and_after_the_command(ops: Cli, db: TestDatabase) -> None:
    db.registry("acme")
    assert ops("-q", "ensure").all == ""
    assert ops("ensure", "-q").all == ""


def test_help_names_every_command(cli: Cli) -> None:
    shown = cli("--help")
    assert shown.code == 0
    for name in (
        *("ensure", "plan", "status", "where", "doctor", "init", "config", "plugins"),
        *("completion", "demo", "dev-server"),
    ):
        assert f"\n  {name} " in shown.out
