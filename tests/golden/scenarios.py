"""What influxops says and asks for without a ledger, through each of its faces, as text.

Each scenario has its own servers, runs the real command line and the real Ansible modules, and
gives one text: outputs in a pipe and at terminals, JSON, what the reporters wrote, the requests
that reached the servers. Ports, times and ids are replaced by fixed ones of the same width.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

from tests.golden.modules import run_module
from tests.golden.stage import NOBODY, Stage, without_config
from tests.golden.steady import plain, pretty, steady, trace
from tests.golden.terminal import at_terminal
from tests.integration.command import Cli
from tests.integration.proxy import Proxy, running_proxy
from tests.integration.servers import Influx, new_stand_in
from tests.pg import TestDatabase
from tests.slack.conftest import Webhook


@dataclass(frozen=True)
class Holds:
    """What a server holds at first, by database; a line protocol's lines, or a retention period."""

    created: Mapping[str, str | None] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)
    toml: str = ""


@dataclass(frozen=True)
class Scenario:
    """One situation.

    Args:
        tenants: The ids in the registry; None for no table.
        servers: The targets; None for one that cannot be reached.
        toml: More configuration, before the sources.
        source: More of the source's section.
        sql: Statements after the registry was made.
        changes: Whether `ensure` changes something, so that each run of it needs fresh servers.
        looks: Commands that are run instead of `plan` and `ensure`.
        modules: Ansible modules with their parameters; `URL` and `CONFIG` are filled in.
        environment: Further variables.
    """

    tenants: Sequence[str | None] | None
    servers: Mapping[str, Holds | None] = field(default_factory=lambda: {"eu1": Holds()})
    toml: str = ""
    source: str = ""
    sql: Sequence[LiteralString] = ()
    changes: bool = True
    looks: Sequence[str] = ()
    modules: Sequence[tuple[str, Mapping[str, Any]]] = (("influx_tenant_db", {"config": "CONFIG"}),)
    environment: Mapping[str, str] = field(default_factory=dict)


def _marked(*tenants: str) -> dict[str, str]:
    return {
        f"telemetry_{t}": f"_init,source=provisioning,tenant={t} value=1i,initialized=1i 1704067200"
        for t in tenants
    }


def _with_data(tenant: str) -> dict[str, str]:
    (line,) = _marked(tenant).values()
    return {f"telemetry_{tenant}": f"{line}\ntelemetry,device=d1 usage=1.5 1704070800"}


_TENANTS_TABLE = "CREATE TABLE tenants (tenant_id text, retention text, target text)"

