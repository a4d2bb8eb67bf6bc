"""docs/writers.md says what each client gets in each situation, and what is stored of its lines.

With UPDATE_WRITERS=1 (and without -n) the tables there are written again, as they were seen.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from tests import clients
from tests.conftest import GiveStandIn
from tests.integration.proxy import Proxy, running_proxy
from tests.integration.servers import Influx, new_stand_in
from tests.queue.workers import until
from tests.routes.nginx import Nginx, authority, file_of, needs_nginx, nginx
from tests.routes.writers import CLIENTS, Client, Writing

pytestmark = [pytest.mark.clients, pytest.mark.stand_in, needs_nginx]

PAGE = Path(__file__).parents[2] / "docs" / "writers.md"
DIRECTLY, PROXIED = "Directly to a server", "Through nginx"


class Away:
    """A server that is away: its port is taken, and nobody listens."""

    def __init__(self, port: int = 0) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", port))
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"


@dataclass
class World:
    """Servers, and the proxy in front of them."""

    proxy: Nginx
    servers: dict[str, Influx | Proxy | Away]
    stack: contextlib.ExitStack
    door: str = DIRECTLY
    places: dict[str, str | None] = field(default_factory=dict)
    version: int = 1

    def open(self, door: str) -> None:
        """Let nothing be mended yet, and, behind the proxy, each database have its server."""
        self.door = door
        away, busy = self.servers["away"], self.servers["busy"]
        if isinstance(away, Influx) and away.stand_in:
            away.stand_in.stop()
            self.servers["away"] = Away(away.stand_in.port)
        assert isinstance(busy, Proxy)
        busy.before = lambda seen: (503, "application/json", b'{"error": "not now"}')
        if door == PROXIED:
            self.route({self.database(each): each.server for each in SITUATIONS if each.is_listed})

    def database(self, situation: Situation) -> str:
        return "_".join(re.findall(r"\w+", f"{self.door} {situation.name}"))

    def route(self, places: dict[str, str | None]) -> None:
        """Let the proxy lead more databases to their servers."""
        self.places |= places
        self.version += 1
        self.proxy.routes.write_text(file_of(self.places, self.servers, version=self.version))
        self.proxy.reload()

    def influx(self, name: str) -> Influx:
        server = self.servers[name]
        assert isinstance(server, Influx)
        return server


@dataclass(frozen=True)
class Situation:
    """What is so when a client writes."""

    name: str
    middle: str = "v=2i"
    #: The server that the database is on when it is written to; None where it has none.
    server: str | None = "eu1"
    #: Where its rows are looked for in the end.
    ends_on: str = "eu1"
    #: What happens after a first write.
    after_first: Callable[[World, str], None] | None = None
    #: What ends it.
    mend: Callable[[World, str], None] | None = None
    token: str = "right"
    is_listed: bool = True


def drop(world: World, database: str) -> None:
    world.influx("eu1").drop(database)


def move(world: World, database: str) -> None:
    """Go on on another server, and keep the old copy for now, as a move does."""
    world.influx("eu2").create(database)
    if world.door == PROXIED:
        world.route({database: "eu2"})


def come_back(world: World, database: str) -> None:
    away = world.servers["away"]
    assert isinstance(away, Away)
    away.socket.close()
    world.servers["away"] = world.stack.enter_context(new_stand_in(port=away.port))


def work_again(world: World, database: str) -> None:
    busy = world.servers["busy"]
    assert isinstance(busy, Proxy)
    busy.before = lambda seen: None


def place(world: World, database: str) -> None:
    world.route({database: "eu1"})


#: What a client says that takes its lines for written; where they are not, it is in bold.
FINE = {"204", "writes it", "ends with 0", "returns", "returns, success", "resolves"}
#: So much in each of three lines, that they have 11 MiB together.
LARGE = ",".join(f's{number}="{"x" * 61_440}"' for number in range(63))
SITUATIONS = (
    Situation("database missing, slots free"),
    Situation("server full", server="full", ends_on="full"),
    Situation("one line of three cannot be parsed", middle="v="),
    Situation("one line of three has another type", middle='v="x"'),
    Situation("database dropped after a write", after_first=drop),
    Situation("moved after a write", after_first=move, ends_on="eu2"),
    Situation("wrong token", server="auth", ends_on="auth", token="wrong"),
    Situation("11 MiB in one write", middle=LARGE),
    Situation("server away for long", server="gone", ends_on="gone"),
    Situation("server away, then back", server="away", ends_on="away", mend=come_back),
    Situation("server answers 503, then works", server="busy", mend=work_again),
    Situation("no server now, then placed", server=None, mend=place),
    Situation("no tenant has it", server=None, is_listed=False),
)
#: They are about the proxy alone.
_PROXIED_ALONE = SITUATIONS[-2:]


def cases(door: str) -> tuple[Situation, ...]:
    return tuple(each for each in SITUATIONS if door == PROXIED or each not in _PROXIED_ALONE)


def lines(situation: Situation, first: int) -> str:
    """Three lines, from a time on."""
    if situation.middle is LARGE:
        return "".join(f"m {LARGE} {first + number}\n" for number in range(3))
    return f"m v=1i {first}\nm {situation.middle} {first + 1}\nm v=3i {first + 2}\n"


def stored(server: Influx, database: str, first: int) -> int:
    """Count what a server has of three lines."""
    if database not in server.databases():
        return 0
    sql = "SELECT COUNT(*) AS n FROM information_schema.tables WHERE table_name = 'm'"
    if not server.rows(database, sql)[0]["n"]:
        return 0
    sql = f"SELECT COUNT(*) AS n FROM m WHERE CAST(time AS BIGINT) >= {first}"
    return int(server.rows(database, sql)[0]["n"])


@pytest.fixture
def world(stand_in: GiveStandIn, tmp_path: Path) -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        servers: dict[str, Influx | Proxy | Away] = {
            "eu1": stand_in(max_databases=None),
            "eu2": stand_in(max_databases=None),
            "full": stand_in(max_databases=1),
            "auth": stand_in(with_auth=True),
        }
        eu1, full = servers["eu1"], servers["full"]
        assert isinstance(full, Influx)
        full.create("taken")
        servers["busy"] = stack.enter_context(running_proxy(eu1.url))
        servers |= {"away": Away(), "gone": Away()}
        proxy = stack.enter_context(nginx(tmp_path, file_of({}, servers)))
        yield World(proxy, servers, stack)
        for server in servers.values():
            if isinstance(server, Away):
                server.socket.close()


def see(world: World, client: Client, situation: Situation, folder: Path) -> str:
    """Let a client write in a situation; return what it says, and what is stored in the end."""
    database = world.database(situation)
    # Without a server only the proxy is written to.
    direct = world.servers[situation.server].url if situation.server else ""
    at = Writing(
        direct if world.door == DIRECTLY else world.proxy.url,
        database,
        situation.token,
        world.proxy.authority,
        folder,
    )
    first = 1_700_000_000_000_000_000
    if situation.after_first:
        client(at, lines(situation, first), None)
        assert stored(world.influx("eu1"), database, first) == 3
        situation.after_first(world, database)
        first += 10
    mend = partial(situation.mend, world, database) if situation.mend else None
    done: list[bool] = []

    def mend_once() -> None:
        if mend and not done:
            done.append(True)
            mend()

    said = client(at, lines(situation, first), mend_once if mend else None)
    mend_once()
    server = world.servers[situation.ends_on]
    number = stored(server, database, first) if isinstance(server, Influx) else 0
    cell = f"{said}, {number}"
    return f"**{cell}**" if said in FINE and number < 3 else cell


Table = dict[str, dict[str, str]]


def documented(door: str) -> Table:
    """Read a table of the page: by situation, and then by client."""
    section = PAGE.read_text().split(f"## {door}\n")[1].split("\n## ")[0]
    (_, *names), _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|")
    )
    return {name: dict(zip(names, cells, strict=True)) for name, *cells in rows}


def drawn(table: Table) -> str:
    """Draw a table as the page has it."""
    rows = [["situation", *CLIENTS], ["---"] * (len(CLIENTS) + 1)]
    rows += [[row, *(cells.get(name, "") for name in CLIENTS)] for row, cells in table.items()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def update(door: str, name: str, seen: dict[str, str]) -> None:
    """Put what a client saw into the page."""
    before = documented(door)
    table = {row: {**before.get(row, {}), name: cell} for row, cell in seen.items()}
    found = re.compile(rf"(## {door}\n[^|]*)(?:\|.*\n)+")
    PAGE.write_text(found.sub(lambda match: match[1] + drawn(table), PAGE.read_text()))


@pytest.mark.parametrize("name", CLIENTS)
def test_the_page_has_what_a_client_sees(name: str, world: World, tmp_path: Path) -> None:
    with CLIENTS[name](world.proxy.authority) as client:
        for door in (DIRECTLY, PROXIED):
            world.open(door)
            seen = {each.name: see(world, client, each, tmp_path) for each in cases(door)}
            if "UPDATE_WRITERS" in os.environ:
                update(door, name, seen)
            assert seen == {row: cells[name] for row, cells in documented(door).items()}
    nobody_has = world.database(SITUATIONS[-1])
    for server in world.servers.values():
        assert not isinstance(server, Influx) or nobody_has not in server.databases()


def has(server: Influx, database: str, number: int) -> bool:
    return stored(server, database, 1) == number


@pytest.mark.parametrize("name", ["Python", "Node"])
def test_on_the_path_of_version_3_a_bad_line_takes_no_other_with_it(
    name: str, stand_in: GiveStandIn, tmp_path: Path
) -> None:
    server, proof = stand_in(), Path(authority(tmp_path))
    bad = Situation("a bad line", middle="v=")
    with CLIENTS[name](proof) as client:
        for is_version_3, number in ((False, 0), (True, 2)):
            at = Writing(server.url, f"d{number}", "", proof, tmp_path, is_version_3)
            assert "400" in client(at, lines(bad, 1), None)
            # Node has that path with `noSync` alone, which does not wait until it is stored.
            until(partial(has, server, at.database, number))


def test_telegraf_keeps_the_times_of_lines_with_a_precision_alone(
    stand_in: GiveStandIn, tmp_path: Path
) -> None:
    server = stand_in()
    with CLIENTS["Telegraf `--once`"](tmp_path) as client:
        for precision, number in (("", 1), ("1ns", 3)):
            at = Writing(server.url, f"d{number}", "", tmp_path, tmp_path, precision=precision)
            assert client(at, lines(SITUATIONS[0], 1), None) == "ends with 0"
            assert stored(server, at.database, 0) == number


_HELD_UP = """
import sys, threading
sys.path.append(sys.argv[1])
from influxdb_client_3 import InfluxDBClient3, WriteOptions, write_client_options
from reactivex.scheduler import ThreadPoolScheduler

