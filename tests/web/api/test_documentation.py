"""docs/service.md, run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from influxops.config.load import parse_config
from influxops_devserver.postgres import EmbeddedPostgres
from tests.integration.command import PROGRAM, Cli
from tests.integration.servers import Influx
from tests.pg import new_database
from tests.web.conftest import Web, serving

pytestmark = pytest.mark.stand_in

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "service.md").read_text()


def sh(script: str, cli: Cli, **variables: str) -> str:
    """Run what the documentation shows, in the folder of the configuration."""
    path = f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=cli.folder,
        env={**cli.environment({**variables}), "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_the_documentation_shows_works(
    tmp_path: Path, postgres: EmbeddedPostgres, module_influx: Influx
) -> None:
    configuration, columns = re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)
    parse_config(tomllib.loads(columns))
    steps = re.findall(r"```sh\n(.*?)```(?:\n\n```json\n(.*?)```)?", TEXT, flags=re.DOTALL)
    with new_database(postgres) as db:
        cli = Cli(tmp_path, {"REGISTRY_DSN": db.conninfo})
        patient = configuration.replace("[web]\n", "[web]\ntimeout = 20.0\n")
        cli.config(patient.replace("https://eu1.example:8181", module_influx.url))
        install, *calls = steps
        sh(install[0], cli)
        admin = (tmp_path / "admin.token").read_text().strip()
        with serving(cli, db, module_influx, admin, "") as web:
            for script, answer in calls:
                said = sh(script, cli, URL=web.url)
                if answer:
                    assert json.loads(said) == json.loads(answer), f"{script}\n{web.logged()}"
                else:
                    assert json.loads(said)["activation_code"]
    assert {"telemetry_acme", "telemetry_globex"} <= {*module_influx.databases()}


def test_it_names_every_endpoint_and_only_those(web: Web) -> None:
    paths = {
        path.replace("{tenant_id}", "{id}")
        for path in web.ask("GET", "/openapi.json").json()["paths"]
    }
    assert {path for path in paths if path not in TEXT} == set()


def test_security_names_tests_that_there_are() -> None:
    named = set(re.findall(r"`(tests/web/[\w/]+\.py)`", (ROOT / "SECURITY.md").read_text()))
    assert named
    assert all((ROOT / name).exists() for name in named)
