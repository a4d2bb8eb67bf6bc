"""Decides after each round what was lost, doubled, or is not as it was reported.

It shares no code with influxops: it reads PostgreSQL, the ledger's table and the servers itself,
and knows of the doors only what they said.
"""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

PREFIX = "telemetry_"
#: What only a program that broke shows.
_BROKEN = (
    "Traceback (most recent call last)",
    "this is a fault in influxops",
    "Exception in thread",
)


@dataclass
class Server:
    """Where a server answers, past all proxies."""

    port: int
    token: str = ""


@dataclass
class Told:
    """A door said that a tenant's database is there."""

    tenant: str
    by: str
    target: str = ""  # empty where it did not say
    at: float = 0.0


@dataclass
class Facts:
    """What is known without asking influxops."""

    postgres: str
    servers: dict[str, Server]
    #: What answered at an address for a while, and how many writes may have been under way to it:
    #: a write cannot know that it is the first one to meet another server. Nobody may call it good.
    impostors: list[Server] = field(default_factory=list)
    astray: int = 0
    registered: list[str] = field(default_factory=list)  # the registry's tenants
    stored: list[str] = field(default_factory=list)  # a service said that it stored these tenants
    told: list[Told] = field(default_factory=list)
    told_gone: list[Told] = field(default_factory=list)  # a door said that it is not there
    deleted: list[str] = field(default_factory=list)  # tenants whose database somebody else deleted
    foreign: list[str] = field(default_factory=list)  # tenants whose database somebody else made
    moved: list[str] = field(default_factory=list)  # tenants that somebody asked to be moved
    acknowledged: dict[str, list[int]] = field(default_factory=dict)  # rows that a server took
    sent: dict[str, int] = field(default_factory=dict)  # how many were sent: their numbers
    deep: list[str] | None = None  # whose marker's row is read; None for all
    settled: bool = False  # whether all should be well by now


