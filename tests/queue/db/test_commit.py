"""The queue's transactions whose connection breaks: none counts as done without a confirmation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from influxops.config.load import load_config
from influxops.engine.engine import Engine
from influxops.errors import Interrupted
from influxops.runtime.context import RunContext
from influxops_queue.db.connect import ask
from influxops_queue.db.queries import Connection, Queries
from influxops_queue.db.settings import queue_ledger
from tests.conftest import GiveStandIn
from tests.integration.command import Cli
from tests.pg import TestDatabase
from tests.pg_proxy import PgProxy, Then, pg_proxy
from tests.queue.conftest import Queued
from tests.queue.workers import all_ready, check_each_once, insert, rows, until, working

pytestmark = [pytest.mark.stand_in, pytest.mark.faults]


@pytest.fixture
def proxy(db: TestDatabase) -> Iterator[PgProxy]:
    with pg_proxy(db.server.port) as proxy:
        yield proxy


def behind(cli: Cli, proxy: PgProxy) -> Cli:
    return Cli(cli.folder, {**cli.variables, "PG_PORT": str(proxy.port)})


class AtCommit:
    """Breaks the COMMIT of the transaction that has some statement, once."""

    def __init__(self, statement: str, then: Then) -> None:
        self._statement, self._then, self._pid, self.is_done = statement, then, 0, False

    def __call__(self, query: str, pid: int) -> Then:
        if self._statement in query:
            self._pid = pid
        if query == "COMMIT" and pid == self._pid and not self.is_done:
            self.is_done = True
            return self._then
        return Then.PASS_ON


def test_a_command_says_that_it_is_not_known_whether_it_was_done(
    queued: Queued, db: TestDatabase, proxy: PgProxy
) -> None:
    cli = queued()
    hints = "SELECT count(*) FROM influxops_queue.hints"
    for then, stored in ((Then.CUT, 0), (Then.LOSE_ANSWER, 1)):
        proxy.before = broken = AtCommit("INSERT INTO hints", then)
        done = behind(cli, proxy)("queue", "retry", "acme")
        assert broken.is_done
        assert (done.code, done.out) == (1, "")
        assert "whether it was is not known" in done.err
        assert "hint: run it again" in done.err
        assert rows(db, hints) == [(stored,)]


def test_a_command_that_is_ended_at_its_commit_says_so_too(
    queued: Queued, db: TestDatabase, proxy: PgProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = behind(queued(), proxy)
    for name, value in cli.variables.items():
        monkeypatch.setenv(name, value)
    context = RunContext()
    proxy.before = AtCommit("INSERT INTO hints", Then.LOSE_ANSWER)
    proxy.after = context.cancel

    async def hint(tables: Queries, connection: Connection) -> None:
        await connection.execute("INSERT INTO hints VALUES ('default', 'acme')")

    with (
        Engine(load_config(cli.folder / "influxops.toml")) as engine,
        pytest.raises(Interrupted, match="whether it was is not known"),
    ):
        ask(queue_ledger(engine), context, hint)
    assert rows(db, "SELECT count(*) FROM influxops_queue.hints") == [(1,)]


def test_an_installation_says_that_it_is_not_known_whether_it_was_done(
    cli: Cli, db: TestDatabase, proxy: PgProxy, queued: Queued
) -> None:
    queued()
    db.registry()
    proxy.before = AtCommit("CREATE TRIGGER", Then.LOSE_ANSWER)
    through = behind(cli, proxy)
    done = through("queue", "install", "--trigger")
    assert (done.code, "whether it was is not known" in done.err) == (1, True)
    assert "installed a trigger" not in done.out
    again = through("queue", "install", "--trigger")
    assert (again.code, "nothing to do" in again.out) == (0, True)


@pytest.mark.parametrize("then", [Then.CUT, Then.LOSE_ANSWER])
def test_a_worker_whose_commit_has_no_answer_makes_each_database_once(
    queued: Queued, db: TestDatabase, proxy: PgProxy, stand_in: GiveStandIn, then: Then
) -> None:
    db.registry()
    server = stand_in(max_databases=None)
    cli = queued("--trigger", url=server.url)
    proxy.before = broken = AtCommit("DELETE FROM hints", then)
    with working(behind(cli, proxy)):
        until(lambda: broken.is_done)  # it looks whether there is anything when it starts
        proxy.before = broken = AtCommit("DELETE FROM hints", then)
        insert(db, ["acme", "beta"])
        until(all_ready(db, 2))
        assert broken.is_done
    assert server.databases() == ["telemetry_acme", "telemetry_beta"]
    check_each_once(db)
