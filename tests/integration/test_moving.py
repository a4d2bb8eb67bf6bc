"""Moving tenants between servers, with the real command line, a real PostgreSQL and stand-ins."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import GiveStandIn, StartProxy, targets_toml
from tests.integration.command import Cli
from tests.integration.proxy import Answer, Proxy, Seen
from tests.integration.servers import Influx
from tests.pg import TestDatabase

pytestmark = [pytest.mark.stand_in, pytest.mark.installed("ledger install")]

LEDGER = '[ledger]\nkind = "postgres"\ncache_ttl = "2s"\n'
#: How many rows are moved while somebody writes; more are a matter of patience alone.
ROWS = int(os.environ.get("INFLUXOPS_TEST_MOVED_ROWS", "20000"))
START = 1_700_000_000_000_000_000
#: Seconds after which a move is called stuck.
PATIENCE = 120 + ROWS / 500


@pytest.fixture
def servers(stand_in: GiveStandIn) -> dict[str, Influx]:
    return {name: stand_in(max_databases=None) for name in ("eu1", "eu2")}


@pytest.fixture
def kept(cli: Cli, db: TestDatabase, servers: dict[str, Influx]) -> Cli:
    """Give the command line, with two recorded tenants on the first of two servers."""
    db.registry("acme", "beta")
    cli.config(targets_toml(dict(servers), LEDGER))
    assert cli("ensure").code == 0
    return cli


def lines(first: int, last: int) -> Iterator[str]:
    """Yield points for three tables, with fields of every type."""
    for number in range(first, last):
        at, tags = START + number * 10_000_000, f"device=d{number % 97},site=s\\ {number % 7}"
        match number % 10:
            case 0:
                text = f'"state \\"{number % 13}\\", ok"'
                yield f"events,{tags} code={2**63 + number}u,text={text} {at}"
            case 1 | 2 | 3:
                yield f"status,{tags} up={'tf'[number % 2]},level={-number}i {at}"
            case _:
                yield f"telemetry,{tags} temp={number / 7},load={number % 100 / 8} {at}"


def fill(server: Influx, database: str, rows: int) -> None:
    for first in range(0, rows, 20_000):
        server.write(database, "\n".join(lines(first, min(first + 20_000, rows))))


def count(server: Influx, database: str) -> dict[str, int]:
    """Give the number of rows of each table."""
    found = server.rows(
        "_internal",
        "SELECT table_name FROM system.tables WHERE deleted = false "
        f"AND database_name = '{database}'",
    )
    tables = sorted({row["table_name"] for row in found} - {"_init"})
    return {
        name: int(server.rows(database, f'SELECT count(*) AS n FROM "{name}"')[0]["n"])
        for name in tables
    }


def everything(server: Influx, database: str, table: str, most: int) -> list[dict[str, Any]]:
    """Give the rows of a table, in order."""
    sql = f'SELECT * FROM "{table}" ORDER BY time, device LIMIT {most}'
    return server.rows(database, sql)


def recorded(db: TestDatabase, tenant: str = "acme") -> tuple[str, str, str]:
    """Give state, target and progress of a tenant."""
    with psycopg.connect(db.conninfo) as connection:
        row = connection.execute(
            "SELECT state, target, progress FROM influxops.tenants WHERE tenant = %s", [tenant]
        ).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


def story(cli: Cli, tenant: str) -> list[str]:
    return [line.split()[2] for line in cli("history", tenant).lines]


class Writer(threading.Thread):
    """An application that looks a tenant's place up now and then, and writes there."""

    def __init__(self, db: TestDatabase, servers: dict[str, Influx]) -> None:
        super().__init__(daemon=True)
        self.db, self.servers = db, servers
        self.over = threading.Event()
        self.written: dict[int, str] = {}  # when, and to which target
        self.error: Exception | None = None

    def run(self) -> None:
        place, looked = "eu1", 0.0
        try:
            while not self.over.wait(0.05):
                if time.monotonic() - looked > 1:
                    _, place, _ = recorded(self.db)
                    looked = time.monotonic()
                at = time.time_ns()
                line = f"telemetry,device=live,site=s\\ 0 temp={len(self.written)} {at}"
                self.servers[place].write("telemetry_acme", line)
                self.written[at] = place
        except Exception as error:
            self.error = error


