"""What was answered 201 is stored: backends that end, and answers of COMMIT that are lost."""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import psycopg
import pytest
import urllib3

from influxops_devserver.postgres import EmbeddedPostgres
from tests.integration.command import Cli
from tests.integration.servers import Influx
from tests.pg import new_database
from tests.pg_proxy import PgProxy, Then, end, pg_proxy, wait_for_checkpoint_to_age
from tests.web.conftest import REGISTRY, Web, install, serving, write_config
from tests.web.security.test_auth import kind

pytestmark = [pytest.mark.stand_in, pytest.mark.faults]

#: How many backends the run under load ends, at least; the figures of a long one are in the log.
ENDED = int(os.environ.get("INFLUXOPS_TEST_ENDED_BACKENDS", "40"))
CLIENTS, PAUSE = 20, 0.02


@pytest.fixture(scope="module")
def behind(
    tmp_path_factory: pytest.TempPathFactory, postgres: EmbeddedPostgres, module_influx: Influx
) -> Iterator[tuple[Web, PgProxy]]:
    """A service whose connections to PostgreSQL lead through a proxy."""
    folder = tmp_path_factory.mktemp("commit")
    with new_database(postgres) as db, pg_proxy(postgres.port) as proxy:
        db.execute(REGISTRY)
        cli = Cli(folder, {"DSN": proxy.conninfo(db)})
        write_config(cli, module_influx.url, "[web]\ntimeout = 20.0\n")
        admin, reader = install(cli)
        with serving(cli, db, module_influx, admin, reader) as web:
            body = {"tenant_id": "old"}
            assert web.ask("POST", "/operator/tenants", json=body).status == 201
            yield web, proxy


@dataclass
class _Breaking:
    """Breaks the connection of one request's transaction, at one of its queries.

    Args:
        begins: What the query contains by which this transaction is known.
        at: What the query contains at which it breaks.
        what: What happens then, by the number of the backend.
    """

    begins: str
    at: str
    what: Callable[[int], Then]
    pid: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    def __call__(self, query: str, pid: int) -> Then:
        if self.begins in query and not self.pid:
            self.pid = pid
        if pid == self.pid and self.at in query and not self.done.is_set():
            self.done.set()
            return self.what(pid)
        return Then.PASS_ON


@dataclass(frozen=True)
class _Write:
    """A request that writes."""

    method: str
    path: str
    body: dict[str, str]
    statement: str  # its first one that writes
    stored: str  # tells whether it was done
    good: int = 201


_ids = count(1)
#: Gives the devices that are stored with their activation codes.
_DEVICES = "SELECT device_id FROM device_registry JOIN device_activation USING (device_id)"


def a_tenant() -> _Write:
    id_ = f"t{next(_ids)}"
    stored = f"SELECT 1 FROM tenants WHERE tenant_id = '{id_}'"
    body = {"tenant_id": id_}
    return _Write("POST", "/operator/tenants", body, 'INSERT INTO "public"."tenants"', stored)


def a_device() -> _Write:
    id_ = f"d{next(_ids)}"
    stored = f"{_DEVICES} WHERE device_id = '{id_}'"
    body = {"tenant_id": "old", "device_id": id_}
    statement = 'INSERT INTO "public"."device_registry"'
    return _Write("POST", "/api/admin/devices", body, statement, stored)


def a_name() -> _Write:
    name = f"n{next(_ids)}"
    stored = f"SELECT 1 FROM tenants WHERE name = '{name}'"
    statement = 'UPDATE "public"."tenants"'
    return _Write("PATCH", "/operator/tenants/old", {"name": name}, statement, stored, 200)


writes = pytest.mark.parametrize("make", [a_tenant, a_device, a_name])


def ask(web: Web, write: _Write) -> tuple[urllib3.BaseHTTPResponse, bool, list[int]]:
    """Send it; return the answer, whether it was done, and its rows in the audit log."""
    query = "SELECT coalesce(max(id), 0) FROM operator_audit_log"
    ((last,),) = web.rows(query)
    answer = web.ask(write.method, write.path, json=write.body)
    path = write.path
    audited = web.rows(
        "SELECT status FROM operator_audit_log WHERE id > %s AND path = %s", last, path
    )
    stored: Any = write.stored
    return answer, bool(web.rows(stored)), [status for (status,) in audited]


@pytest.mark.parametrize("at", ["unnest(", "pg_current_xact_id_if_assigned", "COMMIT"])
@writes
def test_a_backend_that_ends_in_the_transaction_is_503_and_nothing_is_stored(
    behind: tuple[Web, PgProxy], make: Callable[[], _Write], at: str
) -> None:
    web, proxy = behind
    write = make()
    if at == "unnest(" and write.body.get("tenant_id", "old") == "old":
        at = write.statement  # a tenant that is known needs no note

    def ends(pid: int) -> Then:
        end(web.db, pid)
        return Then.PASS_ON

    breaking = proxy.before = _Breaking(write.statement, at, ends)
    answer, is_stored, audited = ask(web, write)
    proxy.reset()
    assert breaking.done.is_set()
    assert (answer.status, kind(answer)) == (503, "database-away")
    assert "nothing was done" in answer.json()["detail"]
    assert (is_stored, audited) == (False, [503])
    again, is_stored, audited = ask(web, write)
    assert (again.status, is_stored, audited) == (write.good, True, [write.good])


@writes
def test_a_commit_whose_answer_is_lost_is_asked_for(
    behind: tuple[Web, PgProxy], make: Callable[[], _Write]
) -> None:
    web, proxy = behind
    wait_for_checkpoint_to_age(web.db)
    write = make()
    breaking = proxy.before = _Breaking(write.statement, "COMMIT", lambda pid: Then.LOSE_ANSWER)
    answer, is_stored, audited = ask(web, write)
    proxy.reset()
    assert breaking.done.is_set()
    assert (answer.status, is_stored, audited) == (write.good, True, [write.good])


