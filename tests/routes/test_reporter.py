"""`kind = "routes"`: a file that is kept up to date, and the program that runs then."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from influxops.plugin import Route, Routes, RunContext, files
from influxops_routes.files import write
from influxops_routes.reporter import RoutesReporter
from tests.conftest import GiveStandIn, StartProxy, targets_toml
from tests.integration.command import Cli
from tests.integration.proxy import Seen
from tests.integration.servers import Influx
from tests.pg import TestDatabase
from tests.queue.workers import insert, until, working
from tests.routes.test_routes import set_record

pytestmark = [pytest.mark.stand_in, pytest.mark.installed("ledger install")]

LEDGER = '[ledger]\nkind = "postgres"\ncache_ttl = "1s"\n'


@pytest.fixture
def servers(stand_in: GiveStandIn) -> dict[str, Influx]:
    return {name: stand_in(max_databases=None) for name in ("eu1", "eu2")}


class Fleet:
    """Three tenants on the first of two servers, and a reporter that writes routes."""

    def __init__(self, cli: Cli, servers: dict[str, Any]) -> None:
        self.cli, self.servers = cli, servers
        self.file = cli.folder / "routes.json"
        self.told = cli.folder / "told"

    def reporter(self, *on_change: str, **settings: object) -> None:
        """Configure the reporter."""
        values = {"kind": "routes", "path": str(self.file), **settings}
        if on_change:
            values["on_change"] = [*on_change]
        lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in values.items())
        toml = f"{LEDGER}\n[reporters.proxy]\n{lines}\n"
        self.cli.config(targets_toml(self.servers, toml))

    @property
    def routes(self) -> dict[str, str]:
        """The target of each database in the file, or why it has none."""
        found = json.loads(self.file.read_text())["routes"]
        return {each["tenant"]: each["target"] or each["reason"] for each in found}


@pytest.fixture
def fleet(cli: Cli, db: TestDatabase, servers: dict[str, Influx]) -> Fleet:
    db.registry("acme", "beta", "corp")
    made = Fleet(cli, servers)
    made.reporter()
    assert cli("ensure").code == 0
    return made


def script(folder: Path, text: str) -> str:
    """Write a program for `on_change`."""
    path = folder / "on_change"
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_it_is_written_after_each_run_that_changes_a_route(fleet: Fleet, db: TestDatabase) -> None:
    assert fleet.routes == {"acme": "eu1", "beta": "eu1", "corp": "eu1"}
    first = fleet.file.stat().st_ino
    assert fleet.cli("ensure").code == fleet.cli("plan").code == 0
    assert fleet.file.stat().st_ino == first
    insert(db, ["dora"])
    assert fleet.cli("plan").code == 0
    assert "dora" not in fleet.routes
    assert fleet.cli("ensure").code == 0
    assert fleet.routes["dora"] == "eu1"


def test_a_program_is_told_of_each_change_and_of_nothing_else(fleet: Fleet) -> None:
    program = script(fleet.cli.folder, "import sys; open('told', 'a').write(repr(sys.argv[1:]))")
    fleet.reporter(program, "$HOME; *", "b c")
    assert fleet.cli("ensure").code == 0
    assert not fleet.told.exists()
    assert fleet.cli("move", "acme", "--to", "eu2").code == 0
    assert fleet.told.read_text() == "['$HOME; *', 'b c']"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("print('no such\\nthing \\x1b[1m'); raise SystemExit(3)", "exit code 3: no such thing"),
        ("import os; os.kill(os.getpid(), 9)", "ended by signal 9"),
        ("import time; print('hm', flush=True); time.sleep(600)", "it did not end within 1 s: hm"),
    ],
)
def test_a_program_that_fails_is_a_warning_and_is_run_again(
    fleet: Fleet, text: str, why: str
) -> None:
    program = script(fleet.cli.folder, text)
    fleet.reporter(program, on_change_timeout=1.0)
    moved = fleet.cli("move", "acme", "--to", "eu2")
    assert moved.code == 0
    assert "the routes are in" in moved.err
    assert why in moved.err
    assert "\x1b" not in moved.err
    assert fleet.routes["acme"] == "eu2"
    script(fleet.cli.folder, "open('told', 'a').write('once ')")
    for _ in range(2):
        assert "WARN" not in fleet.cli("ensure").err
    assert fleet.told.read_text() == "once "


def test_a_program_that_is_not_there_is_named(fleet: Fleet) -> None:
    fleet.reporter("/nowhere/nginx", "-s", "reload")
    moved = fleet.cli("move", "acme", "--to", "eu2")
    assert moved.code == 0
    assert "on_change failed, /nowhere/nginx: No such file or directory" in moved.err
    assert "there is no program /nowhere/nginx" in fleet.cli("doctor").out


def test_a_program_that_began_before_a_change_does_not_count_as_told_of_it(
    fleet: Fleet, db: TestDatabase
) -> None:
    wait = (
        "import os, time\nopen('told', 'a').write('once ')\n"
        "while not os.path.exists('go on'): time.sleep(0.01)"
    )
    fleet.reporter(script(fleet.cli.folder, wait), on_change_timeout=60.0)
    set_record(db, "acme", target="eu2")
    with fleet.cli.running("ensure", "corp") as first:
        until(fleet.told.exists)
        script(fleet.cli.folder, "raise SystemExit('no')")
        set_record(db, "beta", target="eu2")
        assert "on_change failed" in fleet.cli("ensure", "corp").err
        assert fleet.routes["beta"] == "eu2"
        (fleet.cli.folder / "go on").touch()
        first.communicate(timeout=60)
    script(fleet.cli.folder, "open('told', 'a').write('twice ')")
    for _ in range(2):
        assert "on_change failed" not in fleet.cli("ensure", "corp").err
    assert fleet.told.read_text() == "once twice "


def test_a_program_is_told_of_a_change_whose_process_was_killed_right_after_it(
    fleet: Fleet, db: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = script(fleet.cli.folder, "open('told', 'a').write('once ')")
    fleet.reporter(program)
    replaced = Path.replace

    class Killed(BaseException):
        pass

    def killed(path: Path, to: Path) -> None:
        replaced(path, to)
        raise Killed

    settings = RoutesReporter.Settings(path=str(fleet.file), on_change=[program])
    reporter = RoutesReporter("reporter:proxy", settings)
    routes = Routes(9, (Route("telemetry_acme", "acme", "eu2", "http://eu2"),))
    allow = frozenset({"mass-change"})
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(Killed):
            reporter.influxops_write_routes(lambda: routes, allow, RunContext())
    assert not fleet.told.exists()
    monkeypatch.chdir(fleet.cli.folder)
    for _ in range(2):
        reporter.influxops_write_routes(lambda: routes, allow, RunContext())
    assert fleet.told.read_text() == "once "


def test_what_a_program_leaves_running_keeps_nobody_waiting(fleet: Fleet) -> None:
    program = script(
        fleet.cli.folder,
        "import os, time\nif os.fork() == 0:\n open('told', 'w').write(str(os.getpid()))\n"
        " time.sleep(600)",
    )
    fleet.reporter(program)
    assert "WARN" not in fleet.cli("move", "acme", "--to", "eu2").err
    os.kill(int(until(lambda: fleet.told.exists() and fleet.told.read_text())), signal.SIGKILL)


def test_a_file_that_cannot_be_written_is_a_warning_of_the_run(fleet: Fleet) -> None:
    for path, why in (("/dev/full", "No space left on device"), (".", "it is a directory")):
        fleet.file = Path(path) if path.startswith("/") else fleet.cli.folder
        fleet.reporter()
        ended = fleet.cli("ensure")
        assert ended.code == 0
        assert why in ended.err


def test_an_older_file_is_replaced_by_the_next_run(fleet: Fleet) -> None:
    older = fleet.file.read_bytes()
    assert fleet.cli("move", "acme", "--to", "eu2").code == 0
    fleet.file.write_bytes(older)
    assert fleet.cli("ensure").code == 0
    assert fleet.routes["acme"] == "eu2"


def test_another_url_of_a_target_is_written_by_the_next_run_without_another_version(
    fleet: Fleet,
) -> None:
    def urls() -> dict[str, int]:
        found = json.loads(fleet.file.read_text())
        return {each["url"]: found["route_version"] for each in found["routes"]}

    (was,) = urls().items()
    url = was[0].replace("127.0.0.1", "localhost")
    fleet.servers["eu1"] = url
    fleet.reporter()
    # Of all of its routes in a file that has it in each; nginx has it once.
    assert "--allow mass-change" in fleet.cli("ensure").err
    assert fleet.cli("ensure", "--allow", "mass-change").code == 0
    assert urls() == {url: was[1]}
    nginx = fleet.file.with_name("routes.conf")
    fleet.file = nginx
    fleet.reporter(format="nginx")
    assert fleet.cli("ensure").code == 0
    assert "server localhost:" in nginx.read_text()
    fleet.servers["eu1"] = was[0]
    fleet.reporter(format="nginx")
    assert "mass-change" not in fleet.cli("ensure").err
    assert "server 127.0.0.1:" in nginx.read_text()


def test_a_file_that_is_newer_than_a_ledger_from_a_backup_is_replaced(
    fleet: Fleet, db: TestDatabase
) -> None:
    newer = json.loads(fleet.file.read_text())["route_version"]
    assert newer > 1
    set_record(db, "acme", target="eu2")
    db.execute("UPDATE influxops.routes SET version = 1")
    assert fleet.cli("ensure", "corp").code == 0
    assert fleet.routes["acme"] == "eu2"
    assert json.loads(fleet.file.read_text())["route_version"] == 1


def test_two_that_keep_one_file_are_refused(fleet: Fleet) -> None:
    config = (fleet.cli.folder / "influxops.toml").read_text()
    path = fleet.cli.folder / "x" / ".." / "routes.json"
    fleet.cli.config(f'{config}\n[reporters.other]\nkind = "routes"\npath = "{path}"\n')
    ended = fleet.cli("ensure")
    assert ended.code == 2
    assert f"reporter:proxy and reporter:other both keep {fleet.file}" in ended.err


def test_too_much_at_once_waits_until_it_is_allowed(fleet: Fleet, db: TestDatabase) -> None:
    for tenant in ("acme", "beta"):
        set_record(db, tenant, target="eu2")
    with psycopg.connect(db.conninfo) as connection:
        connection.execute("UPDATE influxops.tenants SET claimed_by = '', claim_key = NULL")
    ended = fleet.cli("ensure", "corp")
    assert "2 of the 3 routes" in ended.err
    assert "--allow mass-change" in ended.err
    assert fleet.routes["acme"] == "eu1"
    fleet.cli("ensure", "corp", "--allow", "mass-change")
    assert fleet.routes == {"acme": "eu2", "beta": "eu2", "corp": "eu1"}


def test_a_cut_over_is_written_before_the_writers_are_waited_for(fleet: Fleet) -> None:
    fleet.reporter()
    config = (fleet.cli.folder / "influxops.toml").read_text()
    fleet.cli.config(config.replace('cache_ttl = "1s"', 'cache_ttl = "1h"'))
    with fleet.cli.running("move", "acme", "--to", "eu2") as process:
        until(lambda: fleet.routes["acme"] == "eu2")
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def due(fleet: Fleet, db: TestDatabase) -> None:
    """Retire a tenant that is in the registry no more, and let it be due."""
    db.execute("DELETE FROM device_registry WHERE tenant_id = 'acme'")
    assert fleet.cli("retire", "acme", "--allow", "recent-telemetry").code == 0
    assert fleet.routes["acme"] == "eu1"
    db.execute("UPDATE influxops.tenants SET drop_after = now() WHERE state = 'retiring'")


def test_a_move_that_was_killed_at_its_cut_over_writes_before_it_waits(
    fleet: Fleet, db: TestDatabase
) -> None:
    def recorded() -> object:
        with psycopg.connect(db.conninfo) as connection:
            return connection.execute(
                "SELECT state, target FROM influxops.tenants WHERE tenant = 'acme'"
            ).fetchone()

    slow = LEDGER.replace('"1s"', '"1h"')
    fleet.cli.config(targets_toml(fleet.servers, slow))  # nothing is written by this one
    with fleet.cli.running("move", "acme", "--to", "eu2") as process:
        until(lambda: recorded() == ("moving", "eu2"))
        process.kill()
        process.wait()
    assert fleet.routes["acme"] == "eu1"
    fleet.reporter()
    fleet.cli.config((fleet.cli.folder / "influxops.toml").read_text().replace('"1s"', '"1h"'))
    with fleet.cli.running("move", "acme", "--to", "eu2") as process:
        until(lambda: fleet.routes["acme"] == "eu2")
        assert recorded() == ("moving", "eu2")
        process.kill()


def test_a_route_is_gone_before_the_last_look_and_the_drop(
    fleet: Fleet, db: TestDatabase, proxied: StartProxy
) -> None:
    due(fleet, db)
    proxy = proxied(fleet.servers["eu1"])
    fleet.servers["eu1"] = proxy
    fleet.reporter()
    assert fleet.cli("ensure", "--allow", "mass-change").code == 0
    seen: list[tuple[bool, str]] = []

    def before(request: Seen) -> None:
        seen.append((request.method == "DELETE", fleet.routes["acme"]))

    proxy.before = before
    assert fleet.cli("retire", "--due", "--allow", "recent-telemetry").code == 0
    assert seen[0] == (False, "eu1")
    assert (False, "being dropped") in seen[: seen.index((True, "being dropped"))]
    assert (True, "eu1") not in seen
    assert "acme" not in fleet.routes


def test_nothing_is_dropped_while_clients_may_be_led_there(
    fleet: Fleet, db: TestDatabase, servers: dict[str, Influx]
) -> None:
    due(fleet, db)
    program = script(fleet.cli.folder, "raise SystemExit('no')")
    fleet.reporter(program)
    ended = fleet.cli("retire", "--due", "--allow", "recent-telemetry")
    assert ended.code == 1
    assert "clients may still be led to it" in ended.all
    assert "telemetry_acme" in servers["eu1"].databases()
    assert fleet.routes["acme"] == "eu1"
    script(fleet.cli.folder, "")
    assert fleet.cli("retire", "--due", "--allow", "recent-telemetry").code == 0
    assert "telemetry_acme" not in servers["eu1"].databases()


def test_a_worker_writes_what_anybody_changes(fleet: Fleet, db: TestDatabase) -> None:
    assert fleet.cli("queue", "install", "--trigger").code == 0
    program = script(fleet.cli.folder, "raise SystemExit(1)")
    fleet.reporter(program)
    fleet.file.unlink()
    with working(fleet.cli) as worker:
        assert "exit code 1" in worker.line()
        assert fleet.routes["acme"] == "eu1"
        script(fleet.cli.folder, "open('told', 'a').write('once ')")
        until(fleet.told.exists)
        set_record(db, "acme", target="eu2")
        until(lambda: fleet.routes["acme"] == "eu2" and fleet.told.read_text() == "once once ")
        insert(db, ["dora"])
        until(lambda: fleet.routes.get("dora") == "eu1")
        assert worker.end(signal.SIGTERM)[0] == 0


def test_a_worker_lists_a_tenant_for_which_there_is_no_place(
    fleet: Fleet, db: TestDatabase
) -> None:
    """Its writers would get 404, and drop what they have, where it was not listed."""
    fleet.servers = {"eu1": fleet.servers["eu1"]}
    fleet.reporter()
    config = (fleet.cli.folder / "influxops.toml").read_text()
    fleet.cli.config(config.replace("[targets.eu1]\n", "[targets.eu1]\ncapacity = 3\n"))
    assert fleet.cli("queue", "install", "--trigger").code == 0
    with working(fleet.cli) as worker:
        insert(db, ["dora"])
        until(lambda: fleet.routes.get("dora") == "pending")
        worker.end(signal.SIGTERM)
    assert fleet.routes["acme"] == "eu1"


def test_who_reads_for_long_puts_nothing_older_in_the_place_of_newer_routes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_PATIENCE", 0.1)
    path, context = tmp_path / "routes", RunContext()
    known = [Routes(7, (Route("a", "a", "eu1", "http://eu1"),))]

    def newest() -> Routes:
        return known[-1]

    def slow() -> Routes:
        found = newest()
        if found.version == 7:
            known.append(Routes(8, (Route("a", "a", "eu2", "http://eu2"),)))
            write(path, "json", newest, context, grace=0)
        return found

    write(path, "json", slow, context, grace=0)
    assert json.loads(path.read_text())["route_version"] == 8