def peak(process: subprocess.Popen[str]) -> int:
    """Give the most memory that a process had, in MiB; 0 once it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) // 1024
    return 0


def killed_when(cli: Cli, happened: Callable[[], bool], *options: str) -> int:
    """Start a move, and kill it as soon as something happened; return its peak of memory."""
    most, end = 0, time.monotonic() + PATIENCE
    with cli.running("move", "acme", *(options or ("--to", "eu2"))) as process:
        while not happened():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            most = max(most, peak(process))
            time.sleep(0.05)
        process.kill()
        process.wait()
    return most


@pytest.mark.faults
def test_a_tenant_is_moved_while_it_is_written_to_and_the_move_killed_twice(
    kept: Cli, db: TestDatabase, servers: dict[str, Influx]
) -> None:
    kept = replace(kept, forks=False)  # its memory is measured
    eu1, eu2 = servers["eu1"], servers["eu2"]
    fill(eu1, "telemetry_acme", ROWS)
    writer = Writer(db, servers)
    writer.start()
    most = killed_when(kept, lambda: "telemetry" in count(eu2, "telemetry_acme"))
    assert recorded(db)[:2] == ("moving", "eu1")
    assert kept("ensure").code == 0
    most = max(most, killed_when(kept, lambda: recorded(db)[1] == "eu2"))
    assert recorded(db)[0] == "moving"
    assert kept("where", "acme", "--format", "json").json["target"] == "eu2"
    assert kept("ensure").code == 0
    with kept.running("move", "acme", "--to", "eu2", "--format", "json") as process:
        while process.poll() is None:
            most = max(most, peak(process))
            time.sleep(0.05)
        out, err = process.communicate()
    assert process.returncode == 0, out + err
    writer.over.set()
    writer.join()

    assert writer.error is None
    assert set(writer.written.values()) == {"eu1", "eu2"}
    assert recorded(db) == ("ready", "eu2", "")
    found = count(eu2, "telemetry_acme")
    assert sum(found.values()) == ROWS + len(writer.written)
    for table in found:
        few = min(found[table], 50_000)
        there = everything(eu2, "telemetry_acme", table, few)
        here = everything(eu1, "telemetry_acme", table, few)
        assert [row for row in there if row["device"] != "live"] == [
            row for row in here if row["device"] != "live"
        ]
    live = eu2.rows(
        "telemetry_acme", "SELECT time, temp FROM telemetry WHERE device = 'live' ORDER BY time"
    )
    assert [row["temp"] for row in live] == list(range(len(writer.written)))
    assert most < 200
    events = story(kept, "acme")
    assert events[:2] == ["created", "moving"]
    assert events[-1] == "retiring"
    assert events.count("moved") == 1
    document = json.loads(out)
    (note,) = [each for each in document["findings"] if each["kind"] == "moved"]
    assert (note["facts"]["from"], note["facts"]["to"]) == ("eu1", "eu2")
    logging.getLogger(__name__).info(
        "%d rows, %d written concurrently, %d MiB at most", ROWS, len(writer.written), most
    )


@pytest.mark.faults
def test_moves_that_are_killed_at_random_end_as_one(
    kept: Cli, db: TestDatabase, servers: dict[str, Influx]
) -> None:
    eu1, eu2 = servers["eu1"], servers["eu2"]
    fill(eu1, "telemetry_acme", 500)
    dice = random.Random(9)
    for _ in range(4):
        with (
            kept.running("move", "acme", "--to", "eu2") as process,
            contextlib.suppress(subprocess.TimeoutExpired),
        ):
            process.wait(dice.uniform(0.3, 8))
        state, target, _ = recorded(db)
        assert (state, target) in (("ready", "eu1"), ("moving", "eu1"), ("moving", "eu2")) or (
            state == "ready" and target == "eu2"
        )
        assert sum(count(servers[target], "telemetry_acme").values()) == 500
    assert kept("move", "acme", "--to", "eu2").code == 0
    assert recorded(db) == ("ready", "eu2", "")
    assert count(eu2, "telemetry_acme") == count(eu1, "telemetry_acme")


@pytest.mark.faults
def test_a_move_back_that_is_killed_twice_goes_on_and_loses_no_row_of_either_side(
    kept: Cli, db: TestDatabase, servers: dict[str, Influx]
) -> None:
    eu1, eu2 = servers["eu1"], servers["eu2"]
    fill(eu1, "telemetry_acme", ROWS)
    assert kept("move", "acme", "--to", "eu2").code == 0
    # Fields, values and rows of each side, written after the move.
    tags = "telemetry,device=d4,site=s\\ 4"
    eu1.write("telemetry_acme", f"{tags} temp=-1,old=1i {START + 4 * 10_000_000}")
    eu2.write("telemetry_acme", f"{tags} temp=-2,new=2i {START + 4 * 10_000_000}")
    eu1.write("telemetry_acme", "late,device=d1 v=1i 1000\nlate,device=d1 v=2i 2000")
    eu2.write("telemetry_acme", "\n".join(lines(ROWS, ROWS + 3000)))
    plan = kept("move", "acme", "--back", "--plan")
    assert plan.code == 0, plan.all
    assert "PLAN move telemetry_acme from eu2 to eu1" in plan.out
    assert f"{ROWS + 3000:,} rows in 3 tables" in plan.out
    assert "kept: 3 rows (or fields of rows) that only eu1 has" in plan.out
    assert "1 row with other values there gets those of eu2" in plan.out

    half = (
        f"SELECT count(*) AS n FROM telemetry WHERE CAST(time AS BIGINT) >= {START + ROWS * 10**7}"
    )
    killed_when(kept, lambda: eu1.rows("telemetry_acme", half)[0]["n"], "--back")
    assert recorded(db)[:2] == ("moving", "eu2")
    assert kept("ensure").code == 0
    eu2.write("telemetry_acme", f"telemetry,device=between,site=a temp=1 {time.time_ns()}")
    killed_when(kept, lambda: recorded(db)[1] == "eu1", "--back")
    assert recorded(db)[:2] == ("moving", "eu1")
    assert kept("ensure").code == 0
    done = kept("move", "acme", "--to", "eu1")
    assert done.code == 0, done.all
    assert recorded(db) == ("ready", "eu1", "")
    (row,) = eu1.rows(
        "telemetry_acme",
        "SELECT temp, old, new FROM telemetry WHERE device = 'd4' AND site = 's 4' "
        f"AND CAST(time AS BIGINT) = {START + 4 * 10_000_000}",
    )
    assert row == {"temp": -2.0, "old": 1, "new": 2}
    found, theirs = count(eu1, "telemetry_acme"), count(eu2, "telemetry_acme")
    assert found == {**theirs, "late": 2}
    assert sum(found.values()) == ROWS + 3000 + 2 + 1
    assert "kept: 3 rows (or fields of rows) that only eu1 has" in kept("history", "acme").out


def test_an_old_copy_is_dropped_at_once_and_the_way_back_is_gone(
    kept: Cli, db: TestDatabase, servers: dict[str, Influx]
) -> None:
    eu1, eu2 = servers["eu1"], servers["eu2"]
    fill(eu1, "telemetry_acme", 300)
    assert kept("move", "acme", "--to", "eu2").code == 0
    assert "nothing is due" in kept("retire", "--due").out
    blocked = kept("retire", "acme", "--allow", "still-registered")
    assert blocked.code == 1
    assert "influxops retire --copies acme" in blocked.out
    eu1.write("telemetry_acme", "late,device=d1 v=1i 1000")
    late = kept("retire", "--copies", "acme")
    assert late.code == 1
    assert "1 row (late 1) came late" in late.out
    assert "influxops retire --copies" in late.out
    done = kept("retire", "--copies", "acme")
    assert done.code == 0, done.all
    assert "cannot be moved back" in done.out
    assert eu1.databases() == ["telemetry_beta"]
    assert count(eu2, "telemetry_acme")["late"] == 1
    back = kept("move", "acme", "--back")
    assert back.code == 1
    assert "it has no old copy" in back.out
    assert kept("retire", "--copies").out.strip() == "there is no old copy"
    assert recorded(db) == ("ready", "eu2", "")


def test_after_a_server_was_added_the_full_ones_get_room(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    servers: dict[str, Any] = {"eu1": stand_in(max_databases=2)}
    db.registry("acme", "beta")
    cli.config(targets_toml(servers, LEDGER))
    assert cli("ensure").code == 0
    servers["eu2"] = stand_in(max_databases=None)
    toml = targets_toml(servers, LEDGER).replace("[targets.eu1]\n", "[targets.eu1]\ncapacity = 2\n")
    cli.config(toml.replace("[targets.eu2]\n", "[targets.eu2]\ncapacity = 5\n"))
    plan = cli("move", "--rebalance", "--plan")
    assert plan.code == 0, plan.all
    assert "databases: eu1 2 → 1 of 2, eu2 0 → 1 of 5" in plan.out
    assert plan.out.count("PLAN move") == 1
    done = cli("move", "--rebalance")
    assert done.code == 0, done.all
    assert "1 moved" in done.out
    assert cli("move", "--rebalance").out.strip() == "nothing to move"
    assert len(servers["eu2"].databases()) == 1


def test_a_plan_says_how_much_there_is_and_writes_nothing(
    kept: Cli, servers: dict[str, Influx]
) -> None:
    fill(servers["eu1"], "telemetry_acme", 1000)
    plan = kept("move", "acme", "--to", "eu2", "--plan")
    assert plan.code == 0
    assert "PLAN move telemetry_acme from eu1 to eu2" in plan.out
    assert "1,000 rows in 3 tables" in plan.out
    assert "rows/s, measured by reading some of them" in plan.out
    assert servers["eu2"].databases() == []
    assert story(kept, "acme") == ["created"]


def test_a_drained_server_is_empty_once_its_old_copies_are_dropped(
    kept: Cli, db: TestDatabase, servers: dict[str, Influx]
) -> None:
    eu1, eu2 = servers["eu1"], servers["eu2"]
    fill(eu1, "telemetry_acme", 300)
    kept.config(
        targets_toml(dict(servers), LEDGER).replace(
            "[targets.eu1]\n", '[targets.eu1]\nstate = "draining"\n'
        )
    )
    done = kept("drain", "eu1")
    assert done.code == 0, done.all
    assert "2 tenants: 0 ok, 2 moved" in done.out
    assert "no recorded tenant is on eu1" in kept("drain", "eu1").out
    assert kept("ensure").fine == {"telemetry_acme", "telemetry_beta"}
    # A straggler writes to the old copy; it comes along before that is dropped.
    eu1.write("telemetry_acme", f"telemetry,device=late,site=s1 temp=1.5 {START - 1}")
    assert kept("retire", "--due").code == 0
    assert eu1.databases() == ["telemetry_acme", "telemetry_beta"]
    db.execute("UPDATE influxops.tenants SET drop_after = now()")
    postponed = kept("retire", "--due")
    assert postponed.code == 1, postponed.all
    assert "1 row (telemetry 1) came late to its old copy on eu1: copied to eu2" in postponed.out
    assert eu1.databases() == ["telemetry_acme"]
    assert sum(count(eu2, "telemetry_acme").values()) == 301
    dropped = kept("retire", "--due")
    assert dropped.code == 0, dropped.all
    assert eu1.databases() == []
    events = ["created", "moving", "moved", "retiring", "dropped", "dropped"]
    assert story(kept, "acme") == events
    assert kept("ensure").code == 0


def test_a_move_is_ended_by_ctrl_c_and_says_how_to_go_on(
    kept: Cli, db: TestDatabase, servers: dict[str, Influx]
) -> None:
    fill(servers["eu1"], "telemetry_acme", 20_000)
    with kept.running("move", "acme", "--to", "eu2") as process:
        end = time.monotonic() + PATIENCE
        while recorded(db)[0] != "moving":
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(2)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, out + err
    assert "influxops move acme --to eu2" in out
    assert "it stays on eu1, where all of it is" in out
    assert "1 interrupted" in out
    assert "Traceback" not in out + err
    (row,) = (line for line in kept("status", "acme").lines if line.startswith("acme"))
    assert re.split("  +", row)[2:4] == ["eu1", "moving to eu2"]
    assert kept("status", "acme", "--format", "json").json["tenants"][0]["moving_to"] == "eu2"
    assert kept("move", "acme", "--to", "eu2").code == 0


def test_a_move_that_is_ended_while_its_database_is_made_says_how_to_go_on(
    kept: Cli, db: TestDatabase, servers: dict[str, Influx], proxied: StartProxy
) -> None:
    proxy = proxied(servers["eu2"])
    reached, let_go = threading.Event(), threading.Event()

    def hold(seen: Seen) -> Answer:
        if not seen.writes:
            return None
        reached.set()
        let_go.wait(60)
        return 503, "text/plain", b"nobody waits for it, and the next test has this server"

    proxy.before = hold
    kept.config(targets_toml({"eu1": servers["eu1"], "eu2": proxy}, LEDGER))
    try:
        with kept.running("move", "acme", "--to", "eu2") as process:
            assert reached.wait(30)
            process.send_signal(2)
            out, err = process.communicate(timeout=PATIENCE)
    finally:
        let_go.set()
    assert process.returncode == 130, out + err
    assert "influxops move acme --to eu2" in out
    assert "it stays on eu1, where all of it is" in out


def test_without_a_ledger_nothing_is_moved(
    cli: Cli, db: TestDatabase, servers: dict[str, Influx]
) -> None:
    db.registry("acme")
    cli.config(targets_toml(dict(servers)))
    assert cli("ensure").code == 0
    done = cli("move", "acme", "--to", "eu2")
    assert done.code == 2
    assert "takes a ledger" in done.err
    assert "influxops ledger install" in done.err


# Data of days -----------------------------------------------------------------------------------

TEN_MINUTES = 600 * 10**9


@pytest.fixture
def proxies(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> dict[str, tuple[Influx, Proxy]]:
    """Two servers that write files at once, behind proxies, and a recorded tenant on the first."""
    options = {"max_databases": None, "wal_snapshot_size": 1, "wal_flush_interval": "10ms"}
    servers = {name: stand_in(**options) for name in ("eu1", "eu2")}
    found = {name: (server, proxied(server)) for name, server in servers.items()}
    db.registry("acme")
    cli.config(targets_toml({name: proxy for name, (_, proxy) in found.items()}, LEDGER))
    assert cli("ensure").code == 0
    return found


def statements(proxy: Proxy) -> list[str]:
    seen = (each for each in proxy.seen if each.path.endswith("/query_sql"))
    return [json.loads(each.body)["q"] for each in seen]


def test_a_tenant_of_several_days_is_moved_in_few_queries(
    cli: Cli, proxies: dict[str, tuple[Influx, Proxy]]
) -> None:
    """1,260 rows in 659 files; a query may touch 432 of them."""
    (eu1, to_eu1), (eu2, to_eu2) = proxies.values()
    first = START // TEN_MINUTES * TEN_MINUTES
    times = [first + block * TEN_MINUTES + n for block in range(630) for n in range(2)]
    v = "\n".join(f"telemetry,device=d v={at}i {at}" for at in times)
    # Fields that came later: these rows are in two files.
    w = "\n".join(f"telemetry,device=d w=1 {at}" for at in times[:58])
    for lines_ in (v, w):
        eu1.write("telemetry_acme", lines_)
        for number in range(3):  # what is newest stays in the log for a while
            eu1.write("telemetry_acme", f"ticks f={number} {START + number}")
    files = "SELECT COUNT(*) AS n FROM system.parquet_files WHERE table_name = 'telemetry'"
    assert eu1.rows("telemetry_acme", files) == [{"n": 659}]
    with pytest.raises(AssertionError):
        eu1.rows("telemetry_acme", "SELECT COUNT(*) AS n FROM telemetry")
    plan = cli("move", "acme", "--to", "eu2", "--plan")
    assert plan.code == 0, plan.all
    assert "at most 1,32" in plan.out
    for proxy in (to_eu1, to_eu2):
        proxy.seen.clear()
    began = time.monotonic()
    done = cli("move", "acme", "--to", "eu2")
    seconds = time.monotonic() - began
    assert done.code == 0, done.all
    assert "1,263 rows in 2 tables" in done.out
    asked = statements(to_eu1) + statements(to_eu2)
    reading = [each for each in asked if 'FROM "telemetry"' in each]
    told = f"659 files: {len(reading)} queries that read rows, {len(asked)} in all, {seconds:.1f} s"
    logging.getLogger(__name__).info(told)
    print(told)  # noqa: T201
    assert len(reading) <= 5 * 2 + 11
    for start in range(0, 630, 90):
        low, high = (first + (start + n) * TEN_MINUTES for n in (0, 90))
        sql = (
            f"SELECT * FROM telemetry WHERE time >= to_timestamp_nanos({low}) "
            f"AND time < to_timestamp_nanos({high}) ORDER BY time"
        )
        here, there = (server.rows("telemetry_acme", sql) for server in (eu1, eu2))
        assert here == there
        assert len(here) == 180


def test_a_table_that_cannot_be_read_keeps_a_tenant_until_it_is_left_out(
    cli: Cli, db: TestDatabase, proxies: dict[str, tuple[Influx, Proxy]]
) -> None:
    (eu1, to_eu1), (eu2, _) = proxies.values()
    eu1.write("telemetry_acme", f"odd\\ one,d=a f=1 {START}\ntelemetry,d=a f=1 {START}")

    def refuse(seen: Seen) -> Answer:
        if b'FROM \\"odd one\\"' in seen.body:
            return 500, "text/plain", b"External error: cannot make a record batch of it"
        return None

    to_eu1.before = refuse
    plan = cli("move", "acme", "--to", "eu2", "--plan")
    assert plan.code == 0, plan.all
    assert "the table odd one cannot be copied" in plan.all
    waits = cli("move", "acme", "--to", "eu2")
    assert waits.code == 1
    assert "1 table cannot be copied, so that it waits; all others are: odd one (" in waits.out
    hint = "influxops move acme --to eu2 --without-table 'odd one'"
    assert hint in waits.out
    assert recorded(db)[:2] == ("moving", "eu1")
    assert count(eu2, "telemetry_acme")["telemetry"] == 1
    # Said again, it goes on; and it is in the history.
    done = cli("move", "acme", "--to", "eu2", "--without-table", "odd one")
    assert done.code == 0, done.all
    assert "without odd one, which cannot be copied" in done.out
    assert recorded(db)[:2] == ("ready", "eu2")
    assert "without odd one" in cli("history", "acme").out
    # What was left out on purpose does not keep the old copy either.
    db.execute("UPDATE influxops.tenants SET drop_after = now()")
    dropped = cli("retire", "--due")
    assert dropped.code == 0, dropped.all
    assert eu1.databases() == []
    assert count(eu2, "telemetry_acme")["telemetry"] == 1
    assert recorded(db) == ("ready", "eu2", "")