_, _, url_away, url_works, scheduler = sys.argv
written = threading.Event()

def client(url, **callbacks):
    own = {"write_scheduler": ThreadPoolScheduler(max_workers=1)} if scheduler == "own" else {}
    options = WriteOptions(flush_interval=10, retry_interval=300, max_retries=1, **own)
    return InfluxDBClient3(host=url, token="t", database="d",
        write_client_options=write_client_options(write_options=options, **callbacks))

def on_retry(*_):
    works.write("m v=1")
    if scheduler == "own":
        written.wait(60)

def on_success(*_):
    print("written", flush=True)
    written.set()

away = client(url_away, retry_callback=on_retry,
    error_callback=lambda *_: print("given up", flush=True))
works = client(url_works, success_callback=on_success)
away.write("m v=1")
away.close()
works.close()
"""


@pytest.mark.parametrize("scheduler", ["shared", "own"])
def test_a_batch_that_is_tried_again_holds_up_all_others_of_the_process(
    stand_in: GiveStandIn, scheduler: str
) -> None:
    away = Away()
    command = [sys.executable, "-c", _HELD_UP, str(clients.python_client()), away.url]
    command += [stand_in().url, scheduler]
    with away.socket:
        said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    held = ["given up", "written"]
    assert said.stdout.splitlines() == (held if scheduler == "shared" else held[::-1])
