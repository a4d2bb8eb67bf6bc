"""The dashboard, asked of a Prometheus that scrapes a worker, a service and a textfile."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from influxops_devserver.postgres import EmbeddedPostgres
from tests.conftest import GiveStandIn
from tests.deployment.prometheus import FILES, Prometheus, needs_prometheus, page_of, prometheus
from tests.integration.command import Cli
from tests.pg import new_database
from tests.queue.workers import until, working
from tests.web.conftest import REGISTRY, Web, install, serving, write_config

pytestmark = [pytest.mark.stand_in, needs_prometheus]

DASHBOARD = json.loads((FILES / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def query(text: str) -> str:
    """Return a panel's query as Grafana sends it, for all configurations."""
    text = text.replace("$__rate_interval", "4s").replace("$config", ".*")
    assert "$" not in text
    return text


@pytest.fixture
def watched(
    tmp_path: Path, postgres: EmbeddedPostgres, stand_in: GiveStandIn
) -> Iterator[tuple[Prometheus, Web]]:
    """Give a Prometheus with all that it is to see: changes, waiting tenants, a lost database."""
    eu1, eu2 = stand_in(max_databases=5), stand_in()
    with new_database(postgres) as db:
        db.execute(REGISTRY)
        cli = Cli(tmp_path, {"DSN": db.conninfo})
        write_config(cli, eu1.url)
        file = tmp_path / "influxops.prom"
        config = tmp_path / "influxops.toml"
        more = (
            f'\n[targets.eu2]\nkind = "influxdb3"\nurl = "{eu2.url}"\nstate = "draining"\n'
            f'\n[reporters.metrics]\nkind = "prometheus"\npath = "{file}"\n'
        )
        config.write_text(config.read_text() + more)
        tokens = install(cli)
        assert cli("queue", "install", "--trigger").code == 0
        insert = "INSERT INTO device_registry (device_id, tenant_id) VALUES ('{0}', '{0}')"
        with (
            working(cli, "--full-run-every", "1h", listens=True) as worker,
            serving(cli, db, eu1, *tokens) as web,
            page_of(file) as textfile,
        ):
            until(file.exists)  # the worker's first full run
            addresses = {
                "node": textfile,
                "influxops-worker": worker.url.removeprefix("http://"),
                "influxops-web": web.url.removeprefix("http://"),
            }
            with prometheus(tmp_path, addresses) as server:
                for tenant in ("acme", "beta"):
                    db.execute(insert.format(tenant))
                # Until the worker has written both markers: one that came later would bring back
                # the database that is dropped here.
                ready = "SELECT FROM influxops.tenants WHERE state = 'ready'"
                until(lambda: len(web.rows(ready)) == 2)
                assert cli("ensure").code == 0
                eu1.drop("telemetry_beta")
                assert web.ask("GET", "/operator/tenants").status == 200
                assert cli("ensure").code in (1, 4)
                yield server, web


def test_each_panel_has_data_of_a_real_prometheus(watched: tuple[Prometheus, Web]) -> None:
    server, web = watched

    def figures(panel: dict[str, object]) -> dict[str, dict[str, float]]:
        targets = panel["targets"]
        assert isinstance(targets, list)
        return {each["expr"]: server.series(query(each["expr"])) for each in targets}

    def whole(panel: dict[str, object]) -> dict[str, dict[str, float]] | None:
        web.ask("GET", "/operator/fleet")
        found = figures(panel)
        return found if all(found.values()) else None

    fires = "ALERTS{alertname='InfluxopsDatabaseLost'}"
    until(lambda: server.series(fires))  # it has seen the last run
    seen = {}
    for panel in PANELS:
        seen[panel["title"]] = until(functools.partial(whole, panel))
        print(f"\n{panel['title']} ({panel['fieldConfig']['defaults']['unit']})")
        for expression, series in seen[panel["title"]].items():
            print(f"  {expression}")
            for labels, number in sorted(series.items()):
                print(f"    {number:>14,.4g}  {labels}")
    (lost,) = seen["Lost databases"].values()
    assert [*lost.values()] == [1.0]
    (alerts,) = seen["Alerts"].values()
    assert any("alertname=InfluxopsDatabaseLost" in labels for labels in alerts)
    (slots,) = seen["Free slots"].values()
    assert [*slots.values()] == [4.0]
    # And nothing of it is asked for that there is not.
    everything = set(server.ask("label/__name__/values"))
    expressions = " ".join(expression for each in seen.values() for expression in each)
    asked = set(re.findall(r"influxops_\w+", expressions))
    assert asked <= everything
    assert not any(name.endswith("_created") for name in everything)


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    names = {each["name"] for each in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(PANELS))) - {"__rate_interval"}
    assert used <= names


def test_grafanas_own_types_know_all_that_is_in_the_dashboard() -> None:
    """What they do not know is lost where they read it and write it again."""
    plugins.register_default_plugins()
    again = json.loads(json.dumps(Dashboard.from_json(DASHBOARD), cls=JSONEncoder))

    def lost(ours: Any, theirs: Any, where: str = "") -> list[str]:
        if isinstance(ours, dict) and isinstance(theirs, dict):
            found = (lost(ours[key], theirs.get(key), f"{where}/{key}") for key in ours)
        elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
            pairs = enumerate(zip(ours, theirs, strict=True))
            found = (lost(*pair, f"{where}/{number}") for number, pair in pairs)
        else:
            return [] if ours == theirs else [where]
        return [each for some in found for each in some]

    assert lost(DASHBOARD, again) == []