@dataclass
class Verdict:
    """What is not as it has to be, a sentence each."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[str]:
        return [*self.lost, *self.doubled, *self.wrong]


@dataclass
class _Held:
    """What a server holds."""

    databases: set[str]
    marked: set[str]  # those with a marker's table
    uuid: str


def check(facts: Facts) -> Verdict:
    """Read everything, and decide."""
    verdict = Verdict()
    held = {name: _inventory(server) for name, server in facts.servers.items()}
    homes: dict[str, list[str]] = {}
    for name, each in held.items():
        for database in each.databases:
            homes.setdefault(database.removeprefix(PREFIX), []).append(name)
    records = _records(facts.postgres)
    _check_told(facts, verdict, held, homes, records)
    _check_ledger(facts, verdict, held, homes, records)
    _check_rows(facts, verdict, held, records)
    _check_stored(facts, verdict)
    for server in facts.impostors:
        found = _inventory(server).databases
        if len(found) > facts.astray:
            verdict.wrong.append(f"another server behind an address was written to: {found}")
    return verdict


def outputs(
    texts: Iterable[tuple[str, str]], secrets: Iterable[str]
) -> tuple[list[str], list[str]]:
    """Find tracebacks and secrets in what was said; return what says so of each."""
    broken, shown, known = [], [], [*secrets]
    for name, text in texts:
        broken += [f"{name}: {sign}" for sign in _BROKEN if sign in text]
        shown += [f"{name}: a secret" for secret in known if secret in text]
    return broken, shown


def _check_told(
    facts: Facts,
    verdict: Verdict,
    held: Mapping[str, _Held],
    homes: Mapping[str, list[str]],
    records: Mapping[str, dict[str, Any]],
) -> None:
    seen: set[tuple[str, str]] = set()
    deep = None if facts.deep is None else set(facts.deep)
    for told in facts.told:
        if told.tenant in facts.deleted or (told.tenant, told.target) in seen:
            continue
        seen.add((told.tenant, told.target))
        there = homes.get(told.tenant, [])
        said = f"{told.by} said that {told.tenant} has its database"
        if not there:
            verdict.lost.append(f"{said}; no server holds it")
            continue
        home = _home(there, records.get(told.tenant))
        if told.target and told.target != home and told.tenant not in facts.moved:
            verdict.wrong.append(f"{said} on {told.target}; it is on {home}")
        database = PREFIX + told.tenant
        record = records.get(told.tenant)
        if record is not None and record["state"] == "unconfirmed" and not facts.settled:
            continue  # it may be written to; its marker follows
        if database not in held[home].marked or (
            (deep is None or told.tenant in deep)
            and not _marker(facts.servers[home], database, told.tenant)
        ):
            verdict.lost.append(f"{said}; on {home} it has no marker")
    for told in facts.told_gone:
        if homes.get(told.tenant) and told.tenant not in facts.deleted:
            verdict.wrong.append(f"{told.by} said that {told.tenant} is lost; it is there")


def _check_ledger(
    facts: Facts,
    verdict: Verdict,
    held: Mapping[str, _Held],
    homes: Mapping[str, list[str]],
    records: Mapping[str, dict[str, Any]],
) -> None:
    excused = {*facts.deleted, *facts.foreign}
    for tenant in sorted({*records, *homes, *facts.registered}):
        there, record = homes.get(tenant, []), records.get(tenant)
        if record is None:
            if there and tenant not in excused:
                verdict.wrong.append(f"{tenant} is on {there}, and the ledger does not know it")
            if facts.settled and tenant in facts.registered:
                verdict.wrong.append(f"{tenant} is registered, and the ledger does not know it")
            continue
        state, target = record["state"], record["target"]
        says = f"the ledger says that {tenant} is {state} on {target}"
        may_hold = {target, record["secondary_target"]} if target else set()
        if len(there) > 1 and not may_hold >= set(there):
            verdict.doubled.append(f"{says}; {', '.join(there)} hold it")
        elif there and not may_hold & set(there) and tenant not in excused:
            verdict.wrong.append(f"{says}; {', '.join(there)} holds it")
        if state in ("ready", "moving", "retiring"):
            if tenant not in facts.deleted:
                if target not in there:
                    verdict.lost.append(f"{says}; it does not hold it")
                elif PREFIX + tenant not in held[target].marked:
                    verdict.wrong.append(f"{says}; its database has no marker")
                elif record["identity"] != held[target].uuid:
                    verdict.wrong.append(f"{says}, on a server that has another identity")
        elif state == "lost" and tenant not in facts.deleted and target in there:
            verdict.wrong.append(f"{says}; it holds it")
        if facts.settled and tenant in facts.registered:
            expected = "lost" if tenant in facts.deleted else "ready"
            if state != expected:
                verdict.wrong.append(f"{says}, when all should be {expected}: {record['error']}")
        if tenant in facts.deleted and tenant not in facts.foreign and target in there:
            verdict.wrong.append(f"{says}; what was deleted has been made again, empty")


def _check_rows(
    facts: Facts, verdict: Verdict, held: Mapping[str, _Held], records: Mapping[str, dict[str, Any]]
) -> None:
    for tenant, acknowledged in facts.acknowledged.items():
        record = records.get(tenant)
        if tenant in facts.deleted or not acknowledged:
            continue
        if record is None or record["target"] not in held:
            verdict.lost.append(f"{tenant} has rows, and no place in the ledger")
            continue
        moving = record["state"] == "moving"
        places = [record["target"], *([record["secondary_target"]] if moving else [])]
        found: Counter[int] = Counter()
        for place in places:  # while it is moved, a row is on one of them, or on both
            if place in held and PREFIX + tenant in held[place].databases:
                rows = Counter(_rows(facts.servers[place], PREFIX + tenant))
                found |= rows
        missing = [number for number in acknowledged if not found[number]]
        twice = [number for number, times in found.items() if times > 1]
        unknown = [number for number in found if not 0 <= number < facts.sent[tenant]]
        at = f"{tenant} on {record['target']} ({record['state']})"
        if missing:
            there = [
                name
                for name in sorted(held.keys() - {*places})
                if PREFIX + tenant in held[name].databases
                and {*missing} & {*_rows(facts.servers[name], PREFIX + tenant)}
            ]
            where = f"on {', '.join(there)}" if there else "on no server"
            last = max(acknowledged)
            span = f"{missing[0]} to {missing[-1]} of {last}"
            verdict.lost.append(f"{at}: {len(missing)} acknowledged rows, {span}, {where}")
        if twice:
            verdict.doubled.append(f"{at}: {len(twice)} rows, {twice[:5]} …")
        if unknown:
            verdict.wrong.append(f"{at}: {len(unknown)} rows that nobody sent, {unknown[:5]} …")


def _check_stored(facts: Facts, verdict: Verdict) -> None:
    if not facts.stored:
        return
    with psycopg.connect(facts.postgres, autocommit=True) as connection:
        found = {row[0] for row in connection.execute("SELECT tenant_id FROM tenants")}
    verdict.lost += [
        f"the service said that {tenant} is stored; it is not"
        for tenant in facts.stored
        if tenant not in found
    ]


def _home(there: list[str], record: dict[str, Any] | None) -> str:
    target = record["target"] if record else None
    return target if target in there else there[0]


def _records(conninfo: str) -> dict[str, dict[str, Any]]:
    columns = ("state", "target", "identity", "secondary_target", "error")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        query = f"SELECT tenant, {', '.join(columns)} FROM influxops.tenants"
        return {
            row[0]: dict(zip(columns, row[1:], strict=True))
            for row in connection.execute(query.encode())
        }


def _inventory(server: Server) -> _Held:
    sql = "SELECT database_name FROM system.databases WHERE deleted = false"
    rows, uuid = _query(server, "_internal", sql)
    names = {row["database_name"] for row in rows}
    sql = "SELECT database_name FROM system.tables WHERE deleted = false AND table_name = '_init'"
    rows, _ = _query(server, "_internal", sql)
    marked = {row["database_name"] for row in rows}
    return _Held({name for name in names if name.startswith(PREFIX)}, marked & names, uuid)


def _marker(server: Server, database: str, tenant: str) -> bool:
    rows, _ = _query(server, database, "SELECT * FROM _init")
    return any(r.get("source") == "provisioning" and r.get("tenant") == tenant for r in rows)


def _rows(server: Server, database: str) -> list[int]:
    sql = "SELECT table_name FROM system.tables WHERE deleted = false AND table_name = 'telemetry'"
    rows, _ = _query(server, "_internal", f"{sql} AND database_name = '{database}'")
    if not rows:
        return []
    return [row["n"] for row in _query(server, database, "SELECT n FROM telemetry")[0]]


def _query(server: Server, database: str, sql: str) -> tuple[list[dict[str, Any]], str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"Authorization": f"Bearer {server.token}"} if server.token else {}
    asked = urllib.parse.urlencode({"db": database, "q": sql, "format": "json"})
    try:
        connection.request("GET", f"/api/v3/query_sql?{asked}", headers=headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{database}: {answer.status} {text[:200]!r}")
        return json.loads(text), answer.headers.get("cluster-uuid", "")
    finally:
        connection.close()
