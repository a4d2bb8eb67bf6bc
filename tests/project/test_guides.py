"""The guides, run as their readers would: quick start, schedules, CI, web frameworks."""

from __future__ import annotations

import configparser
import difflib
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from influxops import Provisioner
from tests.conftest import GiveStandIn
from tests.integration.command import PROGRAM, Cli
from tests.pg import TestDatabase
from tests.project.blocks import ROOT, Block, blocks, of

pytestmark = pytest.mark.stand_in

#: Where pages say the servers are.
_FIRST, _SECOND = "http://localhost:8181", "http://localhost:8182"


def bash(script: str, cli: Cli, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run what a page shows, in the folder of the configuration."""
    path = f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-uo", "pipefail", "-c", script],
        cwd=cli.folder,
        env={**cli.environment(variables), "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def masked(lines: list[str]) -> list[str]:
    """Lines without what differs from run to run: times, ids, who and where."""
    text = "\n".join(lines).strip()
    text = re.sub(r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?\b", "TIME", text)
    text = re.sub(r"\b[0-9a-f]{12}\b", "ID", text)
    text = re.sub(r"in \d+\.\d+ s", "in SECONDS", text)
    text = re.sub(r"by \w+@[\w.-]+", "by WHO", text)
    return re.sub(r" +", " ", text).splitlines()


def test_the_quick_start_prints_what_it_shows(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme", "beta")
    first, second = stand_in(max_databases=None), stand_in(max_databases=None)
    (configuration,) = of("quickstart.md", "toml")
    for block in of("quickstart.md", "console"):
        variables = {"INFLUXDB_URL": first.url}
        if block.line > configuration.line:
            text = configuration.text.replace(_FIRST, first.url).replace(_SECOND, second.url)
            cli.config(text)
            variables = {}
        for command, shown in block.commands:
            done = bash(command, cli, **variables)
            assert done.returncode == 0, done.stderr
            said = done.stdout.replace(first.url, _FIRST).replace(str(cli.folder), "/home/you")
            expected, got = masked(shown), masked(said.splitlines())
            assert got == expected, "\n".join(difflib.ndiff(expected, got))


def readme(language: str) -> list[Block]:
    return [each for each in blocks(ROOT / "README.md") if each.language == language]


def test_the_command_line_of_the_readme_prints_what_it_shows(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    server = stand_in(max_databases=None)
    _, block = readme("console")
    for command, shown in block.commands:
        if command.startswith("influxops "):
            done = bash(command, cli, INFLUXDB_URL=server.url)
            assert done.returncode == 0, done.stderr
            assert not shown or masked(done.stdout.splitlines()) == masked(shown)


def test_the_application_and_the_plugin_of_the_readme_work(
    application: Any, cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    server, start = application
    library, plugin = readme("python")
    names = start(library.text)
    names["tenant_created"]("acme")
    status, *url = capsys.readouterr().out.split()
    assert status in ("created", "existing", "queued")
    assert url in ([], [server.url])
    (cli.folder / "crm.py").write_text(plugin.text)
    cli.config(
        'plugins = ["./crm.py"]\n[sources.customers]\nkind = "crm"\n'
        f'[targets.eu1]\nkind = "influxdb3"\nurl = "{server.url}"\n'
    )
    planned = cli("plan")
    assert planned.code == 0, planned.all
    assert "telemetry_globex" in planned.out


def test_the_commands_of_the_schedules_do_their_work_and_say_nothing_when_all_is_well(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    server = stand_in(max_databases=None)
    path = cli.config(f'[targets.eu1]\nkind = "influxdb3"\nurl = "{server.url}"\n')
    cron = next(line for line in of("schedule.md", "text")[0].text.splitlines() if "*/5" in line)
    *when, user, program = cron.split(maxsplit=6)
    assert (when, user) == (["*/5", "*", "*", "*", "*"], "influxops")
    shipped = cli("docs", "influxops-ensure.service")
    service = configparser.ConfigParser(interpolation=None, strict=False)
    service.read_string(shipped.out)
    for command in (service["Service"]["ExecStart"], program):
        words = shlex.split(command.replace("/etc/influxops/influxops.toml", str(path)))
        assert words[0] == "/opt/influxops/bin/influxops"
        done = cli(*words[1:])
        assert (done.code, server.databases()) == (0, ["telemetry_acme"]), done.all
    assert done.all == ""  # the one of cron, whose output is mailed


def test_the_steps_of_ci_work_on_a_configuration(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    server = stand_in(max_databases=None)
    text = f'[targets.eu1]\nkind = "influxdb3"\nurl = "{server.url}"\n'
    (cli.folder / "deploy").mkdir()
    cli.config(text, "deploy/influxops.toml")
    cli.config(text)
    merge, deploy = (yaml.safe_load(block.text) for block in of("ci.md", "yaml"))
    steps = [each["run"] for each in merge["jobs"]["configuration"]["steps"] if "run" in each]
    steps = [each for each in steps if not each.startswith("pip ")]
    scripts = [line for job in deploy.values() for line in job["script"]]
    assert len(steps) == 1 and len(scripts) == 2
    for script in (*steps, *scripts):
        done = bash(script, cli)
        assert done.returncode == 0, done.stderr
    assert server.databases() == ["telemetry_acme"]
    assert (cli.folder / deploy["databases"]["artifacts"]["paths"][0]).exists()
    cli.config(text + "[naming]\nx = 1\n", "deploy/influxops.toml")
    assert bash(steps[0], cli).returncode == 2


def test_the_test_of_an_application_passes(tmp_path: Path) -> None:
    (block,) = of("ci.md", "python")
    names = module(block.text)
    names["test_a_new_tenant_has_its_database"](tmp_path)


def module(*texts: str) -> dict[str, Any]:
    """What modules of pages define, without what they defer to the reader of their annotations."""
    found = ModuleType("application")
    exec(compile("\n".join(texts), "application.py", "exec", dont_inherit=True), found.__dict__)
    return found.__dict__


@pytest.fixture
def application(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """What makes an application of a page's code, for one registry and server; its server."""
    db.registry("acme")
    server = stand_in(max_databases=None)
    cli.config(
        '[sources.registry]\nkind = "postgres"\n[ledger]\nkind = "postgres"\n'
        f'[targets.eu1]\nkind = "influxdb3"\nurl = "{server.url}"\n'
    )
    assert cli("ledger", "install").code == 0
    monkeypatch.chdir(cli.folder)
    for name, value in db.environment.items():
        monkeypatch.setenv(name, value)
        # psycopg itself reads libpq's.
        libpq = {"PG_PASS": "PGPASSWORD", "PG_DB": "PGDATABASE"}.get(name, name.replace("_", ""))
        monkeypatch.setenv(libpq, value)
    made: list[Provisioner] = []

    def start(*texts: str) -> dict[str, Any]:
        names = module(*texts)
        made.append(names["provisioner"])
        return names

    yield server, start
    for each in made:
        each.close()


def code_of(framework: str) -> list[str]:
    """The code of a framework: its first block, and those after it without a name."""
    texts = [block.text for block in of("web-frameworks.md", "python")]
    begin = next(number for number, text in enumerate(texts) if framework in text)
    following = [text for text in texts[begin + 1 :] if not text.startswith("# ")]
    return [texts[begin], *(following if framework == "django" else [])]


def test_the_endpoint_of_fastapi_makes_a_tenant_and_its_database(application: Any) -> None:
    from fastapi.testclient import TestClient

    server, start = application
    names = start(*code_of("fastapi"))
    with TestClient(names["app"]) as client:
        made = client.post("/tenants/newco")
        assert client.post("/tenants/%00").status_code == 422
        check(made.status_code, made.json(), names["provisioner"], server)


def test_the_endpoint_of_flask_makes_a_tenant_and_its_database(application: Any) -> None:
    server, start = application
    names = start(*code_of("flask"))
    client = names["app"].test_client()
    made = client.post("/tenants/newco")
    assert client.post("/tenants/%00").status_code == 422
    check(made.status_code, made.json, names["provisioner"], server)


def check(code: int, answer: Any, provisioner: Provisioner, server: Any) -> None:
    """The answer names the server, or says that the database comes later, and it does."""
    assert code == 201
    ready = answer["status"] in ("created", "existing")  # a full run may have been first
    assert answer["url"] == (server.url if ready else "")
    assert provisioner.wait("newco", timeout=60)
    assert "telemetry_newco" in server.databases()


def test_django_makes_tenants_in_its_own_transactions(application: Any, db: TestDatabase) -> None:
    import django
    from django.conf import settings
    from django.db import connection

    server, start = application
    database = {"ENGINE": "django.db.backends.postgresql"}
    keys = {"NAME": "PGDATABASE", "USER": "PGUSER", "PASSWORD": "PGPASSWORD"}
    keys |= {"HOST": "PGHOST", "PORT": "PGPORT"}
    database |= {key: os.environ[name] for key, name in keys.items()}
    settings.configure(DATABASES={"default": database})
    django.setup()
    names = start(*code_of("django"))
    provisioner: Provisioner = names["provisioner"]
    try:
        names["create_tenant"]("newco")
        names["create_tenant_for_good"]("other")
    finally:
        connection.close()
    provisioner.submit("other")  # as the next full run does
    assert provisioner.wait(timeout=60)
    assert {"telemetry_newco", "telemetry_other"} <= {*server.databases()}


def test_the_configuration_that_is_shown_is_right_and_its_mistakes_are_named(cli: Cli) -> None:
    whole = next(block for block in of("configuration.md", "toml") if "[ledger]" in block.text)
    cli.config(whole.text)
    assert cli("config", "--check").code == 0
    check, schema = of("configuration.md", "console")
    (shown,) = [lines for _, lines in check.commands]
    wrong = whole.text.replace('url = "https://eu1', 'cluster_id = "x"\nurl = "https://eu1')
    cli.config(wrong.replace('"fill" ', '"full" '))
    done = cli("config", "--check")
    assert done.code == 2
    assert [line.split(":", 2)[2] for line in done.lines] == [
        line.split(":", 2)[2] for line in sorted(shown, reverse=True)
    ]
    ((command, _),) = schema.commands
    assert bash(command, cli).returncode == 0
    assert (cli.folder / "influxops.schema.json").stat().st_size > 1000
