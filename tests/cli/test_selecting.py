"""Which tenants are looked at, waited for and asked about on the command line."""

from __future__ import annotations

import json
import socket
from typing import Any, LiteralString

import psycopg
import pytest

from tests.conftest import GiveStandIn, targets_toml
from tests.integration.command import Cli, ended
from tests.integration.servers import Influx
from tests.pg import TestDatabase
from tests.provisioner.conftest import until

LEDGER = '[placement]\npolicy = "spread"\n[ledger]\nkind = "postgres"\n'


@pytest.fixture
def servers(stand_in: GiveStandIn) -> dict[str, Influx]:
    return {"eu1": stand_in(), "eu2": stand_in()}


@pytest.fixture
def kept(cli: Cli, db: TestDatabase, servers: dict[str, Influx]) -> Cli:
    """Five tenants on two servers in turn; a sixth one has no valid name."""
    db.registry("acme", "t0", "t1", "t2", "a b")
    cli.config(targets_toml(dict(servers), LEDGER))
    assert cli("ledger", "install").code == 0
    assert cli("ensure").code == 1
    return cli


#: Connections of others to the test's database.
OTHERS: LiteralString = (
    "pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def rows_of(db: TestDatabase, query: LiteralString) -> list[tuple[Any, ...]]:
    with psycopg.connect(db.superuser_conninfo) as connection:
        return connection.execute(query).fetchall()


def rows(cli: Cli, *arguments: str) -> list[str]:
    return [
        each["tenant"] for each in cli("status", "--format", "json", *arguments).json["tenants"]
    ]


def test_status_takes_patterns_states_and_targets(
    kept: Cli, db: TestDatabase, servers: dict[str, Influx]
) -> None:
    assert rows(kept, "t?") == ["t0", "t1", "t2"]
    assert rows(kept, "t[12]", "acme") == ["acme", "t1", "t2"]
    assert rows(kept, "--target", "eu2") == ["t0", "t2"]
    assert rows(kept, "t*", "--target", "eu1") == ["t1"]
    assert rows(kept, "--state", "missing") == ["a b"]
    assert rows(kept, "--state", "lost") == []
    assert "no tenant matches" in kept("status", "--state", "lost").err
    # One that is gone is lost by the ledger, and is counted with its target all the same.
    servers["eu2"].drop("telemetry_t0")
    assert rows(kept, "--state", "missing", "--target", "eu2") == ["t0"]
    assert kept("ensure").code != 0
    assert rows(kept, "--state", "lost") == ["t0"]
    assert {
        len(each["tenant"]) for each in kept("status", "a*", "--format", "json").json["tenants"]
    }


def test_what_is_advised_for_a_selection_can_be_typed(
    cli: Cli, db: TestDatabase, servers: dict[str, Influx]
) -> None:
    db.registry("t1", "t2", "acme")
    cli.config(targets_toml({"eu1": servers["eu1"]}))
    for arguments in (["t*"], ["--state", "missing", "--target", "eu1"]):
        done = cli("where", *arguments)
        assert "`influxops ensure t1` would make it on eu1" in done.err
        assert "`influxops ensure t2` would make it on eu1" in done.err
    cli.config(targets_toml({"eu1": servers["eu1"], "eu2": "http://127.0.0.1:1"}))
    for arguments in (["t*"], ["--state", "unknown"]):
        done = cli("status", *arguments, env={"INFLUXOPS_TARGETS_EU2_RETRIES": "0"})
        assert "`influxops ensure --allow unreachable`" in done.err


def test_what_means_no_tenant_or_target_is_a_mistake(kept: Cli) -> None:
    for arguments, said in (
        (["x*"], "no tenant matches 'x*'"),
        (["t*", "acm"], "did you mean acme?"),
        (["--target", "eu3"], "no target is called 'eu3'"),
    ):
        for command in ("status", "where"):
            done = kept(command, *arguments)
            assert done.code == 2, done.all
            assert said in done.err, done.all
    assert kept("where").code == 2


def test_an_id_with_the_signs_of_a_pattern_is_found_as_it_is(
    cli: Cli, db: TestDatabase, servers: dict[str, Influx]
) -> None:
    db.registry("t[x]", "tx", "-t")
    cli.config(targets_toml({"eu1": servers["eu1"]}))
    cli("ensure")
    assert rows(cli, "t[x]") == ["t[x]", "tx"]
    assert rows(cli, "t[[]x]") == ["t[x]"]
    assert rows(cli, "--", "-*") == ["-t"]


def test_where_has_a_line_a_tenant_from_servers_and_from_the_ledger(
    kept: Cli, servers: dict[str, Influx]
) -> None:
    for recorded in ([], ["--recorded"]):
        done = kept("where", "t?", "acme", *recorded)
        assert done.code == 0
        assert [line.split()[:2] for line in done.lines] == [
            ["acme", "eu1"],
            ["t0", "eu2"],
            ["t1", "eu1"],
            ["t2", "eu2"],
        ]
        told = kept("where", "--target", "eu2", *recorded, "--format", "json")
        assert [json.loads(line)["tenant"] for line in told.lines] == ["t0", "t2"]
        assert kept("where", "acme", *recorded).out.startswith("eu1  ")
    some = kept("where", "t0", "a b")
    assert (some.code, len(some.lines)) == (1, 1)
    assert "ERR 'a b': " in some.err
    assert kept("where", "t0", "nobody", "--recorded").code == 1


def test_history_takes_patterns_states_and_targets(kept: Cli, db: TestDatabase) -> None:
    def tenants(*arguments: str) -> list[Any]:
        done = kept("history", "--format", "json", *arguments)
        return [each["tenant"] for each in done.json["history"]]

    assert tenants("t?") == ["t0", "t1", "t2"]
    assert tenants("t?", "--limit", "1") == ["t2"]
    assert tenants("--target", "eu1") == ["acme", "t1"]
    assert tenants("--state", "ready", "t*", "--target", "eu2") == ["t0", "t2"]
    assert tenants("--state", "lost") == []
    assert "  t0  created telemetry_t0" in kept("history", "t0*").out
    db.execute(
        "INSERT INTO influxops.history (namespace, at, run, who, door, event, tenant, target, "
        "database, before, after, outcome, message) VALUES ('default', now(), '', '', '', 'moved', "
        "'t1', 'eu2', 'telemetry_t1', 'eu1', 'eu2', 'done', '')"
    )
    # A move is about both of its targets.
    for target in ("eu1", "eu2"):
        told = kept("history", "t1", "--target", target, "--format", "json").json["history"]
        assert told[-1]["event"] == "moved"


def test_a_plan_of_changes_only_leaves_out_who_is_right(kept: Cli, db: TestDatabase) -> None:
    db.execute("INSERT INTO device_registry (tenant_id) VALUES ('new')")
    done = kept("plan", "--changes-only")
    assert [line for line in done.lines if line.startswith("OK")] == []
    assert any(line.startswith("PLAN create telemetry_new") for line in done.lines)
    assert any(line.startswith("ERR tenant 'a b'") for line in done.lines)
    assert any(line.startswith("6 tenants: 4 ok, 1 to create") for line in done.lines)
    assert "Next: influxops ensure makes these changes" in done.lines
    document = kept("plan", "--changes-only", "--format", "json").json
    assert {each["tenant"] for each in document["tenants"]} == {"new", "a b"}
    assert document["summary"]["tenants"]["ok"] == 4
    shown = kept.at_terminal("plan", "--changes-only", columns=80).out
    assert "telemetry_new" in shown
    assert "telemetry_t0" not in shown
    assert kept("ensure").code == 1
    assert "PLAN" not in kept("plan", "--changes-only").out


# Waiting


def test_wait_returns_as_soon_as_another_run_has_made_the_databases(
    kept: Cli, db: TestDatabase
) -> None:
    with kept.running("wait", "t0", "late", "--timeout", "50s", "--format", "json") as waiting:
        assert waiting.stderr is not None
        assert waiting.stderr.readline() == "waiting for 'late' (not recorded yet)\n"
        db.execute("INSERT INTO device_registry (tenant_id) VALUES ('late')")
        assert kept("ensure", "late").code == 0
        done = ended(waiting)
    assert done.code == 0, done.all
    assert [(each["tenant"], each["ready"]) for each in done.json["tenants"]] == [
        ("t0", True),
        ("late", True),
    ]
    again = kept("wait", "t0")
    assert (again.code, again.err) == (0, "")
    assert again.out.endswith("  telemetry_t0\n")


def test_wait_ends_at_its_time_and_says_who_still_waits(kept: Cli) -> None:
    done = kept("wait", "t0", "nobody", "--timeout", "1s")
    assert done.code == 1
    assert "t0  eu2  " in done.out
    assert "ERR 'nobody': not recorded yet" in done.err
    assert kept("wait").code == kept("wait", "").code == 2
    # Nothing was seen in the time: that says nothing of the tenants.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        away = kept("wait", "t0", "--timeout", "1s", env={"PG_PORT": f"{silent.getsockname()[1]}"})
    assert away.code == 1
    assert "not recorded" not in away.err


def test_wait_goes_on_after_the_ledger_ended_its_connection(kept: Cli, db: TestDatabase) -> None:
    with kept.running("wait", "late", "--timeout", "50s") as waiting:
        assert waiting.stderr is not None
        assert waiting.stderr.readline() == "waiting for 'late' (not recorded yet)\n"
        until(lambda: rows_of(db, f"SELECT FROM {OTHERS} AND query LIKE '%version FROM%routes%'"))
        assert rows_of(db, f"SELECT pg_terminate_backend(pid) FROM {OTHERS}")
        db.execute("INSERT INTO device_registry (tenant_id) VALUES ('late')")
        assert kept("ensure", "late").code == 0
        done = ended(waiting)
    assert (done.code, done.out.split()[-1]) == (0, "telemetry_late"), done.all


def test_wait_does_not_wait_for_what_is_lost(kept: Cli, servers: dict[str, Influx]) -> None:
    servers["eu2"].drop("telemetry_t0")
    assert kept("ensure").code != 0
    done = kept("wait", "t0")
    assert done.code == 1
    assert "ERR 't0': lost" in done.err


def test_wait_looks_at_the_servers_where_there_is_no_ledger(
    cli: Cli, db: TestDatabase, servers: dict[str, Influx]
) -> None:
    db.registry("acme")
    cli.config(targets_toml({"eu1": servers["eu1"]}))
    with cli.running("wait", "acme", "--timeout", "50s") as waiting:
        assert waiting.stderr is not None
        assert waiting.stderr.readline() == "waiting for 'acme' (its database is not there)\n"
        assert cli("ensure").code == 0
        done = ended(waiting)
    assert (done.code, done.out.split()[0]) == (0, "eu1"), done.all
    late = cli("wait", "nobody", "--timeout", "1s")
    assert late.code == 1
    assert "ERR 'nobody': not recorded yet" in late.err


# Asking


QUESTIONS = {
    ("retire", "t0"): "Retire 't0'? Their databases are dropped once the time has come.",
    ("retire", "--due"): "Drop all that is due now?",
    ("retire", "--copies"): "Drop the old copies of all tenants now?",
    ("drain", "eu1"): "Move all tenants of eu1 to other targets?",
    ("ensure", "--allow", "recreate-lost"): "Create lost databases again, empty?",
}


def test_what_is_hard_to_undo_is_asked_at_a_terminal_alone(kept: Cli) -> None:
    before = kept("history").out
    for command, question in QUESTIONS.items():
        declined = kept.at_terminal(*command, typed="\n")
        assert question in declined.out
        assert "influxops: nothing was done" in declined.out
        assert declined.code == 130
    assert kept("history").out == before
    # No terminal on standard input, or records for a program: as a script runs it.
    for command in (("retire", "t0"), ("ensure", "--allow", "recreate-lost")):
        for done in (
            kept(*command),
            kept.at_terminal(*command),
            kept.at_terminal("--log-format", "json", *command, typed="\n"),
        ):
            assert "[y/N]" not in done.all
            assert done.code != 130


def test_yes_goes_on_and_a_dry_run_does_not_ask(kept: Cli) -> None:
    assert "[y/N]" not in kept.at_terminal("retire", "t0", "--dry-run", typed="").out
    assert "[y/N]" not in kept.at_terminal("drain", "eu1", "--plan", typed="").out
    assert "t0" not in kept("status", "--state", "retiring").out
    agreed = kept.at_terminal("retire", "t0", "--allow", "still-registered", typed="y\n")
    assert "Retire 't0'?" in agreed.out
    assert agreed.code == 0, agreed.out
    told = kept.at_terminal("retire", "t1", "--allow", "still-registered", "--yes", typed="")
    assert "[y/N]" not in told.out
    assert told.code == 0, told.out


# Completing


def completed(cli: Cli, typed: str, **env: str) -> list[str]:
    words = f"influxops {typed}"
    position = str(len(words.split(" ")) - 1)
    variables = {"_INFLUXOPS_COMPLETE": "bash_complete", "COMP_WORDS": words}
    done = cli(env={**variables, "COMP_CWORD": position, **env})
    assert done.err == ""
    return [line.removeprefix("plain,") for line in done.lines if line]


def test_tenants_and_runs_of_the_ledger_are_completed(kept: Cli, db: TestDatabase) -> None:
    commands = ("status", "where", "history", "wait", "retire", "move", "ensure", "forget")
    for command in (*commands, "export", "routes", "queue retry"):
        assert completed(kept, f"{command} t") == ["t0", "t1", "t2"]
    assert completed(kept, "status t1 ac") == ["acme"]
    (run,) = {each["run"] for each in kept("history", "--format", "json").json["history"]}
    assert completed(kept, f"history --run {run[:3]}") == [run]
    # A shell would run what it is given of such an id.
    db.execute(
        "INSERT INTO influxops.tenants (namespace, tenant, state, database, version) "
        "VALUES ('default', 't$(id)', 'pending', '', 1), ('default', '-t', 'pending', '', 1)"
    )
    assert completed(kept, "status t") == ["t0", "t1", "t2"]
    assert "-t" not in completed(kept, "status ")


def test_completing_is_silent_without_a_ledger_and_with_one_that_is_away_or_hangs(
    cli: Cli, db: TestDatabase, servers: dict[str, Influx]
) -> None:
    cli.config(targets_toml({"eu1": servers["eu1"]}))
    assert completed(cli, "status t") == []
    cli.config(targets_toml({"eu1": servers["eu1"]}, LEDGER))
    assert completed(cli, "status t") == []  # it is not installed
    assert completed(cli, "status t", PG_PORT="1") == []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert completed(cli, "status t", PG_PORT=str(silent.getsockname()[1])) == []
    cli.config("this is no TOML", "broken.toml")
    assert completed(cli, "-c broken.toml status t") == []
    assert completed(cli, "-c missing.toml history --run t") == []