SCENARIOS: dict[str, Scenario] = {
    "nothing_to_do": Scenario(
        ["acme", "beta"], {"eu1": Holds(written=_marked("acme", "beta"))}, changes=False
    ),
    "three_to_create": Scenario(["acme", "beta", "gamma"]),
    "marker_and_retention": Scenario(
        ["acme", "beta", "gamma"],
        {"eu1": Holds({"telemetry_acme": None, "telemetry_beta": "1d"}, _marked("beta"))},
        toml='[database]\nretention = "7d"\n',
    ),
    "retention_by_tenant": Scenario(
        None,
        {"eu1": Holds({"telemetry_keep": "7d", "telemetry_less": "30d"}, _marked("less"))},
        sql=(
            _TENANTS_TABLE,
            "INSERT INTO tenants VALUES ('keep', 'none', NULL), ('less', '1d', NULL), "
            "('bad', 'soon', NULL), ('lost', NULL, 'nowhere')",
        ),
        source='table = "tenants"\n',
    ),
    "held": Scenario(
        ["acme", "a b", "Case", "case", "x" * 70, "", None],
        {"eu1": Holds(written=_marked("acme"))},
        changes=False,
    ),
    "one_name_for_two": Scenario(
        None,
        sql=(
            "CREATE TABLE tenants (tenant_id text, database text)",
            "INSERT INTO tenants VALUES ('a', 'shared'), ('b', 'shared'), ('c', NULL)",
        ),
        source='table = "tenants"\n',
        toml='[tenants]\nignore = ["a"]\n',
    ),
    "full_server": Scenario([f"tenant{n}" for n in range(1, 8)]),
    # The writes of more tenants are in flight together, and which of them is last to fit varies.
    "server_says_full": Scenario(
        ["acme", "beta"],
        {
            "eu1": Holds({f"other{n}": None for n in range(1, 6)}, toml="capacity = 10\n"),
            "eu2": Holds(toml="capacity = 1\n"),
        },
    ),
    "one_unreachable": Scenario(
        ["acme", "beta", "pinned", "there"],
        {"eu1": Holds(written=_marked("acme")), "eu2": None},
        toml='[placement]\npins = {pinned = "eu2", there = "eu1"}\n',
    ),
    "all_unreachable": Scenario(["acme", "beta"], {"eu1": None}, changes=False),
    "registry_down": Scenario(["acme"], environment={"PG_PORT": "1"}, changes=False),
    "empty_registry": Scenario([], {"eu1": Holds(written=_marked("acme"))}, changes=False),
    "pins_and_doubles": Scenario(
        ["acme", "beta", "both"],
        {"eu1": Holds(written=_marked("acme", "both")), "eu2": Holds(written=_marked("both"))},
        toml='[placement]\npolicy = "spread"\npins = {acme = "eu2", beta = "eu2"}\n',
    ),
    "draining": Scenario(
        ["acme", "beta"],
        {"eu1": Holds({"telemetry_acme": None}, toml='state = "draining"\n'), "eu2": Holds()},
    ),
    "orphan": Scenario(
        ["acme"], {"eu1": Holds({"other": None}, _marked("acme", "gone"))}, changes=False
    ),
    "ansible_alone": Scenario(
        ["unused"],
        {"eu1": Holds(written=_marked("acme"))},
        modules=(
            ("influx_tenant_db", {"url": "URL", "tenants": ["acme", "beta", "a b"]}),
            ("influx_tenant_db", {"url": "URL", "tenant": "beta", "retention": "30d"}),
            ("influx_tenant_db", {"url": "URL", "tenant": "beta", "retention": "1d"}),
            ("influx_tenant_db", {"url": "URL", "tenant": "acme", "state": "absent"}),
            (
                "influx_tenant_db",
                {"url": "URL", "tenant": "acme", "state": "absent", "allow": ["drop"]},
            ),
            ("influx_tenant_db", {"url": NOBODY, "tenant": "acme"}),
            ("influx_tenant_db", {"url": NOBODY, "tenant": "acme", "unreachable": "warn"}),
            ("influx_tenant_db_info", {"url": "URL", "tenants": ["acme", "beta", "none"]}),
        ),
    ),
    "looks": Scenario(
        ["acme", "beta", "drained", "missing", "a b"],
        {
            "eu1": Holds({"telemetry_beta": "30d", "other": None}, _with_data("acme")),
            "eu2": Holds(written=_marked("drained"), toml='state = "draining"\n'),
        },
        looks=(
            "status",
            "status acme",
            "status --format json",
            "where acme",
            "where missing",
            "where nobody",
            "where acme --format json",
            "doctor",
            "plan --detailed-exitcode",
            "plan -q",
            "plan -v --tenant missing",
            "ensure --tenant nobody",
            "ensure --tenant missing -q",
            "ensure --allow nothing",
        ),
        modules=(("influx_tenant_db_info", {"config": "CONFIG"}),),
    ),
    "looks_at_faults": Scenario(
        ["acme", "beta"],
        {"eu1": Holds(written=_marked("acme")), "eu2": None},
        looks=("status", "status --format json", "where acme", "where beta", "doctor"),
        modules=(("influx_tenant_db_info", {"config": "CONFIG"}),),
    ),
}


@dataclass
class World:
    """The running servers of a scenario, the command line in front of them, and what it said."""

    scenario: Scenario
    cli: Cli
    proxies: Mapping[str, Proxy]
    webhook: Webhook
    names: Mapping[str, str]
    told: list[str]

    def command(self, line: str, width: int = 0) -> None:
        """Run a command, in a pipe or at a terminal, and note how it ended."""
        self._forget()
        where = f", terminal of {width} columns" if width else ""
        done = at_terminal(self.cli, line, width) if width else self.cli(*line.split())
        self._say(f"=== influxops {line}{where}: exit {done.code}")
        out = pretty(done.out) if "json" in line else done.out
        self._part("stdout", out)
        self._part("stderr", done.err)
        if not width:
            self._requests()
        if line == "ensure" and not width:
            self._reporters()

    def module(self, name: str, parameters: Mapping[str, Any], *, check: bool) -> None:
        """Run an Ansible module, and note its result."""
        self._forget()
        filled = {
            key: {
                "URL": next(iter(self.proxies.values())).url if self.proxies else NOBODY,
                "CONFIG": str(self.cli.folder / "influxops.toml"),
            }.get(str(value), value)
            for key, value in parameters.items()
        }
        done = run_module(self.cli, name, filled, check=check)
        shown = ", ".join(f"{key}={value}" for key, value in parameters.items())
        self._say(f"=== {name} {shown}{', check mode' if check else ''}: exit {done.code}")
        self._part("result", pretty(done.out, drop=("invocation",)))
        self._part("stderr", done.err)
        self._requests()

    def _forget(self) -> None:
        self.webhook.requests.clear()
        for proxy in self.proxies.values():
            proxy.seen.clear()
        for path in self.cli.folder.glob("report.*"):
            path.unlink()

    def _requests(self) -> None:
        for name, proxy in self.proxies.items():
            self._part(f"requests to {name}", "".join(trace(proxy.seen)))

    def _reporters(self) -> None:
        for path in sorted(self.cli.folder.glob("report.*")):
            text = path.read_text(encoding="utf-8")
            if path.suffix == ".json":
                text = pretty(text)
            elif path.suffix == ".jsonl":
                lines = [json.dumps(steady(json.loads(line))) for line in text.splitlines()]
                text = "\n".join(lines) + "\n"
            else:
                text = re.sub(r"(_seconds) [\d.e+]+", r"\1 0.0", without_config(text))
            self._part(path.name, text)
        for message in self.webhook.messages:
            self._part("slack", json.dumps(message, indent=1, ensure_ascii=False) + "\n")

    def _part(self, title: str, text: str) -> None:
        if text := plain(text, self.names).rstrip():
            self._say(f"--- {title}\n{text}")

    def _say(self, text: str) -> None:
        self.told.append(plain(text, self.names) + "\n")


