"""Every door gives the same answer in the same situation."""

from __future__ import annotations

import contextlib
import getpass
import itertools
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from influxops.config.load import load_config
from influxops.domain.record import Record, State
from influxops.engine.engine import Engine
from influxops.engine.operations import DropDue, Retire
from influxops.runtime.context import RunContext
from influxops_devserver.postgres import EmbeddedPostgres
from influxops_postgres.ledger import schema
from tests.doors.world import DOORS, Answer, Case, variables
from tests.integration.servers import Influx, new_stand_in
from tests.pg import TestDatabase, new_database

pytestmark = pytest.mark.stand_in

_numbers = itertools.count(1)


@dataclass(frozen=True)
class World:
    """What all cases share."""

    db: TestDatabase
    servers: dict[str, Influx]
    folder: Path

    @contextlib.contextmanager
    def case(self, **options: Any) -> Iterator[Case]:
        """Yield a case; what it has created is deleted afterwards."""
        case = Case(self.db, self.servers, self.folder, f"case{next(_numbers)}", **options)
        try:
            yield case
        finally:
            case.clean()


@pytest.fixture(scope="module")
def world(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        db = stack.enter_context(new_database(postgres))
        stack.enter_context(variables(db.environment))
        servers = {
            name: stack.enter_context(new_stand_in(max_databases=None, max_tables=None))
            for name in ("a", "b")
        }
        servers["five"] = stack.enter_context(new_stand_in(max_databases=5))
        for number in range(5):
            body = {"db": f"another{number}"}
            servers["five"].request("POST", "/api/v3/configure/database", json=body)
        with psycopg.connect(db.conninfo, autocommit=True) as connection:
            connection.execute(schema.script("influxops").encode())
        yield World(db, servers, tmp_path_factory.mktemp("doors"))


def missing(case: Case) -> None:
    pass


def there(case: Case) -> None:
    case.run()


def first_target_holds_its_capacity(case: Case) -> None:
    case.options["a"] = "capacity = 0"


def all_targets_hold_their_capacity(case: Case) -> None:
    case.options |= {"a": "capacity = 0", "b": "capacity = 0"}


def first_target_is_thought_to_be_full(case: Case) -> None:
    case.targets = ("five", "b")


def only_target_is_full(case: Case) -> None:
    case.targets = ("five",)


def source_is_new_to_the_ledger(case: Case) -> None:
    case.execute(
        f"CREATE TABLE {case.name}_old AS "
        f"SELECT 'another' || tenant_id AS tenant_id FROM {case.name}"
    )
    case.table = f"{case.name}_old"
    case.run()
    case.servers["a"].drop(f"telemetry_another{case.tenant}")
    case.table = ""


def target_is_away(case: Case) -> None:
    case.targets = ("away",)


def another_target_is_away(case: Case) -> None:
    case.targets = ("a", "away")


def pinned_to_a_target_that_is_away(case: Case) -> None:
    case.targets = ("a", "away")
    case.extra = f'[placement]\npins = {{{case.tenant} = "away"}}'


def pinned(case: Case) -> None:
    case.extra = f'[placement]\npins = {{{case.tenant} = "b"}}'


def server_was_replaced(case: Case) -> None:
    case.run()
    case.execute(
        "UPDATE influxops.servers SET identity = 'another' WHERE namespace = %s", case.name
    )


def database_is_lost(case: Case) -> None:
    case.run()
    case.delete("a")


def database_is_on_another_target(case: Case) -> None:
    case.run()
    case.delete("a")
    case.create("b")


def two_targets_hold_it(case: Case) -> None:
    case.create("a")
    case.create("b")


def only_target_is_draining(case: Case) -> None:
    case.targets = ("a",)
    case.options["a"] = 'state = "draining"'


def first_target_is_draining(case: Case) -> None:
    case.options["a"] = 'state = "draining"'


def source_is_away(case: Case) -> None:
    case.table = "gone"


def name_is_of_another(case: Case) -> None:
    case.run()
    case.execute(
        "UPDATE influxops.tenants SET database = 'telemetry_other' WHERE namespace = %s", case.name
    )


def ledger_is_away(case: Case) -> None:
    case.run()
    case.ledger = 'schema = "gone"'


def retention_differs(case: Case) -> None:
    case.extra = '[database]\nretention = "30d"'
    case.run()
    case.extra = '[database]\nretention = "60d"'


def retired_and_back_after_a_late_write(case: Case) -> None:
    case.run()
    case.execute(f"DELETE FROM {case.name}")
    case.register(f"another{case.tenant}")
    case.run(Retire((case.tenant,), after=0.0), case.tenant)
    case.run(DropDue())
    assert case.homes == set()
    case.servers["a"].write(case.database, "telemetry,device=d1 value=1")
    case.execute(f"DELETE FROM {case.name}")
    case.register(case.tenant)


Situation = Callable[[Case], None]

#: Each with where the database is afterwards, whether that is well, and a word of the reason.
SITUATIONS: list[tuple[Situation, set[str], bool, str]] = [
    (missing, {"a"}, True, ""),
    (there, {"a"}, True, ""),
    (retention_differs, {"a"}, True, ""),
    (first_target_holds_its_capacity, {"b"}, True, ""),
    (all_targets_hold_their_capacity, set(), False, "no free slot"),
    (first_target_is_thought_to_be_full, {"b"}, True, ""),
    (only_target_is_full, set(), False, "imit"),
    (source_is_new_to_the_ledger, set(), False, "new-source"),
    (target_is_away, set(), False, "away"),
    (another_target_is_away, set(), False, "away"),
    (pinned_to_a_target_that_is_away, set(), False, "away"),
    (pinned, {"b"}, True, ""),
    (server_was_replaced, {"a"}, False, "another server answers"),
    (database_is_lost, set(), False, "missing on a"),
    (database_is_on_another_target, {"b"}, False, "recorded on a"),
    (two_targets_hold_it, {"a", "b"}, False, "and on b"),
    (only_target_is_draining, set(), False, "draining"),
    (first_target_is_draining, {"b"}, True, ""),
    (source_is_away, set(), False, "gone"),
    (ledger_is_away, {"a"}, False, "gone"),
    (retired_and_back_after_a_late_write, {"a"}, True, ""),
]


@pytest.mark.parametrize(("situation", "homes", "is_well", "word"), SITUATIONS)
@pytest.mark.parametrize("door", DOORS)
def test_every_door_gives_the_same_answer(
    world: World,
    door: str,
    situation: Situation,
    homes: set[str],
    is_well: bool,
    word: str,
) -> None:
    with world.case() as case:
        situation(case)
        answer = DOORS[door](case)
        assert (case.homes, answer.is_there) == (homes, is_well), answer.reason
    assert word in answer.reason


@pytest.mark.parametrize("capacity", ["", "capacity = 10"], ids=["estimated", "unexpected"])
@pytest.mark.parametrize("door", DOORS)
def test_a_server_that_is_full_is_no_row_of_the_history(
    world: World, door: str, capacity: str
) -> None:
    with world.case(targets=("five", "b"), options={"five": capacity}) as case:
        assert DOORS[door](case).is_there
        assert case.homes == {"b"}
        assert case.history() == ["created done"]


@pytest.mark.parametrize("door", DOORS)
def test_what_another_run_has_claimed_is_left_to_it(world: World, door: str) -> None:
    with world.case() as case, Engine(load_config(case.config)) as engine:
        assert engine.ledger is not None
        run = RunContext()
        with engine.ledger.session(run):
            record = Record(case.tenant, State.ALLOCATED, case.database, "a")
            engine.ledger.claim([record], run)
            case.patience = 3.0  # all of it is used
            answer: Answer = DOORS[door](case)
        assert not answer.is_there
        assert case.homes == set()


@pytest.mark.parametrize("door", DOORS)
def test_who_is_back_gets_what_a_late_write_created_and_every_door_tells_what_is_in_it(
    world: World, door: str, caplog: pytest.LogCaptureFixture
) -> None:
    with world.case() as case, psycopg.connect(world.db.conninfo) as connection:
        retired_and_back_after_a_late_write(case)
        answer = DOORS[door](case)
        told = answer.reason if door != "worker" else caplog.text
        query = "SELECT before, message FROM influxops.history WHERE tenant = %s AND event = %s"
        found = connection.execute(query, [case.tenant, "found"]).fetchall()
        query = "SELECT state FROM influxops.tenants WHERE tenant = %s"
        record = connection.execute(query, [case.tenant]).fetchone()
    assert answer.is_there
    assert "a late write probably created it" in told
    assert "it holds 1 row in telemetry, last written" in told
    assert [before for before, _ in found] == ["retired"]
    assert "it holds 1 row in telemetry, last written" in found[0][1]
    assert record is not None and record[0] in ("unconfirmed", "ready")  # until its marker follows


@pytest.mark.parametrize(
    ("door", "written"), [("command", "cli"), ("task", "ansible"), ("provisioner", "library")]
)
def test_the_history_says_through_which_door_it_came(world: World, door: str, written: str) -> None:
    with world.case() as case, psycopg.connect(world.db.conninfo) as connection:
        assert DOORS[door](case).is_there
        query = "SELECT who, door FROM influxops.history WHERE tenant = %s"
        ((who, found),) = connection.execute(query, [case.tenant]).fetchall()
    assert found == written
    assert who == f"{getpass.getuser()}@{socket.gethostname()}"


@pytest.mark.parametrize("door", [door for door in DOORS if door != "task"])
def test_a_tenant_that_no_source_knows_gets_nothing(world: World, door: str) -> None:
    with world.case() as case:
        case.tenant = "nobody"
        answer = DOORS[door](case)
        assert not answer.is_there
        assert case.homes == set()
