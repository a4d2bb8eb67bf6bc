"""What an application waits for: each call of `Provisioner`, also while a server hangs."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

from bench.place import ContenderFailed, Place, Taken, config, inside
from bench.values import column
from influxops import Provisioner
from tests.integration.command import Cli
from tests.integration.proxy import Answer, Proxy, Seen, running_proxy

TITLE = "a call of Provisioner.ensure, tenants in the registry"
#: Calls of what takes microseconds, and of what takes milliseconds.
_MANY, _SOME = 1_000, 50


def run(place: Place, tenants: int) -> None:
    """Measure it with a ledger and without one."""
    with (
        place.registry(tenants) as db,
        place.servers(databases=1_000) as (server,),
        running_proxy(server.url) as proxy,
        tempfile.TemporaryDirectory() as folder,
    ):
        os.environ.update(db.environment)  # this process is the case's own
        cli = Cli(Path(folder), db.environment)
        healthy(place, cli.config(config(server.url)), tenants, ", no ledger", 0)
        path = cli.config(config(server.url, ledger=True))
        done = cli("ledger", "install")
        if done.code:
            raise ContenderFailed(done.all)
        healthy(place, path, tenants, ", ledger", tenants // 2)
        hanging(place, cli.config(config(proxy.url, ledger=True)), proxy, tenants)


def calls(made: Provisioner, first: int, number: int, *, same: bool = False) -> list[Taken]:
    """Ask for tenants, one after the other."""
    ids = [f"t{first if same else first + each}" for each in range(number)]
    return [inside(partial(made.ensure, id_)) for id_ in ids]


def healthy(place: Place, path: Path, tenants: int, how: str, first: int) -> None:
    """Measure calls while all is well."""
    head, some = column(tenants), min(_SOME, tenants // 4)
    with Provisioner.from_config(path, full_runs=None, timeout=60.0) as made:
        made.ensure(f"t{first}")
        place.figure(TITLE, f"known{how}", head, calls(made, first, _MANY, same=True))
        found = calls(made, first + 1, some)
        place.figure(TITLE, f"new{how}", head, found)
        if not all(made.ensure(f"t{first + 1 + each}").is_ready for each in range(some)):
            raise ContenderFailed("a new tenant has no database")


def hanging(place: Place, path: Path, proxy: Proxy, tenants: int) -> None:
    """Measure calls while the server does not answer."""
    let_go = threading.Event()

    def hold(seen: Seen) -> Answer:
        let_go.wait(60)
        return None

    proxy.before = hold
    with Provisioner.from_config(path, full_runs=None) as made:
        new = tenants - min(_SOME, tenants // 4) - 1
        place.figure(TITLE, "server hangs, first", column(tenants), calls(made, new, 1))
        end = time.monotonic() + 30
        while not made.health().trouble and time.monotonic() < end:
            time.sleep(0.01)
        found = calls(made, new + 1, min(_SOME, tenants // 4))
        place.figure(TITLE, "server hangs, others", column(tenants), found)
        let_go.set()
        waited = inside(partial(made.wait, timeout=60))
        place.figure(TITLE, "all, once it answers", column(tenants), [waited])