def _fill(server: Influx, holds: Holds) -> None:
    for database, retention in holds.created.items():
        server.create(database, **({"retention_period": retention} if retention else {}))
    for database, lines in holds.written.items():
        server.write(database, lines)


@contextlib.contextmanager
def _world(scenario: Scenario, stage: Stage, db: TestDatabase, told: list[str]) -> Iterator[World]:
    """Run the servers of a scenario."""
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="golden-", dir="/tmp"))
        stack.callback(shutil.rmtree, folder)
        webhook = Webhook()
        stack.callback(webhook.stop)
        reachable = {n: h for n, h in scenario.servers.items() if h is not None}
        with ThreadPoolExecutor() as pool:
            starts = {n: pool.submit(stack.enter_context, new_stand_in()) for n in reachable}
        servers = {name: start.result() for name, start in starts.items()}
        proxies: dict[str, Proxy] = {}
        names = {
            str(folder): "/tmp/golden-00000000",
            f":{webhook.port}": ":33333",
            f":{db.server.port}": ":54321",
        }
        for number, (name, holds) in enumerate(reachable.items(), start=1):
            _fill(servers[name], holds)
            proxies[name] = stack.enter_context(running_proxy(servers[name].url))
            names[proxies[name].url] = f"http://127.0.0.1:{str(number) * 5}"
        environment = {**db.environment, "SLACK_WEBHOOK": webhook.url, **scenario.environment}
        cli = Cli(folder, environment)
        cli.config(_toml(scenario, proxies, folder))
        yield World(scenario, cli, proxies, webhook, names, told)


def _toml(scenario: Scenario, proxies: Mapping[str, Proxy], folder: Path) -> str:
    toml = f'{scenario.toml}\n[sources.registry]\nkind = "postgres"\n{scenario.source}'
    for name, holds in scenario.servers.items():
        url = proxies[name].url if name in proxies else NOBODY
        toml += f'\n[targets.{name}]\nkind = "influxdb3"\nurl = "{url}"\n'
        toml += holds.toml if holds else "retries = 0\n"
    for kind, suffix in {"json": "json", "journal": "jsonl", "prometheus": "prom"}.items():
        toml += f'\n[reporters.{kind}]\nkind = "{kind}"\npath = "{folder}/report.{suffix}"\n'
    return toml + '\n[reporters.ops]\nkind = "slack"\nwebhook = {env = "SLACK_WEBHOOK"}\n'


def _make_registry(scenario: Scenario, db: TestDatabase) -> None:
    db.execute("DROP TABLE IF EXISTS device_registry", "DROP TABLE IF EXISTS tenants")
    if scenario.tenants is not None:
        db.registry(*scenario.tenants)
    db.execute(*scenario.sql)


def play(name: str, stage: Stage) -> str:
    """Run a scenario, and give all that was said."""
    scenario, told = SCENARIOS[name], list[str]()
    db = TestDatabase(stage.postgres, stage.postgres.database)
    _make_registry(scenario, db)
    if scenario.looks or len(scenario.modules) > 1:
        with _world(scenario, stage, db, told) as world:
            for line in scenario.looks:
                world.command(line)
                if line in ("status", "doctor", "where acme"):
                    world.command(line, 80)
                    world.command(line, 130)
            for module, parameters in scenario.modules:
                if not module.endswith("_info"):
                    world.module(module, parameters, check=True)
                world.module(module, parameters, check=False)
        return "\n".join(told)
    with contextlib.ExitStack() as stack:
        world = stack.enter_context(_world(scenario, stage, db, told))
        for line in ("plan", "plan --format json"):
            world.command(line)
        for width in (80, 130):
            world.command("plan", width)
        for module, parameters in scenario.modules:
            world.module(module, parameters, check=True)
        world.command("ensure")
        for width in (80, 130):
            if scenario.changes:
                world = stack.enter_context(_world(scenario, stage, db, told))
            world.command("ensure", width)
        if scenario.changes:
            world = stack.enter_context(_world(scenario, stage, db, told))
        for module, parameters in scenario.modules:
            world.module(module, parameters, check=False)
    return "\n".join(told)
