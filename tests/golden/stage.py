"""Shared servers for scenarios with a ledger, and one scenario's view of them.

PostgreSQL is started once, and each scenario has a database of its own, made from one in which
ledger and queue are installed. Its stand-ins are its own, because a database whose namesake was
dropped moments ago costs one more request.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from influxops_devserver.postgres import EmbeddedPostgres
from tests.golden.modules import run_module
from tests.golden.statements import SqlLog, aggregated
from tests.golden.steady import counted, kinds, plain, pretty, trace
from tests.golden.terminal import at_terminal
from tests.integration.command import Cli, Result
from tests.integration.proxy import Proxy, running_proxy
from tests.integration.servers import Influx, new_stand_in
from tests.pg import TestDatabase
from tests.slack.conftest import Webhook

#: A port that nothing listens on: reserved, and refused at once on any machine.
NOBODY = "http://127.0.0.1:1"
#: A registry, and a ledger that answers from its cache for one second only.
HEAD = """
[sources.registry]
kind = "postgres"
dsn = {{env = "DSN"}}

[ledger]
kind = "postgres"
cache_ttl = "1s"
{ledger}
"""
_numbers = itertools.count(1)


class Stage:
    """What all scenarios share.

    Args:
        postgres: A server that logs statements.
    """

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self.postgres = postgres
        self._templates: dict[str, str] = {}

    @contextlib.contextmanager
    def scene(
        self,
        *tenants: str,
        installed: Sequence[str] = ("ledger install",),
        schema: Sequence[LiteralString] = (),
        top: str = "",
    ) -> Iterator[Scene]:
        """Run a scenario's servers.

        Args:
            *tenants: The tenants in the registry.
            installed: The commands that install what its database has.
            schema: Statements that make its registry; `device_registry` when left out.
            top: More sections of the configuration that these commands need.
        """
        with contextlib.ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix="golden-", dir="/tmp"))
            stack.callback(shutil.rmtree, folder)
            webhook = Webhook()
            stack.callback(webhook.stop)
            db = stack.enter_context(self._database(folder, (*installed,), (*schema,), top))
            if tenants:
                with psycopg.connect(db.conninfo) as connection:
                    connection.execute(
                        "INSERT INTO device_registry (tenant_id) SELECT unnest(%s::text[])",
                        [[*tenants]],
                    )
            environment = {"SLACK_WEBHOOK": webhook.url, "DSN": db.conninfo}
            scene = Scene(
                Cli(folder, environment),
                db,
                SqlLog(self.postgres, db.name),
                webhook,
                lambda **options: stack.enter_context(new_stand_in(**options)),
                lambda url: stack.enter_context(running_proxy(url)),
            )
            scene.names |= {
                str(folder): "/tmp/golden-00000000",
                f":{webhook.port}": ":33333",
                f":{db.server.port}": ":54321",
                f" {db.server.port} ": " 54321 ",
                db.name: "iotcloud",
            }
            yield scene

    @contextlib.contextmanager
    def _database(
        self, folder: Path, installed: tuple[str, ...], schema: tuple[LiteralString, ...], top: str
    ) -> Iterator[TestDatabase]:
        key = "\n".join((*installed, *schema))
        if key not in self._templates:
            self._templates[key] = self._make(folder, installed, schema, top)
        name = self._create(self._templates[key])
        try:
            yield TestDatabase(self.postgres, name)
        finally:
            with psycopg.connect(self.postgres.superuser_conninfo(), autocommit=True) as c:
                c.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _make(
        self, folder: Path, installed: tuple[str, ...], schema: tuple[LiteralString, ...], top: str
    ) -> str:
        name = self._create("template1")
        db = TestDatabase(self.postgres, name)
        if schema:
            db.execute(*schema)
        else:
            db.registry()
        cli = Cli(folder, {"DSN": db.conninfo})
        cli.config(top + HEAD.format(ledger='dsn = {env = "DSN"}') + target("eu1", NOBODY))
        for command in installed:
            done = cli(*command.split())
            assert done.code == 0, done.all
        return name

    def _create(self, template: str) -> str:
        name = f"golden{next(_numbers):02}"  # as wide as `iotcloud`, so that lines break alike
        with psycopg.connect(self.postgres.superuser_conninfo(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY FILE_COPY").format(
                    *(sql.Identifier(each) for each in (name, self.postgres.user, template))
                )
            )
        return name


def without_config(text: str) -> str:
    """Return metrics without the label that all of them have, of which other tests tell."""
    return re.sub(r'\{config="[^"]*"\}|config="[^"]*",|,config="[^"]*"', "", text)


def target(name: str, url: str, more: str = "") -> str:
    """Write the section of a target."""
    away = "retries = 0\n" if url == NOBODY else ""
    return f'\n[targets.{name}]\nkind = "influxdb3"\nurl = "{url}"\n{away}{more}'


@dataclass
class Scene:
    """One scenario: its command line, its servers, and what was said so far."""

    cli: Cli
    db: TestDatabase
    log: SqlLog
    webhook: Webhook
    _start: Callable[..., Influx]
    _proxy: Callable[[str], Proxy]
    servers: dict[str, Influx] = field(default_factory=dict)
    proxies: dict[str, Proxy] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    #: Statements that are named by their beginning and a digest, in full.
    long: dict[str, str] = field(default_factory=dict)

    def server(self, name: str, **options: Any) -> Influx:
        """Run a server behind a proxy; the second one of a name stands in the first one's stead."""
        server = self._start(**options)
        proxy = self._proxy(server.url)
        number = list(dict.fromkeys([*self.proxies, name])).index(name) + 1
        self.servers[name], self.proxies[name] = server, proxy
        self.names[proxy.url] = f"http://127.0.0.1:{str(number) * 5}"
        return server

    def config(
        self,
        *away: str,
        ledger: str = "",
        top: str = "",
        more: Mapping[str, str] | None = None,
        ledgered: bool = True,
    ) -> None:
        """Write the configuration of all servers so far.

        Args:
            *away: The servers that cannot be reached.
            ledger: More of the ledger's section.
            top: More sections.
            more: More of a target's section.
            ledgered: Whether there is a ledger.
        """
        if "[sources." in top:  # the ledger is not with the only source then
            ledger += '\ndsn = {env = "DSN"}'
        head = HEAD.format(ledger=ledger)
        text = top + (head if ledgered else head.partition("[ledger]")[0])
        for name, proxy in self.proxies.items():
            url = NOBODY if name in away else proxy.url
            text += target(name, url, (more or {}).get(name, ""))
        path = self.cli.folder / "report.prom"
        text += f'\n[reporters.metrics]\nkind = "prometheus"\npath = "{path}"\n'
        text += '\n[reporters.ops]\nkind = "slack"\nwebhook = {env = "SLACK_WEBHOOK"}\n'
        self.cli.config(text)

    def given(self, *commands: str) -> None:
        """Run commands of which only what they leave behind matters."""
        for command in commands:
            done = self.cli(*command.split())
            assert done.code in (0, 1, 4), done.all

    def run(
        self,
        command: str,
        *,
        widths: Sequence[int] = (),
        traced: bool = True,
        reports: bool = False,
        in_order: bool = True,
        counts: bool = True,
    ) -> None:
        """Run a command in a pipe, and note what it said and asked for.

        Args:
            command: What follows `influxops`.
            widths: Terminals that it is run at before; for commands that change nothing.
            traced: Whether requests and statements are noted.
            reports: Whether what reporters wrote is.
            in_order: Whether requests always come in the same order.
            counts: Whether there are always as many of them, and as many statements.
        """
        for width in widths:
            done = at_terminal(self.cli, command, width)
            self.note(f"influxops {command}, terminal of {width} columns", done)
        self.forget()
        done = self.cli(*command.split())
        self.note(f"influxops {command}", done)
        if traced:
            self.traced(in_order=in_order, counts=counts)
        if reports:
            self.reported()

    def module(self, name: str, *, check: bool = False, **parameters: Any) -> None:
        """Run an Ansible module with this scenario's configuration, and note its result."""
        self.forget()
        given = {"config": str(self.cli.folder / "influxops.toml"), **parameters}
        done = run_module(self.cli, name, given, check=check)
        shown = ", ".join(f"{key}={value}" for key, value in parameters.items())
        self.say(f"=== {name} {shown}{', check mode' if check else ''}: exit {done.code}")
        self.part("result", pretty(done.out, drop=("invocation",)))
        self.part("stderr", done.err)
        self.traced()

    def note(self, title: str, done: Result) -> None:
        """Note how a command ended."""
        self.say(f"=== {title}: exit {done.code}")
        self.part("stdout", pretty(done.out) if "json" in title else done.out)
        self.part("stderr", done.err)

    def forget(self) -> None:
        """Leave out of the traces what was so far."""
        self.webhook.requests.clear()
        self.log.skip()
        for proxy in self.proxies.values():
            proxy.seen.clear()

    def traced(self, *, in_order: bool = True, counts: bool = True) -> None:
        """Note the requests and the statements since the last look.

        Args:
            in_order: Whether requests always come in the same order.
            counts: Whether there are always as many of them.
        """
        for name, proxy in self.proxies.items():
            ordered = trace if in_order else counted if counts else kinds
            lines = ordered(proxy.seen)
            self.part(f"requests to {name}", "".join(lines))
        said = self.log.statements()
        text = aggregated(said, self.long, counts=counts, pooled=not in_order)
        self.part("statements", text)

    def statements(self, wanted: Callable[[str], bool]) -> None:
        """Note which statements were sent, whatever their number.

        Args:
            wanted: Tells whether one is noted.
        """
        found = [each for each in self.log.statements() if wanted(each[1])]
        self.part("statements", aggregated(found, self.long, counts=False))

    def reported(self) -> None:
        """Note what reporters wrote."""
        path = self.cli.folder / "report.prom"
        if path.exists():
            text = without_config(path.read_text())
            lines = [line for line in text.splitlines() if not line.startswith("#")]
            self.part("report.prom", "\n".join(lines))
        for message in self.webhook.messages:
            self.part("slack", pretty(json.dumps(message)))

    def part(self, title: str, text: str) -> None:
        """Note something, if there is anything."""
        if text := plain(text, self.names).rstrip():
            self.say(f"--- {title}\n{text}")

    def all(self) -> str:
        """Return all that was said, and the long statements in full."""
        if self.long:
            self.say("=== statements in full")
            self.say("\n".join(f"{name} {text}" for name, text in sorted(self.long.items())))
        return "\n".join(self.told)

    def say(self, text: str) -> None:
        """Note a text."""
        self.told.append(plain(text, self.names) + "\n")


#: Plays a scenario, and gives all that was said.
Play = Callable[[Stage], str]