@writes
def test_a_commit_of_which_nobody_can_know_is_told_as_unknown(
    behind: tuple[Web, PgProxy], make: Callable[[], _Write]
) -> None:
    web, proxy = behind
    write = make()
    # As after a crash of the server, which may give the number of a lost transaction again.
    proxy.after = lambda: web.db.execute("CHECKPOINT", superuser=True)
    breaking = proxy.before = _Breaking(write.statement, "COMMIT", lambda pid: Then.LOSE_ANSWER)
    answer, is_stored, audited = ask(web, write)
    proxy.reset()
    assert breaking.done.is_set()
    assert (answer.status, kind(answer), audited) == (503, "outcome-unknown", [503])
    assert "not known" in answer.json()["detail"]
    assert "nothing was done" not in answer.json()["detail"]
    assert "Retry-After" not in answer.headers
    assert is_stored  # so the answer must not say that nothing was done


def test_backends_that_end_under_load_lose_nothing_that_was_answered_201(
    behind: tuple[Web, PgProxy],
) -> None:
    web, _ = behind
    ids, over = count(), threading.Event()
    number = 0
    answers: Counter[tuple[str, int]] = Counter()
    tenants: list[str] = []
    devices: list[str] = []
    rest = random.Random(15)

    def end_backends() -> None:
        nonlocal number
        find = (
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        with psycopg.connect(web.db.superuser_conninfo, autocommit=True) as connection:
            while number < ENDED:
                pids = [pid for (pid,) in connection.execute(find)]
                if pids:
                    one = rest.choice(pids)
                    done = connection.execute("SELECT pg_terminate_backend(%s)", [one]).fetchone()
                    number += done == (True,)
                seen, late = answers.total(), time.monotonic() + 1.0
                time.sleep(PAUSE)
                # On a busy machine no faster than clients are answered, or none ever is.
                while answers.total() == seen and time.monotonic() < late:
                    time.sleep(PAUSE / 4)
        over.set()

    def create(client: int) -> None:
        pool = urllib3.PoolManager(retries=False, timeout=60)
        headers = {"Authorization": f"Bearer {web.admin}"}
        while not over.is_set():
            id_ = f"load-{client}-{next(ids)}"
            body = {"tenant_id": id_}
            answer = pool.request("POST", f"{web.url}/operator/tenants", json=body, headers=headers)
            answers["tenant", answer.status] += 1
            if answer.status == 201:
                tenants.append(id_)
            body = {"tenant_id": "old", "device_id": id_}
            answer = pool.request(
                "POST", f"{web.url}/api/admin/devices", json=body, headers=headers
            )
            answers["device", answer.status] += 1
            if answer.status == 201:
                devices.append(id_)

    with ThreadPoolExecutor(CLIENTS + 1) as threads:
        killer = threads.submit(end_backends)
        clients = [threads.submit(create, client) for client in range(CLIENTS)]
        try:
            killer.result(600)
        finally:
            over.set()
        for each in clients:
            each.result(120)
    stored = {id_ for (id_,) in web.rows("SELECT tenant_id FROM tenants")}
    registered = {id_ for (id_,) in web.rows(_DEVICES)}
    good = "SELECT tenant FROM operator_audit_log WHERE status = 201 AND path = %s"
    audited = {id_ for (id_,) in web.rows(good, "/operator/tenants")}
    lost = [*({*tenants} - stored), *({*devices} - registered)]
    sys.stderr.write(
        f"backends ended {number}; answers {dict(answers)}; rows of those answered 201: "
        f"{len({*tenants} & stored)} tenants, {len({*devices} & registered)} devices; "
        f"lost {len(lost)}; audited 201 without a row {len(audited - stored)}\n"
    )
    assert number >= ENDED
    assert tenants
    assert devices
    assert lost == []
    assert audited - stored == set()
    assert {status for _, status in answers} <= {201, 503}


def test_a_row_of_the_audit_log_whose_answer_is_lost_is_not_said_to_lack(
    behind: tuple[Web, PgProxy],
) -> None:
    web, proxy = behind
    insert = 'INSERT INTO "public"."operator_audit_log"'
    for how, status in (("GET", 503), ("POST", 201)):  # what was read is withheld without a row
        body: dict[str, Any] = {"json": {"tenant_id": "audited"}} if how == "POST" else {}
        before, logged = count_audited(web), len(web.logged())
        proxy.before = _Breaking(insert, insert, lambda pid: Then.LOSE_ANSWER)
        assert web.ask(how, "/operator/tenants", **body).status == status
        proxy.reset()
        assert count_audited(web) == before + 1
        said = web.logged()[logged:]
        assert f"the audit log may lack {how} /operator/tenants: its database did not" in said
        assert "nothing was done" not in said


def count_audited(web: Web) -> int:
    return len(web.rows("SELECT 1 FROM operator_audit_log"))


def test_a_token_of_which_nobody_knows_whether_it_is_stored_is_not_printed(
    behind: tuple[Web, PgProxy],
) -> None:
    web, proxy = behind
    proxy.before = _Breaking(
        'INSERT INTO "public"."operator_tokens"', "COMMIT", lambda pid: Then.LOSE_ANSWER
    )
    done = web.cli("token", "create", "--role", "operator", "--name", "lost")
    proxy.reset()
    assert (done.code, done.out) == (1, "")
    assert "whether it was is not known" in done.err
    assert len(web.rows("SELECT 1 FROM operator_tokens WHERE name = 'lost'")) == 1
